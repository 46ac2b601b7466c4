//! File fields: ids that refer to expanded files, and content that stands in the answer itself.

use bytes::Bytes;
use domain::{Field, File, Value};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::walk::{Answer, Walk, as_came, items, text_holds_cpr};
use crate::coerce;
use crate::shapes::Upload;

impl<'a> Walk<'a> {
    /// The files of a field: those that its answer names, then those that came for it unnamed.
    pub(super) fn files(&mut self, field: &Field, json: &Json) -> Answer {
        let listed = items(field, json);
        let is_list = listed.is_some();
        let mut values = Vec::new();
        let mut raws = Vec::new();
        for item in listed
            .unwrap_or_else(|| vec![json])
            .into_iter()
            .filter(|item| !is_none(item))
        {
            let value = self.nth_if(is_list, values.len() + 1, |walk| walk.file(item));
            raws.push(described(&value, item));
            values.push(value);
        }
        for upload in self.unnamed() {
            let value = self.taken(upload);
            raws.push(described(&value, &Json::Null));
            values.push(value);
        }
        let raw = match raws.len() {
            0 => json.clone(),
            1 if !is_list => raws.remove(0),
            _ => Json::Array(raws),
        };
        let value = match self.one_or_list(field, values) {
            value @ (Value::List(_) | Value::Empty) => value,
            value if field.multiple => Value::List(vec![value]),
            value => value,
        };
        Answer { value, raw }
    }

    fn nth_if<T>(&mut self, several: bool, nth: usize, inside: impl FnOnce(&mut Self) -> T) -> T {
        if several { self.nth(nth, inside) } else { inside(self) }
    }

    /// The files that came for this field without standing in its answer.
    fn unnamed(&self) -> Vec<&'a Upload> {
        let Some(key) = self.top_level_key() else {
            return Vec::new();
        };
        let named = |upload: &&Upload| upload.id.as_ref().is_some_and(|id| self.named.contains(id));
        self.files.of(key).filter(|upload| !named(upload)).collect()
    }

    /// One file: by its id, expanded in the answer itself, or as a data URI (signatures).
    fn file(&mut self, json: &Json) -> Value {
        if let Json::Object(object) = json
            && let Some(upload) = Upload::read(object)
        {
            return self.taken(&upload);
        }
        let text = coerce::text(json).unwrap_or_default();
        if let Some((mime, data)) = coerce::data_uri(&text) {
            let upload = Upload {
                mime: Some(mime.to_owned()),
                data: Some(data.to_owned()),
                ..Upload::default()
            };
            return self.taken(&upload);
        }
        if !is_id(&text) {
            self.wrong_type();
            return as_came(json);
        }
        self.named.insert(text.clone());
        match self.files.with_id(&text) {
            Some(upload) => self.taken(upload),
            None => self.taken(&Upload {
                id: Some(text),
                ..Upload::default()
            }),
        }
    }

    fn taken(&mut self, upload: &Upload) -> Value {
        let content = upload.data.as_deref().map(coerce::base64);
        if content == Some(None) {
            self.wrong_type();
        }
        let file = File {
            id: upload.id.clone(),
            name: upload.name.clone(),
            mime: upload.mime.clone(),
            content: content.flatten().map(Bytes::from),
        };
        if file.content.is_none() {
            self.file_missing(file.id.clone());
        }
        if file.name.as_deref().is_some_and(text_holds_cpr) {
            self.cpr_in_text();
        }
        Value::File(file)
    }
}

/// No file: empty, or the id 0, which no file has.
fn is_none(json: &Json) -> bool {
    coerce::is_empty(json) || coerce::text(json).is_some_and(|text| text == "0")
}

fn is_id(text: &str) -> bool {
    let is_number = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number || Uuid::try_parse(text).is_ok()
}

/// What stands for a file among the raw answers.
fn described(value: &Value, json: &Json) -> Json {
    match value {
        Value::File(file) => {
            json!({ "id": file.id, "name": file.name, "mime": file.mime, "included": file.content.is_some() })
        }
        _ => json.clone(),
    }
}
