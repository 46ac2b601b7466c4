//! What `zdump` says of a zone: its offset from UTC, and when that changes.

use std::process::Command;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// A zone's offsets, each from an instant on; the first holds before any change.
pub(crate) struct Zone {
    first: Offset,
    changes: Vec<(Timestamp, Offset)>,
}

impl Zone {
    /// Asks the C library's `zdump`.
    pub(crate) fn read(name: &str, year: i16, years: i16) -> Self {
        let span = format!("{},{}", year - 1, year + years);
        let output = Command::new("zdump")
            .args(["-v", "-c", &span, name])
            .output()
            .expect("zdump runs");
        let text = String::from_utf8(output.stdout).expect("text");
        // Each change is two lines: its last second, and the first after it.
        let lines: Vec<_> = text.lines().filter_map(|line| parse(line, name)).collect();
        let changes: Vec<_> = lines
            .windows(2)
            .filter(|pair| pair[1].0.duration_since(pair[0].0) == SignedDuration::from_secs(1))
            .map(|pair| (pair[0].1, pair[1]))
            .collect();
        let begins = Date::new(year, 1, 1)
            .expect("a date")
            .to_zoned(TimeZone::UTC)
            .expect("a time")
            .timestamp();
        let first = changes
            .iter()
            .rev()
            .find(|(_, (at, _))| *at <= begins)
            .map(|(_, (_, offset))| *offset);
        let first = first.or_else(|| changes.first().map(|(before, _)| *before));
        Self {
            first: first.expect("a zone whose clocks change"),
            changes: changes
                .into_iter()
                .map(|(_, change)| change)
                .filter(|(at, _)| *at > begins)
                .collect(),
        }
    }

    pub(crate) fn changes(&self) -> Vec<Timestamp> {
        self.changes.iter().map(|(at, _)| *at).collect()
    }

    fn offset(&self, at: Timestamp) -> Offset {
        let passed = self.changes.partition_point(|(change, _)| *change <= at);
        passed.checked_sub(1).map_or(self.first, |last| self.changes[last].1)
    }

    /// What the clocks show.
    pub(crate) fn local(&self, at: Timestamp) -> DateTime {
        self.offset(at).to_datetime(at)
    }

    /// The local dates between two instants.
    pub(crate) fn days(&self, from: Timestamp, until: Timestamp) -> impl Iterator<Item = Date> {
        let last = self.local(until).date();
        self.local(from)
            .date()
            .series(jiff::Span::new().days(1))
            .take_while(move |date| *date <= last)
    }

    /// The first instant at which the clocks show this time, or where they skip it, the change that skips it.
    pub(crate) fn first(&self, local: DateTime) -> Timestamp {
        let offsets = std::iter::once(self.first).chain(self.changes.iter().map(|(_, offset)| *offset));
        let instants = offsets.filter_map(|offset| offset.to_timestamp(local).ok());
        let shown = instants.filter(|at| self.local(*at) == local).min();
        shown.unwrap_or_else(|| {
            let skips = |(at, after): &&(Timestamp, Offset)| {
                let before = self.offset(*at - SignedDuration::from_secs(1));
                before.to_datetime(*at) <= local && local < after.to_datetime(*at)
            };
            self.changes.iter().find(skips).expect("a change skips it").0
        })
    }
}

/// `ZONE  Sun Mar 29 01:00:00 2026 UT = Sun Mar 29 03:00:00 2026 CEST isdst=1 gmtoff=7200`
fn parse(line: &str, name: &str) -> Option<(Timestamp, Offset)> {
    let rest = line.strip_prefix(name)?.trim();
    let (utc, local) = rest.split_once(" UT = ")?;
    let seconds = local.rsplit_once("gmtoff=")?.1.trim().parse().ok()?;
    let words: Vec<_> = utc.split_whitespace().collect();
    let [_, month, day, time, year] = words.as_slice() else {
        return None;
    };
    let at = DateTime::strptime("%Y %b %d %H:%M:%S", format!("{year} {month} {day} {time}")).ok()?;
    Some((Offset::UTC.to_timestamp(at).ok()?, Offset::from_seconds(seconds).ok()?))
}
