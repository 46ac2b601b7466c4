//! What the demonstration prints: aligned lines, a line of progress on a terminal, and what held.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How often a progress is told where lines cannot be taken back.
const TOLD: Duration = Duration::from_secs(5);

/// How many characters of somebody else's text fit into a line.
const WIDTH: usize = 88;

/// The page that the story is written on.
pub(crate) struct Page {
    terminal: bool,
    /// Whether a line of progress stands on the terminal.
    passing: bool,
    told: Instant,
    failed: Vec<String>,
}

impl Page {
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            passing: false,
            told: Instant::now(),
            failed: Vec::new(),
        }
    }

    /// A line, as it is.
    pub(crate) fn line(&mut self, text: &str) {
        self.wipe();
        let mut out = std::io::stdout().lock();
        // A reader that has seen enough is no reason to leave a broker running.
        let _ = writeln!(out, "{}", text.trim_end());
        let _ = out.flush();
        self.told = Instant::now();
    }

    /// A heading, with air around it.
    pub(crate) fn heading(&mut self, text: &str) {
        self.line("");
        self.line(text);
        self.line(&"─".repeat(text.chars().count()));
    }

    /// A name and what is to be said about it.
    pub(crate) fn item(&mut self, name: &str, text: &str) {
        self.line(&format!("  {name:<15}{text}"));
    }

    /// Something that happened.
    pub(crate) fn event(&mut self, at: Timestamp, zone: &TimeZone, text: &str) {
        self.line(&format!(
            "     {}  {text}",
            at.to_zoned(zone.clone()).strftime("%H:%M:%S%.3f")
        ));
    }

    /// A text of somebody else, set off from the story's own; at most so many lines.
    pub(crate) fn quote(&mut self, text: &str, most: usize) {
        let lines: Vec<String> = text.trim_end().lines().flat_map(|line| wrapped(&tame(line))).collect();
        for line in lines.iter().take(most) {
            self.line(&format!("     │ {line}"));
        }
        if lines.len() > most {
            self.line(&format!("     │ … {} more lines", lines.len() - most));
        }
    }

    /// What is waited for: a line that passes on a terminal, now and then a line elsewhere.
    pub(crate) fn progress(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        if self.terminal {
            let _ = write!(out, "\r\x1b[2K  … {text}");
            let _ = out.flush();
            self.passing = true;
        } else if self.told.elapsed() >= TOLD {
            let _ = writeln!(out, "  … {text}");
            self.told = Instant::now();
        }
    }

    /// A promise that held, or did not.
    pub(crate) fn held(&mut self, held: bool, text: &str) {
        self.line(&format!("  {} {text}", if held { '✓' } else { '✗' }));
        if !held {
            self.failed.push(text.to_owned());
        }
    }

    /// What did not hold.
    pub(crate) fn failed(&self) -> &[String] {
        &self.failed
    }

    fn wipe(&mut self) {
        if self.passing {
            let _ = write!(std::io::stdout(), "\r\x1b[2K");
            self.passing = false;
        }
    }
}

/// A line of a stranger without what could steer a terminal or turn the text around.
fn tame(line: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    line.replace('\t', "    ")
        .chars()
        .map(|c| if steers(c) { '·' } else { c })
        .collect()
}

/// A line in lines that fit; its words stay whole, and so does its indentation.
fn wrapped(line: &str) -> Vec<String> {
    let indent = &line[..line.len() - line.trim_start().len()];
    let mut lines = vec![indent.to_owned()];
    for word in line.split_whitespace() {
        let last = lines.last_mut().expect("there is a first line");
        if last.len() > indent.len() && last.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{indent}{word}"));
            continue;
        }
        if last.len() > indent.len() {
            last.push(' ');
        }
        last.push_str(word);
    }
    lines
}

/// A size in words.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} KB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_line_does_not_steer_the_terminal() {
        assert_eq!(tame("a\u{1b}[2Jb\u{202e}c\td æ🚧"), "a·[2Jb·c    d æ🚧");
    }

    #[test]
    fn a_long_line_is_broken_between_words() {
        let line = format!("  {}", "abcdefghi ".repeat(12));
        let lines = wrapped(&line);
        assert_eq!(lines.len(), 2);
        assert!(
            lines
                .iter()
                .all(|line| line.starts_with("  abc") && line.len() <= WIDTH)
        );
        assert_eq!(lines.join(" ").split_whitespace().count(), 12);
        assert_eq!(wrapped(""), [""]);
    }

    #[test]
    fn what_did_not_hold_is_remembered() {
        let mut page = Page::new();
        page.held(true, "one");
        page.held(false, "two");
        assert_eq!(page.failed(), ["two"]);
    }
}
