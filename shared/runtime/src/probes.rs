//! `/livez`, `/readyz` and `/metrics`: what a supervisor and Prometheus ask.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Health;

/// Where a histogram of seconds (`…_seconds`) is cut: from a store's commit to a relay that keeps us waiting.
const SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// How often the histograms are tidied.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why the probes cannot be served. Exit status 74.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}")]
pub struct ProbeError {
    listen: String,
    #[source]
    cause: std::io::Error,
}

/// A bound server, not yet serving.
#[derive(Debug)]
pub struct Probes {
    listener: TcpListener,
    router: Router,
}

impl Probes {
    /// Takes the address, so that a second process on it fails at once and by name.
    ///
    /// # Errors
    ///
    /// Where the address cannot be listened on.
    pub async fn bind(listen: &str, health: Health) -> Result<Self, ProbeError> {
        Self::bind_with(listen, router(health)).await
    }

    /// Takes the address for a page that has the probes' [`router`] in it.
    ///
    /// # Errors
    ///
    /// Where the address cannot be listened on.
    pub async fn bind_with(listen: &str, router: Router) -> Result<Self, ProbeError> {
        let failed = |cause| ProbeError {
            listen: listen.to_owned(),
            cause,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        Ok(Self { listener, router })
    }

    /// The address, with the port that the system chose where 0 was asked for.
    ///
    /// # Panics
    ///
    /// Never: a bound socket has an address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }

    /// Serves until shutdown.
    pub async fn serve(self, shutdown: CancellationToken) {
        let upkeep = async {
            let mut tick = tokio::time::interval(UPKEEP);
            loop {
                tick.tick().await;
                metrics_handle().run_upkeep();
            }
        };
        let service = self.router.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(self.listener, service).with_graceful_shutdown(shutdown.cancelled_owned());
        tokio::select! {
            // axum's server retries what fails on its socket, and so ends only with the shutdown.
            _ = server => {}
            () = upkeep => {}
        }
    }
}

/// Serves the probes of one service, or of several that share a [`Health`], until shutdown.
///
/// # Errors
///
/// Where the address cannot be listened on.
pub async fn serve_probes(listen: &str, health: Health, shutdown: CancellationToken) -> Result<(), ProbeError> {
    let probes = Probes::bind(listen, health).await?;
    probes.serve(shutdown).await;
    Ok(())
}

/// The three pages, to serve beside others.
pub fn router(health: Health) -> Router {
    // Installed before the first request, so that what is counted until then is in it.
    metrics_handle();
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// The process's metrics. The first call installs the recorder: call it before anything is counted.
pub fn metrics_handle() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .expect("there are buckets")
            .build_recorder();
        let handle = recorder.handle();
        // Another recorder can only be a test's; then there is nothing of ours to show.
        let _ = metrics::set_global_recorder(recorder);
        crate::metric::describe();
        metrics::gauge!("kvit_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        handle
    })
}

async fn readyz(State(health): State<Health>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let ready = health.is_ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    let mut text = String::new();
    if verbose {
        for (name, why) in health.list() {
            text.extend([name.as_str(), ": ", why.as_deref().unwrap_or("ok"), "\n"]);
        }
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    (status, text)
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    for (check, up) in health.states() {
        metrics::gauge!("kvit_check_up", "check" => check).set(f64::from(u8::from(up)));
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics_handle().render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn started(health: Health) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let probes = Probes::bind("127.0.0.1:0", health).await.unwrap();
        let (address, shutdown) = (probes.address(), CancellationToken::new());
        let task = tokio::spawn(probes.serve(shutdown.clone()));
        (address, shutdown, task)
    }

    #[tokio::test]
    async fn readiness_says_what_is_missing() {
        let health = Health::new();
        let broker = health.check("broker");
        let (address, shutdown, task) = started(health.clone()).await;

        assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        broker.down("cannot reach 127.0.0.1:5672");
        let answer = ask(address, "/readyz?verbose").await;
        assert!(answer.contains("broker: cannot reach 127.0.0.1:5672\n"), "{answer}");
        broker.up();
        let answer = ask(address, "/readyz?verbose").await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("broker: ok\n"),
            "{answer}"
        );

        shutdown.cancel();
        task.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn what_is_counted_is_shown() {
        let (address, shutdown, task) = started(Health::new()).await;
        metrics::counter!("kvit_probe_test_total").increment(3);
        metrics::histogram!("kvit_probe_test_seconds").record(0.02);
        let answer = ask(address, "/metrics").await;
        assert!(answer.contains("kvit_probe_test_total 3"), "{answer}");
        assert!(
            answer.contains("kvit_probe_test_seconds_bucket{le=\"0.05\"} 1"),
            "{answer}"
        );
        shutdown.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn an_address_in_use_is_refused_by_name() {
        let first = Probes::bind("127.0.0.1:0", Health::new()).await.unwrap();
        let listen = first.address().to_string();
        let error = Probes::bind(&listen, Health::new()).await.expect_err("it is in use");
        assert_eq!(error.to_string(), format!("cannot listen on {listen}"));
        assert_eq!(crate::exit::code_of(&error.into()), crate::exit::IO);
    }
}
