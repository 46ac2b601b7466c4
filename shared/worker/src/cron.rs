//! When a schedule runs: five fields of cron, in the controller's time zone.
//!
//! In the hour that a spring change skips, a job runs at the change; in the hour that autumn repeats, a job at a fixed
//! time runs once (croner's rules, after Vixie's cron).

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use domain::Language;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use runtime::{Config, Exit};

mod danish;

/// A text that is no schedule. Its display says what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a schedule of five cron fields: {why}")]
pub struct NotASchedule {
    text: String,
    why: String,
}

/// More than clocks are ever changed by.
const CHANGE: SignedDuration = SignedDuration::from_hours(4);

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Expression {
    cron: Cron,
    zone: TimeZone,
}

impl Expression {
    /// Reads five fields.
    ///
    /// # Errors
    ///
    /// [`NotASchedule`]
    pub fn read(text: &str, zone: &TimeZone) -> Result<Self, NotASchedule> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| NotASchedule {
            text: text.to_owned(),
            why: error.to_string(),
        })?;
        Ok(Self {
            cron,
            zone: zone.clone(),
        })
    }

    /// The first planned time after this one; `None` where there is none within croner's horizon.
    #[must_use]
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let local = time.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&local, false).ok()?;
        Some(next.timestamp())
    }

    /// About the last planned time at or before this one.
    fn at_or_before(&self, time: Timestamp) -> Option<Timestamp> {
        let local = time.to_zoned(self.zone.clone());
        let last = self.cron.find_previous_occurrence(&local, true).ok()?;
        Some(last.timestamp())
    }

    /// The planned time that is to be run now: the last one up to `now`, where one has come since `since`. Times that
    /// were missed before it are made good by it.
    ///
    /// It is one that [`Expression::after`] gives, whoever asks and since whenever: croner's search backwards knows the
    /// second of two times that autumn repeats, at which nothing is planned, so it only says where to begin.
    #[must_use]
    pub fn due(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let mut planned = self.after(since).filter(|next| *next <= now)?;
        let near = self.at_or_before(now).map(|last| last - CHANGE);
        if let Some(near) = near.filter(|near| *near > planned) {
            planned = self.after(near).filter(|next| *next <= now).unwrap_or(planned);
        }
        while let Some(next) = self.after(planned).filter(|next| *next <= now) {
            planned = next;
        }
        Some(planned)
    }

    /// The schedule in plain words.
    #[must_use]
    pub fn describe(&self, language: Language) -> String {
        match language {
            // croner puts a comma before the last of a list.
            Language::Da => self.cron.describe_lang(danish::Danish).replace(", og ", " og "),
            Language::En => {
                let words = self.cron.describe();
                // "At every 5 minutes" is croner's, and nobody's English.
                match words.strip_prefix("At every ") {
                    Some(rest) => format!("Every {rest}"),
                    None => words,
                }
            }
        }
    }
}

/// A job that runs on a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Deletes what time lets go.
    Purge,
    /// Closes events: sends their lists, and follows them up.
    Extract,
    /// Judges the certificates and warns before they expire.
    Keys,
    /// Mails the evidence log's checkpoint.
    Checkpoint,
}

/// A named schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Its name in `[schedules]`.
    pub name: &'static str,
    /// Its five fields.
    pub text: String,
    /// When.
    pub expression: Expression,
    /// What.
    pub job: Job,
}

/// Every schedule that this version runs.
///
/// # Errors
///
/// Where an expression cannot be read (78).
pub fn schedules(config: &Config) -> anyhow::Result<Vec<Schedule>> {
    let given = &config.schedules;
    let zone = &config.controller.time_zone;
    let jobs = [
        ("purge", &given.purge, Job::Purge),
        ("extract", &given.extract, Job::Extract),
        ("keys", &given.keys, Job::Keys),
        ("checkpoint", &given.checkpoint, Job::Checkpoint),
    ];
    jobs.into_iter()
        .map(|(name, text, job)| {
            let expression = Expression::read(text, zone).map_err(Exit::config)?;
            Ok(Schedule {
                name,
                text: text.clone(),
                expression,
                job,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(text: &str, from: &str, count: usize) -> Vec<String> {
        let zone = TimeZone::get("Europe/Copenhagen").expect("a zone");
        let expression = Expression::read(text, &zone).expect("a schedule");
        let mut time: Timestamp = from.parse().expect("a time");
        let mut times = Vec::new();
        for _ in 0..count {
            time = expression.after(time).expect("a next time");
            times.push(time.to_string());
        }
        times
    }

    #[test]
    fn a_schedule_is_in_local_time() {
        assert_eq!(
            planned("0 6 * * *", "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T05:00:00Z", "2026-03-29T04:00:00Z", "2026-03-30T04:00:00Z"]
        );
    }

    #[test]
    fn each_day_has_one_run_across_both_changes() {
        // 02:30 does not exist on 29 March 2026 and exists twice on 25 October 2026.
        let spring = planned("30 2 * * *", "2026-03-28T12:00:00Z", 2);
        assert_eq!(spring, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        let autumn = planned("30 2 * * *", "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn a_schedule_stands_in_plain_words_of_both_languages() {
        let of = |text: &str| Expression::read(text, &TimeZone::UTC).expect(text);
        for (text, danish) in [
            ("* * * * *", "Hvert minut."),
            ("*/5 * * * *", "Hvert 5. minut."),
            ("15 * * * *", "Minut 15 i hver time."),
            ("0 6 * * *", "Kl. 06:00."),
            ("0,30 7 * * *", "Minut 0 og 30, i time 7."),
            ("*/10 8-16 * * *", "Hvert 10. minut, i time 8-16."),
            ("0 */2 * * *", "Minut 0, i hver 2. time."),
            ("* 3 * * *", "Hvert minut i time 3."),
            ("* */3 * * *", "Hvert minut i hver 3. time."),
            ("30 7 * * 1", "Kl. 07:30, mandag."),
            ("30 7 * * 1,3,5", "Kl. 07:30, mandag, onsdag og fredag."),
            ("0 2 1 * *", "Kl. 02:00, dag 1 i måneden."),
            ("0 2 L * *", "Kl. 02:00, den sidste dag i måneden."),
            ("0 2 1W * *", "Kl. 02:00, hverdagen nærmest dag 1 i måneden."),
            ("0 2 * * 1#2", "Kl. 02:00, den 2. mandag i måneden."),
            ("0 2 * * 5L", "Kl. 02:00, den sidste fredag i måneden."),
            ("0 2 1 * 1", "Kl. 02:00, dag 1 i måneden eller mandag."),
            ("0 2 1 1,7 *", "Kl. 02:00, dag 1 i måneden, i januar og juli."),
            ("0 2 1 */3 *", "Kl. 02:00, dag 1 i måneden, i hver 3. måned."),
        ] {
            assert_eq!(of(text).describe(Language::Da), danish, "{text}");
        }
        for (text, english) in [
            ("*/5 * * * *", "Every 5 minutes."),
            ("15 * * * *", "At minute 15 past every hour."),
            ("0 6 * * *", "At 06:00."),
            ("30 7 * * 1", "At 07:30, on Monday."),
        ] {
            assert_eq!(of(text).describe(Language::En), english, "{text}");
        }
    }

    #[test]
    fn what_is_not_five_fields_is_refused_by_name() {
        let zone = TimeZone::UTC;
        for wrong in ["", "* * * *", "61 * * * *", "0 0 0 * * *", "x"] {
            let error = Expression::read(wrong, &zone).expect_err(wrong);
            assert!(error.to_string().contains("five cron fields"), "{error}");
        }
    }
}
