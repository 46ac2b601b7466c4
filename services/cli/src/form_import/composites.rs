//! The composites that Drupal's webform knows by name: their fields are in its code, not in the export.

use domain::FieldType;

/// One field of a known composite: key, Danish label, English label, type.
pub(super) type Part = (&'static str, &'static str, &'static str, FieldType);

use FieldType::{Cpr, Cvr, Email, Phone, Text};

const ADDRESS: &[Part] = &[
    ("address", "Adresse", "Address", Text),
    ("address_2", "Adresse 2", "Address 2", Text),
    ("city", "By", "City", Text),
    ("state_province", "Region", "State or province", Text),
    ("postal_code", "Postnummer", "Postal code", Text),
    ("country", "Land", "Country", Text),
];

const CONTACT: &[Part] = &[
    ("name", "Navn", "Name", Text),
    ("company", "Virksomhed", "Company", Text),
    ("email", "E-mail", "Email", Email),
    ("phone", "Telefon", "Phone", Phone),
    ("address", "Adresse", "Address", Text),
    ("address_2", "Adresse 2", "Address 2", Text),
    ("city", "By", "City", Text),
    ("state_province", "Region", "State or province", Text),
    ("postal_code", "Postnummer", "Postal code", Text),
    ("country", "Land", "Country", Text),
];

const NAME: &[Part] = &[
    ("title", "Titel", "Title", Text),
    ("first", "Fornavn", "First name", Text),
    ("middle", "Mellemnavn", "Middle name", Text),
    ("last", "Efternavn", "Last name", Text),
    ("suffix", "Efterstillet titel", "Suffix", Text),
    ("degree", "Grad", "Degree", Text),
];

const LINK: &[Part] = &[("title", "Titel", "Title", Text), ("url", "Adresse", "Address", Text)];

const TELEPHONE: &[Part] = &[
    ("type", "Type", "Type", Text),
    ("phone", "Telefon", "Phone", Phone),
    ("ext", "Lokalnummer", "Extension", Text),
];

/// What a formatted text is sent as.
const TEXT_FORMAT: &[Part] = &[
    ("value", "Tekst", "Text", Text),
    ("format", "Tekstformat", "Text format", Text),
];

const LAND_REGISTER: &[Part] = &[
    ("address", "Adresse", "Address", Text),
    ("matrikula", "Matrikel", "Cadastral number", Text),
];

/// The fields of a composite, where its type is one of the known ones.
pub(super) fn parts(element_type: &str) -> Option<&'static [Part]> {
    Some(match element_type {
        "webform_address" => ADDRESS,
        "webform_contact" => CONTACT,
        "webform_name" => NAME,
        "webform_link" => LINK,
        "webform_telephone" => TELEPHONE,
        "text_format" => TEXT_FORMAT,
        "os2forms_dawa_address_matrikula" => LAND_REGISTER,
        "os2forms_nemid_cpr_fetch_data" => &[("cpr_fetch_data_value", "CPR-nummer", "CPR number", Cpr)],
        "os2forms_nemid_company_cvr_fetch_data" => &[("cvr_fetch_data_value", "CVR-nummer", "CVR number", Cvr)],
        _ => return None,
    })
}
