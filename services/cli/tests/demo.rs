//! `kvit demo` as a visitor starts it: a process of its own, with a real private broker and the real gpg.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One broker at a time is enough for the machine.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kvit() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kvit"))
}

/// A demonstration that stays up, and what it prints.
struct Demo {
    process: Child,
    output: BufReader<ChildStdout>,
    printed: String,
}

impl Demo {
    fn start() -> Self {
        let mut process = kvit()
            .arg("demo")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demonstration starts");
        let output = BufReader::new(process.stdout.take().expect("its output is piped"));
        Self {
            process,
            output,
            printed: String::new(),
        }
    }

    /// Reads until a line holds these words, and gives that line; the end of the output is a failure.
    fn until(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("its output can be read");
            assert!(read > 0, "it ended before it said “{words}”:\n{}", self.printed);
            self.printed += &line;
            if line.contains(words) {
                return line;
            }
        }
    }

    /// The folder that it said it uses.
    fn folder(&mut self) -> PathBuf {
        let line = self.until("  folder ");
        line.split_whitespace().nth(1).expect("a path").into()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the process is there");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether something becomes so within half a minute.
fn comes(is_so: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > Duration::from_secs(30) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

/// Processes with this folder in their command line or environment.
fn processes_of(folder: &Path) -> Vec<String> {
    processes_with(&folder.display().to_string())
}

/// The broker's processes.
fn brokers_of(folder: &Path) -> Vec<String> {
    processes_with(&format!("RABBITMQ_MNESIA_BASE={}/", folder.display()))
}

/// Processes with these words in their command line or environment, by what Linux says of them.
fn processes_with(words: &str) -> Vec<String> {
    let names = |path: PathBuf| std::fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(words));
    let all = std::fs::read_dir("/proc").expect("this is Linux").flatten();
    let theirs = all.filter(|entry| names(entry.path().join("cmdline")) || names(entry.path().join("environ")));
    theirs
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// What a command of `kvit` prints with this configuration.
fn ask(config: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = kvit()
        .arg("--config")
        .arg(config)
        .args(arguments)
        .output()
        .expect("kvit starts");
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{arguments:?}: {said}");
    String::from_utf8(stdout).expect("text")
}

/// D1, D2, P1: the main job, end to end, on real payloads.
#[test]
fn the_demonstration_holds_what_it_promises() {
    let _alone = alone();
    let output = kvit().args(["demo", "--once"]).output().expect("kvit starts");
    let story = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{story}\n{errors}");
    assert_eq!(errors, "");
    for line in [
        "accepted as K-",
        "the relay took the department's encrypted mail",
        "the relay took the citizen's receipt",
        "deleted: the payloads removed, their key destroyed",
        "known already: counted, nothing sent",
        "a draft: counted, nothing kept or sent",
        "in quarantine as malformed",
        "✓ 5 of 5 mails opened and their signatures verified",
        "│ Navn: Søren Kjærgaard-Ågesen",
        "✓ 3 receipts went out",
        ", keys, mails) it finds 0",
        "✓ of the sealed message RabbitMQ's own files hold 0 of",
        "✓ arrived 8 = accepted 5 + quarantined 1 + duplicates 1 + drafts 1",
        "✓ accepted 5 = open 0 + deleted 5",
        "Everything that was promised held.",
    ] {
        assert!(story.contains(line), "“{line}” is missing:\n{story}");
    }
    assert!(!story.contains('✗'), "{story}");
}

#[test]
fn a_visitor_sends_one_more_and_ends_it_with_ctrl_c() {
    let _alone = alone();
    let mut demo = Demo::start();
    let folder = demo.folder();
    demo.until("Everything runs until Ctrl-C");
    let config = folder.join("kvit/kvit.toml");
    let message = folder.join("message.json").display().to_string();
    let send = ["submission", "send", "--site", "eksempel", "--form"];
    // More than once: a command that closes the store must not take it from the services.
    for n in 1..=2 {
        ask(&config, &[&send[..], &["anmeldelse_teknik_miljoe", &message]].concat());
        demo.until("accepted as K-");
        demo.until("deleted: ");
        let status: serde_json::Value = serde_json::from_str(&ask(&config, &["status", "--json"])).expect("JSON");
        assert_eq!(
            (&status["arrived"], &status["deleted"]),
            (&(8 + n).into(), &(5 + n).into())
        );
    }

    demo.signal(Signal::SIGINT);
    demo.until("Everything that was promised held.");
    assert_eq!(demo.process.wait().expect("it ends").code(), Some(0));
    assert!(!folder.exists());
    assert!(
        comes(|| processes_of(&folder).is_empty()),
        "{:?}",
        processes_of(&folder)
    );
}

#[test]
fn a_demonstration_that_is_killed_leaves_nothing_behind() {
    let _alone = alone();
    for moment in ["  configuration ", "1. A pothole"] {
        let mut demo = Demo::start();
        let folder = demo.folder();
        demo.until(moment);
        assert!(comes(|| !brokers_of(&folder).is_empty()), "no broker is started");

        demo.signal(Signal::SIGKILL);
        assert!(comes(|| !folder.exists()), "the folder stays");
        assert!(
            comes(|| processes_of(&folder).is_empty()),
            "{:?}",
            processes_of(&folder)
        );
    }
}

#[test]
fn where_gpg_is_missing_it_says_so() {
    let output = kvit()
        .args(["demo", "--once"])
        .env("PATH", "/nonexistent")
        .output()
        .expect("kvit starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{errors}");
    assert!(errors.contains("apt-get install gpg"), "{errors}");
}
