//! A statement that inserts rows, however many.

use std::fmt::Write as _;

/// What is inserted into: see [`Tx::insert`](crate::Tx::insert).
#[derive(Debug, Clone, Copy)]
pub struct Insert<'a> {
    /// A table and its columns: `leaf (submission, event)`.
    pub into: &'a str,
    /// Expressions for the columns after those that have values of their own, over a row's values as `$1`, `$2`, …
    pub computed: Option<&'a str>,
    /// What is done with a row that is there already: `(site) DO NOTHING`.
    pub on_conflict: Option<&'a str>,
}

impl<'a> Insert<'a> {
    /// Rows of values alone, none of which is there already.
    #[must_use]
    pub const fn into(into: &'a str) -> Self {
        Self {
            into,
            computed: None,
            on_conflict: None,
        }
    }

    /// The statement for one row of so many values.
    pub(crate) fn of_one(&self, width: usize) -> String {
        let places: Vec<String> = (1..=width).map(|place| format!("${place}")).collect();
        let mut sql = format!("INSERT INTO {} VALUES ({}", self.into, places.join(", "));
        if let Some(computed) = self.computed {
            let _ = write!(sql, ", {computed}"); // a string takes everything
        }
        sql.push(')');
        self.end(sql)
    }

    /// PostgreSQL's statement for many rows: an array for each column, of these types.
    pub(crate) fn of_many(&self, types: &[&str]) -> String {
        let columns: Vec<String> = (1..=types.len()).map(|at| format!("v{at}")).collect();
        let arrays: Vec<String> = types.iter().zip(1..).map(|(of, at)| format!("${at}::{of}[]")).collect();
        let columns = columns.join(", ");
        let mut sql = format!("INSERT INTO {} SELECT {columns}", self.into);
        if let Some(computed) = self.computed {
            let _ = write!(sql, ", {}", computed.replace('$', "v")); // a string takes everything
        }
        let _ = write!(sql, " FROM unnest({}) AS many ({columns})", arrays.join(", "));
        self.end(sql)
    }

    fn end(&self, mut sql: String) -> String {
        if let Some(on_conflict) = self.on_conflict {
            let _ = write!(sql, " ON CONFLICT {on_conflict}"); // a string takes everything
        }
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_has_its_values_and_many_have_an_array_for_each_column() {
        let insert = Insert {
            into: "told (site, at, leaf)",
            computed: Some("(SELECT MAX(seq) FROM leaf WHERE site = $1)"),
            on_conflict: Some("(site) DO NOTHING"),
        };
        assert_eq!(
            insert.of_one(2),
            "INSERT INTO told (site, at, leaf) VALUES ($1, $2, (SELECT MAX(seq) FROM leaf WHERE site = $1)) \
             ON CONFLICT (site) DO NOTHING"
        );
        assert_eq!(
            insert.of_many(&["text", "int8"]),
            "INSERT INTO told (site, at, leaf) SELECT v1, v2, (SELECT MAX(seq) FROM leaf WHERE site = v1) \
             FROM unnest($1::text[], $2::int8[]) AS many (v1, v2) ON CONFLICT (site) DO NOTHING"
        );
    }
}
