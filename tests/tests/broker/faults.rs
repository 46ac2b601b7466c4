//! What happens when the broker is killed, away, short of memory, or not as expected.

use std::collections::BTreeMap;

use broker::{MAIL_DUTIES, PublishError, State, Verdict};
use domain::DutyId;
use kvit_tests::until;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::bed::{
    DEADLINE, RECOVERY, a_broker, a_broker_to_break, consume, consume_and_ack, json, link, site, until_waiting,
};

/// Nothing that was confirmed is lost, and consuming goes on within 15 seconds.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_confirmed_is_lost_when_the_broker_is_killed() -> anyhow::Result<()> {
    let mut node = a_broker_to_break().await?;
    let (site, mut linked) = (site("killed"), link(node.rabbit.url(), true));
    let queue = broker::submissions_queue(&site);
    linked.link.declare_site(&site);
    for n in 0..20 {
        linked
            .link
            .publish("", &queue, format!("{n}").as_bytes(), &json())
            .await?;
    }
    // No handler is done before the broker dies: the acks of all have nowhere to go.
    let (release, released) = watch::channel(false);
    let mut consuming = consume(&linked.link, &queue, 4, move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.ok();
            Verdict::Ack
        }
    });
    for _ in 0..4 {
        assert!(!consuming.next().await?.redelivered);
    }
    linked.until_up().await?;
    tokio::task::block_in_place(|| node.rabbit.settle())?;

    node.rabbit.kill()?;
    linked.until_down("connection refused").await?;
    release.send_replace(true);
    tokio::task::block_in_place(|| node.rabbit.restart())?;
    let restarted = Instant::now();

    let mut again = BTreeMap::new();
    while again.len() < 20 {
        let delivery = consuming.next().await?;
        if again.is_empty() {
            assert!(
                restarted.elapsed() < RECOVERY,
                "consuming again after {:?}",
                restarted.elapsed()
            );
        }
        again.insert(String::from_utf8(delivery.body.to_vec())?, delivery.redelivered);
    }
    linked.until_up().await?;
    assert_eq!(again.values().filter(|redelivered| **redelivered).count(), 4);
    linked.link.publish("", &queue, b"20", &json()).await?;
    assert_eq!(&consuming.next().await?.body[..], b"20");
    consuming.stop().await?;
    until_waiting(&node, &queue, 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_made_while_the_broker_is_away_says_so_and_comes_up_with_it() -> anyhow::Result<()> {
    let mut node = a_broker_to_break().await?;
    node.rabbit.kill()?;
    let mut linked = link(node.rabbit.url(), true);
    let site = site("late");
    linked.link.declare_site(&site);
    linked.link.declare_duties();
    let mut consuming = consume_and_ack(&linked.link, MAIL_DUTIES);

    let words = linked.until_down("cannot reach").await?;
    assert_eq!(
        words,
        format!("cannot reach 127.0.0.1:{}: connection refused", node.rabbit.port())
    );
    linked.link.wake(MAIL_DUTIES, &[DutyId::new()]).await; // lost, and no harm done

    tokio::task::block_in_place(|| node.rabbit.restart())?;
    linked.until_up().await?;
    let duty = DutyId::new();
    linked.link.wake(MAIL_DUTIES, &[duty]).await;
    assert_eq!(broker::wake_ids(&consuming.next().await?.body), [duty]);
    consuming.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_short_of_memory_blocks_publishing_and_not_acking() -> anyhow::Result<()> {
    let node = a_broker_to_break().await?;
    let (site, mut linked) = (site("blocked"), link(node.rabbit.url(), true));
    let queue = broker::submissions_queue(&site);
    linked.link.declare_site(&site);
    linked.link.publish("", &queue, b"before", &json()).await?;
    let ctl = |arguments: &[&str]| tokio::task::block_in_place(|| node.rabbit.ctl(arguments)).map(drop);

    ctl(&["set_vm_memory_high_watermark", "absolute", "1"])?;
    // RabbitMQ blocks a connection when it next publishes, and measures its memory a moment after it was told.
    let (refused, words) = until("publishing is blocked", async || {
        let refused = linked.link.publish("", &queue, b"into the block", &json()).await.err();
        let said = linked.state.borrow().clone();
        Ok(match (refused, said) {
            (Some(refused), Some(State::Down(words))) if words.contains("takes no messages") => Some((refused, words)),
            _ => None,
        })
    })
    .await?;
    assert!(
        matches!(refused, PublishError::Blocked | PublishError::NotConfirmed),
        "{refused:?}"
    );
    assert!(words.contains("127.0.0.1"), "{words}");
    let mut consuming = consume_and_ack(&linked.link, &queue);
    assert_eq!(&consuming.next().await?.body[..], b"before");

    ctl(&["set_vm_memory_high_watermark", "0.6"])?;
    linked.until_up().await?;
    linked.link.publish("", &queue, b"after", &json()).await?;
    while consuming.next().await?.body[..] != b"after"[..] {}
    consuming.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_declaring_a_missing_queue_is_named_until_it_is_there() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let (site, mut linked) = (site("passive"), link(node.rabbit.url(), false));
    let queue = broker::submissions_queue(&site);
    linked.link.declare_site(&site);
    let mut consuming = consume_and_ack(&linked.link, &queue);

    linked.until_down("kvit.dead.passive is not on the broker").await?;

    let declaring = link(node.rabbit.url(), true);
    declaring.link.declare_site(&site);
    declaring.link.publish("", &queue, b"{}", &json()).await?;
    consuming.next().await?;
    linked.until_up().await?;
    consuming.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_another_shape_is_named_and_holds_up_no_other() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let (wrong, right) = (site("shape-wrong"), site("shape-right"));
    let connection = lapin::Connection::connect(&node.rabbit.url(), lapin::ConnectionProperties::default()).await?;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let queue = broker::submissions_queue(&wrong);
    connection
        .create_channel()
        .await?
        .queue_declare(queue.as_str().into(), options, FieldTable::default())
        .await?;

    let mut linked = link(node.rabbit.url(), true);
    linked.link.declare_site(&wrong);
    linked.link.declare_site(&right);
    let queues = vec![queue, broker::submissions_queue(&right)];
    let (seen, mut deliveries) = mpsc::unbounded_channel();
    let (shutdown, consumer) = (CancellationToken::new(), linked.link.clone());
    let stop = shutdown.clone();
    let task = tokio::spawn(async move {
        consumer
            .consume(queues, 4, stop, move |delivery| {
                seen.send(delivery.queue).ok();
                async { Verdict::Ack }
            })
            .await;
    });
    let words = linked.until_down("with other arguments than Kvit's").await?;
    assert!(words.contains("queue kvit.submissions.shape-wrong"), "{words}");

    linked
        .link
        .publish("", "kvit.submissions.shape-right", b"{}", &json())
        .await?;
    let from = timeout(DEADLINE, deliveries.recv()).await?;
    assert_eq!(from.as_deref(), Some("kvit.submissions.shape-right"));
    shutdown.cancel();
    timeout(DEADLINE, task).await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn intake_needs_no_more_than_its_queues_and_the_wake_ups() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let site = site("rights");
    let queue = broker::submissions_queue(&site);
    let operator = link(node.rabbit.url(), true);
    operator.link.declare_site(&site);
    operator.link.declare_duties();
    operator.link.publish("", &queue, b"{}", &json()).await?;
    let read = "^kvit\\.(submissions|dead)\\.";
    tokio::task::block_in_place(|| node.rabbit.add_user("intake", "pw", "^$", "^kvit\\.duties$", read))?;

    let mut intake = link(node.rabbit.url_for("intake", "pw"), false);
    intake.link.declare_site(&site);
    intake.link.declare_duties();
    let mut consuming = consume_and_ack(&intake.link, &queue);
    consuming.next().await?;
    intake.until_up().await?;
    let forbidden = intake.link.publish("", &queue, b"{}", &json()).await;
    assert!(matches!(forbidden, Err(PublishError::Failed(_))), "{forbidden:?}");

    let mut mailer = consume_and_ack(&operator.link, MAIL_DUTIES);
    let duty = DutyId::new();
    intake.link.wake(MAIL_DUTIES, &[duty]).await;
    while !broker::wake_ids(&mailer.next().await?.body).contains(&duty) {}
    mailer.stop().await?;
    consuming.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_without_saying_it() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let mut linked = link(node.rabbit.url_for("guest", "hemmelig-kanarie"), true);

    let words = linked.until_down("ended the connection").await?;

    assert!(words.contains("ACCESS_REFUSED"), "{words}");
    assert!(!words.contains("hemmelig"), "{words}");
    Ok(())
}
