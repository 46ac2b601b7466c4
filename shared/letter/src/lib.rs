//! Makes the letters of Kvit: the department's mail, the submitter's receipt, and notices without content.
//!
//! A letter is words (templates in Danish and English, which an operator may override), a MIME tree, and, for what holds
//! answers, an OpenPGP envelope. [`Letters`] is loaded once; it renders every template strictly before anything is sent.
//! What comes out is a [`Parcel`]: whom it is for, and the bytes to be sent, which never change afterwards.
//!
//! A department's mail is [`Mail::Sealed`] by its type. [`PlainMail`] has no public constructor, and only receipts and
//! notices are made as such: both are built from views that hold no answer at all.
//!
//! Nothing is sent or stored here, and no time is read: it is passed in.

mod answers;
mod department;
mod error;
mod extract;
mod gateway;
mod key_test;
mod labels;
mod list;
mod mime;
mod names;
mod notice;
mod parcel;
mod receipt;
mod record;
mod samples;
mod split;
mod templates;
mod words;

use std::path::Path;

use domain::Language;
use jiff::tz::TimeZone;

pub use department::DepartmentInput;
pub use error::LetterError;
pub use extract::{ExtractInput, Purpose as ExtractPurpose};
pub use gateway::GatewayInput;
pub use key_test::KeyTestInput;
pub use notice::{Notice, NoticeInput};
pub use parcel::{Mail, NotAParcel, Parcel, PlainMail};
pub use receipt::ReceiptInput;
pub use record::{Record, RecordFile};
pub use words::{legal_bases, period};

use templates::Templates;

/// What the controller says of itself in every letter (P9, G8): `[controller]` and `smtp.from`.
#[derive(Clone)]
pub struct Facts {
    /// The controller's name.
    pub name: String,
    /// Its postal address.
    pub address: String,
    /// The data protection officer: a mail address or a page.
    pub dpo: String,
    /// Where citizens write securely.
    pub contact_url: String,
    /// Where its privacy page is.
    pub privacy_url: String,
    /// Where to complain.
    pub complaint: String,
    /// The language of mails to departments, and of receipts where the submission names none.
    pub language: Language,
    /// In which dates and times are written.
    pub time_zone: TimeZone,
    /// The sender of every mail.
    pub from: openpgp::Mailbox,
}

/// Everything that letters are made from; loaded once, and shared by all threads.
pub struct Letters {
    facts: Facts,
    templates: Templates,
}

impl Letters {
    /// Takes the built-in templates, replaces those that `overrides` has a file for, and renders every one in every
    /// language with sample input.
    ///
    /// # Errors
    ///
    /// [`LetterError`] naming the template that cannot be read, is none of ours, or does not render strictly.
    pub fn load(facts: Facts, overrides: Option<&Path>) -> Result<Self, LetterError> {
        let letters = Self {
            facts,
            templates: Templates::load(overrides)?,
        };
        letters.check()?;
        Ok(letters)
    }
}
