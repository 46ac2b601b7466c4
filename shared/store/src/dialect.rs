//! How each engine writes what the ledger and the vault write once.
//!
//! Statements are PostgreSQL's, with `$1` parameters, and two things besides: `key = ANY($1)` looks for each key of a
//! [`Value::List`], and `NTH(key, $1, $2)`, once in a statement, is the number in the second list where the first, which is not
//! empty, has the key.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use crate::Value;
use crate::value::MOST_KEYS;

/// How many places a list takes in a statement of SQLite's: few sizes, so that few statements are prepared, each for good.
const SIZES: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, MOST_KEYS];

/// As PostgreSQL has it: only `NTH` is written otherwise.
pub(crate) fn postgres<'s>(sql: &'s str, values: &[Value]) -> Cow<'s, str> {
    let Some((before, [key, keys, numbers], after)) = nth(sql) else {
        return Cow::Borrowed(sql);
    };
    let first = match of(keys, values) {
        Some(Value::List(keys)) => keys.first(),
        _ => None,
    };
    let kind = match first {
        Some(Value::Int(_)) => "BIGINT",
        Some(Value::Blob(_)) => "BYTEA",
        _ => "TEXT",
    };
    Cow::Owned(format!(
        "{before}(CAST({numbers} AS BIGINT[]))[array_position(CAST({keys} AS {kind}[]), {key})]{after}"
    ))
}

/// As SQLite has it, with its values: a place for each key. What is missing to one of the few sizes is the last key again; a
/// key that is looked for twice is found once.
pub(crate) fn sqlite<'v>(sql: &str, values: &'v [Value]) -> (String, Vec<&'v Value>) {
    let mut flat = Vec::with_capacity(values.len());
    let mut places = Vec::with_capacity(values.len());
    for value in values {
        let first = flat.len() + 1;
        if let Value::List(list) = value {
            flat.extend(list.iter());
            let size = SIZES.into_iter().find(|size| *size >= list.len()).unwrap_or(list.len());
            let padding = list.last().into_iter().cycle();
            flat.extend(padding.take(size.saturating_sub(list.len())));
        } else {
            flat.push(value);
        }
        places.push(first..flat.len() + 1);
    }
    let place = |parameter: &str| of(parameter, &places).cloned().unwrap_or_default();
    let mut written = String::with_capacity(sql.len() + 5 * flat.len());
    if let Some((before, [key, keys, numbers], after)) = nth(sql) {
        write_places(&mut written, before, place);
        let _ = write!(written, "CASE {key}"); // a string takes everything, here and below
        for (key, number) in place(keys).zip(place(numbers)) {
            let _ = write!(written, " WHEN ?{key} THEN ?{number}");
        }
        written.push_str(" ELSE NULL END");
        write_places(&mut written, after, place);
    } else {
        write_places(&mut written, sql, place);
    }
    (written, flat)
}

/// Writes a part of a statement with its parameters where they stand for SQLite.
fn write_places(written: &mut String, sql: &str, place: impl Fn(&str) -> Range<usize>) {
    let mut rest = sql;
    while let Some(at) = rest.find('$') {
        let (before, parameter) = rest.split_at(at);
        let end = parameter[1..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(parameter.len(), |end| end + 1);
        let (parameter, mut after) = parameter.split_at(end);
        let mut places = place(parameter);
        if let Some(before) = before.strip_suffix("= ANY(") {
            written.push_str(before);
            written.push_str("IN (");
            for (nth, at) in places.enumerate() {
                let _ = write!(written, "{}?{at}", if nth == 0 { "" } else { ", " });
            }
            written.push(')');
            after = after.strip_prefix(')').unwrap_or(after);
        } else {
            debug_assert_eq!(
                places.clone().count(),
                1,
                "a list stands in `= ANY(…)` and in `NTH` alone"
            );
            written.push_str(before);
            let _ = write!(written, "?{}", places.next().unwrap_or_default());
        }
        rest = after;
    }
    written.push_str(rest);
}

/// What stands before `NTH(key, $1, $2)`, its three parts, and what stands after it.
fn nth(sql: &str) -> Option<(&str, [&str; 3], &str)> {
    let (before, rest) = sql.split_once("NTH(")?;
    let (parts, after) = rest.split_once(')')?;
    let mut parts = parts.splitn(3, ", ");
    Some((before, [parts.next()?, parts.next()?, parts.next()?], after))
}

/// What a parameter, `$1` or a later one, stands for among these.
fn of<'a, T>(parameter: &str, these: &'a [T]) -> Option<&'a T> {
    let at: usize = parameter.strip_prefix('$')?.parse().ok()?;
    these.get(at.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Value {
        Value::list(words.iter().map(|word| Value::from(*word)).collect())
    }

    #[test]
    fn a_list_has_a_place_for_each_key_in_few_sizes() {
        let values = [Value::Int(7), texts(&["a", "b", "c"]), Value::Int(8)];
        let (sql, flat) = sqlite("UPDATE t SET n = $1 WHERE id = ANY($2) AND m > $3", &values);
        assert_eq!(sql, "UPDATE t SET n = ?1 WHERE id IN (?2, ?3, ?4, ?5) AND m > ?6");
        assert_eq!(flat.len(), 6);
        assert!(*flat[3] == Value::from("c") && flat[3] == flat[4], "the last key again");
        let none = [Value::list(Vec::new())];
        let (sql, flat) = sqlite("DELETE FROM t WHERE id = ANY($1)", &none);
        assert_eq!((sql.as_str(), flat.len()), ("DELETE FROM t WHERE id IN ()", 0));
        let sizes: Vec<usize> = [1, 3, 64, 65, 128]
            .map(|count: i64| [Value::list((0..count).map(Value::Int).collect())])
            .iter()
            .map(|values| sqlite("DELETE FROM t WHERE id = ANY($1)", values).1.len())
            .collect();
        assert_eq!(sizes, [1, 4, 64, 128, 128]);
    }

    #[test]
    fn a_number_is_found_by_the_place_of_its_key() {
        let values = [texts(&["a", "b"]), Value::list(vec![Value::Int(1), Value::Int(2)])];
        let sql = "UPDATE t SET n = NTH(id, $1, $2) WHERE id = ANY($1)";
        let (written, _) = sqlite(sql, &values);
        assert_eq!(
            written,
            "UPDATE t SET n = CASE id WHEN ?1 THEN ?3 WHEN ?2 THEN ?4 ELSE NULL END WHERE id IN (?1, ?2)"
        );
        assert_eq!(
            postgres(sql, &values),
            "UPDATE t SET n = (CAST($2 AS BIGINT[]))[array_position(CAST($1 AS TEXT[]), id)] WHERE id = ANY($1)"
        );
    }

    #[test]
    fn what_has_no_list_stays_as_it_is() {
        let sql = "SELECT a FROM t WHERE b = $1 AND c LIKE '%' || $2 LIMIT $10";
        let values: Vec<Value> = (0..10).map(Value::Int).collect();
        assert_eq!(postgres(sql, &values), sql);
        assert_eq!(sqlite(sql, &values).0, sql.replace('$', "?"));
    }
}
