//! The queues on the overview.

use kvit_tests::console::Served;

use kvit_tests::{Message, Peers, Proxy, Service, TestBed, until, virtual_host};

/// G1: each queue on the broker: how many wait, how old they are at most, and who reads. Without a broker the page stands,
/// says so, and shows what was seen last.
#[tokio::test(flavor = "multi_thread")]
async fn the_overview_shows_each_queue_and_stands_without_the_broker() -> anyhow::Result<()> {
    let port = tokio::task::spawn_blocking(virtual_host).await??.node.rabbit.port();
    let proxy = Proxy::cut_off(port).await?;
    proxy.open().await?;
    let bed = TestBed::prepare_with(&Peers {
        broker: Some(proxy.port()),
        ..Peers::default()
    })
    .await?;
    let services = bed.run(&[Service::Intake]).await?;
    let console = Served::start(&bed).await?;
    let cookie = console.log_in("viewer").await?;
    let row = async |name: &str| {
        let page = console.page(&cookie, "/").await?;
        assert_eq!(page.status, 200, "{}", page.text);
        let row = page.text.split(&format!("<td>{name}</td>")).nth(1);
        let row = row.and_then(|rest| rest.split("</tr>").next()).map(str::to_owned);
        anyhow::Ok((page, row.unwrap_or_default()))
    };
    let name = "kvit.submissions.eksempel";
    until("an empty queue that intake reads", async || {
        let (page, row) = row(name).await?;
        let is_empty = row.starts_with("<td>0</td><td>–</td>") && row.ends_with("<td>1</td>");
        Ok((is_empty && !page.text.contains("id=\"broker-unseen\"")).then_some(()))
    })
    .await?;
    services.stop().await?;
    bed.publish(&Message::bytes("{")).await?;
    until(
        "a message that waits, no older than when the queue was empty",
        async || {
            let (_, row) = row(name).await?;
            Ok((row.starts_with("<td>1</td><td>≤ ") && row.ends_with("<td>0</td>")).then_some(()))
        },
    )
    .await?;
    proxy.cut();
    until("the broker is away, and the page says so", async || {
        let (page, row) = row(name).await?;
        Ok((page.text.contains("RabbitMQ kan ikke nås") && row.starts_with("<td>1</td>")).then_some(()))
    })
    .await?;
    proxy.open().await?;
    until("the broker is back", async || {
        let (page, _) = row(name).await?;
        Ok((!page.text.contains("id=\"broker-unseen\"")).then_some(()))
    })
    .await
}
