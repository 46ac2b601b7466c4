//! Certificates that end: each step of the warnings once, also where its day passed while nothing ran.

use jiff::SignedDuration;
use kvit_scheduler::cron::Job;

use crate::bed::Bed;

/// The certificate ends 100 days later, on 2027-03-02.
const MADE: &str = "2026-11-22T12:00:00Z";

/// The days that the warnings which are due speak of.
async fn warned(bed: &Bed) -> anyhow::Result<Vec<String>> {
    bed.run(Job::Keys).await?;
    let mails = bed.mails().await?;
    Ok(mails.into_iter().map(|mail| mail.subject).collect())
}

#[tokio::test]
async fn each_step_is_warned_of_once_and_a_missed_day_is_made_good() -> anyhow::Result<()> {
    let bed = Bed::start_with_key_for(MADE, "code", Some(SignedDuration::from_hours(100 * 24)))?;
    assert!(warned(&bed).await?.is_empty(), "100 days are enough");

    // 60 days ahead is 2027-01-01; nothing ran on that day.
    bed.until("2027-01-04T06:00:00Z")?;
    let first = warned(&bed).await?;
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].contains("58"), "{first:?}");
    assert!(warned(&bed).await?.is_empty(), "it was told once");
    bed.until("2027-01-20T06:00:00Z")?;
    assert!(warned(&bed).await?.is_empty(), "no step was reached since");

    // The days of 30 and 14 passed while nothing ran: one warning, of the nearer.
    bed.until("2027-02-20T06:00:00Z")?;
    let second = warned(&bed).await?;
    assert_eq!(second.len(), 1, "{second:?}");
    assert!(second[0].contains("11"), "{second:?}");

    for (day, days) in [("2027-02-23T12:00:00Z", "7"), ("2027-03-01T12:00:00Z", "1")] {
        bed.until(day)?;
        let warning = warned(&bed).await?;
        assert_eq!(warning.len(), 1, "{warning:?}");
        assert!(warning[0].contains(days), "{warning:?}");
    }
    Ok(())
}
