//! The departments' certificates: read, pinned, watched, and added to at run time.
//!
//! A file that changes is picked up when its primary key is the pinned one; a certificate that `kvit key add` recorded
//! stands beside the configured ones, and takes the place of an unusable one.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use domain::{DepartmentId, Reason};
use jiff::Timestamp;
use ledger::Ledger;
use openpgp::{Certificate, CertificateState};
use runtime::Config;
use runtime::config::{CertificateFile, Require};

/// A certificate as it stands now.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The department; `None` for the recovery certificate.
    pub department: Option<DepartmentId>,
    /// The fingerprint that it must have.
    pub fingerprint: String,
    /// The file; `None` where `kvit key add` recorded it.
    pub file: Option<PathBuf>,
    /// Whether it can be used now.
    pub state: CertificateState,
    /// When it can no longer be used; `None` where that is never, or already so.
    pub expires: Option<Timestamp>,
    /// What it is.
    pub algorithm: Option<String>,
}

/// Whether a department can be written to.
pub enum DepartmentState {
    /// To these certificates, the recovery certificate among them.
    Usable(Vec<Certificate>),
    /// Not now: the mail is held with this reason.
    Held(Reason),
}

type Read = (Option<SystemTime>, Result<Certificate, CertificateState>);

/// A certificate that was recorded at run time.
struct Added {
    department: String,
    fingerprint: String,
    armored: Vec<u8>,
    read: Result<Certificate, CertificateState>,
}

/// Every certificate that mails to departments are encrypted to.
pub struct Certificates {
    config: Arc<runtime::Loaded>,
    files: RwLock<HashMap<PathBuf, Read>>,
    added: RwLock<Vec<Added>>,
}

impl Certificates {
    /// The configured certificates, each read when it is first needed.
    #[must_use]
    pub fn new(config: Arc<runtime::Loaded>) -> Self {
        Self {
            config,
            files: RwLock::default(),
            added: RwLock::default(),
        }
    }

    fn config(&self) -> &Config {
        &self.config.config
    }

    /// Reads anew the files that changed, and what was added at run time.
    ///
    /// # Errors
    ///
    /// Where the ledger did not answer; the files are read all the same.
    pub async fn refresh(&self, ledger: &Ledger) -> Result<(), store::StoreError> {
        let configured = self.configured();
        for (_, file) in &configured {
            let modified = modified(&file.file);
            let known = self
                .files
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&file.file)
                .map(|read| read.0);
            if known != Some(modified) {
                let _ = self.read_file(file, modified);
            }
        }
        let recorded = ledger.certificates().await?;
        let mut added = self.added.write().unwrap_or_else(PoisonError::into_inner);
        // The same key comes again with another expiry: the bytes say whether anything changed.
        let same = recorded.len() == added.len()
            && recorded.iter().zip(added.iter()).all(|(now, before)| {
                (&now.0, &now.1, &now.2) == (&before.department, &before.fingerprint, &before.armored)
            });
        if !same {
            *added = recorded
                .into_iter()
                .map(|(department, fingerprint, armored)| Added {
                    read: Certificate::read(&armored, Some(&fingerprint)),
                    department,
                    fingerprint,
                    armored,
                })
                .collect();
        }
        Ok(())
    }

    fn configured(&self) -> Vec<(Option<DepartmentId>, &CertificateFile)> {
        let departments = self.config().departments.iter();
        let of_departments = departments
            .flat_map(|(id, department)| department.certificates.iter().map(|file| (Some(id.clone()), file)));
        let recovery = self
            .config()
            .recovery
            .iter()
            .map(|recovery| (None, &recovery.certificate));
        of_departments.chain(recovery).collect()
    }

    fn read_file(&self, file: &CertificateFile, modified: Option<SystemTime>) -> Result<Certificate, CertificateState> {
        let read = std::fs::read(&file.file)
            .map_err(|_| CertificateState::Unreadable)
            .and_then(|bytes| Certificate::read(&bytes, Some(&file.fingerprint)));
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.insert(file.file.clone(), (modified, read.clone()));
        read
    }

    fn get(&self, file: &CertificateFile) -> Result<Certificate, CertificateState> {
        let known = self
            .files
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&file.file)
            .map(|read| read.1.clone());
        known.unwrap_or_else(|| self.read_file(file, modified(&file.file)))
    }

    /// Whether, and to which certificates, a department can be written to now.
    #[must_use]
    pub fn of(&self, department: &DepartmentId, now: Timestamp) -> DepartmentState {
        let Some(settings) = self.config().departments.get(department) else {
            return DepartmentState::Held(Reason::Unreadable);
        };
        let configured = settings.certificates.iter().map(|file| self.get(file));
        let added = self.added.read().unwrap_or_else(PoisonError::into_inner);
        let mine = added.iter().filter(|added| added.department == department.as_str());
        let replacements: Vec<_> = mine.filter_map(|added| usable(added.read.clone(), now).ok()).collect();
        let mut recipients = replacements.clone();
        let mut missing = None;
        for certificate in configured {
            match usable(certificate, now) {
                Ok(certificate) => recipients.push(certificate),
                Err(state) => missing = missing.or(Some(state)),
            }
        }
        drop(added);
        let mut seen = HashSet::new();
        recipients.retain(|certificate| seen.insert(certificate.fingerprint()));
        let covered = !replacements.is_empty() || settings.require == Require::Any;
        if recipients.is_empty() || (missing.is_some() && !covered) {
            return DepartmentState::Held(reason(missing.unwrap_or(CertificateState::NoEncryptionKey)));
        }
        match self.recovery(now) {
            Ok(recovery) => {
                recipients.extend(recovery);
                DepartmentState::Usable(recipients)
            }
            Err(_) if settings.require == Require::Any => DepartmentState::Usable(recipients),
            Err(state) => DepartmentState::Held(reason(state)),
        }
    }

    fn recovery(&self, now: Timestamp) -> Result<Option<Certificate>, CertificateState> {
        let recovery = self.config().recovery.as_ref();
        recovery
            .map(|recovery| usable(self.get(&recovery.certificate), now))
            .transpose()
    }

    /// Every certificate as it stands now.
    #[must_use]
    pub fn list(&self, now: Timestamp) -> Vec<Listed> {
        let listed = |department, fingerprint: &str, file, read: Result<Certificate, CertificateState>| Listed {
            department,
            fingerprint: fingerprint.to_owned(),
            file,
            state: read
                .as_ref()
                .map_or_else(|state| *state, |certificate| certificate.state(now)),
            expires: read.as_ref().ok().and_then(|certificate| certificate.expires(now)),
            algorithm: read.as_ref().ok().map(Certificate::algorithm),
        };
        let mut all: Vec<_> = self
            .configured()
            .into_iter()
            .map(|(department, file)| listed(department, &file.fingerprint, Some(file.file.clone()), self.get(file)))
            .collect();
        let added = self.added.read().unwrap_or_else(PoisonError::into_inner);
        all.extend(added.iter().map(|added| {
            listed(
                added.department.parse().ok(),
                &added.fingerprint,
                None,
                added.read.clone(),
            )
        }));
        all
    }
}

fn usable(read: Result<Certificate, CertificateState>, now: Timestamp) -> Result<Certificate, CertificateState> {
    let certificate = read?;
    match certificate.state(now) {
        CertificateState::Usable => Ok(certificate),
        state => Err(state),
    }
}

fn reason(state: CertificateState) -> Reason {
    Option::<Reason>::from(state).unwrap_or(Reason::NoEncryptionKey)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}
