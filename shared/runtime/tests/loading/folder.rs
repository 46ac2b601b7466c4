//! A folder with a configuration, and what is said about it.

use std::path::PathBuf;

use runtime::{Findings, Layers, Loaded};
use tempfile::TempDir;

/// The configuration of the contract, shortened to what must be stated.
pub(crate) const CONFIG: &str = r#"
[controller]
name = "Eksempel Kommune"
address = "Rådhuspladsen 1, 9999 Eksempel"
dpo = "https://dpo.eksempel.example"
contact_url = "https://eksempel.example/digital-post"
privacy_url = "https://eksempel.example/databeskyttelse"
complaint = "Datatilsynet, www.datatilsynet.dk"
[smtp]
from = "Eksempel Kommune <kvittering@eksempel.example>"
bounce = "bounce@eksempel.example"
[sites.eksempel]
require_sealed = false
[departments.teknik-miljoe]
name = { da = "Teknik & Miljø" }
mail = "teknik@eksempel.example"
certificates = [{ file = "keys/t.asc", fingerprint = "0123456789012345678901234567890123456789" }]
"#;

/// A form that fits it.
pub(crate) const FORM: &str = r#"
id = "anmeldelse"
site = "eksempel"
title = { da = "Anmeldelse" }
department = "teknik-miljoe"
purpose = { da = "Behandling" }
legal_basis = ["gdpr-6-1-e"]
[fields.navn]
label = { da = "Navn" }
[fields.e_mail]
label = { da = "E-mail" }
type = "email"
[receipt]
to = "e_mail"
"#;

/// A folder with `kvit.toml` and `forms/`.
pub(crate) struct Folder {
    folder: TempDir,
    layers: Layers,
}

impl Folder {
    /// A good configuration with one good form.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("forms")).expect("a folder");
        let this = Self {
            folder,
            layers: Layers::none(),
        };
        this.write("kvit.toml", CONFIG).write("forms/anmeldelse.toml", FORM)
    }

    /// Writes a file.
    pub(crate) fn write(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path(name), text).expect("the file is written");
        self
    }

    /// Replaces a part of the configuration, which must be there.
    pub(crate) fn with(self, old: &str, new: &str) -> Self {
        self.replace("kvit.toml", old, new)
    }

    /// Replaces a part of the form, which must be there.
    pub(crate) fn with_form(self, old: &str, new: &str) -> Self {
        self.replace("forms/anmeldelse.toml", old, new)
    }

    fn replace(self, name: &str, old: &str, new: &str) -> Self {
        let text = std::fs::read_to_string(self.path(name)).expect("the file is read");
        assert!(text.contains(old), "{old} is not in {name}");
        self.write(name, &text.replace(old, new))
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.layers = self.layers.with_environment([(name.to_owned(), value.to_owned())]);
        self
    }

    /// Sets a flag.
    pub(crate) fn flag(mut self, path: &str, value: &str) -> Self {
        self.layers = self.layers.with_flag(path, value);
        self
    }

    /// A path below the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Loads it, which must go well.
    pub(crate) fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|findings| panic!("{findings}"))
    }

    /// Loads it.
    pub(crate) fn load(&self) -> Result<Loaded, Findings> {
        Loaded::load_with(&self.path("kvit.toml"), &self.layers)
    }

    /// What is said when it is loaded, one a line, without the folder's own path.
    pub(crate) fn said(&self) -> Vec<String> {
        let findings = match self.load() {
            Ok(loaded) => loaded.warnings,
            Err(findings) => findings,
        };
        let folder = format!("{}/", self.folder.path().display());
        findings
            .iter()
            .map(|finding| finding.to_string().replace(&folder, ""))
            .collect()
    }

    /// The faults that refuse; there must be some.
    pub(crate) fn refused(&self) -> Vec<String> {
        assert!(self.load().is_err(), "it is taken: {:?}", self.said());
        self.said()
            .into_iter()
            .filter(|said| !said.contains(": warning: "))
            .collect()
    }
}
