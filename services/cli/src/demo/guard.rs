//! Ends the broker where the demonstration cannot do it any more: killed, or cut off by a second Ctrl-C.
//!
//! A shell waits at the end of a pipe. A line in it says that all is well; its end without one says that this process
//! is gone, and then the shell ends what it left behind. The system closes a pipe whatever kills a process.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context as _;
use runtime::Exit;

/// What the shell does; `$1` is the folder. The broker's processes are known by where they keep their data, so that those
/// are found, too, that a start had only begun.
const SCRIPT: &str = r#"
    read -r _ && exit
    for _ in 1 2 3 4 5 6 7 8 9; do
        left=$(grep -lsF "RABBITMQ_MNESIA_BASE=$1/" /proc/[0-9]*/environ | cut -d/ -f3)
        [ -n "$left" ] || break
        kill -KILL $left
        sleep 0.2
    done
    gpgconf --homedir "$1/gnupg" --kill all
    rm -rf -- "$1"
"#;

/// The shell; dropping this sends it home.
pub(crate) struct Guard {
    shell: Child,
    line: Option<ChildStdin>,
}

impl Guard {
    /// Guards this folder, and the broker that is started in it.
    ///
    /// # Errors
    ///
    /// Where no shell can be started.
    pub(crate) fn over(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize().map_err(Exit::io)?;
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "kvit-demo-guard"])
            .arg(folder)
            .current_dir("/")
            // Ctrl-C in a terminal is not for the guard.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Exit::io)
            .context("starting a guard over the broker")?;
        let line = shell.stdin.take();
        Ok(Self { shell, line })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut line) = self.line.take() {
            let _ = line.write_all(b"home\n");
        }
        let _ = self.shell.wait();
    }
}
