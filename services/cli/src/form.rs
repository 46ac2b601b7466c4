//! `kvit form`: the forms that are configured, and form files from webforms that Drupal exported.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use domain::form::Class;
use domain::{FieldType, Form, SiteId};
use runtime::{ConfigArgs, Exit, Loaded, exit};
use serde::Serialize;
use toml_edit::DocumentMut;

use crate::app::print;
use crate::args::FormCommand;
use crate::form_import::{self, Imported, Updated};
use crate::form_register::Register;
use crate::table::table;

pub(crate) fn run(config: &ConfigArgs, command: FormCommand, json: bool) -> anyhow::Result<u8> {
    match command {
        FormCommand::List => list(&config.load().map_err(Exit::config)?, json)?,
        FormCommand::Register { language } => {
            let register = Register::new(&config.load().map_err(Exit::config)?, language);
            print(json, &register, || register.text())?;
        }
        FormCommand::Import {
            file,
            update,
            site,
            out,
        } => {
            let import = Import {
                yaml: read(&file)?,
                site: site.or_else(|| only_site(config)),
                target: target(config, out)?,
            };
            let written = if update { import.update()? } else { import.create()? };
            print(json, &written, || written.words())?;
        }
    }
    Ok(exit::OK)
}

#[derive(Serialize)]
struct Listed {
    id: String,
    sites: Vec<String>,
    kind: &'static str,
    department: String,
    fields: usize,
    /// How many fields are of each class.
    classes: BTreeMap<&'static str, usize>,
    discreet: bool,
    journalised: bool,
    file: PathBuf,
}

fn list(loaded: &Loaded, json: bool) -> anyhow::Result<()> {
    let forms: Vec<Listed> = loaded.forms.files().map(|(file, form)| listed(file, form)).collect();
    print(json, &forms, || words(&forms))
}

fn listed(file: &Path, form: &Form) -> Listed {
    let mut classes = BTreeMap::new();
    // A group is what its fields are.
    let values = form.all_fields().filter(|field| field.kind != FieldType::Group);
    for field in values {
        *classes.entry(word(form.class_of(field))).or_insert(0) += 1;
    }
    Listed {
        id: form.id.to_string(),
        sites: form.sites().map(ToString::to_string).collect(),
        kind: match form.kind {
            domain::Kind::Message => "message",
            domain::Kind::Registration => "registration",
        },
        department: form.department.to_string(),
        fields: classes.values().sum(),
        classes,
        discreet: form.is_discreet(),
        journalised: form.may_be_journalised(),
        file: file.to_owned(),
    }
}

/// A class as form files write it.
pub(crate) fn word(class: Class) -> &'static str {
    match class {
        Class::Ordinary => "ordinary",
        Class::Confidential => "confidential",
        Class::Special => "special",
        Class::Criminal => "criminal",
    }
}

fn words(forms: &[Listed]) -> String {
    let rows: Vec<_> = forms
        .iter()
        .map(|form| {
            let classes = form.classes.iter().map(|(class, count)| format!("{count} {class}"));
            [
                form.id.clone(),
                form.sites.join(", "),
                form.kind.to_owned(),
                form.department.clone(),
                form.fields.to_string(),
                classes.collect::<Vec<_>>().join(", "),
            ]
        })
        .collect();
    table(
        ["form", "sites", "kind", "department", "fields", "classes"],
        &rows,
        "no form is configured: make one from a webform with kvit form import FILE.yml",
    )
}

/// Where a form file is written.
enum Target {
    /// This file.
    File(PathBuf),
    /// A file of the form's name in this folder.
    Folder(PathBuf),
}

/// A form file on its way.
struct Import {
    yaml: String,
    site: Option<SiteId>,
    target: Target,
}

/// What was written, and what a person must still decide.
#[derive(Debug, Serialize)]
struct Written {
    form: String,
    file: PathBuf,
    updated: bool,
    changed: bool,
    todos: Vec<String>,
    notes: Vec<String>,
    diff: String,
}

impl Import {
    fn create(self) -> anyhow::Result<Written> {
        let Imported { toml, todos } = form_import::import(&self.yaml, self.site.as_ref()).map_err(Exit::data)?;
        let id = id_of(&toml).unwrap_or_default();
        if let Some(existing) = self.existing(&id) {
            let message = format!(
                "{} is there already: bring it up to the webform with --update, or give another file with --out",
                existing.display()
            );
            return Err(Exit::data(anyhow::anyhow!(message)).into());
        }
        let file = self.new_file(&id);
        write_new(&file, &toml)?;
        Ok(Written {
            form: id,
            file,
            updated: false,
            changed: true,
            todos,
            notes: Vec::new(),
            diff: String::new(),
        })
    }

    fn update(self) -> anyhow::Result<Written> {
        let fresh = form_import::import(&self.yaml, self.site.as_ref()).map_err(Exit::data)?;
        let id = id_of(&fresh.toml).unwrap_or_default();
        let Some(file) = self.existing(&id) else {
            let message = format!(
                "there is no form file of {id} to update ({}): import it without --update",
                self.new_file(&id).display()
            );
            return Err(Exit::data(anyhow::anyhow!(message)).into());
        };
        let Updated {
            toml,
            diff,
            todos,
            notes,
        } = form_import::update(&self.yaml, &read(&file)?).map_err(Exit::data)?;
        let changed = !diff.is_empty();
        if changed {
            replace(&file, &toml)?;
        }
        Ok(Written {
            form: id,
            file,
            updated: true,
            changed,
            todos,
            notes,
            diff,
        })
    }

    fn new_file(&self, id: &str) -> PathBuf {
        match &self.target {
            Target::File(file) => file.clone(),
            Target::Folder(folder) => folder.join(format!("{id}.toml")),
        }
    }

    /// The form's file, whatever its name.
    fn existing(&self, id: &str) -> Option<PathBuf> {
        let file = self.new_file(id);
        if file.exists() {
            return Some(file);
        }
        let Target::Folder(folder) = &self.target else {
            return None;
        };
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect();
        files.sort();
        let is_the_forms =
            |path: &PathBuf| std::fs::read_to_string(path).is_ok_and(|text| id_of(&text).as_deref() == Some(id));
        files.into_iter().find(is_the_forms)
    }
}

impl Written {
    fn words(&self) -> String {
        let file = self.file.display();
        let mut lines = vec![match (self.updated, self.changed) {
            (false, _) => format!("wrote {file}\n"),
            (true, true) => format!("updated {file}\n\n{}\n", self.diff.trim_end()),
            (true, false) => format!("{file} is up to date with the webform\n"),
        }];
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        if self.todos.is_empty() {
            lines.push("nothing is left to decide; kvit check, then restart intake".to_owned());
        } else {
            lines.push("to be decided before the form is taken into use:".to_owned());
            lines.extend(self.todos.iter().map(|todo| format!("  {todo}")));
            lines.push("then: kvit check, and restart intake".to_owned());
        }
        lines.join("\n")
    }
}

fn id_of(toml: &str) -> Option<String> {
    let document: DocumentMut = toml.parse().ok()?;
    Some(document.get("id")?.as_str()?.to_owned())
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file)
        .map_err(Exit::io)
        .with_context(|| format!("reading {}", file.display()))
}

fn target(config: &ConfigArgs, out: Option<PathBuf>) -> anyhow::Result<Target> {
    match out {
        Some(out) if out.extension().is_some_and(|extension| extension == "toml") && !out.is_dir() => {
            Ok(Target::File(out))
        }
        Some(out) => Ok(Target::Folder(out)),
        None => Ok(Target::Folder(forms_folder(config)?)),
    }
}

/// The configuration's folder of forms, also where a form in it is undecided and the configuration does not load.
fn forms_folder(config: &ConfigArgs) -> anyhow::Result<PathBuf> {
    let (loaded, findings) = config.examine();
    match loaded {
        Some(loaded) => Ok(loaded.config.forms_dir),
        None => Err(Exit::config(findings)).context("looking for the folder of the forms; or name one with --out")?,
    }
}

/// The only site that is configured, which then has the form.
fn only_site(config: &ConfigArgs) -> Option<SiteId> {
    let (loaded, _) = config.examine();
    let loaded = loaded?;
    let mut sites = loaded.config.sites.keys();
    let first = sites.next()?.clone();
    sites.next().is_none().then_some(first)
}

fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = std::fs::File::create_new(file)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write()
        .map_err(Exit::io)
        .with_context(|| format!("writing {}", file.display()))
}

/// Replaces a file as a whole: whoever reads it meanwhile sees the old one or the new one.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!(".{name}.new"));
    let _ = std::fs::remove_file(&beside); // left by one that was cut short
    write_new(&beside, text)?;
    std::fs::rename(&beside, file)
        .map_err(Exit::io)
        .with_context(|| format!("replacing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORT: &str = "id: hul_i_vej\ntitle: Hul i vejen\nlangcode: da\n\
        elements: \"navn:\\n  '#type': textfield\\n  '#title': Navn\\n\"\n";

    fn import(folder: &Path, yaml: &str) -> Import {
        Import {
            yaml: yaml.to_owned(),
            site: None,
            target: Target::Folder(folder.to_owned()),
        }
    }

    #[test]
    fn a_form_file_is_never_overwritten_whatever_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let written = import(folder.path(), EXPORT).create().unwrap();
        assert_eq!(written.file, folder.path().join("hul_i_vej.toml"));
        assert!(!written.todos.is_empty());
        let renamed = folder.path().join("veje.toml");
        std::fs::rename(&written.file, &renamed).unwrap();
        let refused = import(folder.path(), EXPORT).create().unwrap_err();
        assert!(refused.to_string().contains("veje.toml is there already"), "{refused}");
        assert_eq!(exit::code_of(&refused), exit::DATA);
    }

    #[test]
    fn an_update_keeps_decisions_and_says_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = import(folder.path(), EXPORT).create().unwrap().file;
        let decided = std::fs::read_to_string(&file)
            .unwrap()
            .replace("department = \"TODO\"", "department = \"veje\"");
        std::fs::write(&file, &decided).unwrap();

        let same = import(folder.path(), EXPORT).update().unwrap();
        assert!(!same.changed && same.diff.is_empty(), "{}", same.diff);

        let more = EXPORT.replace(
            "'#title': Navn\\n",
            "'#title': Navn\\nalder:\\n  '#type': number\\n  '#title': Alder\\n",
        );
        let updated = import(folder.path(), &more).update().unwrap();
        assert!(updated.diff.contains("+[fields.alder]"), "{}", updated.diff);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("department = \"veje\"") && text.contains("[fields.alder]"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_update_of_nothing_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let refused = import(folder.path(), EXPORT).update().unwrap_err();
        assert!(refused.to_string().contains("import it without --update"), "{refused}");
    }
}
