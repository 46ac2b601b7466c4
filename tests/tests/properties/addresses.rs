//! Mail addresses by chance: what is taken is safe in a command and in a header, and the SMTP client takes it too.

use domain::EmailAddress;
use lettre::Address;
use lettre::transport::smtp::commands::Rcpt;
use proptest::prelude::*;

use crate::fuzz;

/// What could end a command, start another part of it, or hide in it.
const HOSTILE: [&str; 26] = [
    "\r\n",
    "\r",
    "\n",
    "\0",
    " ",
    "\t",
    "<",
    ">",
    ",",
    ";",
    ":",
    "\"",
    "\\",
    "(",
    ")",
    "[",
    "]",
    "@",
    "@a.example:b@",
    "> SIZE=1",
    "\u{2028}",
    "\u{85}",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "\u{ff20}",
];

fn a_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-zA-Z0-9.+_'-]{1,12}",
        2 => "[a-zæøå0-9-]{1,12}",
        2 => Just("@".to_owned()),
        2 => Just(".".to_owned()),
        1 => proptest::sample::select(&HOSTILE[..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    let pieces = proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat());
    let nearly = ("[a-zæøå0-9.+_'-]{1,20}", "[a-zæøå0-9-]{1,12}", "[a-z]{2,8}")
        .prop_map(|(local, domain, top)| format!("{local}@{domain}.{top}"));
    let damaged = (
        nearly.clone(),
        any::<prop::sample::Index>(),
        proptest::sample::select(&HOSTILE[..]),
    )
        .prop_map(|(mut text, at, hostile)| {
            let places: Vec<usize> = text
                .char_indices()
                .map(|(place, _)| place)
                .chain([text.len()])
                .collect();
            text.insert_str(places[at.index(places.len())], hostile);
            text
        });
    prop_oneof![3 => nearly, 3 => damaged, 2 => pieces, 1 => any::<String>()]
}

/// P2
#[test]
fn what_is_taken_as_an_address_cannot_change_a_command_or_a_header() {
    fuzz(&a_text(), |text| {
        let Ok(address) = EmailAddress::parse(&text) else {
            return Ok(());
        };
        let shown = address.expose();
        let unsafe_in_it = |c: char| c.is_control() || c.is_whitespace() || "<>()[],;:\"\\".contains(c);
        prop_assert!(!shown.contains(unsafe_in_it), "{shown:?}");
        prop_assert_eq!(shown.matches('@').count(), 1);
        prop_assert!(shown.len() <= 254);
        let whole = format!("{}@{}", address.local_part(), address.domain());
        prop_assert_eq!(shown, &whole);

        let again = EmailAddress::parse(shown);
        prop_assert_eq!(again.as_ref().map(EmailAddress::expose), Ok(shown));
        let client: Result<Address, _> = shown.parse();
        prop_assert!(client.is_ok(), "the SMTP client refuses {shown:?}: {client:?}");
        let client = client.expect("looked at before");
        prop_assert_eq!(client.to_string(), shown);
        let command = Rcpt::new(client, Vec::new()).to_string();
        prop_assert_eq!(command, format!("RCPT TO:<{shown}>\r\n"));
        // The envelope's sender is made of an address and 25 characters more; RFC 5321 allows 64 before the `@`.
        if address.local_part().len() <= 64 - 25 {
            let bounce = Address::new(format!("{}+{}", address.local_part(), "a".repeat(24)), address.domain());
            prop_assert!(bounce.is_ok(), "no bounce address of {shown:?}");
        }
        Ok(())
    });
}
