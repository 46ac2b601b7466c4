//! File names as a caseworker may see and save them: no path, no control or direction character, each only once.

use std::collections::HashSet;

/// Longer names are cut, their ending kept: Windows allows 260 characters for a whole path.
const LONGEST: usize = 100;

/// Gives each attachment of a mail a name of its own.
pub(crate) struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// Starts with names that no file of the submitter may take.
    pub(crate) fn reserving(names: &[&str]) -> Self {
        Self {
            taken: names.iter().map(|name| name.to_lowercase()).collect(),
        }
    }

    /// The wanted name made safe, or `fallback`, numbered where it is taken. Letter case does not distinguish.
    pub(crate) fn give(&mut self, wanted: &str, fallback: &str) -> String {
        let name = match clean(wanted) {
            name if name.is_empty() => fallback.to_owned(),
            name => name,
        };
        let (stem, ending) = split(&name);
        let mut candidate = name.clone();
        let mut number = 1;
        while !self.taken.insert(candidate.to_lowercase()) {
            number += 1;
            candidate = format!("{stem} ({number}){ending}");
        }
        candidate
    }
}

/// The last part of a path, without what a file system, a header or a reader's eye could stumble over. May be empty.
pub(crate) fn clean(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = last.chars().filter(|c| !is_hidden(*c)).map(replaced).collect();
    let joined = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    let trimmed = joined.trim_start_matches(['.', ' ']).trim_end_matches(['.', ' ']);
    cut(trimmed)
}

/// Whether a character is not seen, or changes how others are seen. The joiners that emoji need are kept.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !c.is_whitespace())
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// What Windows allows in no file name.
fn replaced(c: char) -> char {
    if "<>:\"|?*".contains(c) { '_' } else { c }
}

/// The name without, and its ending with the dot.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name[dot..].chars().count() <= 12 => name.split_at(dot),
        _ => (name, ""),
    }
}

fn cut(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let (stem, ending) = split(name);
    let kept: String = stem.chars().take(LONGEST - ending.chars().count()).collect();
    format!("{}{ending}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P1
    #[test]
    fn a_name_has_no_path_control_or_direction_character() {
        for (wanted, shown) in [
            ("tegning.pdf", "tegning.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\Åse\\plan 😀.png", "plan 😀.png"),
            ("fak\u{202e}fdp.exe", "fakfdp.exe"),
            ("a\r\nContent-Type: text/html\0.txt", "html.txt"),
            ("linje1\nlinje2.txt", "linje1 linje2.txt"),
            ("  .skjult.  ", "skjult"),
            ("a<b>:\"c|?*.txt", "a_b___c___.txt"),
            ("familie 👨‍👩‍👧.jpg", "familie 👨‍👩‍👧.jpg"),
            ("\u{200b}\u{feff}..", ""),
        ] {
            assert_eq!(clean(wanted), shown, "{wanted:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_ending() {
        let name = clean(&format!("{}.docx", "å".repeat(400)));
        assert_eq!(name.chars().count(), LONGEST);
        assert!(name.ends_with("å.docx"));
    }

    /// P1
    #[test]
    fn equal_names_are_numbered_and_reserved_ones_are_never_given() {
        let mut names = Names::reserving(&["indsendelse.json"]);
        let given: Vec<String> = ["foto.jpg", "Foto.JPG", "x/foto.jpg", "indsendelse.json", "", "\u{202e}"]
            .into_iter()
            .map(|wanted| names.give(wanted, "fil"))
            .collect();
        assert_eq!(
            given,
            [
                "foto.jpg",
                "Foto (2).JPG",
                "foto (3).jpg",
                "indsendelse (2).json",
                "fil",
                "fil (2)"
            ]
        );
    }
}
