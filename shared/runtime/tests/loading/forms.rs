//! The form files: every refusal with its file and line.

use crate::folder::{FORM, Folder};

fn line(text: &str) -> usize {
    FORM.lines().position(|line| line.contains(text)).expect("it is there") + 1
}

/// The one fault of a form, which must be on this line.
fn only(folder: &Folder, line: usize) -> String {
    let refused = folder.refused();
    assert_eq!(refused.len(), 1, "{refused:#?}");
    let place = format!("forms/anmeldelse.toml:{line}: ");
    refused[0]
        .strip_prefix(&place)
        .unwrap_or_else(|| panic!("not at {place}{refused:?}"))
        .to_owned()
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let folder = Folder::new().with_form("label = { da = \"Navn\" }", "label = { da = \"Navn\" }\nlable = 1");
    let told = only(&folder, line("\"Navn\"") + 1);
    assert_eq!(told, "unknown key `lable` in `[fields.navn]` (did you mean `label`?)");
}

/// P5
#[test]
fn a_form_without_purpose_or_basis_does_not_load() {
    for key in ["purpose", "legal_basis", "title", "department"] {
        let old = FORM.lines().find(|line| line.starts_with(key)).expect("the line");
        let told = only(&Folder::new().with_form(&format!("{old}\n"), ""), 1);
        assert_eq!(told, format!("`{key}` must be stated"));
    }
    let told = only(
        &Folder::new().with_form("purpose = { da = \"Behandling\" }", "purpose = { da = \"\" }"),
        line("purpose"),
    );
    assert_eq!(told, "`purpose` is empty");
}

/// P7
#[test]
fn a_basis_that_does_not_carry_the_fields_is_refused() {
    let folder = Folder::new().with_form("gdpr-6-1-e", "gdpr-6-1-z");
    let told = only(&folder, line("legal_basis"));
    assert!(
        told.starts_with("there is no legal basis `gdpr-6-1-z` (did you mean `gdpr-6-1-"),
        "{told}"
    );
    let folder = Folder::new().with_form(
        "label = { da = \"Navn\" }",
        "label = { da = \"Navn\" }\nclass = \"special\"",
    );
    let told = only(&folder, line("legal_basis"));
    assert_eq!(told, "field `navn` (special) needs the basis `gdpr-9-2-*`");
}

/// P7
#[test]
fn an_unusual_basis_is_told_and_taken() {
    let folder = Folder::new().with_form("gdpr-6-1-e", "gdpr-6-1-f");
    let said = folder.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with(&format!(
        "forms/anmeldelse.toml:{}: warning: `gdpr-6-1-f`",
        line("legal_basis")
    )));
    folder.loaded();
}

#[test]
fn a_rule_that_names_no_field_is_refused_at_its_line() {
    let told = only(
        &Folder::new().with_form("to = \"e_mail\"", "to = \"email\""),
        line("to ="),
    );
    assert_eq!(
        told,
        "`receipt.to` names no field of the form: `email` (did you mean `e_mail`?)"
    );
}

#[test]
fn a_word_that_is_not_one_of_the_known_is_refused() {
    let told = only(
        &Folder::new().with_form("type = \"email\"", "type = \"e-mail\""),
        line("type ="),
    );
    assert!(
        told.starts_with("`fields.e_mail.type` must be one of `text`, `email`"),
        "{told}"
    );
    assert!(told.ends_with("not `e-mail` (did you mean `email`?)"), "{told}");
    let journal = "[journal]\nwhen = \"allways\"\nperiod = \"P5Y\"\narchive = \"discard\"\n[receipt]";
    let told = only(&Folder::new().with_form("[receipt]", journal), line("[receipt]") + 1);
    assert!(told.ends_with("(did you mean `always`?)"), "{told}");
}

/// J1, D4
#[test]
fn every_way_to_journalise_is_read() {
    for when in [
        "\"always\"",
        "\"never\"",
        "\"marked\"",
        "{ field = \"navn\", equals = \"ja\" }",
    ] {
        let journal =
            format!("[journal]\nwhen = {when}\nwait = \"P14D\"\nperiod = \"P5Y\"\narchive = \"preserve\"\n[receipt]");
        Folder::new().with_form("[receipt]", &journal).loaded();
    }
    let told = only(
        &Folder::new().with_form(
            "[receipt]",
            "[journal]\nwhen = \"always\"\narchive = \"discard\"\n[receipt]",
        ),
        line("[receipt]"),
    );
    assert_eq!(told, "`journal.period` must be stated: there is no silent default");
}

#[test]
fn what_is_undecided_is_refused_wherever_it_stands() {
    for (old, new, at) in [
        (
            "purpose = { da = \"Behandling\" }",
            "purpose = { da = \"TODO\" }",
            line("purpose"),
        ),
        (
            "legal_basis = [\"gdpr-6-1-e\"]",
            "legal_basis = [\"gdpr-6-1-e\", \"TODO\"]",
            line("legal_basis"),
        ),
        (
            "department = \"teknik-miljoe\"",
            "department = \"TODO\"",
            line("department"),
        ),
        ("type = \"email\"", "type = \"TODO\"", line("type =")),
        ("da = \"Navn\"", "da = \"Navn (TODO)\"", line("\"Navn\"")),
        ("to = \"e_mail\"", "to = \"TODO\"", line("to =")),
    ] {
        let told = only(&Folder::new().with_form(old, new), at);
        assert!(told.ends_with("still says TODO: decide it"), "{told}");
    }
}

#[test]
fn a_form_is_stated_once_a_site() {
    let folder = Folder::new().write("forms/b.toml", FORM);
    let refused = folder.refused();
    assert_eq!(refused.len(), 1, "{refused:?}");
    let expected = format!(
        "forms/b.toml:{}: form `anmeldelse` of site `eksempel` is already stated at ",
        line("id =")
    );
    assert!(
        refused[0].starts_with(&expected) && refused[0].contains("forms/anmeldelse.toml:2"),
        "{refused:?}"
    );

    let folder = Folder::new()
        .with(
            "[sites.eksempel]",
            "[sites.andet]\nrequire_sealed = false\n[sites.eksempel]",
        )
        .write("forms/b.toml", &FORM.replace("site = \"eksempel\"", "site = \"andet\""));
    let loaded = folder.loaded();
    assert_eq!(loaded.forms.len(), 2);
    let form = "anmeldelse".parse().unwrap();
    for site in ["eksempel", "andet"] {
        assert!(loaded.forms.get(&site.parse().unwrap(), &form).is_some(), "{site}");
    }
    assert!(loaded.forms.get(&"tredje".parse().unwrap(), &form).is_none());
}

#[test]
fn a_form_of_several_sites_is_found_in_each_and_counted_once() {
    let folder = Folder::new()
        .with(
            "[sites.eksempel]",
            "[sites.andet]\nrequire_sealed = false\n[sites.eksempel]",
        )
        .with_form("site = \"eksempel\"", "sites = [\"eksempel\", \"andet\"]");
    let loaded = folder.loaded();
    assert_eq!((loaded.forms.len(), loaded.forms.iter().count()), (1, 1));
    let form = "anmeldelse".parse().unwrap();
    assert!(loaded.forms.get(&"andet".parse().unwrap(), &form).is_some());
}

#[test]
fn a_site_or_department_that_is_not_declared_is_refused() {
    let told = only(
        &Folder::new().with_form("site = \"eksempel\"", "site = \"eksempl\""),
        line("site ="),
    );
    assert_eq!(told, "there is no site `eksempl` (did you mean `eksempel`?)");
    let told = only(
        &Folder::new().with_form("\"teknik-miljoe\"", "\"teknik-miljø\""),
        line("department"),
    );
    assert!(told.contains("is no id"), "{told}");
    let told = only(
        &Folder::new().with_form("\"teknik-miljoe\"", "\"teknik_miljo\""),
        line("department"),
    );
    assert_eq!(
        told,
        "there is no department `teknik_miljo` (did you mean `teknik-miljoe`?)"
    );
}

#[test]
fn a_group_is_read_to_its_depth() {
    let group = "[fields.deltagere]\nlabel = { da = \"Deltagere\" }\ntype = \"group\"\nmultiple = true\n\
                 [fields.deltagere.fields.alder]\nlabel = { da = \"Alder\" }\ntype = \"numbr\"\n[receipt]";
    let told = only(&Folder::new().with_form("[receipt]", group), line("[receipt]") + 6);
    assert!(told.ends_with("(did you mean `number`?)"), "{told}");
    Folder::new()
        .with_form("[receipt]", &group.replace("numbr", "number"))
        .loaded();
}

#[test]
fn a_time_of_toml_is_a_time_too() {
    let event = "[event]\ndeadline = 2026-12-01T23:59:00\nheld = \"2026-12-08T21:00:00\"\n[receipt]";
    let folder = Folder::new()
        .with_form("[receipt]", event)
        .with_form("department =", "kind = \"registration\"\ndepartment =");
    let loaded = folder.loaded();
    let form = loaded.forms.iter().next().expect("the form");
    assert_eq!(
        form.event.as_ref().and_then(|event| event.deadline.as_deref()),
        Some("2026-12-01T23:59:00")
    );
}

#[test]
fn the_folder_has_forms_and_nothing_else_is_read() {
    let folder = Folder::new()
        .write("forms/.#anmeldelse.toml", "not TOML")
        .write("forms/notes.txt", "not TOML");
    assert_eq!(folder.loaded().forms.len(), 1);
    let refused = Folder::new().write("forms/b.toml", "= 1").refused();
    assert!(refused[0].starts_with("forms/b.toml:1: not TOML: "), "{refused:?}");
    let refused = Folder::new().env("KVIT_FORMS_DIR", "nowhere").refused();
    assert!(
        refused[0].starts_with("nowhere: cannot read the folder of the forms"),
        "{refused:?}"
    );
}

#[test]
fn a_text_can_be_checked_before_it_is_a_file() {
    let config = Folder::new().loaded().config;
    let shown = std::path::Path::new("import.toml");
    assert!(runtime::forms::check_form(FORM, shown, &config).is_empty());
    let found = runtime::forms::check_form(&FORM.replace("to = \"e_mail\"", "to = \"TODO\""), shown, &config);
    assert_eq!(
        found[0].to_string(),
        format!("import.toml:{}: `receipt.to` still says TODO: decide it", line("to ="))
    );
}
