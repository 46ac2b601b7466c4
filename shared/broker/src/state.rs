//! What the link says about itself: up, or down and why.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};

/// Whether the broker can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Every connection stands, every queue is consumed.
    Up,
    /// Something is missing: where and why, in words for an operator, without credentials.
    Down(String),
}

/// A part of the link; connections come first, because a queue cannot be better than its connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Connection(String),
    Declaring,
    Queue(String),
}

impl Part {
    fn is_connection(&self) -> bool {
        matches!(self, Self::Connection(_))
    }
}

/// The states of all parts, and the one state that they make.
#[derive(Clone)]
pub(crate) struct Board {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    parts: BTreeMap<Part, State>,
    told: Option<State>,
    tell: Arc<dyn Fn(State) + Send + Sync>,
}

impl Board {
    pub(crate) fn new(tell: Arc<dyn Fn(State) + Send + Sync>) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                parts: BTreeMap::new(),
                told: None,
                tell,
            })),
        }
    }

    pub(crate) fn set(&self, part: Part, state: State) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.parts.insert(part, state);
        inner.tell_if_changed();
    }

    pub(crate) fn remove(&self, part: &Part) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.parts.remove(part);
        inner.tell_if_changed();
    }
}

impl Inner {
    fn tell_if_changed(&mut self) {
        let state = self.together();
        if self.told.as_ref() == Some(&state) {
            return;
        }
        match &state {
            State::Up => info!("broker up"),
            State::Down(words) => warn!(broker.state = %words, "broker down"),
        }
        self.told = Some(state.clone());
        (self.tell)(state);
    }

    /// Up when all parts are; otherwise the words of the connections, or, when those stand, of the rest.
    fn together(&self) -> State {
        let words = |connections: bool| {
            let mut words: Vec<&str> = Vec::new();
            for (part, state) in &self.parts {
                if let State::Down(why) = state
                    && part.is_connection() == connections
                    && !words.contains(&why.as_str())
                {
                    words.push(why);
                }
            }
            words.join("; ")
        };
        let connections = words(true);
        let why = if connections.is_empty() {
            words(false)
        } else {
            connections
        };
        if why.is_empty() { State::Up } else { State::Down(why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(words: &str) -> State {
        State::Down(words.to_owned())
    }

    #[test]
    fn the_cause_is_told_once_and_not_what_follows_from_it() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let board = Board::new({
            let told = told.clone();
            Arc::new(move |state| told.lock().unwrap().push(state))
        });
        let queue = || Part::Queue("q".to_owned());

        board.set(Part::Connection("publish".to_owned()), down("cannot reach mq"));
        board.set(Part::Connection("consume".to_owned()), down("cannot reach mq"));
        board.set(queue(), down("queue q is not consumed"));
        board.set(Part::Connection("publish".to_owned()), State::Up);
        board.set(Part::Connection("consume".to_owned()), State::Up);
        board.set(queue(), State::Up);
        board.set(queue(), down("queue q is gone"));
        board.remove(&queue());

        let expected = [
            down("cannot reach mq"),
            down("queue q is not consumed"),
            State::Up,
            down("queue q is gone"),
            State::Up,
        ];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
