//! What a supervisor, Prometheus and the broker's operator see of the real programs.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kvit_cli::demo::inbox::Inbox;
use kvit_tests::{Message, Peers, Program, Proxy, Service, TestBed, report, until};
use runtime::metric::METRICS;
use serde_json::{Value, json};

const SERVICES: [&str; 3] = ["kvit-intake", "kvit-mailer", "kvit-scheduler"];
/// With those through which no mail goes, the console last.
pub(crate) const ALL: [&str; 5] = [
    SERVICES[0],
    SERVICES[1],
    SERVICES[2],
    "kvit-journaliser",
    "kvit-console",
];

fn numbered(n: u32) -> Message {
    let uuid = uuid::Uuid::from_u128(0x6000 + u128::from(n)).to_string();
    Message::json(&report(&uuid, &json!({"e_mail": format!("c{n}@borger.example")})))
}

/// The names in a page of metrics, without what a histogram adds to its own.
fn families(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect()
}

/// `promtool check metrics`: names, types and help as Prometheus wants them.
fn lint(page: &str) -> anyhow::Result<()> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool could not be run")?;
    promtool.stdin.take().context("its input")?.write_all(page.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_explained_and_as_prometheus_wants_it() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let mut programs = Vec::new();
    for name in ALL {
        programs.push(bed.spawn(name).await?);
    }
    for n in 0..5 {
        bed.publish(&numbered(n)).await?;
    }
    bed.publish(&Message::bytes("not JSON")).await?;
    bed.until_deleted(6).await?;
    until("the scheduler has measured it, and told the site", async || {
        let (_, page) = programs[2].probe("/metrics").await?;
        let done = [
            "kvit_submissions_deleted 5",
            "kvit_quarantine_waiting 1",
            "kvit_submissions_missed 0",
            "kvit_workers{service=\"journaliser\"} 1",
            "# TYPE messaging_client_sent_messages_total counter",
        ];
        Ok(done
            .iter()
            .all(|line| page.contains(&format!("\n{line}\n")))
            .then_some(()))
    })
    .await?;

    let listed: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let mut seen = BTreeSet::new();
    for program in &programs {
        let (code, answer) = program.probe("/metrics").await?;
        assert_eq!(code, 200);
        let (_, page) = answer.split_once("\r\n\r\n").context("a page")?;
        lint(page)?;
        let names = families(page);
        let unlisted: Vec<_> = names.iter().filter(|name| !listed.contains(name.as_str())).collect();
        assert!(unlisted.is_empty(), "not in docs/metrics.md: {unlisted:?}");
        seen.extend(names);
    }
    for name in [
        "kvit_check_up",
        "kvit_mail_delivery_seconds",
        "kvit_mails_total",
        "kvit_evidence_lag_seconds",
        "messaging_client_consumed_messages_total",
        "messaging_client_sent_messages_total",
        "messaging_process_duration_seconds",
    ] {
        assert!(seen.contains(name), "{name} is not measured: {seen:?}");
    }
    Ok(())
}

/// Whether something is counted on a page, and all of it is 0 yet.
fn begins_at_0(page: &str, name: &str) -> bool {
    let mut counted = page
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .peekable();
    counted.peek().is_some() && counted.all(|rest| rest.ends_with(" 0"))
}

/// From nothing to one is a step that `increase` and `delta` do not see: what an alarm watches is there before its first fault.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_alarm_watches_begins_at_0() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    for (service, names) in [
        (
            "kvit-intake",
            [
                "kvit_panics_total",
                "kvit_broker_handler_panics_total",
                "kvit_broker_connections_lost_total",
                "kvit_form_drift_total",
            ],
        ),
        (
            "kvit-mailer",
            [
                "kvit_panics_total",
                "kvit_broker_handler_panics_total",
                "kvit_broker_connections_lost_total",
                "kvit_relay_slow_downs_total",
            ],
        ),
        (
            "kvit-scheduler",
            [
                "kvit_panics_total",
                "kvit_broker_connections_lost_total",
                "kvit_sequence_gaps",
                "kvit_mails_possible_duplicates",
            ],
        ),
    ] {
        let mut program = bed.spawn(service).await?;
        program.until_ready().await?;
        for name in names {
            until("a counter is there", async || {
                let (_, page) = program.probe("/metrics").await?;
                Ok(begins_at_0(&page, name).then_some(()))
            })
            .await
            .with_context(|| format!("{name} of {service}"))?;
        }
    }
    Ok(())
}

/// What a service has told its supervisor so far.
struct Supervisor {
    socket: UnixDatagram,
    told: String,
}

impl Supervisor {
    /// Listens in the bed's folder; answers where, too.
    fn listen(bed: &TestBed, name: &str) -> anyhow::Result<(Self, String)> {
        let path = bed.path(name);
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        let told = String::new();
        Ok((Self { socket, told }, path.display().to_string()))
    }

    /// Takes what has been told meanwhile.
    fn hear(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.told.push_str(&String::from_utf8_lossy(&buffer[..length]));
            self.told.push('\n');
        }
    }

    async fn until_told(&mut self, words: &str) -> anyhow::Result<()> {
        let told = until("the supervisor is told", async || {
            self.hear();
            Ok(self.told.contains(words).then_some(()))
        })
        .await;
        told.with_context(|| format!("{words:?} is not in {:?}", self.told))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_that_a_service_runs_lives_and_stops() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    for name in ALL {
        let (mut supervisor, path) = Supervisor::listen(&bed, &format!("{name}.notify"))?;
        let environment = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "2000000")];
        let mut program = bed.spawn_with(name, &environment).await?;
        supervisor.until_told("READY=1").await?;
        supervisor.until_told("WATCHDOG=1").await?;
        // It listens all the while, as systemd does: a socket that nobody reads is full after a few words.
        let (ready, told) = tokio::join!(program.until_ready(), supervisor.until_told("STATUS=ready"));
        ready.and(told)?;
        // A process that holds keys leaves no memory behind.
        let core = program.limit("Max core file size")?;
        assert_eq!(core.split_ascii_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);
        let (ended, told) = tokio::join!(program.terminate(), supervisor.until_told("STOPPING=1"));
        assert_eq!(ended?.code(), Some(0));
        told?;
    }
    Ok(())
}

/// The watchdog is fed by work that gets on: a service whose work hangs is ended and begun anew, whatever else of it runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_not_fed_while_work_hangs() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let path = bed.path("notify");
    let _nobody_reads = UnixDatagram::bind(&path)?;
    let path = path.display().to_string();
    bed.publish(&numbered(1)).await?;
    let mut running = None;
    for (service, point, part) in [
        ("kvit-intake", "intake.delivered=hang", "messages"),
        // Its mails are due, and no mailer runs yet.
        ("kvit-scheduler", "scheduler.woken=hang", "sweep"),
        ("kvit-mailer", "mailer.claimed=hang", "mails"),
    ] {
        let environment = [
            ("NOTIFY_SOCKET", path.as_str()),
            ("WATCHDOG_USEC", "2000000"),
            ("KVIT_MUTANT", "impatient_watchdog"),
            ("KVIT_FAILPOINTS", point),
        ];
        let hanging = bed.spawn_with(service, &environment).await?;
        let part = format!("\"part\":\"{part}\"");
        until("it is no longer said that it lives", async || {
            let log = hanging.log();
            let mut said = log.lines().filter(|line| line.contains("no progress"));
            Ok(said.any(|line| line.contains(&part)).then_some(()))
        })
        .await
        .with_context(|| format!("{service}:\n{}", hanging.log()))?;
        drop(hanging);
        if running.is_none() {
            running = Some(bed.run(&[Service::Intake]).await?);
        }
    }
    running.context("it runs")?.stop().await
}

/// A relay that is away is waited for: with mails that are due, the watchdog is fed for longer than what hangs would be.
#[tokio::test(flavor = "multi_thread")]
async fn a_mailer_whose_relay_is_away_is_kept_alive() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    let relay = Proxy::cut_off(inbox.address().port()).await?;
    let bed = TestBed::prepare_with(&Peers {
        relay: Some(relay.port()),
        ..Peers::default()
    })
    .await?;
    let running = bed.run(&[Service::Intake]).await?;
    bed.post(&numbered(1)).await?;
    let (mut supervisor, path) = Supervisor::listen(&bed, "notify")?;
    let environment = [
        ("NOTIFY_SOCKET", path.as_str()),
        ("WATCHDOG_USEC", "2000000"),
        ("KVIT_MUTANT", "impatient_watchdog"),
    ];
    let mailer = bed.spawn_with("kvit-mailer", &environment).await?;
    supervisor.until_told("relay: cannot use the relay").await?;
    // Twice a second: twice as long as its work may stand still in a test.
    until("it has lived long enough", async || {
        supervisor.hear();
        Ok((supervisor.told.matches("WATCHDOG=1").count() >= 20).then_some(()))
    })
    .await?;
    assert!(!mailer.log().contains("no progress"), "{}", mailer.log());
    running.stop().await
}

/// The definitions with another virtual host, other users, and a password that is the user's name.
fn definitions(host: &str) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/rabbitmq/definitions.json"
    ))?;
    let mut value: Value = serde_json::from_str(&text)?;
    value["vhosts"] = json!([{"name": host}]);
    for part in ["permissions", "queues", "exchanges", "bindings"] {
        for one in value[part].as_array_mut().context("a list")? {
            ensure!(one["vhost"] == "kvit", "{one} is in another virtual host");
            one["vhost"] = json!(host);
        }
    }
    Ok(value)
}

/// A submission goes its whole way where every program logs in as itself and nobody may declare anything.
#[tokio::test(flavor = "multi_thread")]
async fn the_definitions_give_every_program_what_it_needs_and_no_more() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let rabbit = &bed.host.node.rabbit;
    let file = bed.path("definitions.json");
    std::fs::write(&file, definitions(&bed.host.name)?.to_string())?;
    let users = ["kvit-intake", "kvit-mailer", "kvit-scheduler", "site-eksempel"];
    tokio::task::block_in_place(|| -> anyhow::Result<()> {
        rabbit.ctl(&["import_definitions", &file.display().to_string()])?;
        for user in users {
            rabbit.ctl(&["change_password", user, "pw"])?;
        }
        Ok(())
    })?;
    let url = |user: &str| format!("amqp://{user}:pw@127.0.0.1:{}/{}", rabbit.port(), bed.host.name);
    let mut programs: Vec<Program> = Vec::new();
    for name in SERVICES {
        let url = url(name);
        let environment = [("KVIT_BROKER__URL", url.as_str()), ("KVIT_BROKER__DECLARE", "false")];
        programs.push(bed.spawn_with(name, &environment).await?);
    }
    for program in &mut programs {
        program.until_ready().await?;
    }
    let site = bed.path("site.json");
    std::fs::write(&site, &numbered(1).body)?;
    let sent = tokio::task::block_in_place(|| {
        let mut kvit = Command::new(kvit_tests::program("kvit")?);
        kvit.args(["submission", "send", "--site", "eksempel", "--no-declare", "--config"]);
        kvit.arg(bed.config())
            .arg(&site)
            .env("KVIT_BROKER__URL", url("site-eksempel"));
        kvit.output().context("kvit could not be run")
    })?;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    bed.until_deleted(1).await?;
    assert_eq!(bed.inbox.count(), 2);

    // A mailer's login sees no submission, and a site's neither its own nor an event of another.
    for (user, queue) in [
        ("kvit-mailer", "kvit.submissions.eksempel"),
        ("kvit-scheduler", "kvit.submissions.eksempel"),
        ("site-eksempel", "kvit.submissions.eksempel"),
        ("site-eksempel", "kvit.duties.mail"),
    ] {
        let refused = consume(&url(user), queue).await?;
        assert!(refused.contains("may not"), "{user} may read {queue}: {refused}");
    }
    Ok(())
}

/// What the broker says to somebody who would consume a queue.
async fn consume(url: &str, queue: &str) -> anyhow::Result<String> {
    let (said_in, mut said) = tokio::sync::mpsc::unbounded_channel();
    let link = broker::Link::new(
        url,
        broker::Options {
            declare: false,
            name: "somebody".to_owned(),
            on_state: std::sync::Arc::new(move |state| {
                let _ = said_in.send(state);
            }),
        },
    );
    let shutdown = tokio_util::sync::CancellationToken::new();
    let end = shutdown.clone();
    let queues = vec![queue.to_owned()];
    let trying = tokio::spawn(async move {
        link.consume(queues, 1, end, |_| async { broker::Verdict::Requeue })
            .await;
    });
    let heard = tokio::time::timeout(Duration::from_secs(30), async {
        while let Some(state) = said.recv().await {
            match state {
                broker::State::Down(words) if words.contains("not consumed yet") => {}
                broker::State::Down(words) => return words,
                broker::State::Up => return "up".to_owned(),
            }
        }
        String::new()
    })
    .await?;
    shutdown.cancel();
    trying.await?;
    Ok(heard)
}
