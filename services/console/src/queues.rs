//! What waits in the broker's queues: how much, how fast it comes and is taken, and how old the oldest can be.
//!
//! AMQP tells how many messages wait and nothing of their age, and to look at one is to take it. But the queues are first
//! in, first out, and the ledger counts what was taken of each site's: once as many were taken as waited at some time, all
//! that waited then are gone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use broker::{Looker, all_queues, submissions_queue};
use jiff::{SignedDuration, Timestamp};
use operate::Desk;
use runtime::Loaded;

use crate::live::{RATE, per_minute};

/// How often the broker is looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(5);
/// For how long it is known what waited.
const KNOWN: SignedDuration = SignedDuration::from_hours(1);

/// How old the oldest waiting message is, as far as can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oldest {
    /// Nothing waits.
    None,
    /// At most.
    Most(SignedDuration),
    /// At least: what waited at the first look still does.
    Least(SignedDuration),
}

/// How a queue stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Queue {
    pub(crate) name: String,
    /// How many wait, not those in a program's hands; none where the queue is not there.
    pub(crate) waiting: Option<u32>,
    pub(crate) consumers: Option<u32>,
    /// Of a site's submissions: messages a minute that came, and that were taken.
    pub(crate) rates: Option<(f64, f64)>,
    pub(crate) oldest: Option<Oldest>,
}

/// What was seen at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Looked {
    pub(crate) queues: Vec<Queue>,
    /// Whether the last look met no broker; the queues are as they were seen before.
    pub(crate) away: bool,
    pub(crate) at: Option<Timestamp>,
}

/// How much waited in a queue, and how much had been taken of it.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Timestamp,
    waiting: i64,
    taken: i64,
}

pub(crate) struct Queues {
    desk: Desk,
    /// None where the console was given no broker.
    looker: Option<Looker>,
    names: Vec<String>,
    /// So many at most are in intake's hands, taken from the queue and not counted yet.
    in_hand: i64,
    looked: Mutex<(Looked, BTreeMap<String, VecDeque<Sample>>)>,
}

impl Queues {
    pub(crate) fn new(desk: Desk) -> Self {
        let Loaded { config, .. } = &*desk.loaded;
        Self {
            looker: config.broker.url().ok().map(|url| Looker::new(&url, "kvit-console")),
            names: all_queues(config.sites.keys()),
            in_hand: config.broker.prefetch.into(),
            looked: Mutex::default(),
            desk,
        }
    }

    /// What was seen last; none where there is no broker to look at.
    pub(crate) fn looked(&self) -> Option<Looked> {
        self.looker.as_ref()?;
        let looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        Some(looked.0.clone())
    }

    /// Looks once.
    pub(crate) async fn look(&self) {
        let Some(looker) = &self.looker else { return };
        let seen = looker.look(&self.names).await;
        let taken = self.desk.ledger.taken().await;
        let now = self.desk.clock.now();
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let (looked, samples) = &mut *looked;
        looked.away = seen.is_err();
        let (Ok(seen), Ok(taken)) = (seen, taken) else { return };
        for site in self.desk.loaded.config.sites.keys() {
            let name = submissions_queue(site);
            let at = self.names.iter().position(|queue| *queue == name);
            if let Some(Ok(depth)) = at.and_then(|at| seen.get(at)) {
                let samples = samples.entry(name).or_default();
                samples.retain(|sample| now.duration_since(sample.at) <= KNOWN);
                samples.push_back(Sample {
                    at: now,
                    waiting: depth.messages.into(),
                    taken: taken.get(site.as_str()).copied().unwrap_or(0),
                });
            }
        }
        looked.at = Some(now);
        looked.queues = (self.names.iter().zip(seen))
            .map(|(name, depth)| {
                let depth = depth.ok();
                let samples = samples.get(name).filter(|_| depth.is_some());
                Queue {
                    name: name.clone(),
                    waiting: depth.map(|depth| depth.messages),
                    consumers: depth.map(|depth| depth.consumers),
                    rates: samples.and_then(rates),
                    oldest: samples.and_then(|samples| oldest(samples, self.in_hand)),
                }
            })
            .collect();
    }
}

/// How many a minute came and were taken, over the last minutes.
fn rates(samples: &VecDeque<Sample>) -> Option<(f64, f64)> {
    let last = samples.back()?;
    let first = samples
        .iter()
        .find(|sample| last.at.duration_since(sample.at) <= RATE)?;
    let rate = per_minute(last.at.duration_since(first.at))?;
    let taken = last.taken - first.taken;
    let came = (taken + last.waiting - first.waiting).max(0);
    Some((rate(came), rate(taken)))
}

/// How old the oldest can be: all that waited at a time are gone when so many were taken since, and those in hand then.
fn oldest(samples: &VecDeque<Sample>, in_hand: i64) -> Option<Oldest> {
    let (first, last) = (samples.front()?, samples.back()?);
    if last.waiting == 0 {
        return Some(Oldest::None);
    }
    let gone = |then: &&Sample| then.waiting == 0 || last.taken - then.taken >= then.waiting + in_hand;
    let since = |then: &Sample| last.at.duration_since(then.at);
    Some(match samples.iter().rev().find(gone) {
        Some(then) => Oldest::Most(since(then)),
        None => Oldest::Least(since(first)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: &[(i64, i64, i64)]) -> VecDeque<Sample> {
        let of = of.iter().map(|&(second, waiting, taken)| Sample {
            at: Timestamp::from_second(second).unwrap(),
            waiting,
            taken,
        });
        of.collect()
    }

    #[test]
    fn what_waited_is_gone_when_as_many_were_taken_and_never_before() {
        let secs = SignedDuration::from_secs;
        for (seen, is) in [
            (&[(0, 0, 0)][..], Oldest::None),
            (&[(0, 0, 0), (5, 9, 0), (60, 9, 0)], Oldest::Most(secs(60))),
            (&[(0, 9, 0), (60, 9, 0)], Oldest::Least(secs(60))),
            (&[(0, 9, 0), (60, 9, 12)], Oldest::Least(secs(60))),
            (&[(0, 9, 0), (60, 9, 13)], Oldest::Most(secs(60))),
            (&[(0, 9, 0), (30, 9, 0), (60, 9, 13)], Oldest::Most(secs(30))),
        ] {
            assert_eq!(oldest(&samples(seen), 4), Some(is), "{seen:?}");
        }
    }

    #[test]
    fn what_came_is_what_was_taken_and_what_waits_more() {
        assert_eq!(rates(&samples(&[(0, 4, 10), (60, 10, 40)])), Some((36.0, 30.0)));
        assert_eq!(rates(&samples(&[(0, 4, 10)])), None);
        assert_eq!(
            rates(&samples(&[(0, 0, 0), (1000, 4, 10), (1060, 4, 10)])),
            Some((0.0, 0.0))
        );
    }
}
