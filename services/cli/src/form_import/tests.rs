//! Every exported form, and what is odd in one.

use std::path::Path;

use domain::form::Class;
use domain::form_check::{Declared, Weight, check};
use domain::{Field, FieldType, Form, Language};

use super::*;

mod update;

/// The keys that real submissions of each form have under `data`.
const FORMS: &[(&str, &str)] = &[
    (
        "anmeldelse_teknik_miljoe",
        "navn e_mail telefon adresse kategori beskrivelse billede kopi",
    ),
    (
        "ansoegning_foreningstilskud",
        "forening cvr titel beloeb budget begrundelse erklaering",
    ),
    (
        "byggesag_bilag",
        "ansoeger cpr sagstype tegninger fotos bilagsliste startdato tidspunkt klokken slutdato areal \
         vurdering skala tilfredshed bemaerkning hjemmeside farve mailliste emner kontakt skjult \
         fast_vaerdi beregnet_twig beregnet_twig_ej_gemt beregnet_token \
         underskrift",
    ),
    ("skyggefelter", "uuid created notes"),
    (
        "skyggefelter_alt",
        "sid serial token webform_id in_draft langcode data completed uri billede _billede",
    ),
    (
        "tilmelding_borgermoede",
        "navn e_mail antal pris deltagere aktiviteter kost transport hold samtykke",
    ),
    ("tomme_udeladt", "navn besked kopi antal fil"),
];

fn export(form: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/drupal/forms");
    std::fs::read_to_string(folder.join(format!("{form}.yml"))).unwrap()
}

/// An export with these elements.
fn webform(elements: &str) -> String {
    let elements: String = elements.lines().flat_map(|line| ["  ", line, "\n"]).collect();
    format!("langcode: da\nclose: null\nid: proeve\ntitle: 'Prøve'\nelements: |\n{elements}")
}

fn imported(elements: &str) -> Imported {
    import(&webform(elements), Some(&"eksempel".parse().unwrap())).unwrap()
}

/// The file after a person decided everything in it.
fn decided(toml: &str) -> String {
    let decisions = [
        ("site = \"TODO\"", "site = \"eksempel\""),
        ("department = \"TODO\"", "department = \"teknik\""),
        ("{ da = \"TODO\" }", "{ da = \"Behandling af din henvendelse\" }"),
        ("{ en = \"TODO\" }", "{ en = \"To act on it\" }"),
        ("[\"TODO\"]", "[\"gdpr-6-1-e\", \"gdpr-9-2-g\", \"dbl-11\"]"),
        ("when = \"TODO\"", "when = \"never\""),
        ("\"TODO ", "\""),
    ];
    decisions
        .iter()
        .fold(toml.to_owned(), |toml, (from, to)| toml.replace(from, to))
}

fn form(toml: &str) -> Form {
    toml::from_str(&decided(toml)).unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

fn field<'a>(form: &'a Form, path: &str) -> &'a Field {
    let mut keys = path.split('.');
    let first = &form.fields[keys.next().unwrap()];
    keys.fold(first, |field, key| &field.fields[key])
}

fn da(field: &Field) -> &str {
    field.label.get(Language::Da)
}

fn options(field: &Field) -> Vec<(&str, &str)> {
    field
        .options
        .iter()
        .map(|(key, text)| (key.as_str(), text.get(Language::Da)))
        .collect()
}

/// P3, P5, P7
#[test]
fn every_exported_form_loads_with_all_its_fields_once_its_todos_are_decided() {
    let declared = Declared {
        sites: vec!["eksempel".parse().unwrap()],
        departments: vec!["teknik".parse().unwrap()],
        journal_targets: Vec::new(),
    };
    for (name, keys) in FORMS {
        let imported = import(&export(name), None).unwrap();
        let form = form(&imported.toml);
        assert_eq!(form.id.as_str(), *name);
        assert_eq!(
            form.fields.keys().collect::<Vec<_>>(),
            keys.split(' ').collect::<Vec<_>>(),
            "{name}"
        );
        assert!(
            form.all_fields()
                .all(|field| !field.label.is_empty() && !field.label.is_undecided()),
            "{name}"
        );
        assert!(
            form.receipt
                .iter()
                .all(|receipt| form.fields[&receipt.to].kind == FieldType::Email),
            "{name}"
        );
        let refused = check(&form, &declared)
            .into_iter()
            .filter(|fault| fault.weight == Weight::Refused);
        assert_eq!(refused.collect::<Vec<_>>(), [], "{name}");
    }
}

/// P5
#[test]
fn an_undecided_form_file_does_not_load() {
    for (name, _) in FORMS {
        let imported = import(&export(name), None).unwrap();
        assert!(toml::from_str::<Form>(&imported.toml).is_err(), "{name}");
        for decision in ["site: ", "department: ", "purpose: ", "legal_basis: ", "journal.when: "] {
            assert!(
                imported.todos.iter().any(|todo| todo.starts_with(decision)),
                "{name} {decision}"
            );
        }
        let values = decided(&imported.toml);
        let values = values.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(values.filter(|line| line.contains("TODO")).count(), 0, "{name}");
    }
}

#[test]
fn a_form_file_says_what_the_export_says_and_asks_the_rest() {
    let export = "id: proeve\ntitle: Prøve\nlangcode: da\nelements: |\n  navn:\n    '#type': textfield\n    '#title': Navn\n    '#required': true\n";
    let expected = r#"# Made from Drupal's export by `kvit form import`. Where a value says TODO, a person decides;
# until then the form is refused. `kvit form import --update` keeps what was decided.
id = "proeve"
site = "eksempel"
title = { da = "Prøve" }
# TODO: which department acts on it? Its name under [departments] in kvit.toml.
department = "TODO"
# TODO: what are the answers for? As the citizen reads it in the receipt (P5).
purpose = { da = "TODO" }
# TODO: on what basis (P5)? gdpr-6-1-a to f, as a rule a (consent), c (duty) or e (public task).
legal_basis = ["TODO"]
# The class of a field that says none: ordinary, confidential, special or criminal (P6).
default_class = "ordinary"

[fields.navn]
label = { da = "Navn" }
required = true

# No field of its own holds a mail address, so nobody gets a receipt; [receipt] to = "…" names one.

[journal]
# TODO: is it journalised? "never", "always", "marked" or { field = "…", equals = "…" }.
# Marked by a person, within wait = "P14D". Unless never, say also period = "P5Y" (from the case's closure),
# archive = "discard" or "preserve", theme = { da = "…" } (offentlighedsloven § 15) and kle = "…".
when = "TODO"
"#;
    assert_eq!(
        import(export, Some(&"eksempel".parse().unwrap())).unwrap().toml,
        expected
    );
}

#[test]
fn types_labels_and_options_are_taken_from_the_export() {
    let form = form(&import(&export("byggesag_bilag"), None).unwrap().toml);
    for (path, kind) in [
        ("ansoeger", FieldType::Group),
        ("sagstype", FieldType::Text),
        ("tegninger", FieldType::File),
        ("fotos", FieldType::File),
        ("bilagsliste.fil", FieldType::File),
        ("startdato", FieldType::Date),
        ("tidspunkt", FieldType::Date),
        ("slutdato", FieldType::Date),
        ("klokken", FieldType::Text),
        ("areal", FieldType::Number),
        ("vurdering", FieldType::Number),
        ("skala", FieldType::Number),
        ("bemaerkning.value", FieldType::Text),
        ("mailliste", FieldType::Text),
        ("kontakt.url", FieldType::Text),
        ("underskrift", FieldType::Text),
    ] {
        assert_eq!(field(&form, path).kind, kind, "{path}");
    }
    assert!(
        ["tegninger", "fotos", "bilagsliste"]
            .iter()
            .all(|key| field(&form, key).multiple)
    );
    assert!(
        ["beregnet_twig", "beregnet_twig_ej_gemt", "beregnet_token"]
            .iter()
            .all(|key| field(&form, key).computed)
    );
    let parts: Vec<&str> = field(&form, "ansoeger").fields.values().map(da).collect();
    assert_eq!(parts, ["Fornavn", "Efternavn"], "what is switched off is left out");
    assert_eq!(options(field(&form, "sagstype"))[0], ("garage", "Garage/carport"));
    assert_eq!(options(field(&form, "tilfredshed.vejledning"))[2], ("3", "Enig"));
    assert_eq!(
        da(field(&form, "tilfredshed.sagsbehandling")),
        "Sagsbehandlingen var hurtig"
    );
    assert_eq!(options(field(&form, "emner.facade"))[1], ("trae", "Træ"));
}

#[test]
fn headings_come_from_pages_and_details_and_keys_are_flat() {
    let form = form(&import(&export("ansoegning_foreningstilskud"), None).unwrap().toml);
    let sections = form.fields.iter().map(|(key, field)| {
        (
            key.as_str(),
            field
                .section
                .as_ref()
                .map(|section| section.get(Language::Da).to_owned())
                .unwrap_or_default(),
        )
    });
    let expected = [
        ("forening", "Forening"),
        ("cvr", "Forening"),
        ("titel", "Projekt"),
        ("beloeb", "Projekt"),
        ("budget", "Projekt"),
        ("begrundelse", "Sektion"),
        ("erklaering", "Erklæring"),
    ];
    assert_eq!(
        sections.collect::<Vec<_>>(),
        expected.map(|(key, section)| (key, section.to_owned()))
    );
    assert_eq!(field(&form, "cvr").kind, FieldType::Cvr);
    assert_eq!(form.receipt, None);
}

/// E1
#[test]
fn a_form_that_closes_is_proposed_as_a_registration() {
    let imported = import(&export("tilmelding_borgermoede"), None).unwrap();
    assert!(
        imported.toml.contains("kind = \"TODO registration\""),
        "{}",
        imported.toml
    );
    assert!(imported.todos.iter().any(|todo| todo.starts_with("kind: ")));
    let form = form(&imported.toml);
    assert_eq!(form.kind, domain::Kind::Registration);
    assert_eq!(
        form.event.as_ref().unwrap().deadline.as_deref(),
        Some("2027-01-15T23:59:00+01:00")
    );
    assert_eq!(form.receipt.as_ref().unwrap().to, "e_mail");
    assert!(field(&form, "deltagere").multiple);
    assert_eq!(options(field(&form, "deltagere.skole"))[1], ("soender", "Sønderskolen"));
    assert_eq!(
        options(field(&form, "hold"))[2],
        ("3", "Hold 3"),
        "keys that are numbers"
    );
    assert!(field(&form, "hold").multiple && field(&form, "transport").multiple);
    assert_eq!(
        da(field(&form, "samtykke")),
        "Jeg giver samtykke til behandling af mine oplysninger"
    );
}

/// P4
#[test]
fn a_cpr_field_is_proposed_and_a_person_confirms() {
    let imported = import(&export("byggesag_bilag"), None).unwrap();
    assert!(imported.toml.contains("type = \"TODO cpr\""));
    assert!(
        imported.todos.iter().any(|todo| todo.starts_with("fields.cpr.type: ")),
        "{:?}",
        imported.todos
    );
    let form = form(&imported.toml);
    assert_eq!(
        (field(&form, "cpr").kind, field(&form, "cpr").class),
        (FieldType::Cpr, Some(Class::Confidential))
    );
}

/// P6
#[test]
fn a_field_that_sounds_sensitive_waits_for_a_person_to_class_it() {
    let imported = imported(
        "diagnose:\n  '#type': textarea\n  '#title': Diagnose\nindkomst:\n  '#type': number\n  '#title': Indkomst\nnavn:\n  '#type': textfield\n  '#title': Navn",
    );
    let form = form(&imported.toml);
    assert_eq!(field(&form, "diagnose").class, Some(Class::Special));
    assert_eq!(field(&form, "indkomst").class, Some(Class::Confidential));
    assert_eq!(field(&form, "navn").class, None);
    assert!(
        imported
            .todos
            .iter()
            .any(|todo| todo.starts_with("fields.diagnose.class: `diagnose` suggests special data"))
    );
}

#[test]
fn an_unknown_element_becomes_text_and_is_not_lost() {
    let imported = imported(
        "x:\n  '#type': my_widget\n  '#title': X\ny:\n  '#title': Y\nz:\n  '#type': box\n  inde:\n    '#type': textfield",
    );
    let form = form(&imported.toml);
    assert_eq!(form.fields.keys().collect::<Vec<_>>(), ["x", "y", "inde"]);
    assert!(
        imported
            .toml
            .contains("# Drupal's type `my_widget` is not known here: taken as text.\n[fields.x]")
    );
    assert_eq!(da(field(&form, "inde")), "inde", "without a title the key is the label");
}

#[test]
fn option_sets_that_only_have_a_name_are_asked_for() {
    let imported = imported(
        "land:\n  '#type': select\n  '#title': Land\n  '#options': country_names\nl:\n  '#type': webform_likert\n  '#title': L\n  '#questions':\n    a: 'A -- forklaring'\n  '#answers': likert_agreement",
    );
    let form = form(&imported.toml);
    assert!(field(&form, "land").options.is_empty());
    assert!(
        imported
            .todos
            .iter()
            .any(|todo| todo.starts_with("fields.land: Drupal takes the options from its set `country_names`"))
    );
    assert!(imported.todos.iter().any(|todo| todo.starts_with("fields.l: ")));
    assert_eq!(da(field(&form, "l.a")), "A");
}

#[test]
fn options_in_groups_with_descriptions_and_odd_keys_are_flat() {
    let form = form(
        &imported("r:\n  '#type': radios\n  '#title': R\n  '#options':\n    Gruppe:\n      1: 'En -- forklaret'\n      true: To\n    '': Ingen\n    2.5: 'Tre \"og\" fire'\n    'a b.c': ''")
            .toml,
    );
    assert_eq!(
        options(field(&form, "r")),
        [
            ("1", "En"),
            ("true", "To"),
            ("2.5", "Tre \"og\" fire"),
            ("a b.c", "a b.c")
        ]
    );
}

#[test]
fn hostile_titles_stay_one_label() {
    let elements = "a:\n  '#type': textfield\n  '#title': \"Navn\\\"\\n[fields.b]\\nlabel = { da = 'x' }\\r\\n# <b>æøå</b>\\u202e\\0\\e'''\"\nk:\n  '#type': \"un\\nkendt = 1\"\n  '#title': K\n'sælsom \"nøgle\".x':\n  '#type': textfield\n  '#title': Nøgle";
    let form = form(&imported(elements).toml);
    assert_eq!(form.fields.keys().collect::<Vec<_>>(), ["a", "k", "sælsom \"nøgle\".x"]);
    assert_eq!(
        da(field(&form, "a")),
        "Navn\" [fields.b] label = { da = 'x' } # æøå '''"
    );
}

#[test]
fn the_texts_stand_under_the_language_of_the_webform() {
    let english = "id: a\ntitle: Report\nlangcode: en\nelements: \"name:\\n  '#type': textfield\\n  '#title': Name\"";
    let toml = import(english, None).unwrap().toml;
    assert!(
        toml.contains("title = { en = \"Report\" }") && toml.contains("label = { en = \"Name\" }"),
        "{toml}"
    );
    let german = import(&english.replace("langcode: en", "langcode: de"), None)
        .unwrap()
        .toml;
    assert!(
        german.contains("title = { da = \"Report\" }") && german.contains("The webform's language is `de`"),
        "{german}"
    );
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let said = |yaml: &str| import(yaml, None).unwrap_err().to_string();
    assert_eq!(said("a: [1"), "the export is not YAML");
    assert!(said("- 1\n- 2").starts_with("the export is not one mapping"));
    assert!(said("title: A").starts_with("the export has no `id`"));
    assert!(said("id: Å\nelements: ''").starts_with("the export's `id` cannot"));
    assert!(said("id: a").starts_with("the export has no `elements`"));
    assert_eq!(
        said("id: a\nelements: ''"),
        "the webform asks for nothing: no element holds a value"
    );
    assert!(said("id: a\nelements: 'a: ['").starts_with("the export's `elements` is not YAML"));
    assert_eq!(
        said(&webform("s:\n  '#type': details\n  x: 7")),
        "the element `s.x` is not a mapping"
    );
    let twice = "a:\n  '#type': textfield\ns:\n  '#type': details\n  a:\n    '#type': textfield";
    assert_eq!(said(&webform(twice)), "two elements have one key: `a` and `s.a`");
    assert!(said(&format!("id: {}", "[".repeat(100_000))).contains("nested deeper"));
    assert!(said(&format!("id: a\nelements: '{}'", "- ".repeat(100_000))).contains("nested deeper"));
}
