//! Notices: plain mails without content, each under a data key of its own, since its submission may be gone first.

use std::sync::Arc;

use anyhow::Context as _;
use domain::{DepartmentId, DutyId, DutyKind, DutyState, EmailAddress, Words};
use jiff::Timestamp;
use ledger::{NewDuty, Payload};
use letter::{Letters, Notice, NoticeInput};
use runtime::Loaded;
use vault::{Purpose, Vault};

/// Makes the duties of notices.
#[derive(Clone)]
pub struct Notices {
    loaded: Arc<Loaded>,
    letters: Arc<Letters>,
    vault: Vault,
    message_domain: String,
}

impl Notices {
    /// Notices by these letters, sealed in this vault (with the mail key).
    ///
    /// # Errors
    ///
    /// Where `smtp.from` cannot be read (78).
    pub fn new(loaded: Arc<Loaded>, letters: Arc<Letters>, vault: Vault) -> anyhow::Result<Self> {
        let from = openpgp::Mailbox::parse(&loaded.config.smtp.from).map_err(runtime::Exit::config)?;
        Ok(Self {
            message_domain: from.address.domain().to_owned(),
            loaded,
            letters,
            vault,
        })
    }

    /// The duty of a notice to a department. Its data key is committed before this answers.
    ///
    /// # Errors
    ///
    /// Where the department is not configured any more, or the vault did not answer.
    pub async fn duty(
        &self,
        department: &DepartmentId,
        notice: &Notice,
        references: &[String],
        test: Option<&EmailAddress>,
        now: Timestamp,
    ) -> anyhow::Result<NewDuty> {
        let settings = self.loaded.config.departments.get(department);
        let settings = settings.with_context(|| format!("no department {department} is configured"))?;
        let input = NoticeInput {
            notice,
            to: test.unwrap_or(&settings.mail),
            department: &settings.name,
            message_id: "",
            references,
            date: now,
            test: test.is_some(),
        };
        self.make(Some(department), input).await
    }

    /// The duty of a notice to the data protection officer. Its data key is committed before this answers.
    ///
    /// # Errors
    ///
    /// Where the vault did not answer.
    pub async fn to_officer(&self, to: &EmailAddress, notice: &Notice, now: Timestamp) -> anyhow::Result<NewDuty> {
        let officer = Words {
            da: Some("databeskyttelsesrådgiveren".to_owned()),
            en: Some("the data protection officer".to_owned()),
        };
        let input = NoticeInput {
            notice,
            to,
            department: &officer,
            message_id: "",
            references: &[],
            date: now,
            test: false,
        };
        self.make(None, input).await
    }

    /// Destroys the key of a notice that the ledger did not keep: what it spoke of was told by another replica, or is past.
    /// A process that dies before this leaves a key without data, which the sweep finds.
    ///
    /// # Errors
    ///
    /// Where the key may still be there.
    pub async fn withdraw_unless(&self, kept: bool, notice: DutyId) -> anyhow::Result<()> {
        if kept {
            return Ok(());
        }
        Ok(self.vault.destroy_one(notice.0, Purpose::Mail).await?)
    }

    /// Seals the notice, under a `Message-ID` that its duty gives it.
    async fn make(&self, department: Option<&DepartmentId>, input: NoticeInput<'_>) -> anyhow::Result<NewDuty> {
        let now = input.date;
        let id = DutyId::new();
        let message_id = format!("notice.{}@{}", id.0.simple(), self.message_domain);
        let parcel = self.letters.notice(&NoticeInput {
            message_id: &message_id,
            ..input
        })?;
        let keys = self.vault.create(id.0, &[Purpose::Mail], now).await?;
        failpoint::reached("notice.key_committed").await;
        let key = keys.first().context("the vault made no key")?;
        Ok(NewDuty {
            id,
            kind: DutyKind::Notice,
            role: "notice".to_owned(),
            department: department.cloned(),
            state: DutyState::Ready,
            reason: None,
            expires_at: None,
            payload: Some(Payload {
                owner: id.0,
                purpose: Purpose::Mail.as_str().to_owned(),
                sealed: key.seal(id.0.as_bytes(), &parcel.encode())?,
            }),
        })
    }
}
