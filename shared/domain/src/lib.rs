//! The words of Kvit: submissions, forms, duties, and when a submission may be deleted.
//!
//! Everything here is pure: no input or output, no clock, no randomness of its own. What a service needs from outside
//! (a time, a random value) is passed in, so that every rule can be tested in every order.

pub mod address;
pub mod answer;
pub mod basis;
pub mod cpr;
pub mod disposal;
pub mod duty;
pub mod event;
pub mod form;
pub mod form_check;
pub mod id;
pub mod lineage;
pub mod pause;
pub mod quarantine;
pub mod retention;
pub mod role;
pub mod submission;
pub mod words;

pub use address::EmailAddress;
pub use answer::{Answers, File, Remark, Value};
pub use disposal::{Disposal, disposal};
pub use duty::{DutyKind, DutyState, Reason};
pub use form::{Field, FieldType, Form};
pub use id::{DepartmentId, DutyId, FormId, Reference, SiteId, SubmissionId};
pub use pause::Pausable;
pub use role::Role;
pub use submission::{Kind, State, Submission};
pub use words::{Language, Words};
