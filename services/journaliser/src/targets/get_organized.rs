//! `GetOrganized`: a case is found or opened, documents are added to it, and finalised. Finalising is journalising.
//!
//! Each step that the server has done is noted in the ledger, so that a sequence that was cut off goes on where it was:
//! no case is opened twice for one reference, no document added twice. Tried against a double alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{DutyId, Reason};
use ledger::Ledger;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::{Server, done};
use super::{Answer, Receipt};
use crate::describe;
use crate::entry::Entry;

/// The library that documents are added to.
const LIBRARY: &str = "Dokumenter";

/// The server.
pub(crate) struct GetOrganized {
    pub(super) server: Server,
    pub(super) case_type: String,
    pub(super) ledger: Ledger,
}

/// How far a sequence has come: ids of theirs alone.
#[derive(Default, Serialize, Deserialize)]
struct Progress {
    case: Option<String>,
    /// By our name of the file: their id, and whether it is finalised.
    documents: BTreeMap<String, (Value, bool)>,
}

impl GetOrganized {
    pub(super) async fn put(&self, duty: Option<DutyId>, entry: Arc<Entry>) -> Answer {
        match self.journalise(duty, &entry).await {
            Ok(reference) => Answer::Done(Receipt {
                reference,
                version: None,
            }),
            Err(answer) => answer,
        }
    }

    pub(super) async fn probe(&self) -> Result<(), Answer> {
        self.find("K-0000-0000").await.map(drop)
    }

    async fn journalise(&self, duty: Option<DutyId>, entry: &Entry) -> Result<String, Answer> {
        let mut progress = self.progress(duty).await?;
        let reference = entry.submission.reference.to_string();
        let case = match progress.case.clone() {
            Some(case) => case,
            None => match self.find(&reference).await? {
                Some(case) => case,
                None => self.open_case(entry).await?,
            },
        };
        progress.case = Some(case.clone());
        self.note(duty, &progress).await?;
        for (name, content) in documents(entry) {
            let (id, finalised) = match progress.documents.get(&name) {
                Some(known) => known.clone(),
                None => (self.add(&case, entry, &name, content).await?, false),
            };
            progress.documents.insert(name.clone(), (id.clone(), finalised));
            if finalised {
                continue;
            }
            self.note(duty, &progress).await?;
            self.finalise(&id).await?;
            progress.documents.insert(name, (id, true));
            self.note(duty, &progress).await?;
        }
        Ok(case)
    }

    async fn find(&self, reference: &str) -> Result<Option<String>, Answer> {
        let asked = json!({
            "FieldProperties": [{"InternalName": "ows_Title", "Value": reference, "DataType": "Text", "ComparisonType": "Equal"}],
            "CaseTypePrefixes": [self.case_type],
            "LogicalOperator": "AND",
            "ReturnCasesNumber": "1",
        });
        let found = self.post(&["_goapi", "Cases", "FindByCaseProperties"], &asked).await?;
        Ok(found["CasesInfo"][0]["CaseID"].as_str().map(str::to_owned))
    }

    async fn open_case(&self, entry: &Entry) -> Result<String, Answer> {
        let row = row(&[
            ("ows_Title", entry.submission.reference.as_str()),
            ("ows_CaseStatus", "Åben"),
            ("ows_KLENummer", entry.rule.kle.as_deref().unwrap_or_default()),
        ])?;
        let asked = json!({
            "CaseTypePrefix": self.case_type,
            "MetadataXml": row,
            "ReturnWhenCaseFullyCreated": true,
        });
        let opened = self.post(&["_goapi", "Cases", ""], &asked).await?;
        let id = opened["CaseID"].as_str().map(str::to_owned);
        id.ok_or_else(|| unclear("the id of a case that was opened"))
    }

    async fn add(&self, case: &str, entry: &Entry, name: &str, content: Vec<u8>) -> Result<Value, Answer> {
        let row = row(&[
            ("ows_Title", entry.rule.theme.as_str()),
            (
                "ows_Dato",
                &entry.submission.received_at.strftime("%Y-%m-%d").to_string(),
            ),
            ("ows_Korrespondance", "Indgående"),
        ])?;
        let asked = json!({
            "Bytes": content,
            "CaseId": case,
            "ListName": LIBRARY,
            "FolderPath": "",
            "FileName": name,
            "Metadata": row,
            // The name is this entry's own: one that is there is of an attempt that was cut off.
            "Overwrite": true,
        });
        let added = self
            .post(&["_goapi", "Documents", "AddToDocumentLibrary"], &asked)
            .await?;
        match &added["DocId"] {
            Value::Null => Err(unclear("the id of a document that was added")),
            id => Ok(id.clone()),
        }
    }

    async fn finalise(&self, document: &Value) -> Result<(), Answer> {
        let asked = json!({"DocId": document});
        self.post(&["_goapi", "Documents", "Finalize", "ByDocumentId"], &asked)
            .await
            .map(drop)
    }

    async fn post(&self, segments: &[&str], asked: &Value) -> Result<Value, Answer> {
        let request = self
            .server
            .request(Method::POST, segments)
            .header("Content-Type", "application/json")
            .body(asked.to_string());
        let response = done(request, &[]).await?;
        let body = response.bytes().await.map_err(|_| unclear("an answer"))?;
        // Some steps answer nothing at all.
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| unclear("an answer"))
    }

    async fn progress(&self, duty: Option<DutyId>) -> Result<Progress, Answer> {
        let Some(duty) = duty else {
            return Ok(Progress::default());
        };
        let noted = self.ledger.journal_progress(duty).await.map_err(|_| store())?;
        Ok(noted
            .and_then(|noted| serde_json::from_str(&noted).ok())
            .unwrap_or_default())
    }

    async fn note(&self, duty: Option<DutyId>, progress: &Progress) -> Result<(), Answer> {
        let Some(duty) = duty else { return Ok(()) };
        let noted = serde_json::to_string(progress).map_err(|_| store())?;
        self.ledger
            .note_journal_progress(duty, noted)
            .await
            .map_err(|_| store())
    }
}

/// The files of an entry, under names that are its own on the server.
fn documents(entry: &Entry) -> Vec<(String, Vec<u8>)> {
    let name = |file: &str| format!("{}-{}-{file}", entry.submission.reference, entry.submission.version);
    let mut documents = vec![
        (name("indsendelse.html"), entry.record.html.clone().into_bytes()),
        (name("indsendelse.json"), entry.record.answers.clone()),
    ];
    documents.extend(
        entry
            .record
            .files
            .iter()
            .map(|file| (name(&file.name), file.content.clone())),
    );
    documents
}

/// Metadata as a `z:row`.
fn row(fields: &[(&str, &str)]) -> Result<String, Answer> {
    #[derive(Serialize)]
    struct View<'a> {
        fields: &'a [(&'a str, &'a str)],
    }
    const ROW: &str =
        "<z:row xmlns:z=\"#RowsetSchema\"{% for field in fields %} {{ field[0] }}=\"{{ field[1] }}\"{% endfor %}/>";
    let xml = describe::render(ROW, &View { fields }).map_err(|_| Answer::Refused(Reason::Unreadable))?;
    String::from_utf8(xml).map_err(|_| Answer::Refused(Reason::Unreadable))
}

/// A server that says yes, and not to what: tried again, by what is noted of the steps before.
fn unclear(what: &str) -> Answer {
    Answer::Away(None, format!("it does not say {what}"))
}

fn store() -> Answer {
    Answer::Pending
}
