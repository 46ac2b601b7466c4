//! The encrypted test mail that `kvit key test` asks for: composed here, because the key that signs and the keys that
//! seal are here.

use domain::{DepartmentId, DutyId, DutyKind, DutyState};
use ledger::{NewDuty, Payload};
use letter::{KeyTestInput, Parcel};
use openpgp::{Certificate, Sealing};
use serde_json::{Value, json};
use vault::Purpose;
use worker::DepartmentState;

use crate::requests::OfDepartment;
use crate::take::{Intake, Trouble};

/// Which mail it is, in the list of duties.
const ROLE: &str = "key-test";

impl Intake {
    /// Puts a test mail to a department on its way, like a notice: under a data key of its own.
    pub(crate) async fn test_key(&self, args: &str) -> Result<Value, Trouble> {
        let Ok(OfDepartment { department }) = serde_json::from_str(args) else {
            return Ok(json!({"error": "the request's arguments cannot be read"}));
        };
        // What was added a moment ago counts.
        self.certificates.refresh(&self.ledger).await?;
        let now = self.clock.now();
        let recipients = match self.certificates.of(&department, now) {
            DepartmentState::Usable(recipients) => recipients,
            DepartmentState::Held(reason) => return Ok(json!({"reason": reason.to_string()})),
        };
        let id = DutyId::new();
        let parcel = self.key_test(id, &department, &recipients)?;
        let keys = self.vault.create(id.0, &[Purpose::Mail], now).await?;
        let key = keys.first().ok_or(Trouble::internal("the vault made no key"))?;
        let duty = NewDuty {
            id,
            kind: DutyKind::Notice,
            role: ROLE.to_owned(),
            department: Some(department),
            state: DutyState::Ready,
            reason: None,
            expires_at: None,
            payload: Some(Payload {
                owner: id.0,
                purpose: Purpose::Mail.as_str().to_owned(),
                sealed: key.seal(id.0.as_bytes(), &parcel.encode())?,
            }),
        };
        self.ledger.add_notice(duty, now).await?;
        self.link.wake(broker::MAIL_DUTIES, &[id]).await;
        let fingerprints: Vec<String> = recipients.iter().map(Certificate::fingerprint).collect();
        Ok(json!({"duty": id, "fingerprints": fingerprints, "signed": self.signer.is_some()}))
    }

    fn key_test(&self, id: DutyId, department: &DepartmentId, recipients: &[Certificate]) -> Result<Parcel, Trouble> {
        let settings = self.loaded.config.departments.get(department);
        let settings = settings.ok_or(Trouble::internal("no such department"))?;
        let input = KeyTestInput {
            to: &settings.mail,
            department: &settings.name,
            message_id: &format!("{ROLE}.{}@{}", id.0.simple(), self.message_domain),
        };
        let sealing = Sealing {
            recipients,
            signer: self.signer.as_ref(),
            rfc9580: settings.rfc9580,
            now: self.clock.now(),
        };
        self.letters
            .key_test(&input, &sealing)
            .map_err(|error| Trouble::Internal(anyhow::Error::new(error).context("composing the test mail")))
    }
}
