//! When schedules run, over ten years in zones whose clocks do unusual things, against `zdump`.
//!
//! The oracle knows nothing of cron or time zones but the offsets that `zdump` prints. A job at a fixed time runs once on
//! each day that has it: where spring skips that time, at the change; where autumn repeats it, the first time. A job of
//! every few minutes runs whenever the clocks show such a minute.

mod zdump;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kvit_scheduler::cron::Expression;

use crate::zdump::Zone;

/// Half an hour of daylight saving, changes at midnight, two hours of it, offsets of 45 minutes, and half hours without.
const ZONES: [&str; 6] = [
    "Europe/Copenhagen",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Antarctica/Troll",
    "Pacific/Chatham",
    "Asia/Tehran",
];
/// Times that changes skip or repeat in one of the zones, and one of a default schedule.
const DAILY: [(i8, i8); 5] = [(0, 30), (1, 45), (2, 15), (3, 15), (6, 0)];
const FIRST: i16 = 2021;
const YEARS: i16 = 10;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn begin() -> Timestamp {
    midnight(FIRST)
}

fn end() -> Timestamp {
    midnight(FIRST + YEARS)
}

fn midnight(year: i16) -> Timestamp {
    let date = Date::new(year, 1, 1).expect("a date");
    date.to_zoned(TimeZone::UTC).expect("a time").timestamp()
}

fn expression(text: &str, zone: &str) -> Expression {
    let zone = TimeZone::get(zone).expect("a zone");
    Expression::read(text, &zone).expect("a schedule")
}

/// Every planned time in ten years, each after the one before.
fn planned(expression: &Expression, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let mut times = Vec::new();
    let mut at = from;
    while let Some(next) = expression.after(at).filter(|next| *next < until) {
        assert!(next > at, "time stands still at {at}");
        times.push(next);
        at = next;
    }
    times
}

#[test]
fn a_job_at_a_fixed_time_runs_once_a_day_whatever_the_clocks_do() {
    for name in ZONES {
        let zone = Zone::read(name, FIRST, YEARS);
        for (hour, minute) in DAILY {
            let at = Time::new(hour, minute, 0, 0).expect("a time of day");
            let wanted: Vec<_> = zone
                .days(begin(), end())
                .map(|date| zone.first(date.to_datetime(at)))
                .filter(|at| *at > begin() && *at < end())
                .collect();
            let runs = planned(&expression(&format!("{minute} {hour} * * *"), name), begin(), end());
            assert!(wanted.len() >= 3650, "ten years");
            assert_eq!(runs.len(), wanted.len(), "{name} {hour}:{minute}");
            for (run, wanted) in runs.iter().zip(&wanted) {
                assert_eq!(run, wanted, "{name} {hour}:{minute}");
            }
        }
    }
}

/// Around each change, two days of it: elsewhere a minute is a minute.
#[test]
fn a_job_of_every_few_minutes_runs_whenever_the_clocks_show_it() {
    for name in ZONES {
        let zone = Zone::read(name, FIRST, YEARS);
        for text in ["*/5 * * * *", "*/20 * * * *"] {
            let every: i8 = if text.starts_with("*/5") { 5 } else { 20 };
            let expression = expression(text, name);
            for change in zone.changes() {
                let (from, until) = (
                    change - SignedDuration::from_hours(24),
                    change + SignedDuration::from_hours(24),
                );
                let mut wanted = Vec::new();
                let mut at = from + MINUTE;
                while at < until {
                    if zone.local(at).minute() % every == 0 {
                        wanted.push(at);
                    }
                    at += MINUTE;
                }
                assert_eq!(
                    planned(&expression, from, until),
                    wanted,
                    "{name} {text} around {change}"
                );
            }
        }
    }
}

/// The engine looks at uneven times, and is away for days: each planned time that it was there for is run once, and of
/// those that it missed the last, once, when it is back.
#[test]
fn whenever_one_looks_each_planned_time_is_run_once_and_what_was_missed_once() {
    for name in ZONES {
        let expression = expression("30 2 * * *", name);
        // The last look may be as long after the end as it was down.
        let all = planned(&expression, begin(), end() + SignedDuration::from_hours(11 * 24));
        let (mut since, mut now, mut runs) = (begin(), begin(), Vec::new());
        let mut seed = 7_u64;
        while now < end() {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Every few minutes; one time in a hundred it was down for up to ten days.
            let minutes = if (seed >> 33).is_multiple_of(100) {
                (seed >> 40) % 14_400
            } else {
                (seed >> 40) % 240
            };
            let before = now;
            now += MINUTE * i32::try_from(minutes).expect("few");
            if let Some(planned) = expression.due(since, now) {
                assert!(
                    planned > before && planned <= now,
                    "{name}: {planned} was run late or early"
                );
                runs.push(planned);
                since = planned;
            }
        }
        let passed = |from: usize, to: usize| all.get(from..to).unwrap_or_default().len();
        assert!(runs.windows(2).all(|pair| pair[0] < pair[1]), "{name}: one ran twice");
        assert!(
            runs.iter().all(|run| all.binary_search(run).is_ok()),
            "{name}: one was not planned"
        );
        let missed = passed(0, all.len()) - runs.len();
        assert!(
            missed > 0 && runs.len() > 2000,
            "{name}: {missed} missed, {} run",
            runs.len()
        );
    }
}

/// The local time of an event's deadline is one instant, also where the clocks skip or repeat it.
#[test]
fn the_oracle_knows_the_changes_of_its_zones() {
    let copenhagen = Zone::read("Europe/Copenhagen", FIRST, YEARS);
    assert_eq!(copenhagen.changes().len(), 20);
    let skipped: DateTime = "2026-03-29T02:30:00".parse().expect("a time");
    assert_eq!(copenhagen.first(skipped).to_string(), "2026-03-29T01:00:00Z");
    let repeated: DateTime = "2026-10-25T02:30:00".parse().expect("a time");
    assert_eq!(copenhagen.first(repeated).to_string(), "2026-10-25T00:30:00Z");
    assert_eq!(Zone::read("Antarctica/Troll", FIRST, YEARS).changes().len(), 20);
}
