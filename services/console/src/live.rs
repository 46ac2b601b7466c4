//! What changes by itself: one look at the ledger for all browsers, and a word to each when something is new.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::unfold;
use jiff::{SignedDuration, Timestamp};
use ledger::{Backlog, Figures, Pause};
use operate::Desk;
use operate::look::{Status, status};
use tokio::sync::{Mutex, watch};

use crate::Console;
use crate::auth::Signed;

/// How often the ledger is looked at while a browser watches.
const LOOK: Duration = Duration::from_secs(2);
/// How old a look may be for a page that is asked for.
const FRESH: SignedDuration = SignedDuration::from_secs(2);
/// Over what time rates are counted.
const RATE: SignedDuration = SignedDuration::from_mins(5);

/// How everything stood at one time.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) status: Status,
    pub(crate) backlog: Backlog,
    /// Submissions a minute that came, and that were done with; not known right after the start.
    pub(crate) rates: Option<(f64, f64)>,
    pub(crate) at: Timestamp,
}

#[derive(Default)]
struct Looked {
    last: Option<Arc<Snapshot>>,
    /// When so many had arrived and were deleted.
    counts: VecDeque<(Timestamp, i64, i64)>,
}

pub(crate) struct Live {
    desk: Desk,
    looked: Mutex<Looked>,
    /// How often something was new, and what was told last.
    told: watch::Sender<(u64, Option<News>)>,
}

impl Live {
    pub(crate) fn new(desk: Desk) -> Self {
        Self {
            desk,
            looked: Mutex::default(),
            told: watch::Sender::default(),
        }
    }

    /// Looks once after a while, where a browser watches, and tells where something is new.
    pub(crate) async fn watch(&self) {
        tokio::time::sleep(LOOK).await;
        if self.told.receiver_count() == 0 {
            return;
        }
        let Ok(now) = self.snapshot().await else { return };
        let news = Some(shown(&now));
        self.told.send_if_modified(|(version, last)| {
            let is_new = *last != news;
            if is_new {
                (*version, *last) = (*version + 1, news);
            }
            is_new
        });
    }

    /// How everything stands, as of two seconds ago at most.
    pub(crate) async fn snapshot(&self) -> anyhow::Result<Arc<Snapshot>> {
        let mut looked = self.looked.lock().await;
        let now = self.desk.clock.now();
        if let Some(last) = looked.last.as_ref().filter(|last| now.duration_since(last.at) < FRESH) {
            return Ok(Arc::clone(last));
        }
        let backlog = async { Ok(self.desk.ledger.backlog(now).await.map_err(operate::unavailable)?) };
        let (status, backlog) = tokio::try_join!(status(&self.desk), backlog)?;
        let (arrived, deleted) = (status.figures.arrived, status.figures.deleted);
        looked.counts.retain(|(at, ..)| now.duration_since(*at) <= RATE);
        let rates = looked.counts.front().and_then(|(at, came, went)| {
            let minutes = now.duration_since(*at).as_secs_f64() / 60.0;
            let rate = |count: i64| f64::from(i32::try_from(count).unwrap_or(i32::MAX)) / minutes;
            (minutes > 0.0).then(|| (rate(arrived - came), rate(deleted - went)))
        });
        looked.counts.push_back((now, arrived, deleted));
        let snapshot = Arc::new(Snapshot {
            status,
            backlog,
            rates,
            at: now,
        });
        looked.last = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }
}

/// What a person would see as news.
type News = (Figures, Figures, Vec<String>, Vec<Pause>, i64);

/// What of it a person would see as news: not that everything is two seconds older.
fn shown(snapshot: &Snapshot) -> News {
    let status = &snapshot.status;
    let ageless = |figures: &Figures| Figures {
        oldest_open_seconds: 0,
        ..figures.clone()
    };
    let workers: Vec<String> = status.workers.iter().map(|worker| worker.id.clone()).collect();
    (
        ageless(&status.figures),
        ageless(&status.test),
        workers,
        status.paused.clone(),
        snapshot.backlog.quarantine_waiting,
    )
}

/// Server-sent events: `changed`, with nothing in it but a number.
pub(crate) async fn stream(State(console): State<Arc<Console>>, signed: Option<Extension<Signed>>) -> Response {
    if signed.is_none() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (mut news, shutdown) = (console.live.told.subscribe(), console.shutdown.clone());
    // Something may have changed since the page was made.
    news.mark_changed();
    let events = unfold((news, shutdown), |(mut news, shutdown)| async move {
        tokio::select! {
            () = shutdown.cancelled() => None,
            changed = news.changed() => {
                changed.ok()?;
                let version = news.borrow_and_update().0;
                let event = Event::default().event("changed").data(version.to_string());
                Some((Ok::<_, Infallible>(event), (news, shutdown)))
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
