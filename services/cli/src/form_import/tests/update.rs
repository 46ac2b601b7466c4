//! What an update keeps, adds and marks.

use super::*;

#[test]
fn an_update_with_the_same_export_changes_nothing() {
    for (name, _) in FORMS {
        let export = export(name);
        let toml = import(&export, None).unwrap().toml;
        for existing in [toml.clone(), decided(&toml)] {
            let updated = update(&export, &existing).unwrap();
            assert_eq!(
                (updated.toml.as_str(), updated.diff.as_str()),
                (existing.as_str(), ""),
                "{name}"
            );
            assert_eq!(updated.notes, Vec::<String>::new(), "{name}");
        }
        assert_eq!(
            update(&export, &toml).unwrap().todos,
            import(&export, None).unwrap().todos
        );
    }
}

const BEFORE: &str = "navn:\n  '#type': textfield\n  '#title': Navn\nvej:\n  '#type': select\n  '#title': Vej\n  '#options':\n    a: A\n    b: B\ngruppe:\n  '#type': webform_custom_composite\n  '#title': Gruppe\n  '#element':\n    en:\n      '#type': textfield\n      '#title': En\ngammel:\n  '#type': textfield\n  '#title': Gammel";
const AFTER: &str = "foerst:\n  '#type': textfield\n  '#title': Først\nnavn:\n  '#type': textfield\n  '#title': 'Dit navn'\n  '#required': true\ncpr:\n  '#type': textfield\n  '#title': CPR\nvej:\n  '#type': select\n  '#title': Vej\n  '#options':\n    b: Bé\n    c: C\ngruppe:\n  '#type': webform_custom_composite\n  '#title': Gruppe\n  '#element':\n    nul:\n      '#type': textfield\n      '#title': Nul\n    en:\n      '#type': textfield\n      '#title': En\n    to:\n      '#type': number\n      '#title': To\nsidst:\n  '#type': textfield\n  '#title': Sidst";

/// A form file as a person left it: decided, reordered, commented.
fn by_hand() -> String {
    let toml = decided(&imported(BEFORE).toml).replace(
        "label = { da = \"Navn\" }",
        "# Rettet af MJ\nlabel = { da = \"Fulde navn\" }",
    );
    let (head, rest) = toml.split_once("[fields.navn]").unwrap();
    let (navn, rest) = rest.split_once("\n[fields.vej]").unwrap();
    let (vej, rest) = rest.split_once("\n[fields.gruppe]").unwrap();
    format!("{head}[fields.vej]{vej}\n[fields.navn]{navn}\n[fields.gruppe]{rest}")
}

#[test]
fn an_update_keeps_every_decision_and_adds_what_is_new() {
    let existing = by_hand();
    let updated = update(&webform(AFTER), &existing).unwrap();
    let removed = updated
        .diff
        .lines()
        .filter(|line| line.starts_with('-') && !line.starts_with("---"));
    assert_eq!(
        removed.collect::<Vec<_>>(),
        ["-options = { a = { da = \"A\" }, b = { da = \"B\" } }"],
        "{}",
        updated.diff
    );
    assert!(
        updated
            .toml
            .contains("options = { a = { da = \"A\" }, b = { da = \"B\" }, c = { da = \"C\" } }")
    );
    let form = form(&updated.toml);
    let keys: Vec<&String> = form.fields.keys().collect();
    assert_eq!(
        keys,
        ["foerst", "vej", "navn", "cpr", "gruppe", "sidst", "gammel"],
        "{}",
        updated.toml
    );
    assert_eq!(
        form.fields["gruppe"].fields.keys().collect::<Vec<_>>(),
        ["nul", "en", "to"]
    );
    assert_eq!(da(&form.fields["navn"]), "Fulde navn");
    assert!(!form.fields["navn"].required);
    assert!(updated.toml.contains("# Rettet af MJ\nlabel = { da = \"Fulde navn\" }"));
    assert!(updated.toml.contains(&format!(
        "{}[fields.gammel]",
        "# Gone from the webform: remove it when no submission with it can come any more.\n"
    )));
    assert_eq!(
        updated.notes,
        [
            "fields.navn.label: `Fulde navn` here, `Dit navn` in the webform",
            "fields.navn.required: false here, true in the webform",
            "fields.vej.options.b: another text in the webform",
        ]
    );
    assert_eq!(updated.todos.len(), 1, "{:?}", updated.todos);
    assert!(updated.todos[0].starts_with("fields.cpr.type: "));
}

#[test]
fn an_update_twice_is_an_update_once_and_a_returned_field_loses_its_mark() {
    let once = update(&webform(AFTER), &by_hand()).unwrap().toml;
    assert_eq!(update(&webform(AFTER), &once).unwrap().diff, "");
    let back = update(&webform(BEFORE), &once).unwrap().toml;
    assert!(
        !back.contains("more.\n[fields.gammel]") && back.contains("more.\n[fields.sidst]"),
        "{back}"
    );
}

#[test]
fn a_form_file_written_on_few_lines_is_updated_too() {
    let existing =
        "id = \"proeve\"\nfields = { navn = { label = { da = \"Navn\" } }, gammel = { label = { da = \"G\" } } }\n";
    let updated = update(&webform(AFTER), existing).unwrap();
    let parsed: toml::Table = toml::from_str(&updated.toml).unwrap();
    let keys = parsed["fields"]
        .as_table()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect::<Vec<_>>();
    assert_eq!(keys, ["navn", "gammel", "foerst", "cpr", "vej", "gruppe", "sidst"]);
    assert!(
        updated
            .notes
            .contains(&"fields.gammel: gone from the webform".to_owned())
    );
    let dotted = "id = \"proeve\"\n[fields]\nnavn.label.da = \"Navn\"\ngammel = { label = { da = \"G\" } }\n";
    let updated = update(&webform(AFTER), dotted).unwrap();
    let parsed: toml::Table = toml::from_str(&updated.toml).unwrap();
    assert_eq!(parsed["fields"].as_table().unwrap().len(), 7, "{}", updated.toml);
    assert!(updated.toml.contains("more.\ngammel = "), "{}", updated.toml);
}

#[test]
fn a_file_of_another_form_is_not_updated() {
    let said = |existing: &str| update(&webform(AFTER), existing).unwrap_err().to_string();
    assert_eq!(
        said("id = \"anden\""),
        "the existing form file is of `anden`, the export of `proeve`"
    );
    assert_eq!(said("id = "), "the existing form file is not TOML");
    assert_eq!(
        said("id = \"proeve\"\nfields = 3"),
        "`fields` in the existing form file is not a table"
    );
    assert_eq!(
        said("id = \"proeve\"\n[fields]\nnavn = 3"),
        "`fields.navn` in the existing form file is not a table"
    );
}

#[test]
fn a_later_close_date_is_noted_and_not_written() {
    let export = export("tilmelding_borgermoede");
    let existing = decided(&import(&export, None).unwrap().toml);
    let later = export.replace("close: '2027-01-15", "close: '2027-02-15");
    let updated = update(&later, &existing).unwrap();
    assert_eq!(updated.diff, "");
    assert_eq!(
        updated.notes,
        ["event.deadline: `2027-01-15T23:59:00+01:00` here, the webform closes `2027-02-15T23:59:00+01:00`"]
    );
}
