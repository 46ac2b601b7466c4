//! This machine's clock and time zone.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;
use runtime::{Clock, Loaded};

use super::Probe;

/// Before this, no clock that runs this program is right.
const BUILT: jiff::civil::Date = date(2026, 1, 1);

pub(super) fn probe(loaded: &Loaded, clock: &Clock) -> Vec<Probe> {
    let zone = &loaded.config.controller.time_zone;
    vec![time(clock), time_zone(zone, clock.now())]
}

/// Whether the clock is plausible, and does not jump.
fn time(clock: &Clock) -> Probe {
    let (wall, steady) = (clock.now(), Instant::now());
    std::thread::yield_now();
    let (elapsed, wall_later) = (steady.elapsed(), clock.now());
    let moved = wall_later.duration_since(wall);
    let jumped = Duration::try_from(moved).map_or(true, |moved| moved.abs_diff(elapsed) > Duration::from_secs(1));
    let is_early = wall.to_zoned(TimeZone::UTC).date() < BUILT;
    if is_early || jumped {
        let next = "set this machine's clock by NTP: deadlines, leases and certificates go by it";
        return Probe::fail("clock", format!("it says {wall}, or jumps"), next);
    }
    Probe::ok("clock", format!("it says {}", wall.strftime("%Y-%m-%dT%H:%M:%SZ")))
}

fn time_zone(zone: &TimeZone, now: Timestamp) -> Probe {
    let local = now.to_zoned(zone.clone());
    match zone.iana_name() {
        Some(name) => Probe::ok(
            "time zone",
            format!("{name}: it is {}", local.strftime("%Y-%m-%d %H:%M %:z")),
        ),
        None => Probe::warn(
            "time zone",
            "controller.time_zone has no name, and is UTC",
            "is the package tzdata installed? deadlines and schedules would be in UTC",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_clock_before_this_program_existed_fails() {
        let early = Clock::fixed("1970-01-02T00:00:00Z".parse().unwrap());
        assert_eq!(time(&early).state, State::Fail);
        assert_eq!(time(&Clock::system()).state, State::Ok);
    }

    #[test]
    fn a_time_zone_without_data_is_worth_a_look() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Copenhagen").unwrap();
        assert!(time_zone(&zone, now).found.contains("13:00 +01:00"));
        assert_eq!(time_zone(&TimeZone::fixed(jiff::tz::offset(1)), now).state, State::Warn);
    }
}
