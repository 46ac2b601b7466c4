//! What can go wrong in a store, without a value of any row.
//!
//! A database's own error text may hold row values (PostgreSQL's DETAIL does), so nothing of it is kept but its code.

use std::io;

/// Why a job did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or opened.
    #[error("the store cannot be reached ({code})")]
    Unavailable {
        /// The engine's code.
        code: String,
    },
    /// The disk is full, or writing fails.
    #[error("the store cannot write ({code}): see that its disk has room and is healthy")]
    CannotWrite {
        /// The engine's code.
        code: String,
    },
    /// Another row has this key already.
    #[error("a row with this key exists already")]
    Conflict,
    /// Others held the store for too long; the job may be tried again.
    #[error("the store was busy for too long")]
    Busy,
    /// A statement failed: a fault of ours, or a damaged store.
    #[error("a statement failed in the store ({code})")]
    Statement {
        /// The engine's code.
        code: String,
    },
    /// A column did not hold what the program expects: a fault of ours, or another program's schema.
    #[error("the store holds something unexpected in column {column}")]
    Unexpected {
        /// The column's place in the statement.
        column: usize,
    },
    /// The job panicked; it was undone.
    #[error("a job of the store failed inside")]
    Panicked,
    /// The store's threads have ended.
    #[error("the store is closed")]
    Stopped,
}

impl StoreError {
    /// Whether the same job may well succeed later without anybody changing the program.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::CannotWrite { .. } | Self::Busy | Self::Stopped
        )
    }

    /// Whether the connection must be opened anew.
    pub(crate) fn breaks_connection(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::CannotWrite { .. })
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let Some(failure) = error.sqlite_error() else {
            return Self::Statement {
                code: "sqlite".to_owned(),
            };
        };
        let code = format!("sqlite {}", failure.extended_code);
        match failure.code {
            Code::DatabaseBusy | Code::DatabaseLocked | Code::FileLockingProtocolFailed => Self::Busy,
            Code::ConstraintViolation => Self::Conflict,
            Code::DiskFull | Code::SystemIoFailure | Code::ReadOnly => Self::CannotWrite { code },
            Code::CannotOpen | Code::NotADatabase | Code::PermissionDenied => Self::Unavailable { code },
            _ => Self::Statement { code },
        }
    }
}

impl From<postgres::Error> for StoreError {
    fn from(error: postgres::Error) -> Self {
        let Some(state) = error.code() else {
            let cause = std::error::Error::source(&error);
            let lost = error.is_closed() || cause.and_then(|cause| cause.downcast_ref::<io::Error>()).is_some();
            return if lost {
                Self::Unavailable {
                    code: "postgres connection".to_owned(),
                }
            } else {
                Self::Statement {
                    code: "postgres client".to_owned(),
                }
            };
        };
        let code = format!("postgres {}", state.code());
        match (state.code(), state.code().get(..2)) {
            // Read-only: a standby, which another server may replace any moment.
            ("25006", _) => Self::CannotWrite { code },
            ("25P03" | "53300", _) | (_, Some("08" | "57" | "28" | "3D")) => Self::Unavailable { code },
            (_, Some("53" | "58")) => Self::CannotWrite { code },
            (_, Some("23")) => Self::Conflict,
            (_, Some("40" | "55")) => Self::Busy,
            _ => Self::Statement { code },
        }
    }
}

/// Why a text is no store's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a store's url is sqlite:PATH or postgres://…")]
pub struct UrlError;
