//! Statements about many rows at once: a statement costs more than a row.

use std::fmt::Write as _;

use crate::Value;

/// How many rows a statement is about: few sizes, so that few statements are prepared, each for good.
const SIZES: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// Splits rows into groups of few sizes, in order, each for one statement.
pub fn groups<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rest.len())?;
        let (group, after) = rest.split_at(size);
        rest = after;
        Some(group)
    })
}

/// The places of one row's values: `$3, $4, $5`, where `first` is 3 and `width` 3.
#[must_use]
pub fn row(first: usize, width: usize) -> String {
    let mut places = String::with_capacity(6 * width);
    write_row(&mut places, first, width);
    places
}

/// The places of several rows' values, after what each row begins with: `(now, $1, $2), (now, $3, $4)`.
#[must_use]
pub fn rows(shared: &str, first: usize, width: usize, count: usize) -> String {
    let mut rows = String::with_capacity(count * (shared.len() + 6 * width + 4));
    for at in 0..count {
        rows.push_str(if at == 0 { "(" } else { ", (" });
        rows.push_str(shared);
        write_row(&mut rows, first + at * width, width);
        rows.push(')');
    }
    rows
}

/// The branches of a `CASE` over so many keys, each with its number: keys from one place on, numbers from another.
#[must_use]
pub fn cases(keys: usize, numbers: usize, count: usize) -> String {
    let mut cases = String::with_capacity(40 * count);
    for at in 0..count {
        let (key, number) = (keys + at, numbers + at);
        let _ = write!(cases, "WHEN ${key} THEN CAST(${number} AS BIGINT) "); // a string takes everything
    }
    cases
}

/// Keys for statements that look for each of them, in groups of few sizes. What is missing to the size of the last is its
/// last key again: a key that is looked for twice is found once.
#[must_use]
pub fn padded(mut keys: Vec<Value>) -> Vec<Vec<Value>> {
    let mut padded = Vec::new();
    while !keys.is_empty() {
        let rest = keys.split_off(keys.len().min(SIZES[0]));
        let size = SIZES.into_iter().rev().find(|size| *size >= keys.len());
        if let (Some(last), Some(size)) = (keys.last().cloned(), size) {
            keys.resize(size, last);
        }
        padded.push(std::mem::replace(&mut keys, rest));
    }
    padded
}

fn write_row(places: &mut String, first: usize, width: usize) {
    for place in first..first + width {
        let comma = if place == first { "" } else { ", " };
        let _ = write!(places, "{comma}${place}"); // a string takes everything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_into_few_sizes_in_order() {
        let all: Vec<usize> = (0..147).collect();
        let sizes: Vec<usize> = groups(&all).map(<[usize]>::len).collect();
        assert_eq!(sizes, [64, 64, 16, 2, 1]);
        assert_eq!(groups(&all).flatten().copied().collect::<Vec<_>>(), all);
        assert_eq!(groups::<u8>(&[]).count(), 0);
    }

    #[test]
    fn keys_are_looked_for_in_few_sizes() {
        let keys = |count: i64| (0..count).map(Value::Int).collect::<Vec<_>>();
        let sizes = |count| padded(keys(count)).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(0), [0; 0]);
        assert_eq!(sizes(5), [8]);
        assert_eq!(sizes(64), [64]);
        assert_eq!(sizes(67), [64, 4]);
        let five = padded(keys(5)).remove(0);
        assert_eq!(five[..5], keys(5));
        assert_eq!(five[5..], [Value::Int(4), Value::Int(4), Value::Int(4)]);
    }

    #[test]
    fn places_are_numbered_through() {
        assert_eq!(row(3, 3), "$3, $4, $5");
        assert_eq!(rows("$1, ", 2, 2, 2), "($1, $2, $3), ($1, $4, $5)");
        assert_eq!(
            cases(2, 4, 2),
            "WHEN $2 THEN CAST($4 AS BIGINT) WHEN $3 THEN CAST($5 AS BIGINT) "
        );
    }
}
