//! What is published: reports of 2 KB as `WebformSubmission::toArray(TRUE)` writes them, each of another citizen; and
//! building cases with drawings, as Remote Post sends them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kvit_tests::{Message, report};
use serde_json::json;
use uuid::Uuid;

/// The size of a message, in bytes, within a few.
pub(crate) const BYTES: usize = 2048;

/// What the citizen writes, again and again until the message has its size.
const WORDS: &str = "Der er et stort hul i vejen ud for nr. 12, og når det regner, kan man ikke se det. ";

/// One report. `number` tells citizens apart: each has an address of its own, or the limit for receipts would bite.
pub(crate) fn small(number: u64) -> Message {
    let uuid = Uuid::new_v4().to_string();
    let mail = format!("borger{number}@post.example");
    let bare = body(&uuid, &mail, "").len();
    let words: String = WORDS
        .chars()
        .cycle()
        .take(BYTES.saturating_sub(bare) * 100 / 103)
        .collect();
    Message::bytes(body(&uuid, &mail, &words))
}

fn body(uuid: &str, mail: &str, words: &str) -> String {
    report(uuid, &json!({ "e_mail": mail, "beskrivelse": words })).to_string()
}

/// One building case with three drawings of 1 to 4 MB.
pub(crate) fn large(number: u64) -> Message {
    let ids = [1, 2, 3].map(|file| number * 3 + file);
    let files = ids.map(|id| {
        let content = noise(id, 1_000_000 + usize::try_from(id * 733_331 % 3_000_000).unwrap_or(0));
        json!({
            "id": id, "name": format!("tegning-{id}.pdf"), "mime": "application/pdf", "uuid": Uuid::new_v4().to_string(),
            "uri": format!("private://webform/byggesag_bilag/{id}/tegning-{id}.pdf"), "data": STANDARD.encode(content)
        })
    });
    let body = json!({
        "ansoeger": { "first": "Gry", "last": "Bjørn-Sørensen" }, "cpr": "010203-0000", "sagstype": "garage",
        "tegninger": ids, "_tegninger": files, "serial": "1", "sid": number.to_string(),
        "uuid": Uuid::new_v4().to_string(), "webform_id": "byggesag_bilag", "uri": "/webform/byggesag_bilag",
        "created": 1_795_304_926, "completed": 1_795_304_926, "changed": 1_795_304_926, "in_draft": false,
        "langcode": "da", "remote_addr": "127.0.0.1", "uid": 0
    });
    Message::bytes(body.to_string())
}

/// Bytes that no compression makes smaller, the same each time (Marsaglia's xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
