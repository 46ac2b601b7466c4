//! What each type of Drupal's elements is to a form.

use domain::FieldType;
use yaml_rust2::Yaml;
use yaml_rust2::yaml::Hash;

use super::composites;
use super::elements::children;
use super::webform::{get, text_at};

/// What an element is to a form.
pub(super) enum Shape {
    /// Holds other elements; its title is a heading where it shows one.
    Container { heading: bool },
    /// Shows something, and sends nothing.
    Nothing,
    /// One value or several.
    Value(FieldType),
    /// One value or several of a list.
    Choice { multiple: bool },
    /// A named composite.
    Composite(&'static [composites::Part]),
    /// A composite whose fields stand in the export.
    Custom,
    /// Questions with one list of answers.
    Likert,
    /// Values to which values of another list are given.
    Mapping,
    /// Worked out by the site.
    Computed,
    /// A type that is not known here.
    Unknown,
}

fn named(element_type: &str) -> Shape {
    if let Some(parts) = composites::parts(element_type) {
        return Shape::Composite(parts);
    }
    match element_type {
        "webform_wizard_page"
        | "webform_card"
        | "details"
        | "fieldset"
        | "webform_section"
        | "container"
        | "webform_table" => Shape::Container { heading: true },
        "webform_flexbox" | "webform_table_row" | "vertical_tabs" => Shape::Container { heading: false },
        "webform_actions"
        | "webform_markup"
        | "processed_text"
        | "webform_message"
        | "webform_more"
        | "webform_horizontal_rule"
        | "item"
        | "label"
        | "markup"
        | "html_tag"
        | "image"
        | "link"
        | "view"
        | "submit"
        | "button"
        | "os2forms_attachment"
        | "os2forms_nemid_nemlogin_link" => Shape::Nothing,
        "textfield"
        | "textarea"
        | "hidden"
        | "value"
        | "url"
        | "color"
        | "search"
        | "machine_name"
        | "password"
        | "password_confirm"
        | "webform_autocomplete"
        | "webform_codemirror"
        | "webform_time"
        | "webform_email_multiple"
        | "webform_signature"
        | "language_select"
        | "webform_variant"
        | "os2forms_autocomplete" => Shape::Value(FieldType::Text),
        "email" | "webform_email_confirm" => Shape::Value(FieldType::Email),
        "tel" => Shape::Value(FieldType::Phone),
        "number" | "range" | "webform_rating" | "webform_scale" => Shape::Value(FieldType::Number),
        "checkbox" | "webform_toggle" | "webform_terms_of_service" => Shape::Value(FieldType::Boolean),
        "date" | "datetime" | "datelist" => Shape::Value(FieldType::Date),
        "os2forms_nemid_cpr" | "os2forms_mitid_child_cpr" => Shape::Value(FieldType::Cpr),
        "os2forms_nemid_company_cvr" => Shape::Value(FieldType::Cvr),
        "select"
        | "radios"
        | "webform_select_other"
        | "webform_radios_other"
        | "webform_buttons"
        | "webform_buttons_other"
        | "webform_image_select"
        | "entity_autocomplete"
        | "webform_term_select"
        | "webform_entity_select"
        | "webform_entity_radios" => Shape::Choice { multiple: false },
        "checkboxes"
        | "webform_checkboxes_other"
        | "webform_toggles"
        | "tableselect"
        | "webform_tableselect_sort"
        | "webform_table_sort"
        | "webform_term_checkboxes"
        | "webform_entity_checkboxes" => Shape::Choice { multiple: true },
        "webform_custom_composite" => Shape::Custom,
        "webform_likert" => Shape::Likert,
        "webform_mapping" => Shape::Mapping,
        "managed_file" | "file" | "os2forms_digital_signature_document" => Shape::Value(FieldType::File),
        other if other.ends_with("_file") => Shape::Value(FieldType::File),
        other if other.starts_with("webform_computed_") => Shape::Computed,
        other if other.starts_with("webform_attachment_") || other.ends_with("captcha") => Shape::Nothing,
        other
            if ["os2forms_nemid_", "os2forms_mitid_", "os2forms_dawa_"]
                .iter()
                .any(|start| other.starts_with(start)) =>
        {
            Shape::Value(FieldType::Text)
        }
        _ => Shape::Unknown,
    }
}

/// What an element is; one of an unknown type that holds elements is a container.
pub(super) fn of(element: &Hash) -> Shape {
    let element_type = text_at(element, "#type");
    let shape = named(element_type.as_deref().unwrap_or_default());
    let holds_elements = || children(element).any(|(_, child)| matches!(child, Yaml::Hash(_)));
    match shape {
        Shape::Unknown if holds_elements() => Shape::Container { heading: true },
        Shape::Unknown if element_type.is_none() && get(element, "#markup").is_some() => Shape::Nothing,
        shape => shape,
    }
}
