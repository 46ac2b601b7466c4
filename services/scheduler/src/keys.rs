//! Schedule `keys`: judges every certificate, and warns departments before theirs expires.

use jiff::SignedDuration;
use letter::Notice;
use openpgp::CertificateState;

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
        let Some(expires) = listed.expires else { continue };
        // Rounded up: what expires in six and a half days expires in 7 days.
        let left = expires.duration_since(now) + SignedDuration::from_hours(24) - SignedDuration::from_nanos(1);
        let days = left.as_hours() / 24;
        if !WARNINGS.contains(&days) {
            continue;
        }
        tracing::warn!(fingerprint = %listed.fingerprint, days, "a certificate expires soon");
        let Some(department) = listed.department else { continue };
        let notice = Notice::CertificateExpires {
            days,
            at: expires,
            fingerprint: listed.fingerprint,
        };
        match scheduler.notices.duty(&department, &notice, &[], None, now).await {
            Ok(duty) => scheduler.ledger.add_notice(duty, now).await?,
            Err(error) => {
                tracing::error!(%department, %error, "a department could not be warned of its certificate's end");
                continue;
            }
        }
        warned += 1;
    }
    Ok(format!(
        "{usable} certificates usable, {unusable} not, {warned} departments warned"
    ))
}
