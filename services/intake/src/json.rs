//! JSON from outside, held to limits before it is parsed: size, depth, number of values, repeated keys.
//!
//! One pass over the bytes, without recursion and without building anything, decides whether `serde_json` may see them.
//! The grammar itself is left to `serde_json`, which also refuses lone surrogates and what stands after the value.

use std::borrow::Cow;
use std::collections::HashSet;

use domain::quarantine::QuarantineReason;
use serde_json::Value;

/// How many objects and lists may stand inside one another.
pub const MAX_DEPTH: usize = 64;

/// How many values one message may hold: some twenty times the largest real form, and still a bounded use of memory
/// (sixteen megabytes of `[0,0,0,…` would otherwise become half a gigabyte).
pub const MAX_VALUES: usize = 250_000;

/// Parses one JSON text of at most `max_bytes`.
///
/// # Errors
///
/// `too_large` where there are more bytes or more than [`MAX_VALUES`] values; `malformed` for all else: not UTF-8 (gzip,
/// say), nested deeper than [`MAX_DEPTH`], a key twice in one object (however escaped), no JSON, or more than one value.
pub fn parse(body: &[u8], max_bytes: usize) -> Result<Value, QuarantineReason> {
    if body.len() > max_bytes {
        return Err(QuarantineReason::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|_| QuarantineReason::Malformed)?;
    Scan::new(text).run()?;
    serde_json::from_str(text).map_err(|_| QuarantineReason::Malformed)
}

/// An object or a list that has been opened and not yet closed.
enum Open<'a> {
    List,
    Object {
        keys: HashSet<Cow<'a, str>>,
        key_is_next: bool,
    },
}

/// The pass over the bytes. It sees only strings, brackets, commas and colons.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open<'a>>,
    values: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            open: Vec::new(),
            values: 0,
        }
    }

    fn run(mut self) -> Result<(), QuarantineReason> {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            self.at += 1;
            match byte {
                b'"' => self.string()?,
                b'[' => self.enter(Open::List)?,
                b'{' => self.enter(Open::Object {
                    keys: HashSet::new(),
                    key_is_next: true,
                })?,
                b']' | b'}' => drop(self.open.pop()),
                b',' => self.next_value(true)?,
                b':' => self.expect_key(false),
                _ => {}
            }
        }
        Ok(())
    }

    fn enter(&mut self, opened: Open<'a>) -> Result<(), QuarantineReason> {
        if self.open.len() == MAX_DEPTH {
            return Err(QuarantineReason::Malformed);
        }
        self.open.push(opened);
        self.next_value(true)
    }

    fn next_value(&mut self, key: bool) -> Result<(), QuarantineReason> {
        self.values += 1;
        self.expect_key(key);
        if self.values > MAX_VALUES {
            Err(QuarantineReason::TooLarge)
        } else {
            Ok(())
        }
    }

    fn expect_key(&mut self, expected: bool) {
        if let Some(Open::Object { key_is_next, .. }) = self.open.last_mut() {
            *key_is_next = expected;
        }
    }

    /// Steps over a string whose opening quote was just read; a key is noted.
    fn string(&mut self) -> Result<(), QuarantineReason> {
        let start = self.at;
        let end = self.closing_quote().ok_or(QuarantineReason::Malformed)?;
        self.at = end + 1;
        let text = self.text;
        if let Some(Open::Object {
            keys,
            key_is_next: true,
        }) = self.open.last_mut()
        {
            let new = keys.insert(unescaped(text, start, end)?);
            return if new { Ok(()) } else { Err(QuarantineReason::Malformed) };
        }
        Ok(())
    }

    /// Where the string ends: at the first quote that an even number of backslashes precedes.
    fn closing_quote(&self) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let mut from = self.at;
        loop {
            let quote = from + self.text[from..].find('"')?;
            let backslashes = bytes[self.at..quote]
                .iter()
                .rev()
                .take_while(|byte| **byte == b'\\')
                .count();
            if backslashes % 2 == 0 {
                return Some(quote);
            }
            from = quote + 1;
        }
    }
}

/// The key between two quotes, so that `a` and `\u0061` are the same.
fn unescaped(text: &str, start: usize, end: usize) -> Result<Cow<'_, str>, QuarantineReason> {
    let key = &text[start..end];
    if !key.contains('\\') {
        return Ok(Cow::Borrowed(key));
    }
    serde_json::from_str(&text[start - 1..=end])
        .map(Cow::Owned)
        .map_err(|_| QuarantineReason::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 16 << 20;

    fn refused(body: impl AsRef<[u8]>) -> Option<QuarantineReason> {
        parse(body.as_ref(), ROOM).err()
    }

    #[test]
    fn what_php_writes_is_read() {
        let value = parse(
            br#" {"a":"\u00e6 \ud83d\ude00 \"\\","b":{"a":[1,"",null]},"c":"{\"a\":1,\"a\":2}\\"} "#,
            ROOM,
        )
        .unwrap();
        assert_eq!(value["a"], "æ 😀 \"\\");
        assert_eq!(value["b"]["a"][0], 1);
        assert_eq!(value["c"], r#"{"a":1,"a":2}\"#);
    }

    #[test]
    fn what_is_not_one_json_text_in_utf_8_is_malformed() {
        let gzip = [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 3, 0x03, 0];
        for wrong in [
            &b""[..],
            b" ",
            b"navn=%C3%A6&e_mail=a%40example.com",
            b"{",
            b"{}{}",
            b"{} x",
            b"[1,]",
            b"{\"a\":1",
            b"\"a",
            b"\"a\\\"",
            b"nul",
            b"{'a':1}",
            b"{\"a\":NaN}",
            b"{\"a\":1e999}",
            b"{\"a\":\"\n\"}",
            b"{\"a\":\"\0\"}",
            b"\xff\xfe{\0}\0",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xe6\"}",
            &gzip,
        ] {
            assert_eq!(refused(wrong), Some(QuarantineReason::Malformed), "{wrong:?}");
        }
    }

    #[test]
    fn a_lone_surrogate_is_malformed_wherever_it_stands() {
        for wrong in [
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00"}"#,
            r#"{"a":"\ud800\ud800"}"#,
            r#"{"a":"\ud800x"}"#,
            r#"{"\ud83d":1}"#,
            r#"["\ude00\ud83d"]"#,
        ] {
            assert_eq!(refused(wrong), Some(QuarantineReason::Malformed), "{wrong}");
        }
    }

    #[test]
    fn a_key_twice_in_one_object_is_malformed() {
        for wrong in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[[{"b":{"a":{"x":1,"y":{},"x":2}}}]]"#,
            r#"{"a":{"b":1},"c":[{"d":1},2],"a":3}"#,
            r#"{"":1,"":2}"#,
            r#"{"\\":1,"\u005c":2}"#,
        ] {
            assert_eq!(refused(wrong), Some(QuarantineReason::Malformed), "{wrong}");
        }
        for right in [
            r#"{"a":{"a":"a"},"b":["a","a",{"a":1}]}"#,
            r#"[{"a":1},{"a":1}]"#,
            r#"{"a":1,"A":2,"a ":3}"#,
        ] {
            assert_eq!(refused(right), None, "{right}");
        }
    }

    #[test]
    fn sixty_four_levels_are_read_and_no_more() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(refused(nested(MAX_DEPTH)), None);
        assert_eq!(refused(nested(MAX_DEPTH + 1)), Some(QuarantineReason::Malformed));
        assert_eq!(refused(nested(100_000)), Some(QuarantineReason::Malformed));
        assert_eq!(refused("{\"a\":".repeat(100_000)), Some(QuarantineReason::Malformed));
    }

    #[test]
    fn too_many_bytes_or_values_are_too_large() {
        assert_eq!(parse(b"[1,2]", 4), Err(QuarantineReason::TooLarge));
        assert!(parse(b"[1,2]", 5).is_ok());
        let zeros = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert_eq!(refused(zeros(MAX_VALUES)), None);
        assert_eq!(refused(zeros(MAX_VALUES + 1)), Some(QuarantineReason::TooLarge));
    }
}
