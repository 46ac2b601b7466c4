//! Exit statuses, after `sysexits.h`: a failure carries the one it ends the program with.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::config::{ConfigError, Findings};

/// Done.
pub const OK: u8 = 0;
/// The command line is wrong (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// The data was refused (`EX_DATAERR`).
pub const DATA: u8 = 65;
/// A service is unavailable (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;
/// Reading or writing failed (`EX_IOERR`).
pub const IO: u8 = 74;
/// The configuration is wrong (`EX_CONFIG`).
pub const CONFIG: u8 = 78;

/// A failure with the status that the program ends with. It reads as its cause does.
pub struct Exit {
    /// The status.
    pub code: u8,
    /// What failed.
    pub cause: anyhow::Error,
}

impl Exit {
    /// A failure that ends the program with this status.
    pub fn new(code: u8, cause: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            cause: cause.into(),
        }
    }

    /// The command line is wrong: 64.
    pub fn usage(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(USAGE, cause)
    }

    /// The data was refused: 65.
    pub fn data(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(DATA, cause)
    }

    /// A service is unavailable: 69.
    pub fn unavailable(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(UNAVAILABLE, cause)
    }

    /// Reading or writing failed: 74.
    pub fn io(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(IO, cause)
    }

    /// The configuration is wrong: 78.
    pub fn config(cause: impl Into<anyhow::Error>) -> Self {
        Self::new(CONFIG, cause)
    }
}

impl fmt::Debug for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exit({}, {:?})", self.code, self.cause)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for Exit {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// The status that a failure ends the program with: what it says itself, else what its causes are.
#[must_use]
pub fn code_of(error: &anyhow::Error) -> u8 {
    if let Some(exit) = error.downcast_ref::<Exit>() {
        return exit.code;
    }
    for cause in error.chain() {
        if let Some(exit) = cause.downcast_ref::<Exit>() {
            return exit.code;
        }
        if cause.is::<ConfigError>() || cause.is::<Findings>() {
            return CONFIG;
        }
        if cause.is::<std::io::Error>() {
            return IO;
        }
    }
    UNAVAILABLE
}

/// [`code_of`] for `main`.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(code_of(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn a_failure_says_its_status_through_any_context() {
        let error = anyhow::Error::from(Exit::data(anyhow!("refused"))).context("checking");
        assert_eq!(code_of(&error), DATA);
        assert_eq!(format!("{error:#}"), "checking: refused");
    }

    #[test]
    fn a_failure_without_a_status_is_judged_by_its_cause() {
        let io = std::fs::read("/nonexistent/kvit")
            .context("reading")
            .expect_err("no file");
        assert_eq!(code_of(&io), IO);
        let missing = anyhow::Error::from(ConfigError::Missing { key: "broker.url" });
        assert_eq!(code_of(&missing), CONFIG);
        assert_eq!(code_of(&anyhow!("something")), UNAVAILABLE);
    }

    #[test]
    fn a_status_keeps_the_causes_below_it() {
        let cause = std::fs::read("/nonexistent/kvit")
            .context("cannot read the file")
            .expect_err("no file");
        let error = anyhow::Error::from(Exit::unavailable(cause));
        assert_eq!(code_of(&error), UNAVAILABLE);
        assert!(format!("{error:#}").starts_with("cannot read the file: No such file"));
    }
}
