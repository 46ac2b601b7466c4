//! What is known under one identity: every version of a submission.

use domain::lineage::{Known, Order};
use domain::{Reference, SubmissionId};
use store::{StoreError, Tx};

use crate::Ledger;
use crate::read::time;

/// What is known under one identity.
#[derive(Debug, Clone, Default)]
pub struct Lineage {
    /// Every version, oldest first.
    pub known: Vec<Known>,
    /// The reference that they share.
    pub reference: Option<Reference>,
    /// The version that reference and `SITE/UUID` show.
    pub latest: Option<SubmissionId>,
    /// The latest version's field digests, and their epoch.
    pub fields: Option<(i64, Vec<u8>)>,
    /// Whether a receipt was sent, or is on its way.
    pub has_receipt: bool,
    /// Every version's id, oldest first.
    pub ids: Vec<SubmissionId>,
}

/// Columns of the lineage query, in order.
const LINEAGE: &str =
    "SELECT id, reference, version, latest, answers, epoch, fields, sequence, changed FROM submission";

pub(crate) fn lineage(tx: &mut Tx<'_>, identities: &[Vec<u8>], answers: &[Vec<u8>]) -> Result<Lineage, StoreError> {
    let mut found = Lineage::default();
    let mut versions = Vec::new();
    for identity in identities {
        for row in tx.query(&format!("{LINEAGE} WHERE identity = $1"), &[identity.as_slice().into()])? {
            let id: SubmissionId = row.parse(0)?;
            found.reference = Some(row.parse(1)?);
            let same = row
                .opt_blob(4)?
                .is_some_and(|digest| answers.iter().any(|mine| mine == digest));
            let known = Known {
                version: u32::try_from(row.int(2)?).unwrap_or(u32::MAX),
                same_answers: same,
                order: Order {
                    sequence: row.opt_int(7)?,
                    changed: row.opt_int(8)?.map(time),
                },
                latest: row.int(3)? != 0,
            };
            if known.latest {
                found.latest = Some(id);
                found.fields = row.opt_int(5)?.zip(row.opt_blob(6)?.map(<[u8]>::to_vec));
            }
            versions.push((known, id));
        }
    }
    versions.sort_by_key(|(known, _)| known.version);
    for (_, id) in &versions {
        let sent = tx.one(
            "SELECT COUNT(*) FROM duty WHERE submission = $1 AND kind = 'receipt' AND state <> 'cancelled'",
            &[id.to_string().into()],
        )?;
        found.has_receipt |= sent.map_or(Ok(0), |row| row.int(0))? > 0;
    }
    (found.known, found.ids) = versions.into_iter().unzip();
    Ok(found)
}

impl Ledger {
    /// What is known under an identity (given under every live epoch), and whether any of it has these answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn lineage(&self, identities: Vec<Vec<u8>>, answers: Vec<Vec<u8>>) -> Result<Lineage, StoreError> {
        self.read(move |tx| lineage(tx, &identities, &answers)).await
    }
}
