//! `kvit form register`: the record of processing activities that article 30 of GDPR asks for, from the configuration.
//!
//! One activity a form, with everything that paragraph 1 lists, in the controller's language or the one that is asked
//! for. It says what Kvit is configured to do; what a department does with its mails is the department's own entry.

use std::collections::BTreeMap;

use domain::form::{JournalWhen, JournalWord, Targets};
use domain::{FieldType, Form, Kind, Language};
use runtime::Loaded;
use runtime::config::Environment;
use serde::Serialize;

use crate::form::word;

/// The register.
#[derive(Debug, Serialize)]
pub(crate) struct Register {
    language: Language,
    controller: Controller,
    activities: Vec<Activity>,
}

/// Article 30(1)(a)
#[derive(Debug, Serialize)]
struct Controller {
    name: String,
    address: String,
    contact: String,
    data_protection_officer: String,
}

#[derive(Debug, Serialize)]
struct Activity {
    form: String,
    title: String,
    sites: Vec<String>,
    /// Whether every site that has it is a test.
    test: bool,
    /// (b)
    purpose: String,
    legal_basis: Vec<String>,
    legal_basis_in_words: String,
    /// (c)
    data_subjects: String,
    /// (c): the fields of each class, by their labels.
    data: BTreeMap<&'static str, Vec<String>>,
    /// (d)
    recipients: Vec<Recipient>,
    /// (e)
    third_countries: String,
    /// (f)
    erasure: Vec<String>,
    /// (g)
    security: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Recipient {
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    processor_agreement: Option<String>,
}

impl Register {
    /// The register of what is configured.
    pub(crate) fn new(loaded: &Loaded, language: Option<Language>) -> Self {
        let controller = &loaded.config.controller;
        let language = language.unwrap_or(controller.language);
        Self {
            language,
            controller: Controller {
                name: controller.name.clone(),
                address: controller.address.clone(),
                contact: controller.contact_url.clone(),
                data_protection_officer: controller.dpo.clone(),
            },
            activities: loaded
                .forms
                .iter()
                .map(|form| activity(loaded, form, language))
                .collect(),
        }
    }

    /// The register as a text with headings.
    pub(crate) fn text(&self) -> String {
        let say = Said(self.language);
        let controller = &self.controller;
        let mut text = format!(
            "# {}\n\n{}: {}, {}, {}\n{}: {}\n",
            say.of(
                "Fortegnelse over behandlingsaktiviteter (databeskyttelsesforordningens artikel 30)",
                "Record of processing activities (Article 30 GDPR)"
            ),
            say.of("Dataansvarlig", "Controller"),
            controller.name,
            controller.address,
            controller.contact,
            say.of("Databeskyttelsesrådgiver", "Data protection officer"),
            controller.data_protection_officer,
        );
        for activity in &self.activities {
            text.push_str(&activity.text(say));
        }
        text
    }
}

impl Activity {
    fn text(&self, say: Said) -> String {
        let test = if self.test { say.of(" (test)", " (test)") } else { "" };
        let data: Vec<String> = self
            .data
            .iter()
            .map(|(class, fields)| format!("{}: {}", say.class(class), fields.join(", ")))
            .collect();
        let recipients: Vec<String> = self
            .recipients
            .iter()
            .map(|recipient| match &recipient.processor_agreement {
                Some(agreement) => format!(
                    "{} ({}: {agreement})",
                    recipient.name,
                    say.of("databehandleraftale", "processor agreement")
                ),
                None => recipient.name.clone(),
            })
            .collect();
        let security: Vec<String> = self.security.iter().map(|line| (*line).to_owned()).collect();
        let rows = [
            (say.of("Formål", "Purpose"), vec![self.purpose.clone()]),
            (
                say.of("Hjemmel", "Legal basis"),
                vec![self.legal_basis_in_words.clone()],
            ),
            (
                say.of("Registrerede", "Data subjects"),
                vec![self.data_subjects.clone()],
            ),
            (say.of("Oplysninger", "Personal data"), data),
            (say.of("Modtagere", "Recipients"), recipients),
            (
                say.of("Tredjelande", "Third countries"),
                vec![self.third_countries.clone()],
            ),
            (say.of("Sletning", "Erasure"), self.erasure.clone()),
            (say.of("Sikkerhed", "Security"), security),
        ];
        let mut text = format!(
            "\n## {}{test}\n\n{} · {}\n",
            self.title,
            self.form,
            self.sites.join(", ")
        );
        for (heading, lines) in rows {
            text.extend(["\n", heading, ":\n"]);
            text.extend(lines.iter().map(|line| format!("- {line}\n")));
        }
        text
    }
}

/// Words in the register's language.
#[derive(Debug, Clone, Copy)]
struct Said(Language);

impl Said {
    fn of<'a>(self, danish: &'a str, english: &'a str) -> &'a str {
        match self.0 {
            Language::Da => danish,
            Language::En => english,
        }
    }

    fn class(self, class: &str) -> &str {
        match class {
            "confidential" => self.of("fortrolige", "confidential"),
            "special" => self.of("følsomme", "special categories"),
            "criminal" => self.of("strafbare forhold", "criminal offences"),
            _ => self.of("almindelige", "ordinary"),
        }
    }
}

fn activity(loaded: &Loaded, form: &Form, language: Language) -> Activity {
    let say = Said(language);
    let is_test = |site| {
        let site = loaded.config.sites.get(site);
        site.is_some_and(|site| site.environment == Environment::Test)
    };
    Activity {
        form: form.id.to_string(),
        title: form.title.get(language).to_owned(),
        sites: form.sites().map(ToString::to_string).collect(),
        test: form.sites().all(is_test),
        purpose: form.purpose.get(language).to_owned(),
        legal_basis: form.legal_basis.clone(),
        legal_basis_in_words: letter::legal_bases(&form.legal_basis, language),
        data_subjects: say
            .of(
                "De, der indsender formularen, og personer, som de nævner i den",
                "Those who submit the form, and persons whom they mention in it",
            )
            .to_owned(),
        data: data(form, language),
        recipients: recipients(loaded, form, language),
        third_countries: say.of("Ingen overførsel", "No transfer").to_owned(),
        erasure: erasure(loaded, form, language),
        security: security(say),
    }
}

/// The labels of the fields that hold values, by class.
fn data(form: &Form, language: Language) -> BTreeMap<&'static str, Vec<String>> {
    let mut data: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for field in form.all_fields().filter(|field| field.kind != FieldType::Group) {
        let labels = data.entry(word(form.class_of(field))).or_default();
        labels.push(field.label.get(language).to_owned());
    }
    data
}

fn recipients(loaded: &Loaded, form: &Form, language: Language) -> Vec<Recipient> {
    let config = &loaded.config;
    let department = config.departments.get(&form.department);
    let name = department.map_or_else(|| form.department.to_string(), |one| one.name.get(language).to_owned());
    let mut recipients = vec![Recipient {
        kind: "department",
        name,
        processor_agreement: None,
    }];
    for target in targets(form) {
        recipients.push(match config.journal_targets.get(&target) {
            Some(outside) => Recipient {
                kind: "journal",
                name: target,
                processor_agreement: Some(outside.processor_agreement.clone()),
            },
            None => Recipient {
                kind: "journal",
                name: Said(language).of("Kvits egen journal", "Kvit's own journal").to_owned(),
                processor_agreement: None,
            },
        });
    }
    recipients
}

/// The journals that its submissions may go to.
fn targets(form: &Form) -> Vec<String> {
    let rule = form.journal.as_ref().filter(|rule| !rule.is_never());
    match rule.map(|rule| &rule.target) {
        None => Vec::new(),
        Some(None) => vec!["embedded".to_owned()],
        Some(Some(Targets::One(name))) => vec![name.clone()],
        Some(Some(Targets::Several(names))) => names.clone(),
    }
}

fn erasure(loaded: &Loaded, form: &Form, language: Language) -> Vec<String> {
    let say = Said(language);
    let mut lines = vec![
        match form.kind {
            Kind::Message => say.of(
                "Indsendelsen: straks når mailen til afdelingen og kvitteringen er afsendt",
                "The submission: as soon as the department's mail and the receipt have been sent",
            ),
            Kind::Registration => say.of(
                "Indsendelsen: når fristen er udløbet og listen er trukket; tilmeldingen: når arrangementet er afviklet",
                "The submission: when the deadline has passed and the list has been drawn; the registration: when the event has been held",
            ),
        }
        .to_owned(),
    ];
    if let Some(rule) = form.journal.as_ref().filter(|rule| !rule.is_never()) {
        let period = rule.period.as_deref().unwrap_or_default();
        let period = letter::period(period, language);
        let preserved = rule.archive == Some(domain::form::Archive::Preserve);
        let after = if preserved {
            say.of(
                ", efter aflevering til arkiv",
                ", after it was handed over to an archive",
            )
        } else {
            ""
        };
        let when = match &rule.when {
            JournalWhen::Word(JournalWord::Always) => say.of("alle", "all"),
            _ => say.of("dem, der hører til en sag", "those that belong to a case"),
        };
        lines.push(format!(
            "{} ({when}): {period} {}{after}",
            say.of("Journalen", "The journal"),
            say.of("efter sagens afslutning", "after the case was closed"),
        ));
    }
    let link = loaded.config.retention.link;
    let days = link.as_hours() / 24;
    lines.push(format!(
        "{}: {days} {}",
        say.of(
            "Spor uden indhold, som en gentagelse genkendes på",
            "Traces without content, by which a repeat is recognised"
        ),
        say.of("dage, højst en måned mere", "days, and up to a month more"),
    ));
    lines
}

fn security(say: Said) -> Vec<&'static str> {
    let lines = [
        (
            "Mails til afdelingen er krypteret med OpenPGP",
            "Mails to the department are encrypted with OpenPGP",
        ),
        (
            "Indhold opbevares kun krypteret, hver indsendelse med sin egen nøgle, som destrueres ved sletning",
            "Content is kept encrypted only, each submission under a key of its own that is destroyed on deletion",
        ),
        (
            "Logge, mål og driftskommandoer viser intet indhold",
            "Logs, metrics and operators' commands show no content",
        ),
        (
            "Sletning kan bevises i en signeret log uden personoplysninger",
            "Deletion can be proved by a signed log without personal data",
        ),
    ];
    lines
        .into_iter()
        .map(|(danish, english)| match say.0 {
            Language::Da => danish,
            Language::En => english,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::Layers;

    fn register(language: Language) -> Register {
        let folder = tempfile::tempdir().unwrap();
        let created = crate::init::create(folder.path()).unwrap();
        let loaded = Loaded::load_with(&created.config, &Layers::default()).unwrap();
        Register::new(&loaded, Some(language))
    }

    /// D5, P5, P6, G8
    #[test]
    fn each_form_is_an_activity_with_everything_that_article_30_lists() {
        let value = serde_json::to_value(register(Language::En)).unwrap();
        assert_eq!(value["controller"]["name"], "Eksempel Kommune");
        let activity = &value["activities"][0];
        assert_eq!(activity["form"], "anmeldelse_teknik_miljoe");
        assert_eq!(activity["legal_basis"][0], "gdpr-6-1-e");
        assert_eq!(activity["legal_basis_in_words"], "Article 6(1)(e) GDPR");
        assert_eq!(activity["recipients"][0]["kind"], "department");
        for part in ["purpose", "data_subjects", "third_countries"] {
            assert!(!activity[part].as_str().unwrap().is_empty(), "{part}");
        }
        assert!(!activity["data"]["ordinary"].as_array().unwrap().is_empty());
        assert!(activity["erasure"].as_array().unwrap().len() >= 2);
    }

    #[test]
    fn it_is_written_in_both_languages() {
        let (danish, english) = (register(Language::Da).text(), register(Language::En).text());
        assert!(
            danish.contains("Hjemmel:\n- databeskyttelsesforordningens artikel 6, stk. 1, litra e\n"),
            "{danish}"
        );
        assert!(english.contains("Erasure:\n- The submission: as soon as"), "{english}");
    }
}
