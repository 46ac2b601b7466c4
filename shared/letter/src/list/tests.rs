use domain::{Answers, File};
use serde_json::json;

use super::*;

fn form() -> Form {
    let form = json!({
        "id": "fest", "site": "eksempel", "department": "kultur", "kind": "registration",
        "title": {"da": "Sommerfest"}, "purpose": {"da": "at holde fest"}, "legal_basis": ["gdpr-6-1-e"],
        "fields": {
            "navn": {"label": {"da": "Navn"}},
            "antal": {"label": {"da": "Antal"}, "type": "number"},
            "mad": {"label": {"da": "Mad"}, "options": {"v": {"da": "Vegetar"}}},
            "deltagere": {"label": {"da": "Deltagere/børn"}, "type": "group", "multiple": true,
                "fields": {"alder": {"label": {"da": "Alder"}, "type": "number"}}},
            "foto": {"label": {"da": "Foto"}, "type": "file"},
        },
    });
    serde_json::from_value(form).unwrap()
}

fn registration(number: u8, name: &str) -> Submission {
    let text = |text: &str| Value::Text(text.to_owned());
    let of_age = |age: &str| Value::Group(vec![("alder".to_owned(), Value::Number(age.to_owned()))]);
    let foto = File {
        name: Some("foto.jpg".to_owned()),
        content: Some(vec![number].into()),
        ..File::default()
    };
    let declared = [
        ("navn", text(name)),
        ("antal", Value::Number("-2".to_owned())),
        ("mad", text("v")),
        ("deltagere", Value::List(vec![of_age("7"), Value::Empty, of_age("9")])),
        ("foto", Value::File(foto)),
    ];
    Submission {
        reference: Reference::from_random([0, 0, 0, 0, number]),
        received_at: "2026-11-21T13:05:00Z".parse().unwrap(),
        answers: Answers {
            declared: declared.map(|(key, value)| (key.to_owned(), value)).into(),
            undeclared: vec![("ekstra".to_owned(), json!("@SUM(A1)"))],
            raw: serde_json::Map::from_iter([("navn".to_owned(), json!(name))]),
        },
        ..crate::samples::submission(false, Language::Da)
    }
}

fn lists(registrations: &[Submission]) -> Lists<'_> {
    let zone = TimeZone::get("Europe/Copenhagen").unwrap();
    read(registrations, &form(), Language::Da, &zone)
}

fn text_of(file: &Attachment) -> String {
    String::from_utf8(file.content.to_vec()).unwrap()
}

/// E1
#[test]
fn a_list_has_the_forms_columns_in_order_and_groups_apart() {
    let registrations = [registration(1, "Åse"), registration(2, "Bo")];
    let lists = lists(&registrations);
    let files = csv(&lists.sheets, Language::Da).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["tilmeldinger.csv", "tilmeldinger-børn.csv"]);
    assert_eq!(
        text_of(&files[0]),
        "\u{feff}Reference,Modtaget,Udgave,Navn,Antal,Mad,Foto,ekstra (ikke registreret felt)\r\n\
         K-0000-0001,2026-11-21 14:05,1,Åse,-2,Vegetar,K-0000-0001 foto.jpg (vedhæftet),'@SUM(A1)\r\n\
         K-0000-0002,2026-11-21 14:05,1,Bo,-2,Vegetar,K-0000-0002 foto.jpg (vedhæftet),'@SUM(A1)\r\n"
    );
    assert_eq!(
        text_of(&files[1]),
        "\u{feff}Reference,Nr.,Alder\r\nK-0000-0001,1,7\r\nK-0000-0001,3,9\r\nK-0000-0002,1,7\r\nK-0000-0002,3,9\r\n"
    );
    let attached: Vec<_> = lists.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(attached, ["K-0000-0001 foto.jpg", "K-0000-0002 foto.jpg"]);
}

/// E1
#[test]
fn no_answer_is_written_as_a_formula() {
    for (given, written) in [
        ("=1+1", "'=1+1"),
        ("+45 1", "'+45 1"),
        ("-x", "'-x"),
        ("@a", "'@a"),
        ("\t=1", "'\t=1"),
        ("a=1", "a=1"),
    ] {
        let registrations = [registration(1, given)];
        let files = csv(&lists(&registrations).sheets, Language::Da).unwrap();
        let row = text_of(&files[0]).lines().nth(1).unwrap().to_owned();
        assert_eq!(row.split(',').nth(3), Some(written), "{given:?}");
    }
}

/// E1: opened again by a reader of another kind, Python's zip and XML.
#[test]
fn a_spreadsheet_opens_elsewhere_and_holds_no_formula() {
    let registrations = [registration(1, "=HYPERLINK(\"x\")"), registration(2, "Bo & Åse <x>")];
    let file = xlsx(&lists(&registrations).sheets, Language::Da).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list.xlsx");
    std::fs::write(&path, &file.content).unwrap();
    let script = "
import sys, zipfile, xml.etree.ElementTree as E
z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None
n = '{http://schemas.openxmlformats.org/spreadsheetml/2006/main}'
print([s.get('name') for s in E.fromstring(z.read('xl/workbook.xml')).iter(n + 'sheet')])
shared = [''.join(t.itertext()) for t in E.fromstring(z.read('xl/sharedStrings.xml'))]
for name in ('xl/worksheets/sheet1.xml', 'xl/worksheets/sheet2.xml'):
    sheet = E.fromstring(z.read(name)); assert not list(sheet.iter(n + 'f')), 'a formula'
    for row in sheet.iter(n + 'row'):
        print([shared[int(c.find(n + 'v').text)] if c.get('t') == 's' else c.find(n + 'v').text for c in row if c.find(n + 'v') is not None])
";
    let ran = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .output();
    let Ok(ran) = ran else { return }; // no Python here
    let printed = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[0], "['Tilmeldinger', 'Deltagere børn']");
    assert!(lines[2].contains("'=HYPERLINK(\"x\")', '-2', 'Vegetar'"), "{printed}");
    assert!(lines[3].contains("'Bo & Åse <x>'"), "{printed}");
    assert_eq!(lines[5], "['K-0000-0001', '1', '7']");
}

#[test]
fn what_a_cell_cannot_hold_is_said() {
    let registrations = [registration(1, &"å".repeat(LONGEST + 1))];
    let lists = lists(&registrations);
    assert!(lists.sheets[0].exceeds_a_spreadsheet());
    assert!(xlsx(&lists.sheets, Language::Da).is_ok());
}

#[test]
fn a_sheets_name_is_short_plain_and_its_own() {
    let long = "a".repeat(40);
    let first = sheet_name(&long, &[]);
    assert_eq!(first.len(), 31);
    assert!(sheet_name(&long, &[first]).ends_with(" (2)"));
    assert_eq!(sheet_name("[]", &[]), "Liste");
}
