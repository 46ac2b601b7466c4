//! Statements about many rows at once: a statement costs more than a row.

/// How many rows a statement is about: few sizes, so that few statements are prepared, each for good.
const SIZES: [usize; 3] = [64, 8, 1];

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
    let places: Vec<String> = (first..first + width).map(|place| format!("${place}")).collect();
    places.join(", ")
}

/// The places of several rows' values, after what each row begins with: `(now, $1, $2), (now, $3, $4)`.
#[must_use]
pub fn rows(shared: &str, first: usize, width: usize, count: usize) -> String {
    let rows: Vec<String> = (0..count)
        .map(|at| format!("({shared}{})", row(first + at * width, width)))
        .collect();
    rows.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_split_into_few_sizes_in_order() {
        let all: Vec<usize> = (0..147).collect();
        let sizes: Vec<usize> = groups(&all).map(<[usize]>::len).collect();
        assert_eq!(sizes, [64, 64, 8, 8, 1, 1, 1]);
        assert_eq!(groups(&all).flatten().copied().collect::<Vec<_>>(), all);
        assert_eq!(groups::<u8>(&[]).count(), 0);
    }

    #[test]
    fn places_are_numbered_through() {
        assert_eq!(row(3, 3), "$3, $4, $5");
        assert_eq!(rows("$1, ", 2, 2, 2), "($1, $2, $3), ($1, $4, $5)");
    }
}
