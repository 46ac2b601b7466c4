//! Peers that are away, and services that are killed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use kvit_cli::demo::inbox::{Behaviour, Step, Times};
use kvit_tests::{
    Engine, Entity, Message, Peers, Program, Proxy, Service, TestBed, report, until, virtual_host, within,
};
use serde_json::json;

fn numbered(n: u32) -> Message {
    let uuid = uuid::Uuid::from_u128(0x1000 + u128::from(n)).to_string();
    Message::json(&report(&uuid, &json!({"e_mail": format!("c{n}@borger.example")})))
}

const SERVICES: [&str; 3] = ["kvit-intake", "kvit-mailer", "kvit-scheduler"];

/// A bed whose stores are files, which a test can take away. (A PostgreSQL that is away: `tests/faults`.)
async fn on_files() -> anyhow::Result<TestBed> {
    TestBed::prepare_with(&Peers {
        engine: Engine::Sqlite,
        ..Peers::default()
    })
    .await
}

async fn all(bed: &TestBed) -> anyhow::Result<Vec<Program>> {
    let mut programs = Vec::new();
    for name in SERVICES {
        programs.push(bed.spawn(name).await?);
    }
    Ok(programs)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_at_start_and_later_is_said_and_waited_for() -> anyhow::Result<()> {
    let port = tokio::task::spawn_blocking(virtual_host).await??.node.rabbit.port();
    let proxy = Proxy::cut_off(port).await?;
    let bed = TestBed::prepare_with(&Peers {
        broker: Some(proxy.port()),
        ..Peers::default()
    })
    .await?;
    anyhow::ensure!(
        bed.host.node.rabbit.port() == port,
        "the node was started again meanwhile"
    );
    let mut programs = all(&bed).await?;
    let words = format!("broker: cannot reach 127.0.0.1:{}", proxy.port());
    for program in &mut programs {
        let said = program.until_not_ready(&words).await?;
        assert!(!said.contains("guest"), "{said}");
        assert_eq!(program.probe("/livez").await?.0, 200);
    }
    proxy.open().await?;
    for program in &mut programs {
        program.until_ready().await?;
    }
    bed.publish(&numbered(1)).await?;
    bed.until_deleted(1).await?;

    proxy.cut();
    for program in &mut programs {
        program.until_not_ready("broker: ").await?;
    }
    bed.publish(&numbered(2)).await?;
    proxy.open().await?;
    bed.until_deleted(2).await?;
    for program in &mut programs {
        program.until_ready().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_away_at_start_and_later_is_said_and_waited_for() -> anyhow::Result<()> {
    // The proxy's far end is known only once the inbox is: the bed's own inbox is replaced by one behind the proxy.
    let inbox = kvit_cli::demo::inbox::Inbox::start().await?;
    let proxy = Proxy::cut_off(inbox.address().port()).await?;
    let bed = TestBed::prepare_with(&Peers {
        relay: Some(proxy.port()),
        ..Peers::default()
    })
    .await?;
    let mut programs = all(&bed).await?;
    let words = format!("relay: cannot use the relay at 127.0.0.1:{}", proxy.port());
    programs[1].until_not_ready(&words).await?;
    programs[0].until_ready().await?;
    bed.publish(&numbered(1)).await?;
    bed.until_arrived(1).await?;
    assert_eq!(bed.only_submission().await?.state, "open");
    proxy.open().await?;
    programs[1].until_ready().await?;
    bed.until_deleted(1).await?;

    proxy.cut();
    bed.publish(&numbered(2)).await?;
    programs[1].until_not_ready("relay: ").await?;
    proxy.open().await?;
    bed.until_deleted(2).await?;
    assert_eq!(inbox.count(), 4);
    Ok(())
}

/// RFC 5321 gives a relay five minutes for its greeting. It gets them; who looks is told, and who stops the mailer does not
/// wait for them, with a mail in hand or without.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_takes_connections_and_says_nothing_is_said_and_holds_up_no_stop() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let mut mailer = bed.spawn("kvit-mailer").await?;
    mailer.until_ready().await?;
    let step = Step::Connect;
    bed.inbox.behave(Behaviour::Silence { step }, Times::All);
    let running = bed.run(&[Service::Intake, Service::Scheduler]).await?;
    bed.post(&numbered(1)).await?;
    bed.until_duty("department_mail", "sending").await?;
    let words = format!(
        "relay: the relay at 127.0.0.1:{} has not said within 30 s",
        bed.inbox.address().port()
    );
    mailer.until_not_ready(&words).await?;
    let asked = std::time::Instant::now();
    mailer.terminate().await?;
    assert!(asked.elapsed().as_secs() < 15, "{:?}", asked.elapsed());
    assert_eq!(bed.inbox.count(), 0);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_at_start_is_said_and_waited_for() -> anyhow::Result<()> {
    let bed = on_files().await?;
    bed.configure("sqlite:kvit.db", "sqlite:there/kvit.db")?;
    let mut programs = all(&bed).await?;
    for program in &mut programs {
        program.until_not_ready("store: ").await?;
    }
    bed.publish(&numbered(1)).await?;
    std::fs::create_dir(bed.path("there"))?;
    for program in &mut programs {
        program.until_ready().await?;
    }
    let mails = bed.inbox.wait_for(2, kvit_tests::DEADLINE).await?;
    assert_eq!(mails.len(), 2);
    Ok(())
}

/// Holds the ledger's only write lock until it is dropped: a store that answers nobody.
struct Locked(std::process::Child);

impl Locked {
    fn hold(bed: &TestBed) -> anyhow::Result<Self> {
        const SCRIPT: &str = "import sqlite3, sys
store = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
store.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()";
        let mut python = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(bed.path("kvit.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = [0; 5];
        python.stdout.as_mut().context("its output")?.read_exact(&mut said)?;
        Ok(Self(python))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends when its input does.
        let _ended = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_written_later_is_said_and_waited_for() -> anyhow::Result<()> {
    let bed = on_files().await?;
    let mut programs = all(&bed).await?;
    bed.publish(&numbered(1)).await?;
    bed.until_deleted(1).await?;
    let locked = tokio::task::block_in_place(|| Locked::hold(&bed))?;
    bed.publish(&numbered(2)).await?;
    for program in &mut programs {
        program.until_not_ready("store: ").await?;
    }
    assert_eq!(bed.figures().await?.arrived, 1);
    tokio::task::block_in_place(|| drop(locked));
    bed.until_deleted(2).await?;
    for program in &mut programs {
        program.until_ready().await?;
    }
    assert_eq!(bed.inbox.count(), 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_away_at_start_is_said_and_waited_for() -> anyhow::Result<()> {
    let bed = on_files().await?;
    bed.configure("sqlite:kvit-keys.db", "sqlite:there/kvit-keys.db")?;
    let mut programs = all(&bed).await?;
    bed.publish(&numbered(1)).await?;
    let said = programs[0].until_not_ready("vault").await;
    std::fs::create_dir(bed.path("there"))?;
    for program in &mut programs {
        program.until_ready().await?;
    }
    bed.until_deleted(1).await?;
    assert_eq!(bed.figures().await?.accepted, 1);
    said.map(drop)
}

/// P2, D2: nothing is lost; what went out twice is the same mail.
#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_killed_in_the_middle_of_two_hundred_lose_nothing() -> anyhow::Result<()> {
    const COUNT: u32 = 200;
    const LAST: u32 = 50;
    let bed = TestBed::prepare().await?;
    let mut intake = bed.spawn("kvit-intake").await?;
    let mut mailer = bed.spawn("kvit-mailer").await?;
    let _scheduler = bed.spawn("kvit-scheduler").await?;
    for n in 0..COUNT - LAST {
        bed.publish(&numbered(n)).await?;
        if n == COUNT / 2 {
            bed.until_arrived(20).await?;
            intake.kill()?;
            mailer.kill()?;
            intake = bed.spawn("kvit-intake").await?;
            mailer = bed.spawn("kvit-mailer").await?;
        }
    }
    // Again while the last are under way, with answers of the relay that nobody hears. They are published only now: however
    // fast the others were, ten mails of these are still to come.
    bed.inbox
        .behave(Behaviour::Disconnect { step: Step::Accepted }, Times::Next(2));
    let before = bed.inbox.count();
    for n in COUNT - LAST..COUNT {
        bed.publish(&numbered(n)).await?;
    }
    bed.inbox.wait_for(before + 10, kvit_tests::DEADLINE).await?;
    mailer.kill()?;
    intake.kill()?;
    let _intake = bed.spawn("kvit-intake").await?;
    let _mailer = bed.spawn("kvit-mailer").await?;

    let patience = Duration::from_secs(150);
    let figures = within(patience, "all two hundred are deleted", async || {
        let figures = bed.figures().await?;
        Ok((figures.accepted >= i64::from(COUNT) && figures.open == 0).then_some(figures))
    })
    .await?;
    println!(
        "arrived {}, ignored {}, possible mails {}",
        figures.arrived, figures.duplicates.ignored, figures.duplicates.possible_mail
    );
    assert_eq!(figures.accepted, i64::from(COUNT));

    let mails = bed.inbox.mails();
    let mut by_id: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for mail in &mails {
        let id = Entity::read(&mail.data).header("message-id").to_owned();
        by_id.entry(id).or_default().push(mail);
    }
    assert_eq!(
        by_id.len(),
        2 * COUNT as usize,
        "a mail is missing, or one too many was composed"
    );
    for same in by_id.values() {
        assert!(
            same.windows(2)
                .all(|pair| pair[0].data == pair[1].data && pair[0].recipients == pair[1].recipients)
        );
    }
    for n in 0..COUNT {
        assert!(
            !bed.mails_to(&format!("c{n}@borger.example")).is_empty(),
            "{n} got no receipt"
        );
    }
    let twice = i64::try_from(mails.len() - by_id.len())?;
    assert!(
        twice <= figures.duplicates.possible_mail,
        "{twice} went out twice, {} are counted",
        figures.duplicates.possible_mail
    );
    Ok(())
}

/// Wake-ups are hints: without a scheduler that sweeps, a mailer that was away is told by nobody; with one, all goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_wake_up_is_healed_by_the_sweep() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let intake = bed.run(&[Service::Intake]).await?;
    for n in 0..5 {
        bed.post(&numbered(n)).await?;
    }
    tokio::task::block_in_place(|| bed.host.node.lose_wake_ups(&bed.host.name))?;
    intake.stop().await?;
    let running = bed.run(&[Service::Mailer, Service::Scheduler]).await?;
    bed.until_deleted(5).await?;
    assert_eq!(bed.inbox.count(), 10);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_told_to_stop_finishes_and_ends_well() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let mut programs = all(&bed).await?;
    for program in &mut programs {
        program.until_ready().await?;
    }
    for n in 0..20 {
        bed.publish(&numbered(n)).await?;
    }
    bed.until_arrived(3).await?;
    let started = std::time::Instant::now();
    for program in programs {
        let ended = program.terminate().await?;
        assert_eq!(ended.code(), Some(0));
    }
    println!("all three ended after {} ms", started.elapsed().as_millis());
    assert!(started.elapsed() < Duration::from_secs(30));
    let programs = all(&bed).await?;
    bed.until_deleted(20).await?;
    assert_eq!(bed.inbox.count(), 40);
    drop(programs);
    Ok(())
}

/// What an idle service may hold.
const IDLE_BYTES: u64 = 64_000_000;
/// What it may hold of its own (without the text of a debug build) when it has worked and is idle again: on SQLite, and on
/// PostgreSQL, whose connections have a thread and buffers each.
const OWN_BYTES: (u64, u64) = (24 << 20, 32 << 20);

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_service_stays_below_64_megabytes() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let mut programs = all(&bed).await?;
    for program in &mut programs {
        program.until_ready().await?;
    }
    let idle = measured("at first", &programs)?;
    let is_sqlite = bed.stores().engine() == Engine::Sqlite;
    let most = if is_sqlite { OWN_BYTES.0 } else { OWN_BYTES.1 };
    // An unoptimised program's text is most of the rest.
    if is_sqlite {
        assert!(idle.iter().all(|(resident, _)| *resident < IDLE_BYTES), "{idle:?}");
    }
    assert!(idle.iter().all(|(_, own)| *own < most), "{idle:?}");
    for n in 0..50 {
        bed.publish(&numbered(n)).await?;
    }
    bed.until_deleted(50).await?;
    let worked = measured("after fifty submissions", &programs)?;
    if is_sqlite {
        assert!(worked.iter().all(|(resident, _)| *resident < IDLE_BYTES), "{worked:?}");
    }
    assert!(worked.iter().all(|(_, own)| *own < most), "{worked:?}");
    Ok(())
}

fn measured(when: &str, programs: &[Program]) -> anyhow::Result<Vec<(u64, u64)>> {
    let mut all = Vec::new();
    for (name, program) in SERVICES.iter().zip(programs) {
        let (resident, own) = program.resident_bytes()?;
        println!(
            "{name} {when}: {} MiB resident, {} MiB its own",
            resident >> 20,
            own >> 20
        );
        all.push((resident, own));
    }
    Ok(all)
}

/// D1: what ends the mailer's deletions goes on after a panic: the one that it met is left to the scheduler, which does not
/// run here, and the next is ended.
#[tokio::test(flavor = "multi_thread")]
async fn deletions_are_ended_after_a_panic_in_them() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let running = bed.run(&[Service::Intake]).await?;
    let mut mailer = bed
        .spawn_with("kvit-mailer", &[("KVIT_FAILPOINTS", "mailer.key_destroyed=panic")])
        .await?;
    let states = async || {
        let submissions = bed.submissions().await?;
        anyhow::Ok(submissions.into_iter().map(|one| one.state).collect::<Vec<_>>())
    };
    bed.post(&numbered(1)).await?;
    until("its end panicked", async || {
        let (_, page) = mailer.probe("/metrics").await?;
        Ok(page.contains("kvit_panics_total{part=\"graves\"} 1").then_some(()))
    })
    .await?;
    assert_eq!(states().await?, ["deleting"]);
    bed.post(&numbered(2)).await?;
    until("the next is ended", async || {
        Ok((states().await? == ["deleting", "deleted"]).then_some(()))
    })
    .await?;
    mailer.ensure_alive()?;
    running.stop().await
}
