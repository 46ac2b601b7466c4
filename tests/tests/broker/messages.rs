//! What becomes of a message: confirmed, consumed, held, dead-lettered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use broker::{PublishError, Verdict};
use domain::DutyId;
use lapin::options::{BasicGetOptions, BasicNackOptions};
use tokio::sync::{Semaphore, watch};

use crate::bed::{Linked, a_broker, consume, consume_and_ack, json, link, site, until_waiting};

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_message_is_consumed_with_its_properties() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let (site, mut linked) = (site("plain"), link(node.rabbit.url(), true));
    let queue = broker::submissions_queue(&site);
    linked.link.declare_site(&site);
    linked.link.publish("", &queue, b"{\"navn\":1}", &json()).await?;

    let mut consuming = consume_and_ack(&linked.link, &queue);
    let delivery = consuming.next().await?;

    assert_eq!(&delivery.body[..], b"{\"navn\":1}");
    assert_eq!(delivery.queue, queue);
    assert_eq!(delivery.properties, json());
    assert_eq!((delivery.redelivered, delivery.delivery_count), (false, 0));
    linked.until_up().await?;
    consuming.stop().await?;
    until_waiting(&node, &queue, 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unroutable_message_is_an_error_to_its_own_sender() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let (site, Linked { link, .. }) = (site("unroutable"), link(node.rabbit.url(), true));
    let queue = broker::submissions_queue(&site);
    link.declare_site(&site);

    // Many at once, because a confirm can answer several messages and must not be given to the wrong one.
    let sending = (0..200).map(|n| {
        let (link, queue) = (link.clone(), queue.clone());
        tokio::spawn(async move {
            let key = if n % 3 == 0 { "kvit.nobody" } else { queue.as_str() };
            link.publish("", key, b"{}", &json()).await
        })
    });
    for (n, sent) in futures::future::join_all(sending).await.into_iter().enumerate() {
        match (n % 3, sent?) {
            (0, Err(PublishError::Unroutable { routing_key, .. })) => assert_eq!(routing_key, "kvit.nobody"),
            (1 | 2, Ok(())) => {}
            (_, other) => panic!("message {n}: {other:?}"),
        }
    }
    until_waiting(&node, &queue, 133).await?;

    let missing = link.publish("kvit.no-such-exchange", "x", b"{}", &json()).await;
    assert!(matches!(missing, Err(PublishError::Failed(_))), "{missing:?}");
    link.publish("", &queue, b"{}", &json())
        .await
        .context("the link goes on")
}

/// Messages that are published together come in their order; one of them that no queue takes makes all of them an error, and
/// what follows on the same link is told apart from them.
#[tokio::test(flavor = "multi_thread")]
async fn messages_published_together_are_confirmed_all_or_none() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let (site, Linked { link, .. }) = (site("together"), link(node.rabbit.url(), true));
    let queue = broker::submissions_queue(&site);
    link.declare_site(&site);
    let (bodies, properties) = ((0..200).map(|n| format!("{n}")).collect::<Vec<_>>(), json());
    let messages = |lost: Option<usize>| {
        let mut messages = Vec::new();
        for (n, body) in bodies.iter().enumerate() {
            messages.push(broker::Message {
                routing_key: if lost == Some(n) { "kvit.nobody" } else { &queue },
                body: body.as_bytes(),
                properties: &properties,
            });
        }
        messages
    };

    for lost in [0, 99, 199] {
        let refused = link.publish_all("", &messages(Some(lost))).await;
        assert!(
            matches!(refused, Err(PublishError::Unroutable { .. })),
            "{lost}: {refused:?}"
        );
        link.publish("", &queue, b"alone", &json()).await?;
    }
    until_waiting(&node, &queue, 3 * 200).await?;
    // One at a time, so that they are seen in their order.
    let mut consuming = consume(&link, &queue, 1, |_| async { Verdict::Ack });
    for _ in 0..3 * 200 {
        consuming.next().await?;
    }
    link.publish_all("", &messages(None)).await?;
    for body in &bodies {
        assert_eq!(&consuming.next().await?.body[..], body.as_bytes());
    }
    consuming.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_too_often_goes_to_the_dead_letters() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let (site, Linked { link, .. }) = (site("dead"), link(node.rabbit.url(), true));
    let queue = broker::submissions_queue(&site);
    link.declare_site(&site);
    link.publish("", &queue, b"too often", &json()).await?;

    let connection = lapin::Connection::connect(&node.rabbit.url(), lapin::ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut times = 0;
    while let Some(message) = channel
        .basic_get(queue.as_str().into(), BasicGetOptions::default())
        .await?
    {
        times += 1;
        ensure!(times <= 51, "it is never dead-lettered");
        let back = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        message.delivery.acker.nack(back).await?;
        // A get asks once, and a message that was put back a moment ago may not be there yet.
        until_waiting(&node, &queue, u32::from(times < 51)).await?;
    }

    let mut consuming = consume_and_ack(&link, &broker::dead_queue(&site));
    let dead = consuming.next().await?;
    assert_eq!(&dead.body[..], b"too often");
    assert_eq!(dead.properties.message_id.as_deref(), Some("message-1"));
    assert_eq!(times, 51);
    consuming.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_handler_gets_its_message_once_more_and_no_oftener() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let (site, Linked { link, .. }) = (site("panics"), link(node.rabbit.url(), true));
    let (queue, dead) = (broker::submissions_queue(&site), broker::dead_queue(&site));
    link.declare_site(&site);
    link.publish("", &queue, b"poison", &json()).await?;
    link.publish("", &queue, b"good", &json()).await?;

    let mut consuming = consume(&link, &queue, 1, |delivery| {
        let poison = delivery.body[..] == b"poison"[..];
        async move {
            assert!(!poison, "this panic is wanted");
            Verdict::Ack
        }
    });
    let mut dead_letters = consume_and_ack(&link, &dead);

    assert_eq!(&dead_letters.next().await?.body[..], b"poison");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(consuming.next().await?.body);
    }
    seen.sort();
    assert_eq!(seen, ["good", "poison", "poison"]);
    consuming.stop().await?;
    dead_letters.stop().await
}

/// An outage of the store costs a message none of its fifty deliveries.
#[tokio::test(flavor = "multi_thread")]
async fn a_requeued_message_is_held_and_tried_again() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let (site, Linked { link, .. }) = (site("held"), link(node.rabbit.url(), true));
    let queue = broker::submissions_queue(&site);
    link.declare_site(&site);
    link.publish("", &queue, b"patience", &json()).await?;

    let attempts = AtomicUsize::new(0);
    let mut consuming = consume(&link, &queue, 8, move |_| {
        let verdict = match attempts.fetch_add(1, Ordering::Relaxed) {
            0..3 => Verdict::Requeue,
            _ => Verdict::Ack,
        };
        async move { verdict }
    });
    for _ in 0..4 {
        // The flag `redelivered` is not compared: a broker that is still settling may take the first delivery back by
        // itself, which costs none either. A negative acknowledgement would be counted.
        assert_eq!(consuming.next().await?.delivery_count, 0);
    }
    consuming.stop().await?;
    until_waiting(&node, &queue, 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_finishes_what_is_in_hand_and_leaves_the_rest() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let (site, Linked { link, .. }) = (site("shutdown"), link(node.rabbit.url(), true));
    let queue = broker::submissions_queue(&site);
    link.declare_site(&site);
    for _ in 0..5 {
        link.publish("", &queue, b"{}", &json()).await?;
    }
    let (release, released) = watch::channel(false);
    let mut consuming = consume(&link, &queue, 2, move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.ok();
            Verdict::Ack
        }
    });
    consuming.next().await?;
    consuming.next().await?;

    consuming.shutdown.cancel();
    assert!(!consuming.task.is_finished());
    release.send_replace(true);
    consuming.stop().await?;

    until_waiting(&node, &queue, 3).await
}

/// What is given ahead lies in memory: few messages where they are large, and as long as that is not known.
#[tokio::test(flavor = "multi_thread")]
async fn few_messages_are_given_ahead_until_many_small_ones_came() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let (site, Linked { link, .. }) = (site("ahead"), link(node.rabbit.url(), true));
    let queue = broker::submissions_queue(&site);
    link.declare_site(&site);
    let small = async |count: usize| {
        for _ in 0..count {
            link.publish("", &queue, b"{}", &json()).await?;
        }
        anyhow::Ok(())
    };
    small(100).await?;
    // Permits are given in the order in which they are asked for, so the first that came are the first that are done.
    let permits = Arc::new(Semaphore::new(0));
    let asked = Arc::clone(&permits);
    let mut consuming = consume(&link, &queue, 64, move |_| {
        let asked = Arc::clone(&asked);
        async move {
            asked.acquire().await.expect("it is never closed").forget();
            Verdict::Ack
        }
    });
    until_waiting(&node, &queue, 96).await?;
    permits.add_permits(64);
    until_waiting(&node, &queue, 0).await?;

    permits.add_permits(36 + 1);
    link.publish("", &queue, &vec![b' '; 600 << 10], &json()).await?;
    for _ in 0..101 {
        consuming.next().await?;
    }
    small(60).await?;
    // The first of them may have come before the consumer was changed.
    permits.add_permits(20);
    until_waiting(&node, &queue, 60 - 20 - 4).await?;
    permits.add_permits(40);
    until_waiting(&node, &queue, 0).await?;
    consuming.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn wake_ups_carry_at_most_500_ids_a_message() -> anyhow::Result<()> {
    let node = a_broker().await?;
    let mut linked = link(node.rabbit.url(), true);
    linked.link.declare_duties();
    let mut consuming = consume_and_ack(&linked.link, broker::JOURNAL_DUTIES);
    linked.until_up().await?;
    let ids: Vec<DutyId> = (0..1200).map(|_| DutyId::new()).collect();

    linked.link.wake(broker::JOURNAL_DUTIES, &ids).await;

    let mut told = Vec::new();
    let mut sizes = Vec::new();
    while told.len() < ids.len() {
        let some = broker::wake_ids(&consuming.next().await?.body);
        sizes.push(some.len());
        told.extend(some);
    }
    sizes.sort_unstable();
    told.sort_unstable();
    assert_eq!(sizes, [200, 500, 500]);
    assert_eq!(told, ids);
    consuming.stop().await
}
