//! The relay at its worst: refusals, silence, resets, one byte at a time, TLS broken off, and a foreign peer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kvit_cli::demo::inbox::{Behaviour, Step, Times};
use kvit_tests::{Engine, Peers, TestBed, kvit, until, within};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::bed::{Fleet, Load, PATIENCE, Tally, scaled};
use crate::oracle::came_through;

const DEPARTMENT: &str = "teknik@kommune.example";

/// What a relay does at each step, and is forgiven.
fn transient() -> Vec<(String, Behaviour)> {
    let steps = [
        ("connect", Step::Connect),
        ("EHLO", Step::Ehlo),
        ("MAIL", Step::Mail),
        ("RCPT", Step::Rcpt),
        ("DATA", Step::Data),
        ("final dot", Step::FinalDot),
    ];
    let mut all = Vec::new();
    // Scaled down: every other step.
    for (name, step) in steps.into_iter().step_by(scaled(2, 1)) {
        all.push((format!("421 at {name}"), Behaviour::reply(step, 421, "4.3.2 closing")));
        all.push((format!("451 at {name}"), Behaviour::reply(step, 451, "4.3.0 later")));
        all.push((format!("reset at {name}"), Behaviour::Disconnect { step }));
    }
    let step = Step::Accepted;
    all.push(("reset after the final dot".to_owned(), Behaviour::Disconnect { step }));
    all
}

/// 4xx, 421 and resets at and after each SMTP step: 0 lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_puts_off_and_hangs_up_at_each_step_loses_nothing() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let mut fleet = Fleet::start(&bed).await?;
    let mut load = Load::default();
    let mut faults = 0;
    for (what, behaviour) in transient() {
        bed.inbox.behave(behaviour, Times::Next(scaled(2, 10)));
        load.send(&bed, scaled(1, 10)).await?;
        came_through(&bed, &load, PATIENCE)
            .await
            .with_context(|| what.clone())?;
        bed.inbox.behave(Behaviour::Accept, Times::All);
        faults += 1;
    }
    let again = came_through(&bed, &load, PATIENCE).await?;
    fleet.ensure_alive()?;
    let sent = i64::from(load.reports);
    Tally::nothing_lost(sent, again, faults).say("relay: 4xx, 421, resets at each step", Engine::default());
    Ok(())
}

/// 5xx for good on the department's mail: held, not lost; a person's retry sends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_refuses_for_good_holds_the_departments_mail() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let mut fleet = Fleet::start(&bed).await?;
    let mut load = Load::default();
    let refuse = Behaviour::Refuse {
        recipients: vec![DEPARTMENT.to_owned()],
        code: 554,
        text: "5.7.1 refused".to_owned(),
    };
    bed.inbox.behave(refuse, Times::All);
    let count = scaled(3, 50);
    load.send(&bed, count).await?;
    until("every department mail is held", async || {
        let duties = bed.duties().await?;
        let held = duties
            .iter()
            .filter(|duty| duty.kind == "department_mail" && duty.state == "held");
        Ok((held.count() == usize::try_from(count)?).then_some(()))
    })
    .await?;
    bed.inbox.behave(Behaviour::Accept, Times::All);
    kvit(&bed.config(), &["duty", "retry", "--state", "held"]).await?;
    let again = came_through(&bed, &load, PATIENCE).await?;
    fleet.ensure_alive()?;
    let sent = i64::from(load.reports);
    Tally::nothing_lost(sent, again, 1).say("relay: 5xx on the department", Engine::default());
    Ok(())
}

/// Silence after the final dot: a mailer that is stopped meanwhile does not wait for it, and the mail goes out again.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_silent_after_the_final_dot_loses_nothing() -> anyhow::Result<()> {
    let bed = TestBed::prepare().await?;
    let mut fleet = Fleet::start(&bed).await?;
    let mut load = Load::default();
    let step = Step::Accepted;
    bed.inbox.behave(Behaviour::Silence { step }, Times::Next(2));
    load.send(&bed, 1).await?;
    bed.inbox.wait_for(2, PATIENCE).await?;
    fleet.replace("kvit-mailer", &[]).await?;
    let again = came_through(&bed, &load, PATIENCE).await?;
    ensure!(
        again == 2,
        "both mails were kept by a silent relay, and {again} went out again"
    );
    Tally::nothing_lost(1, again, 1).say("relay: silent after the final dot", Engine::default());
    Ok(())
}

/// A relay's answers, one byte at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_answers_one_byte_at_a_time_loses_nothing() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let bed = TestBed::prepare_with(&Peers {
        relay: Some(port),
        ..Peers::default()
    })
    .await?;
    // A whole dialogue has some 400 bytes of answers.
    let pause = scaled(Duration::from_millis(10), Duration::from_secs(1));
    let to = bed.inbox.address();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(drip(stream, to, pause));
        }
    });
    let mut fleet = Fleet::start(&bed).await?;
    let mut load = Load::default();
    load.send(&bed, 1).await?;
    let patience = scaled(PATIENCE, Duration::from_mins(20));
    let again = came_through(&bed, &load, patience).await?;
    fleet.ensure_alive()?;
    Tally::nothing_lost(1, again, 1).say(&format!("relay: a byte every {pause:?}"), Engine::default());
    Ok(())
}

/// Carries what the client says at once, and what the server says byte by byte.
async fn drip(near: TcpStream, to: SocketAddr, pause: Duration) -> std::io::Result<()> {
    let far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_near, &mut to_far).await });
    while let Ok(byte) = from_far.read_u8().await {
        sleep(pause).await;
        if to_near.write_u8(byte).await.is_err() {
            break;
        }
    }
    up.abort();
    Ok(())
}

/// How a peer treats `STARTTLS`.
#[derive(Debug, Clone, Copy)]
enum Tls {
    NotOffered,
    Refused,
    BrokenOff,
    Garbage,
}

/// A peer that never gets as far as TLS, and writes down what it is told in the clear.
async fn without_tls(mut stream: TcpStream, tls: Tls, heard: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 peer.example ESMTP\r\n").await?;
    while let Ok(Some(line)) = lines.next_line().await {
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        heard.lock().expect("no peer panics").push(verb.clone());
        let answer: &[u8] = match (verb.as_str(), tls) {
            ("EHLO", Tls::NotOffered) => b"250-peer.example\r\n250 8BITMIME\r\n",
            ("EHLO", _) => b"250-peer.example\r\n250 STARTTLS\r\n",
            ("STARTTLS", Tls::BrokenOff) => {
                writer.write_all(b"220 go ahead\r\n").await?;
                return writer.shutdown().await;
            }
            ("STARTTLS", Tls::Garbage) => {
                writer
                    .write_all(b"220 go ahead\r\nthis is no handshake at all\r\n")
                    .await?;
                return writer.shutdown().await;
            }
            ("STARTTLS", _) => b"454 4.7.0 not now\r\n",
            _ => b"250 2.0.0 ok\r\n",
        };
        writer.write_all(answer).await?;
    }
    Ok(())
}

/// P12: TLS that is not offered, refused, broken off, or garbage: never a mail in the clear.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_breaks_tls_off_gets_no_mail_in_the_clear() -> anyhow::Result<()> {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let bed = TestBed::prepare().await?;
    let real = format!("smtp://127.0.0.1:{}", bed.inbox.address().port());
    let secure = format!("smtp+starttls://127.0.0.1:{port}");
    bed.configure(&real, &secure)?;
    let notes = Arc::clone(&heard);
    tokio::spawn(async move {
        let ways = [Tls::NotOffered, Tls::Refused, Tls::BrokenOff, Tls::Garbage];
        for tls in ways.into_iter().cycle() {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            tokio::spawn(without_tls(stream, tls, Arc::clone(&notes)));
        }
    });
    let mut fleet = Fleet::start(&bed).await?;
    let mut load = Load::default();
    load.send(&bed, scaled(3, 20)).await?;
    let tries = scaled(8, 24);
    within(PATIENCE, "every way to break TLS was met", async || {
        let greeted = heard
            .lock()
            .expect("no peer panics")
            .iter()
            .filter(|verb| *verb == "EHLO")
            .count();
        Ok((greeted >= tries).then_some(()))
    })
    .await?;
    let said = heard.lock().expect("no peer panics").clone();
    ensure!(
        said.iter()
            .all(|verb| ["EHLO", "STARTTLS", "QUIT"].contains(&verb.as_str())),
        "a mail was begun in the clear: {said:?}"
    );
    bed.configure(&secure, &real)?;
    fleet.replace("kvit-mailer", &[]).await?;
    let again = came_through(&bed, &load, PATIENCE).await?;
    let sent = i64::from(load.reports);
    Tally::nothing_lost(sent, again, i64::try_from(tries)?)
        .say("relay: TLS not offered, refused, broken off", Engine::default());
    Ok(())
}
