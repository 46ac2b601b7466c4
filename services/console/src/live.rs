//! What changes by itself: one look at the ledger for all browsers, and a word to each when something is new.

use std::collections::{BTreeMap, VecDeque};
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
use ledger::{Backlog, Figures, Pause, StateCounts};
use operate::Desk;
use operate::look::{Status, status};
use tokio::sync::{Mutex, watch};

use crate::Console;
use crate::auth::Signed;
use crate::queues::Queues;

/// How often the ledger is looked at while a browser watches.
const LOOK: Duration = Duration::from_secs(2);
/// How old a look may be for a page that is asked for.
const FRESH: SignedDuration = SignedDuration::from_secs(2);
/// Over what time rates are counted.
pub(crate) const RATE: SignedDuration = SignedDuration::from_mins(5);

/// How everything stood at one time.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) status: Status,
    pub(crate) backlog: Backlog,
    /// Not known right after the start.
    pub(crate) rates: Option<Rates>,
    pub(crate) at: Timestamp,
}

/// How many a minute came, and were done with.
#[derive(Debug, Clone)]
pub(crate) struct Rates {
    pub(crate) submissions: (f64, f64),
    /// By kind.
    pub(crate) duties: BTreeMap<String, (f64, f64)>,
}

#[derive(Default)]
struct Looked {
    last: Option<Arc<Snapshot>>,
    /// When it stood so, over the time of the rates.
    counts: VecDeque<(Timestamp, Figures)>,
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
    pub(crate) async fn watch(&self, queues: &Queues) {
        tokio::time::sleep(LOOK).await;
        if self.told.receiver_count() == 0 {
            return;
        }
        let Ok(now) = self.snapshot().await else { return };
        let news = Some(shown(&now, queues));
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
        looked.counts.retain(|(at, _)| now.duration_since(*at) <= RATE);
        let first = looked.counts.front();
        let rates = first.and_then(|(at, first)| rates(first, &status.figures, now.duration_since(*at)));
        looked.counts.push_back((now, status.figures.clone()));
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

/// How many a minute so many are over a time; none where no time has passed.
pub(crate) fn per_minute(over: SignedDuration) -> Option<impl Fn(i64) -> f64> {
    let minutes = over.as_secs_f64() / 60.0;
    (minutes > 0.0).then_some(move |count| f64::from(i32::try_from(count).unwrap_or(i32::MAX)) / minutes)
}

fn rates(first: &Figures, last: &Figures, over: SignedDuration) -> Option<Rates> {
    let rate = per_minute(over)?;
    // As many duties as there were, and as many of them as need nothing more.
    let counted = |counts: &StateCounts| {
        let ended = counts.done + counts.cancelled;
        (
            counts.ready + counts.sending + counts.held + counts.failed + ended,
            ended,
        )
    };
    let of_kind = |(kind, counts): (&String, &StateCounts)| {
        let ((was, had_ended), (is, has_ended)) = (first.duties.get(kind).map_or((0, 0), counted), counted(counts));
        (kind.clone(), (rate(is - was), rate(has_ended - had_ended)))
    };
    Some(Rates {
        submissions: (rate(last.arrived - first.arrived), rate(last.deleted - first.deleted)),
        duties: last.duties.iter().map(of_kind).collect(),
    })
}

/// What a person would see as news.
type News = (Figures, Figures, Vec<String>, Vec<Pause>, i64, (bool, Vec<Option<u32>>));

/// What of it a person would see as news: not that everything is two seconds older.
fn shown(snapshot: &Snapshot, queues: &Queues) -> News {
    let looked = queues.looked().unwrap_or_default();
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
        (looked.away, looked.queues.iter().map(|queue| queue.waiting).collect()),
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
