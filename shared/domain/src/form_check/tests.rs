use super::*;
use crate::form::{Archive, EventRule, JournalCondition, JournalRule, JournalWhen, JournalWord, ReceiptRule, Targets};

fn words(text: &str) -> Words {
    Words {
        da: Some(text.to_owned()),
        en: None,
    }
}

fn field(kind: FieldType) -> Field {
    Field {
        label: words("Felt"),
        kind,
        multiple: false,
        required: false,
        class: None,
        section: None,
        options: IndexMap::new(),
        computed: false,
        fields: IndexMap::new(),
    }
}

fn a_form() -> Form {
    Form {
        id: "anmeldelse".parse().unwrap(),
        site: Some("eksempel".parse().unwrap()),
        sites: Vec::new(),
        title: words("Anmeldelse"),
        discreet: false,
        kind: Kind::Message,
        department: "teknik".parse().unwrap(),
        purpose: words("Behandling"),
        legal_basis: vec!["gdpr-6-1-e".to_owned()],
        default_class: Class::Ordinary,
        strict: false,
        unknown_fields: None,
        alarm_after: None,
        fields: IndexMap::from([
            ("navn".to_owned(), field(FieldType::Text)),
            ("e_mail".to_owned(), field(FieldType::Email)),
        ]),
        receipt: Some(ReceiptRule {
            to: "e_mail".to_owned(),
            key: None,
        }),
        journal: None,
        event: None,
    }
}

fn declared() -> Declared {
    Declared {
        sites: vec!["eksempel".parse().unwrap()],
        departments: vec!["teknik".parse().unwrap()],
        journal_targets: vec!["esdh".to_owned()],
    }
}

/// What is refused of a form, as `path: message`.
fn refused(change: impl FnOnce(&mut Form)) -> Vec<String> {
    told(change, Weight::Refused)
}

fn warned(change: impl FnOnce(&mut Form)) -> Vec<String> {
    told(change, Weight::Warning)
}

fn told(change: impl FnOnce(&mut Form), weight: Weight) -> Vec<String> {
    let mut form = a_form();
    change(&mut form);
    let faults = check(&form, &declared())
        .into_iter()
        .filter(|fault| fault.weight == weight);
    faults
        .map(|fault| format!("{}: {}", fault.path.join("."), fault.message))
        .collect()
}

/// The one path at which a form is refused.
fn refused_at(change: impl FnOnce(&mut Form)) -> String {
    let told = refused(change);
    assert_eq!(told.len(), 1, "{told:?}");
    told[0].split(':').next().unwrap_or_default().to_owned()
}

fn with_class(form: &mut Form, class: Class, bases: &[&str]) {
    form.fields["navn"].class = Some(class);
    form.legal_basis = bases.iter().map(|basis| (*basis).to_owned()).collect();
}

fn journalised() -> JournalRule {
    JournalRule {
        when: JournalWhen::Word(JournalWord::Always),
        wait: None,
        target: None,
        theme: Some(words("Fejl på vej")),
        kle: None,
        party: None,
        period: Some("P5Y".to_owned()),
        archive: Some(Archive::Discard),
    }
}

#[test]
fn a_good_form_has_no_fault() {
    assert_eq!(check(&a_form(), &declared()), []);
}

/// P5
#[test]
fn a_form_without_purpose_or_basis_is_refused() {
    assert_eq!(refused_at(|form| form.purpose = Words::default()), "purpose");
    assert_eq!(refused_at(|form| form.purpose = words("  ")), "purpose");
    assert_eq!(refused_at(|form| form.legal_basis.clear()), "legal_basis");
}

/// P7
#[test]
fn a_basis_that_is_not_known_is_refused_with_the_known_ones() {
    let mut form = a_form();
    form.legal_basis = vec!["gdpr-6-1-x".to_owned()];
    let faults = check(&form, &declared());
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].path, ["legal_basis", "0"]);
    assert_eq!(faults[0].wrong.as_deref(), Some("gdpr-6-1-x"));
    assert!(faults[0].known.contains(&"gdpr-6-1-e".to_owned()));
}

/// P7
#[test]
fn a_missing_kind_of_basis_is_refused() {
    let special = Class::Special;
    let criminal = Class::Criminal;
    assert_eq!(
        refused_at(|form| with_class(form, special, &["gdpr-6-1-e"])),
        "legal_basis"
    );
    assert_eq!(
        refused_at(|form| with_class(form, special, &["gdpr-9-2-g"])),
        "legal_basis"
    );
    assert_eq!(
        refused_at(|form| with_class(form, criminal, &["gdpr-6-1-e", "gdpr-10"])),
        "legal_basis"
    );
    assert_eq!(
        refused_at(|form| with_class(form, criminal, &["gdpr-6-1-e", "dbl-8"])),
        "legal_basis"
    );
    assert!(refused(|form| with_class(form, special, &["gdpr-6-1-e", "gdpr-9-2-g"])).is_empty());
    assert!(refused(|form| with_class(form, criminal, &["gdpr-6-1-e", "gdpr-10", "dbl-8"])).is_empty());
    assert!(refused(|form| with_class(form, Class::Confidential, &["gdpr-6-1-c"])).is_empty());
}

/// P7
#[test]
fn a_special_field_of_a_group_needs_its_basis_too() {
    let told = refused(|form| {
        let mut group = field(FieldType::Group);
        let mut inner = field(FieldType::Text);
        inner.class = Some(Class::Special);
        group.fields.insert("diagnose".to_owned(), inner);
        form.fields.insert("personer".to_owned(), group);
    });
    assert_eq!(
        told,
        ["legal_basis: field `diagnose` (special) needs the basis `gdpr-9-2-*`"]
    );
}

/// P7
#[test]
fn a_basis_outside_the_rule_is_a_warning() {
    for (basis, warns) in [
        ("gdpr-6-1-a", false),
        ("gdpr-6-1-b", true),
        ("gdpr-6-1-c", false),
        ("gdpr-6-1-f", true),
    ] {
        let change = |form: &mut Form| form.legal_basis = vec![basis.to_owned()];
        assert!(refused(change).is_empty(), "{basis}");
        assert_eq!(!warned(change).is_empty(), warns, "{basis}");
    }
    assert!(!warned(|form| with_class(form, Class::Special, &["gdpr-6-1-e", "gdpr-9-2-h"])).is_empty());
    assert!(warned(|form| with_class(form, Class::Special, &["gdpr-6-1-e", "gdpr-9-2-f"])).is_empty());
}

/// P4
#[test]
fn a_cpr_number_needs_section_eleven() {
    let cpr = |bases: &'static [&str]| {
        move |form: &mut Form| {
            form.fields.insert("cpr".to_owned(), field(FieldType::Cpr));
            form.fields["cpr"].class = Some(Class::Confidential);
            form.legal_basis = bases.iter().map(|basis| (*basis).to_owned()).collect();
        }
    };
    let told = refused(cpr(&["gdpr-6-1-e"]));
    assert_eq!(
        told,
        ["legal_basis: field `cpr` (a CPR number) needs the basis `dbl-11`"]
    );
    assert!(refused(cpr(&["gdpr-6-1-e", "dbl-11"])).is_empty());
}

/// P6
#[test]
fn an_ordinary_cpr_number_is_a_warning() {
    let told = warned(|form| {
        form.fields.insert("cpr".to_owned(), field(FieldType::Cpr));
    });
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("fields.cpr:"), "{told:?}");
}

/// P3
#[test]
fn what_a_rule_names_must_be_a_field() {
    assert_eq!(
        refused_at(|form| form.receipt.as_mut().unwrap().to = "email".into()),
        "receipt.to"
    );
    assert_eq!(
        refused_at(|form| form.receipt.as_mut().unwrap().key = Some("pgp".into())),
        "receipt.key"
    );
    assert_eq!(
        refused_at(|form| form.fields["e_mail"].kind = FieldType::File),
        "receipt.to",
        "a file is no address"
    );
    let party = JournalRule {
        party: Some("cpr".into()),
        ..journalised()
    };
    assert_eq!(refused_at(|form| form.journal = Some(party)), "journal.party");
}

/// J1
#[test]
fn a_condition_names_a_field_and_one_of_its_options() {
    let when = |field: &str, equals: &str| JournalRule {
        when: JournalWhen::Field(JournalCondition {
            field: field.into(),
            equals: equals.into(),
        }),
        ..journalised()
    };
    assert_eq!(
        refused_at(|form| form.journal = Some(when("sag", "ja"))),
        "journal.when.field"
    );
    let with_options = |equals: &'static str| {
        move |form: &mut Form| {
            form.fields["navn"].options.insert("ja".into(), words("Ja"));
            form.journal = Some(when("navn", equals));
        }
    };
    assert!(warned(with_options("ja")).is_empty());
    assert_eq!(warned(with_options("jo")).len(), 1);
}

/// D4, D6
#[test]
fn period_and_archive_must_be_stated_unless_never() {
    let change = |change: fn(&mut JournalRule)| {
        let mut rule = journalised();
        change(&mut rule);
        move |form: &mut Form| form.journal = Some(rule)
    };
    assert!(refused(change(|_| ())).is_empty());
    assert_eq!(refused_at(change(|rule| rule.period = None)), "journal.period");
    assert_eq!(
        refused_at(change(|rule| rule.period = Some("five years".into()))),
        "journal.period"
    );
    assert_eq!(refused_at(change(|rule| rule.archive = None)), "journal.archive");
    assert_eq!(refused_at(change(|rule| rule.wait = Some("14".into()))), "journal.wait");
    assert_eq!(
        refused_at(change(|rule| rule.when = JournalWhen::Word(JournalWord::Marked))),
        "journal.wait"
    );
    assert!(
        refused(change(|rule| {
            rule.when = JournalWhen::Word(JournalWord::Never);
            rule.period = None;
            rule.archive = None;
        }))
        .is_empty()
    );
}

/// J4
#[test]
fn a_journal_target_is_declared() {
    let target = |target: Targets| {
        move |form: &mut Form| {
            form.journal = Some(JournalRule {
                target: Some(target),
                ..journalised()
            });
        }
    };
    assert!(refused(target(Targets::One("embedded".into()))).is_empty());
    assert!(refused(target(Targets::Several(vec!["embedded".into(), "esdh".into()]))).is_empty());
    assert_eq!(refused_at(target(Targets::One("sbsys".into()))), "journal.target");
    assert_eq!(refused_at(target(Targets::Several(Vec::new()))), "journal.target");
}

#[test]
fn sites_and_departments_are_declared() {
    assert_eq!(refused_at(|form| form.site = None), "site");
    assert_eq!(refused_at(|form| form.site = Some("andet".parse().unwrap())), "site");
    assert_eq!(
        refused_at(|form| form.sites = vec!["andet".parse().unwrap()]),
        "sites.0"
    );
    assert_eq!(
        refused_at(|form| form.department = "park".parse().unwrap()),
        "department"
    );
}

/// E1
#[test]
fn an_event_is_for_registrations_and_has_real_times() {
    let event = |deadline: &str| EventRule {
        deadline: Some(deadline.to_owned()),
        held: Some("2026-12-08T21:00:00".to_owned()),
        ..EventRule::default()
    };
    assert_eq!(
        refused_at(|form| form.event = Some(event("2026-12-01T23:59:00"))),
        "event"
    );
    let registration = |deadline: &'static str| {
        move |form: &mut Form| {
            form.kind = Kind::Registration;
            form.event = Some(event(deadline));
        }
    };
    for right in ["2026-12-01T23:59:00", "2026-12-01T23:59:00+01:00", "2026-12-01 23:59"] {
        assert!(refused(registration(right)).is_empty(), "{right}");
    }
    for wrong in ["1. december", "[node:field_deadline]", "2026-12-01", ""] {
        assert_eq!(refused_at(registration(wrong)), "event.deadline", "{wrong}");
    }
    assert_eq!(
        warned(registration("2026-12-24T10:00:00")).len(),
        1,
        "held before its deadline"
    );
    assert!(
        refused(|form| form.kind = Kind::Registration).is_empty(),
        "its dates may come from the messages"
    );
}

#[test]
fn a_group_has_fields_and_nothing_else_has() {
    let told = refused_at(|form| {
        form.fields.insert("gruppe".into(), field(FieldType::Group));
    });
    assert_eq!(told, "fields.gruppe");
    let told = refused_at(|form| {
        form.fields["navn"].fields.insert("inde".into(), field(FieldType::Text));
    });
    assert_eq!(told, "fields.navn.fields");
}

#[test]
fn every_text_says_something() {
    assert_eq!(refused_at(|form| form.title = Words::default()), "title");
    assert_eq!(
        refused_at(|form| form.fields["navn"].label = Words::default()),
        "fields.navn.label"
    );
    assert_eq!(
        refused_at(|form| form.fields["navn"].section = Some(Words::default())),
        "fields.navn.section"
    );
    let option = |form: &mut Form| {
        form.fields["navn"].options.insert("a".into(), Words::default());
    };
    assert_eq!(refused_at(option), "fields.navn.options.a");
    assert_eq!(
        refused_at(|form| form.alarm_after = Some("24 hours".into())),
        "alarm_after"
    );
}
