//! Schedule `keys`: judges every certificate, and warns departments before theirs expires.

use jiff::{SignedDuration, Timestamp};
use ledger::CertificateEnd;
use letter::Notice;
use openpgp::CertificateState;
use worker::Listed;

use crate::Scheduler;

/// How many days ahead a warning is sent.
const WARNINGS: [i64; 5] = [60, 30, 14, 7, 1];

pub(crate) async fn run(scheduler: &Scheduler) -> anyhow::Result<String> {
    let now = scheduler.clock.now();
    scheduler.certificates.refresh(&scheduler.ledger).await?;
    let (mut usable, mut unusable, mut warned) = (0, 0, 0);
    for listed in scheduler.certificates.list(now) {
        if listed.state == CertificateState::Usable {
            usable += 1;
        } else {
            unusable += 1;
            let department = listed.department.as_ref().map(ToString::to_string);
            tracing::error!(department, fingerprint = %listed.fingerprint, state = listed.state.as_str(), "a certificate cannot be used: kvit key add");
        }
        if let Some(expires) = listed.expires
            && warn(scheduler, listed, expires).await?
        {
            warned += 1;
        }
    }
    Ok(format!(
        "{usable} certificates usable, {unusable} not, {warned} warnings given"
    ))
}

/// Warns of a certificate's end where a step of the warnings has been reached that was not warned of: the step's own day
/// may have passed while no scheduler ran.
async fn warn(scheduler: &Scheduler, listed: Listed, expires: Timestamp) -> anyhow::Result<bool> {
    let now = scheduler.clock.now();
    let days = days_left(expires, now);
    let Some(step) = step(days) else { return Ok(false) };
    let end = CertificateEnd {
        department: listed.department.as_ref().map_or_else(String::new, ToString::to_string),
        fingerprint: listed.fingerprint.clone(),
        ends_at: expires,
        days: step,
    };
    if scheduler.ledger.was_warned(end.clone()).await? {
        return Ok(false);
    }
    tracing::warn!(fingerprint = %listed.fingerprint, days, "a certificate expires soon");
    let notice = match &listed.department {
        None => None,
        Some(department) => {
            let notice = Notice::CertificateExpires {
                days,
                at: expires,
                fingerprint: listed.fingerprint,
            };
            match scheduler.notices.duty(department, &notice, &[], None, now).await {
                Ok(duty) => Some(duty),
                Err(error) => {
                    tracing::error!(%department, %error, "a department could not be warned of its certificate's end");
                    return Ok(false);
                }
            }
        }
    };
    let id = notice.as_ref().map(|notice| notice.id);
    let warned = scheduler.ledger.warn(end, notice, now).await?;
    if let Some(id) = id {
        scheduler.notices.withdraw_unless(warned, id).await?;
    }
    Ok(warned)
}

/// Rounded up: what expires in six and a half days expires in 7 days.
fn days_left(expires: Timestamp, now: Timestamp) -> i64 {
    let left = expires.duration_since(now) + SignedDuration::from_hours(24) - SignedDuration::from_nanos(1);
    left.as_hours() / 24
}

/// The nearest step that so many days have reached.
fn step(days: i64) -> Option<i64> {
    WARNINGS.into_iter().filter(|step| days <= *step).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_holds_from_its_day_until_the_next() {
        let steps = [61, 60, 59, 31, 30, 15, 14, 8, 7, 2, 1].map(step);
        let expected = [
            None,
            Some(60),
            Some(60),
            Some(60),
            Some(30),
            Some(30),
            Some(14),
            Some(14),
            Some(7),
            Some(7),
            Some(1),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn days_are_rounded_up() {
        let now = Timestamp::UNIX_EPOCH;
        let after = |hours: i64| days_left(now + SignedDuration::from_hours(hours), now);
        assert_eq!([after(24), after(25), after(156), after(168)], [1, 2, 7, 7]);
    }
}
