//! What is known under one identity: every version of a submission.

use std::collections::{HashMap, HashSet};

use domain::lineage::{Known, Order};
use domain::{Reference, SubmissionId};
use store::{Row, StoreError, Tx, Value};

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

/// What is looked for: identities, each under every live epoch, and the answers that a known version may have.
#[derive(Clone, Copy)]
pub(crate) struct Sought<'a> {
    pub(crate) identities: &'a [Vec<u8>],
    pub(crate) answers: &'a [Vec<u8>],
}

/// What is known under each of several identities: a statement for many.
pub(crate) fn lineages(tx: &mut Tx<'_>, sought: &[Sought<'_>]) -> Result<Vec<Lineage>, StoreError> {
    let identities = sought.iter().flat_map(|sought| sought.identities);
    let mut rows: HashMap<Vec<u8>, Vec<Row>> = HashMap::new();
    let sql =
        "SELECT identity, id, reference, version, latest, answers, epoch, fields, sequence, changed FROM submission
         WHERE identity = ANY($1)";
    for keys in Value::lists(identities.map(Vec::as_slice)) {
        // One identity may be looked for in two statements.
        let mut found: HashMap<Vec<u8>, Vec<Row>> = HashMap::new();
        for row in tx.query(sql, &[keys])? {
            found.entry(row.blob(0)?.to_vec()).or_default().push(row);
        }
        rows.extend(found);
    }
    let mut lineages: Vec<Lineage> = sought
        .iter()
        .map(|sought| lineage_of(&rows, *sought))
        .collect::<Result<_, _>>()?;
    let receipts = with_receipt(tx, &lineages)?;
    for lineage in &mut lineages {
        lineage.has_receipt = lineage.ids.iter().any(|id| receipts.contains(id));
    }
    Ok(lineages)
}

fn lineage_of(rows: &HashMap<Vec<u8>, Vec<Row>>, sought: Sought<'_>) -> Result<Lineage, StoreError> {
    let mut found = Lineage::default();
    let mut versions = Vec::new();
    let rows = sought.identities.iter().filter_map(|identity| rows.get(identity));
    for row in rows.flatten() {
        let id: SubmissionId = row.parse(1)?;
        found.reference = Some(row.parse(2)?);
        let same = row
            .opt_blob(5)?
            .is_some_and(|digest| sought.answers.iter().any(|mine| mine == digest));
        let known = Known {
            version: u32::try_from(row.int(3)?).unwrap_or(u32::MAX),
            same_answers: same,
            order: Order {
                sequence: row.opt_int(8)?,
                changed: row.opt_int(9)?.map(time),
            },
            latest: row.int(4)? != 0,
        };
        if known.latest {
            found.latest = Some(id);
            found.fields = row.opt_int(6)?.zip(row.opt_blob(7)?.map(<[u8]>::to_vec));
        }
        versions.push((known, id));
    }
    versions.sort_by_key(|(known, _)| known.version);
    (found.known, found.ids) = versions.into_iter().unzip();
    Ok(found)
}

/// Which versions have a receipt that was sent, or is on its way.
fn with_receipt(tx: &mut Tx<'_>, lineages: &[Lineage]) -> Result<HashSet<SubmissionId>, StoreError> {
    let ids = lineages.iter().flat_map(|lineage| &lineage.ids);
    let mut with = HashSet::new();
    // Kind and state are not compared as they stand: there is an index of all duties by them.
    let sql = "SELECT submission FROM duty
         WHERE submission = ANY($1) AND kind || '' = 'receipt' AND state || '' <> 'cancelled'";
    for keys in Value::lists(ids.map(SubmissionId::to_string)) {
        for row in tx.query(sql, &[keys])? {
            with.insert(row.parse(0)?);
        }
    }
    Ok(with)
}

impl Ledger {
    /// What is known under an identity (given under every live epoch), and whether any of it has these answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn lineage(&self, identities: Vec<Vec<u8>>, answers: Vec<Vec<u8>>) -> Result<Lineage, StoreError> {
        self.read(move |tx| {
            let sought = Sought {
                identities: &identities,
                answers: &answers,
            };
            Ok(lineages(tx, &[sought])?.pop().unwrap_or_default())
        })
        .await
    }
}
