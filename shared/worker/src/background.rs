//! Work beside a service's story that must not end unseen.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long a part that panicked rests before it begins again.
const REST: Duration = Duration::from_secs(1);

/// Runs a part of a service until `ended`; one that panics is begun anew, and counted. The count begins at 0: from nothing
/// to one is a step that no alarm sees.
pub async fn forever<F, Fut>(name: &'static str, ended: CancellationToken, part: F)
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let panics = metrics::counter!("kvit_panics_total", "part" => name);
    panics.increment(0);
    loop {
        let ran = tokio::spawn(part()).await;
        if ran.is_ok() || ended.is_cancelled() {
            return;
        }
        tracing::error!(part = name, "a part of the service panicked; it begins anew");
        panics.increment(1);
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(REST) => {}
        }
    }
}
