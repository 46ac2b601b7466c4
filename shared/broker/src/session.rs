//! A connection that comes back: dial, watch, and dial again, for ever.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::{Connection, ConnectionProperties, ErrorKind, Event};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::address::Endpoint;
use crate::backoff::Backoff;
use crate::count;
use crate::state::{Board, Part, State};
use crate::words;

/// How long connecting may take, from the first packet to the open connection.
const DIALLING: Duration = Duration::from_secs(20);
/// How often a connection is asked whether it still stands, besides listening to its events.
const LOOK: Duration = Duration::from_secs(5);
/// A connection that stood so long was a good one: the next attempt comes quickly.
const STEADY: Duration = Duration::from_secs(10);
/// How long a connection after one that broke on an unreadable message must stand until caution ends.
const CALM: Duration = Duration::from_mins(1);

/// One open connection.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) connection: Arc<Connection>,
    /// Distinguishes this connection from the ones before.
    pub(crate) number: u64,
    /// Set when the broker, short of memory or disk, takes no messages on it.
    pub(crate) blocked: bool,
    /// Set when the connection before broke on a message that could not be read: take one message at a time, so that
    /// the others do not come too often because of it.
    pub(crate) cautious: bool,
    /// Gives the connection up, when it stands but does not answer.
    pub(crate) give_up: CancellationToken,
}

/// The present session, or none.
pub(crate) type Sessions = watch::Receiver<Option<Session>>;

/// Why a connection ended.
struct End {
    words: String,
    unreadable: bool,
}

/// Keeps a connection up until dropped.
pub(crate) async fn keep(endpoint: Arc<Endpoint>, role: &str, board: Board, sessions: watch::Sender<Option<Session>>) {
    let part = Part::Connection(role.to_owned());
    let mut backoff = Backoff::connecting();
    let mut number = 0;
    let mut cautious = false;
    count::lost(0);
    loop {
        match dial(&endpoint, role).await {
            Ok(connection) => {
                let opened = Instant::now();
                number += 1;
                let session = Session {
                    connection: Arc::new(connection),
                    number,
                    blocked: false,
                    cautious,
                    give_up: CancellationToken::new(),
                };
                sessions.send_replace(Some(session.clone()));
                board.set(part.clone(), State::Up);
                let end = watch_over(&endpoint, &session, &board, &part, &sessions).await;
                sessions.send_replace(None);
                board.set(part.clone(), State::Down(end.words));
                count::lost(1);
                cautious = end.unreadable || (cautious && opened.elapsed() < CALM);
                if opened.elapsed() >= STEADY {
                    backoff.reset();
                }
            }
            Err(words) => board.set(part.clone(), State::Down(words)),
        }
        sleep(backoff.next()).await;
    }
}

pub(crate) async fn dial(endpoint: &Endpoint, role: &str) -> Result<Connection, String> {
    let Some(uri) = endpoint.uri() else {
        return Err("the broker's URL cannot be read".to_owned());
    };
    let host = endpoint.host();
    let name = format!("{} {role}", endpoint.name());
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    match timeout(DIALLING, Connection::connect_uri(uri, properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(words::connection(host, &error)),
        Err(_) => Err(format!("cannot reach {host}: no answer in time")),
    }
}

/// Returns when the connection is lost, or given up.
async fn watch_over(
    endpoint: &Endpoint,
    session: &Session,
    board: &Board,
    part: &Part,
    sessions: &watch::Sender<Option<Session>>,
) -> End {
    let connection = &session.connection;
    let mut events = pin!(connection.events_listener());
    let mut look = interval(LOOK);
    let host = endpoint.host();
    let mut last_error = None;
    loop {
        tokio::select! {
            () = session.give_up.cancelled() => {
                return End { words: format!("{host} does not answer"), unreadable: false };
            }
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    set_blocked(sessions, true);
                    board.set(part.clone(), State::Down(format!("{host} takes no messages: {reason}")));
                }
                Some(Event::ConnectionUnblocked) => {
                    set_blocked(sessions, false);
                    board.set(part.clone(), State::Up);
                }
                Some(Event::Error(error)) => last_error = Some(error),
                Some(_) => {}
                None => return ended(host, last_error.as_ref()),
            },
            _ = look.tick() => {}
        }
        if !connection.status().connected() {
            return ended(host, last_error.as_ref());
        }
    }
}

fn ended(host: &str, error: Option<&lapin::Error>) -> End {
    End {
        words: error.map_or_else(
            || format!("the connection to {host} was lost"),
            |error| words::connection(host, error),
        ),
        unreadable: error.is_some_and(|error| matches!(error.kind(), ErrorKind::ParsingError(_))),
    }
}

fn set_blocked(sessions: &watch::Sender<Option<Session>>, blocked: bool) {
    sessions.send_modify(|session| {
        if let Some(session) = session {
            session.blocked = blocked;
        }
    });
}
