//! A real client (lettre), and a scripted one where the bytes matter.

use lettre::address::Envelope;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::*;

const SOON: Duration = Duration::from_secs(20);

fn client(inbox: &Inbox) -> AsyncSmtpTransport<Tokio1Executor> {
    let host = inbox.address().ip().to_string();
    AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(inbox.address().port())
        .build()
}

fn envelope(to: &[&str]) -> Envelope {
    let to = to.iter().map(|to| to.parse().unwrap()).collect();
    Envelope::new(Some("bounce@eksempel.example".parse().unwrap()), to).unwrap()
}

/// Sends bytes at once, ends, and reads everything that comes back.
async fn dialogue(inbox: &Inbox, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(inbox.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut replies = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut replies))
        .await
        .unwrap()
        .unwrap();
    replies
}

/// The codes of all replies, the last line of each.
fn codes(replies: &str) -> Vec<&str> {
    replies
        .lines()
        .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
        .map(|line| &line[..3])
        .collect()
}

/// P2
#[tokio::test]
async fn a_mail_is_kept_as_it_was_sent() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    let client = client(&inbox);
    let text = "Subject: x\r\n\r\n.en prik\r\n..to\r\næøå\r\n";
    // lettre ends every message with a line break of its own.
    let sent = text.trim_end().as_bytes();
    client
        .send_raw(&envelope(&["a@eksempel.example", "b@eksempel.example"]), sent)
        .await?;

    let mails = inbox.wait_for(1, SOON).await?;
    assert_eq!(mails[0].mail_from, "bounce@eksempel.example");
    assert_eq!(mails[0].recipients, ["a@eksempel.example", "b@eksempel.example"]);
    assert_eq!(String::from_utf8(mails[0].data.to_vec())?, text);
    assert_eq!(inbox.connections()[0].messages, 1);
    Ok(())
}

#[tokio::test]
async fn a_connection_carries_several_mails_and_is_counted_once() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    let client = client(&inbox);
    for _ in 0..3 {
        client
            .send_raw(&envelope(&["a@eksempel.example"]), b"Subject: x\r\n\r\nx\r\n")
            .await?;
    }
    assert_eq!(inbox.count(), 3);
    let connections = inbox.connections();
    assert_eq!(
        connections.iter().map(|connection| connection.messages).sum::<usize>(),
        3
    );
    assert!(
        connections
            .iter()
            .all(|connection| connection.commands == connection.transcript.len())
    );
    assert!(connections[0].transcript[0].starts_with("EHLO "));
    Ok(())
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    let sent = "EHLO x\r\nMAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME RET=HDRS\r\nRCPT TO:<c@d.example> NOTIFY=NEVER\r\nDATA\r\n..x\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nRSET\r\nNOOP\r\nQUIT\r\n";
    let replies = dialogue(&inbox, sent.as_bytes()).await;
    assert_eq!(
        codes(&replies),
        [
            "220", "250", "250", "250", "354", "250", "250", "250", "250", "250", "221"
        ]
    );
    for offered in [
        "PIPELINING",
        "SIZE 67108864",
        "8BITMIME",
        "SMTPUTF8",
        "DSN",
        "ENHANCEDSTATUSCODES",
    ] {
        assert!(replies.contains(&format!("{offered}\r\n")), "{offered}");
    }
    let mails = inbox.mails();
    assert_eq!((mails.len(), &*mails[0].data), (1, &b".x\r\n"[..]));
    assert_eq!(mails[0].mail_params, ["SIZE=10", "BODY=8BITMIME", "RET=HDRS"]);
    assert_eq!(mails[0].recipient_params, [["NOTIFY=NEVER"]]);
    assert!(inbox.wait_until(SOON, |_, connections| connections[0].closed).await);
    assert_eq!(
        (inbox.connections()[0].commands, inbox.connections()[0].messages),
        (9, 1)
    );
    Ok(())
}

#[tokio::test]
async fn only_a_dot_between_two_real_line_breaks_ends_a_message() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    let sent = b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx\n.\r\nMAIL FROM:<smuggled@b.example>\r\n\n.\nx\r\n.\r\nQUIT\r\n";
    let replies = dialogue(&inbox, sent).await;
    assert_eq!(codes(&replies), ["220", "250", "250", "250", "354", "250", "221"]);
    assert_eq!(
        &*inbox.mails()[0].data,
        b"x\n.\r\nMAIL FROM:<smuggled@b.example>\r\n\n.\nx\r\n"
    );
    Ok(())
}

#[tokio::test]
async fn what_a_strict_relay_refuses_is_refused() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    for (sent, code) in [
        ("MAIL FROM:<a@b.example>", "503"),
        ("EHLO x\r\nRCPT TO:<a@b.example>", "503"),
        ("EHLO x\r\nMAIL FROM:<a@b.example>\r\nDATA", "503"),
        ("EHLO x\r\nMAIL FROM:<a@b.example>\r\nMAIL FROM:<a@b.example>", "503"),
        ("EHLO x\r\nMAIL FROM: <a@b.example>", "501"),
        ("EHLO x\r\nMAIL FROM:a@b.example", "501"),
        ("EHLO x\r\nMAIL FROM:<a@b.example>SIZE=1", "501"),
        ("EHLO x\r\nMAIL FROM:<a@b.example> AUTH=<>", "555"),
        ("EHLO x\r\nMAIL FROM:<a@b.example> SIZE=99999999", "552"),
        ("EHLO x\r\nMAIL FROM:<å@b.example>", "553"),
        ("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<å@b.example>", "553"),
        ("EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<>", "501"),
        ("EHLO x\r\nMÆIL", "500"),
        ("EHLO x\r\nMAIL", "501"),
    ] {
        let replies = dialogue(&inbox, format!("{sent}\r\n").as_bytes()).await;
        assert_eq!(codes(&replies).last(), Some(&code), "{sent}");
    }
    let replies = dialogue(&inbox, "x".repeat(10_000).as_bytes()).await;
    assert_eq!(codes(&replies), ["220", "500"]);
    let utf8 = "EHLO x\r\nMAIL FROM:<å@b.example> SMTPUTF8\r\nRCPT TO:<ø@b.example>\r\n";
    assert_eq!(
        codes(&dialogue(&inbox, utf8.as_bytes()).await),
        ["220", "250", "250", "250"]
    );
    assert_eq!(inbox.count(), 0);
    Ok(())
}

#[tokio::test]
async fn an_order_is_followed_as_often_as_it_says() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    let client = client(&inbox);
    let send = || async { client.send_raw(&envelope(&["a@eksempel.example"]), b"x\r\n").await };
    for (step, code, transient) in [
        (Step::Mail, 451, true),
        (Step::Rcpt, 550, false),
        (Step::Data, 452, true),
        (Step::FinalDot, 554, false),
    ] {
        inbox.behave(Behaviour::reply(step, code, "4.0.0 nej\nmere"), Times::Next(1));
        let error = send().await.unwrap_err();
        assert_eq!(
            (error.is_transient(), error.is_permanent()),
            (transient, !transient),
            "{step:?}"
        );
    }
    assert_eq!(inbox.count(), 0);
    send().await?;
    inbox.behave(Behaviour::reply(Step::Rcpt, 450, "4.2.1 senere"), Times::All);
    assert!(send().await.is_err() && send().await.is_err());
    inbox.behave(Behaviour::Accept, Times::All);
    send().await?;
    assert_eq!(inbox.count(), 2);
    Ok(())
}

#[tokio::test]
async fn one_recipient_is_refused_and_the_others_are_not() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    let refuse = Behaviour::Refuse {
        recipients: vec!["C@d.example".to_owned()],
        code: 550,
        text: "5.1.1 kendes ikke".to_owned(),
    };
    inbox.behave(refuse, Times::All);
    let sent =
        b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@f.example>\r\nDATA\r\nx\r\n.\r\n";
    assert_eq!(
        codes(&dialogue(&inbox, sent).await),
        ["220", "250", "250", "550", "250", "354", "250"]
    );
    assert_eq!(inbox.mails()[0].recipients, ["e@f.example"]);
    Ok(())
}

/// P2: the gap that SMTP leaves.
#[tokio::test]
async fn a_connection_can_end_before_and_after_a_mail_was_kept() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    let sent = b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx\r\n.\r\n";
    for (step, kept) in [(Step::FinalDot, 0), (Step::Accepted, 1)] {
        inbox.behave(Behaviour::Disconnect { step }, Times::Next(1));
        assert_eq!(
            codes(&dialogue(&inbox, sent).await),
            ["220", "250", "250", "250", "354"],
            "{step:?}"
        );
        assert_eq!(inbox.count(), kept, "{step:?}");
    }
    inbox.behave(Behaviour::reply(Step::Mail, 421, "4.3.2 lukker"), Times::Next(1));
    assert_eq!(codes(&dialogue(&inbox, sent).await), ["220", "250", "421"]);
    inbox.behave(Behaviour::reply(Step::Connect, 554, "5.3.2 nej"), Times::Next(1));
    assert_eq!(codes(&dialogue(&inbox, b"QUIT\r\n").await), ["554", "221"]);
    inbox.behave(Behaviour::Disconnect { step: Step::Connect }, Times::Next(1));
    assert_eq!(dialogue(&inbox, b"").await, "");
    Ok(())
}

#[tokio::test]
async fn silence_lasts_until_the_client_goes() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    inbox.behave(Behaviour::Silence { step: Step::Ehlo }, Times::Next(1));
    let mut stream = BufReader::new(TcpStream::connect(inbox.address()).await?);
    stream.write_all(b"EHLO x\r\n").await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    assert_eq!(line, "220 inbox.example ESMTP\r\n");
    let silent = tokio::time::timeout(Duration::from_millis(100), stream.read_line(&mut line)).await;
    assert!(silent.is_err(), "{line}");
    assert!(!inbox.connections()[0].closed);
    drop(stream);
    assert!(inbox.wait_until(SOON, |_, connections| connections[0].closed).await);
    Ok(())
}

#[tokio::test]
async fn waiting_ends_with_the_mail_or_with_the_deadline() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    let missed = inbox.wait_for(1, Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(missed.to_string(), "0 of 1 mails arrived in 0.02 seconds");
    let client = client(&inbox);
    let envelope = envelope(&["a@eksempel.example"]);
    let (waited, sent) = tokio::join!(inbox.wait_for(1, SOON), client.send_raw(&envelope, b"x\r\n"));
    sent?;
    assert_eq!(waited?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_stopped_inbox_is_gone_and_can_come_back_where_it_was() -> anyhow::Result<()> {
    let inbox = Inbox::start().await?;
    let address = inbox.address();
    assert!(address.ip().is_loopback());
    let idle = TcpStream::connect(address).await?;
    inbox.stop().await?;
    drop(idle);
    assert!(TcpStream::connect(address).await.is_err());
    let again = Inbox::start_at(address).await?;
    client(&again)
        .send_raw(&envelope(&["a@eksempel.example"]), b"x\r\n")
        .await?;
    assert_eq!(again.count(), 1);
    assert_eq!(again.url(), format!("smtp://{address}"));
    Ok(())
}

#[test]
fn nothing_of_a_mail_is_shown() {
    let mail = Mail {
        connection: 0,
        mail_from: "aase@example.com".to_owned(),
        mail_params: Vec::new(),
        recipients: vec!["bo@example.com".to_owned()],
        recipient_params: vec![Vec::new()],
        data: Arc::from(&b"hemmeligt"[..]),
        at: Instant::now(),
    };
    assert_eq!(
        format!("{mail:?}"),
        "Mail { connection: 0, recipients: 1, bytes: 9, .. }"
    );
}
