//! The form files: read, checked, and found by site and form.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::form_check::{self, Declared, Weight};
use domain::{Form, FormId, SiteId};

use crate::config::document;
use crate::config::findings::{Finding, Place};
use crate::config::schema;
use crate::config::sections::Config;
use crate::config::shape::{Shaped, shape};

/// Every form, by site.
#[derive(Debug, Clone, Default)]
pub struct Forms {
    by_site: HashMap<(SiteId, FormId), Arc<Form>>,
    all: Vec<(PathBuf, Arc<Form>)>,
}

impl Forms {
    /// The form of this name on this site.
    #[must_use]
    pub fn get(&self, site: &SiteId, form: &FormId) -> Option<&Arc<Form>> {
        self.by_site.get(&(site.clone(), form.clone()))
    }

    /// Each form once, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Form>> {
        self.all.iter().map(|(_, form)| form)
    }

    /// Each form with its file.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &Arc<Form>)> {
        self.all.iter().map(|(path, form)| (path.as_path(), form))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Reads the folder of a configuration. `shown` is how messages name it.
    pub(crate) fn load(config: &Config, shown: &Path, findings: &mut Vec<Finding>) -> Self {
        let declared = Declared {
            sites: config.sites.keys().cloned().collect(),
            departments: config.departments.keys().cloned().collect(),
            journal_targets: config.journal_targets.keys().cloned().collect(),
        };
        let mut forms = Self::default();
        let paths = match toml_files(&config.forms_dir) {
            Ok(paths) => paths,
            Err(error) => {
                findings.push(about(
                    shown,
                    Weight::Refused,
                    format!("cannot read the folder of the forms: {error}"),
                ));
                return forms;
            }
        };
        if paths.is_empty() {
            findings.push(about(
                shown,
                Weight::Warning,
                "no form files: every message is quarantined".to_owned(),
            ));
        }
        let mut stated = HashMap::new();
        for path in paths {
            let shown = path.file_name().map_or_else(|| path.clone(), |name| shown.join(name));
            forms.read(path, &shown, &declared, &mut stated, findings);
        }
        forms
    }

    fn read(
        &mut self,
        path: PathBuf,
        shown: &Path,
        declared: &Declared,
        stated: &mut HashMap<(SiteId, FormId), Place>,
        findings: &mut Vec<Finding>,
    ) {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                findings.push(about(shown, Weight::Refused, format!("cannot read it: {error}")));
                return;
            }
        };
        let Some((form, shaped)) = parse(&text, shown, declared, findings) else {
            return;
        };
        let form = Arc::new(form);
        let place = shaped.places.of(&["id".to_owned()]);
        for site in form.sites() {
            let key = (site.clone(), form.id.clone());
            if let Some(other) = stated.get(&key) {
                let message = format!("form `{}` of site `{site}` is already stated at {other}", form.id);
                findings.push(Finding::error(place.clone(), message));
            } else {
                stated.insert(key.clone(), place.clone());
                self.by_site.insert(key, Arc::clone(&form));
            }
        }
        self.all.push((path, form));
    }
}

fn parse(text: &str, shown: &Path, declared: &Declared, findings: &mut Vec<Finding>) -> Option<(Form, Shaped)> {
    let file = shown.into();
    let document = match document::read(text, &file) {
        Ok(document) => document,
        Err(faults) => {
            findings.extend(faults);
            return None;
        }
    };
    let mut found = Vec::new();
    let shaped = shape(&document, schema::form(), Path::new(""), &mut found);
    let form = match serde_json::from_value::<Form>(shaped.json.clone()) {
        Ok(form) => form,
        Err(error) => {
            found.push(about(
                shown,
                Weight::Refused,
                format!("the form cannot be read: {error}"),
            ));
            findings.append(&mut found);
            return None;
        }
    };
    found.extend(shaped.findings(form_check::check(&form, declared)));
    found.sort_by_key(Finding::line);
    findings.append(&mut found);
    Some((form, shaped))
}

/// Checks the text of a form file against what a configuration declares, without loading it: for `kvit form import`.
#[must_use]
pub fn check_form(text: &str, shown: &Path, config: &Config) -> Vec<Finding> {
    let declared = Declared {
        sites: config.sites.keys().cloned().collect(),
        departments: config.departments.keys().cloned().collect(),
        journal_targets: config.journal_targets.keys().cloned().collect(),
    };
    let mut findings = Vec::new();
    parse(text, shown, &declared, &mut findings);
    findings
}

/// The folder's form files by name; editors' hidden files are none.
fn toml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn about(file: &Path, weight: Weight, message: String) -> Finding {
    let place = Place::File {
        file: file.into(),
        line: 0,
    };
    Finding {
        weight,
        ..Finding::error(place, message)
    }
}
