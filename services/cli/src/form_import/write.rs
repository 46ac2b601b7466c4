//! Writes a form file, with a comment at everything that a person must decide.

use domain::form::Class;
use domain::{FieldType, Language, SiteId, Words};
use toml_edit::{Array, Decor, DocumentMut, Item, Table, Value};

use super::elements::{Field, words};
use super::webform::Webform;

/// Options that fit on one line stand in one; others get a table.
const LINE: usize = 100;

/// The whole file.
pub(super) fn document(webform: &Webform, site: Option<&SiteId>) -> DocumentMut {
    let mut document = DocumentMut::new();
    head(document.as_table_mut(), webform, site);
    let mut fields = Table::new();
    fields.set_implicit(true);
    for field in &webform.fields {
        fields.insert(&field.key, Item::Table(field_table(field, webform.language)));
    }
    document.insert("fields", Item::Table(fields));
    let receipt = receipt_field(&webform.fields);
    if let Some(key) = receipt {
        document.insert("receipt", Item::Table(receipt_table(key)));
    }
    document.insert("journal", Item::Table(journal_table(webform, receipt.is_some())));
    if is_registration(webform) {
        document.insert("event", Item::Table(event_table(webform)));
    }
    document
}

fn head(table: &mut Table, webform: &Webform, site: Option<&SiteId>) {
    let mut about =
        vec!["Made from Drupal's export by `kvit form import`. Where a value says TODO, a person decides;".to_owned()];
    about.push("until then the form is refused. `kvit form import --update` keeps what was decided.".to_owned());
    if let Some(language) = &webform.foreign {
        about.push(format!(
            "The webform's language is `{language}`: its texts stand under `da`; correct them where needed."
        ));
    }
    put(table, "id", webform.id.as_str(), &about);
    match site {
        Some(site) => put(table, "site", site.as_str(), &[]),
        None => put(
            table,
            "site",
            "TODO",
            &note("TODO: which site sends this form? Its name under [sites] in kvit.toml."),
        ),
    }
    put(table, "title", label(&words(webform.language, &webform.title)), &[]);
    if is_registration(webform) {
        let why = "TODO: \"registration\" (kept until the deadline has passed and all are extracted) or \"message\" (then remove [event]).";
        put(table, "kind", "TODO registration", &note(why));
    }
    let department = "TODO: which department acts on it? Its name under [departments] in kvit.toml.";
    put(table, "department", "TODO", &note(department));
    let purpose = "TODO: what are the answers for? As the citizen reads it in the receipt (P5).";
    put(
        table,
        "purpose",
        label(&words(webform.language, "TODO")),
        &note(purpose),
    );
    put(
        table,
        "legal_basis",
        Value::Array(Array::from_iter(["TODO"])),
        &basis_comment(&webform.fields),
    );
    let class = "The class of a field that says none: ordinary, confidential, special or criminal (P6).";
    put(table, "default_class", "ordinary", &note(class));
}

fn basis_comment(fields: &[Field]) -> Vec<String> {
    let all = all_fields(fields);
    let suggests = |class: Class| {
        all.iter()
            .any(|field| field.class.as_ref().is_some_and(|(found, _)| *found == class))
    };
    let mut lines =
        note("TODO: on what basis (P5)? gdpr-6-1-a to f, as a rule a (consent), c (duty) or e (public task).");
    let mut also = |needed: bool, text: &str| lines.extend(needed.then(|| text.to_owned()));
    also(
        all.iter().any(|field| field.kind == FieldType::Cpr),
        "A CPR number also needs dbl-11 (P4).",
    );
    also(
        suggests(Class::Special),
        "Special data also need gdpr-9-2-*, as a rule a, e, f or g (P7).",
    );
    also(
        suggests(Class::Criminal),
        "Criminal offences also need gdpr-10 and dbl-8 (P7).",
    );
    lines
}

/// A field's table: only what differs from the defaults.
pub(super) fn field_table(field: &Field, language: Language) -> Table {
    let mut table = Table::new();
    *table.decor_mut() = Decor::new(format!("\n{}", comments(&field.notes)), "");
    put(&mut table, "label", label(&field.label), &[]);
    if field.guessed {
        let name = type_name(field.kind);
        let why = format!(
            "TODO: is it a {} number? Then \"{name}\", else another type.",
            name.to_uppercase()
        );
        put(&mut table, "type", format!("TODO {name}"), &note(&why));
    } else if field.kind != FieldType::Text {
        put(&mut table, "type", type_name(field.kind), &[]);
    }
    for (key, set) in [
        ("multiple", field.multiple),
        ("required", field.required),
        ("computed", field.computed),
    ] {
        if set {
            put(&mut table, key, true, &[]);
        }
    }
    class(&mut table, field);
    if let Some(section) = &field.section {
        put(&mut table, "section", label(&words(language, section)), &[]);
    }
    if let Some(options) = options(&field.options, language) {
        table.insert("options", options);
    }
    if !field.fields.is_empty() {
        let mut parts = Table::new();
        parts.set_implicit(true);
        for part in &field.fields {
            parts.insert(&part.key, Item::Table(field_table(part, language)));
        }
        table.insert("fields", Item::Table(parts));
    }
    table
}

/// A CPR number is confidential; what only sounds like more than ordinary is for a person to say.
fn class(table: &mut Table, field: &Field) {
    let Some((class, word)) = &field.class else { return };
    let name = class_name(*class);
    if field.kind == FieldType::Cpr {
        put(table, "class", name, &[]);
        return;
    }
    let why = format!("TODO: `{word}` suggests {name} data: ordinary, confidential, special or criminal? (P6)");
    put(table, "class", format!("TODO {name}"), &note(&why));
}

/// The options as an item; none for no options.
pub(super) fn options(options: &[(String, String)], language: Language) -> Option<Item> {
    let length: usize = options.iter().map(|(key, text)| key.len() + text.len() + 14).sum();
    if options.is_empty() {
        return None;
    }
    let texts = options
        .iter()
        .map(|(key, text)| (key.as_str(), label(&words(language, text))));
    if length <= LINE {
        return Some(Item::Value(Value::InlineTable(texts.collect())));
    }
    Some(Item::Table(texts.collect()))
}

/// A text in its languages, `{ da = "…" }`.
pub(super) fn label(words: &Words) -> Value {
    let texts = [("da", &words.da), ("en", &words.en)];
    let given = texts
        .into_iter()
        .filter_map(|(code, text)| Some((code, text.as_deref()?)));
    Value::InlineTable(given.collect())
}

/// The first field that holds one mail address: as a rule the submitter's.
fn receipt_field(fields: &[Field]) -> Option<&str> {
    let one = |field: &&Field| field.kind == FieldType::Email && !field.multiple;
    fields.iter().find(one).map(|field| field.key.as_str())
}

fn receipt_table(key: &str) -> Table {
    let mut table = Table::new();
    *table.decor_mut() = Decor::new(
        "\n# The first field with a mail address: is it the submitter's own?\n",
        "",
    );
    put(&mut table, "to", key, &[]);
    table
}

fn journal_table(webform: &Webform, has_receipt: bool) -> Table {
    let mut table = Table::new();
    let nobody =
        "# No field of its own holds a mail address, so nobody gets a receipt; [receipt] to = \"…\" names one.\n\n";
    let before = if has_receipt { "" } else { nobody };
    *table.decor_mut() = Decor::new(format!("\n{before}"), "");
    let mut lines =
        note("TODO: is it journalised? \"never\", \"always\", \"marked\" or { field = \"…\", equals = \"…\" }.");
    lines.push("Marked by a person, within wait = \"P14D\". Unless never, say also period = \"P5Y\" (from the case's closure),".to_owned());
    lines.push(
        "archive = \"discard\" or \"preserve\", theme = { da = \"…\" } (offentlighedsloven § 15) and kle = \"…\"."
            .to_owned(),
    );
    if let Some(cpr) = webform.fields.iter().find(|field| field.kind == FieldType::Cpr) {
        lines.push(format!("The party could be party = \"{}\".", cpr.key));
    }
    put(&mut table, "when", "TODO", &lines);
    table
}

fn is_registration(webform: &Webform) -> bool {
    webform.close.is_some() || webform.looks_like_registration
}

fn event_table(webform: &Webform) -> Table {
    let mut table = Table::new();
    let mut lines = note(
        "TODO: held = \"…\" (when the event has been held) may stand here, come with the message, or be set by an operator.",
    );
    if webform.close.is_none() {
        lines.push("TODO: so may deadline = \"…\": without any, registrations stay, with an alarm.".to_owned());
    }
    *table.decor_mut() = Decor::new(format!("\n{}", comments(&lines)), "");
    match &webform.close {
        Some(close) => put(
            &mut table,
            "deadline",
            close.as_str(),
            &note("When the webform closes."),
        ),
        None => put(&mut table, "notify", "extract_only", &[]),
    }
    table
}

fn all_fields(fields: &[Field]) -> Vec<&Field> {
    fields
        .iter()
        .flat_map(|field| std::iter::once(field).chain(all_fields(&field.fields)))
        .collect()
}

fn put(table: &mut Table, key: &str, value: impl Into<Value>, lines: &[String]) {
    table.insert(key, toml_edit::value(value));
    if let (Some(mut key), false) = (table.key_mut(key), lines.is_empty()) {
        key.leaf_decor_mut().set_prefix(comments(lines));
    }
}

fn note(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

/// Lines as TOML comments. What stands in them was cleaned of line breaks and control characters where it was read.
pub(super) fn comments(lines: &[String]) -> String {
    lines.iter().flat_map(|line| ["# ", line, "\n"]).collect()
}

pub(super) fn type_name(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text => "text",
        FieldType::Email => "email",
        FieldType::Phone => "phone",
        FieldType::Cpr => "cpr",
        FieldType::Cvr => "cvr",
        FieldType::Number => "number",
        FieldType::Boolean => "boolean",
        FieldType::Date => "date",
        FieldType::File => "file",
        FieldType::Group => "group",
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Ordinary => "ordinary",
        Class::Confidential => "confidential",
        Class::Special => "special",
        Class::Criminal => "criminal",
    }
}
