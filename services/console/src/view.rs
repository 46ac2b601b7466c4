//! The templates' data, and the files that pages need.

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use domain::Language;
use operate::Refusal;
use runtime::Exit;

use crate::Console;
use crate::words::of_duty;

/// What every page has around it.
pub(crate) struct Shell {
    pub(crate) console: Arc<Console>,
    pub(crate) language: Language,
    /// The page's name among the phrases.
    pub(crate) title: &'static str,
    /// Where the person can go: address, phrase, whether it is here.
    pub(crate) places: Vec<(&'static str, &'static str, bool)>,
    pub(crate) login: Option<String>,
    pub(crate) role: Option<String>,
}

impl Shell {
    /// A phrase.
    pub(crate) fn say(&self, name: &str) -> String {
        self.console.phrases.say(self.language, name)
    }

    /// Why something was not done, in the person's language; as it came where no phrase has it.
    pub(crate) fn refusal(&self, error: &anyhow::Error) -> String {
        let refusal = error
            .downcast_ref::<Exit>()
            .and_then(|exit| exit.cause.downcast_ref::<Refusal>());
        let words = refusal.and_then(|refusal| {
            // A reason's code among it has words of its own.
            let about = refusal.about.iter().map(|(name, text)| {
                let meaning = (*name == "reason").then(|| self.find(&of_duty(text))).flatten();
                (*name, meaning.unwrap_or_else(|| text.clone()))
            });
            let name = format!("refused-{}", refusal.code.as_str());
            self.console
                .phrases
                .fill(self.language, &name, &about.collect::<Vec<_>>())
        });
        words.unwrap_or_else(|| format!("{error:#}"))
    }

    /// A phrase, where there is one.
    pub(crate) fn find(&self, name: &str) -> Option<String> {
        self.console.phrases.find(self.language, name)
    }

    /// A phrase with what it is about filled in.
    pub(crate) fn fill(&self, name: &str, about: &[(&str, String)]) -> String {
        let filled = self.console.phrases.fill(self.language, name, about);
        filled.unwrap_or_else(|| name.to_owned())
    }

    pub(crate) fn code(&self) -> &'static str {
        match self.language {
            Language::Da => "da",
            Language::En => "en",
        }
    }
}

/// A cell of a table.
#[derive(Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// What it means, in words.
    pub(crate) meaning: Option<String>,
    /// An address of ours.
    pub(crate) href: Option<String>,
    /// A time, for programs.
    pub(crate) time: Option<String>,
}

pub(crate) struct Row {
    /// What an action on it is about.
    pub(crate) id: Option<String>,
    pub(crate) cells: Vec<Cell>,
}

/// A field of a form or of a filter.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) label: String,
    pub(crate) value: String,
    /// Where there is a list to choose from: value and words.
    pub(crate) choices: Vec<(String, String)>,
    pub(crate) required: bool,
    pub(crate) long: bool,
}

/// A form that does something.
pub(crate) struct Act {
    pub(crate) action: &'static str,
    pub(crate) label: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) hidden: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "overview.html")]
pub(crate) struct Overview {
    pub(crate) shell: Shell,
    /// Name, number, whether it is bad.
    pub(crate) figures: Vec<(&'static str, String, bool)>,
    pub(crate) whole: bool,
    /// Both sides of each equation, and what they are off by.
    pub(crate) account: [String; 2],
    pub(crate) duties: Vec<Vec<Cell>>,
    pub(crate) queues: Vec<Vec<Cell>>,
    /// Why the queues are not seen as they are now, and when they were seen: a phrase and a time.
    pub(crate) unseen: Option<&'static str>,
    pub(crate) seen: Option<Cell>,
    /// Those that work, and those that are not heard of any more.
    pub(crate) workers: Vec<Vec<Cell>>,
    pub(crate) no_worker: bool,
    pub(crate) paused: Vec<Vec<Cell>>,
}

#[derive(Template)]
#[template(path = "list.html")]
pub(crate) struct List {
    pub(crate) shell: Shell,
    pub(crate) path: &'static str,
    pub(crate) filters: Vec<Field>,
    pub(crate) heads: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// Where the list goes on, and where it begins: addresses.
    pub(crate) next: Option<String>,
    pub(crate) start: Option<String>,
    /// What can be done with the selected, or all that match.
    pub(crate) bulk: Vec<(&'static str, String)>,
    /// The filters in force, which an action on all that match has.
    pub(crate) hidden: Vec<(String, String)>,
    pub(crate) acts: Vec<Act>,
    pub(crate) error: Option<String>,
}

#[derive(Template)]
#[template(path = "show.html")]
pub(crate) struct Show {
    pub(crate) shell: Shell,
    pub(crate) heading: String,
    pub(crate) why: Option<String>,
    pub(crate) facts: Vec<(String, Cell)>,
    pub(crate) duties: Vec<Row>,
    pub(crate) bulk: Vec<(&'static str, String)>,
    pub(crate) history: Vec<Vec<Cell>>,
    pub(crate) prove: Option<String>,
    /// What can be done with the thing itself, and the id that it has for that.
    pub(crate) decide: Vec<(&'static str, String)>,
    pub(crate) id: String,
    pub(crate) lists: Vec<Listed>,
    pub(crate) acts: Vec<Act>,
}

#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct Confirm {
    pub(crate) shell: Shell,
    pub(crate) action: &'static str,
    pub(crate) matched: u64,
    pub(crate) discards: bool,
    pub(crate) hidden: Vec<(String, String)>,
}

/// A list in what an action answered.
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) count: usize,
    pub(crate) heads: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

#[derive(Template)]
#[template(path = "said.html")]
pub(crate) struct Said {
    pub(crate) shell: Shell,
    pub(crate) error: Option<String>,
    /// What came of it where nothing is wrong: a phrase.
    pub(crate) note: &'static str,
    pub(crate) lines: Vec<(String, String)>,
    pub(crate) lists: Vec<Listed>,
    pub(crate) back: String,
}

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct LogIn {
    pub(crate) shell: Shell,
    pub(crate) error: Option<&'static str>,
    pub(crate) nobody: bool,
    /// Whether there is a provider to log in at.
    pub(crate) oidc: bool,
}

#[derive(Template)]
#[template(path = "let_in.html")]
pub(crate) struct LetIn {
    pub(crate) shell: Shell,
}

#[derive(Template)]
#[template(path = "keyboard.html")]
pub(crate) struct Keyboard {
    pub(crate) shell: Shell,
}

/// A page, with its status.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A file that pages need; all of them are in the program.
pub(crate) async fn file(Path(file): Path<String>) -> Response {
    let (kind, bytes): (_, &'static [u8]) = match file.as_str() {
        "console.css" => ("text/css; charset=utf-8", include_bytes!("../static/console.css")),
        "console.js" => ("text/javascript; charset=utf-8", include_bytes!("../static/console.js")),
        "htmx.min.js" => (
            "text/javascript; charset=utf-8",
            include_bytes!("../static/htmx.min.js"),
        ),
        "sse.min.js" => ("text/javascript; charset=utf-8", include_bytes!("../static/sse.min.js")),
        "icon.svg" => ("image/svg+xml", include_bytes!("../static/icon.svg")),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(header::CONTENT_TYPE, kind)], bytes).into_response()
}
