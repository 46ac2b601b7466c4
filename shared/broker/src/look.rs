//! One look at the broker, for `kvit doctor`: declares nothing, takes nothing, publishes nothing.

use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::address::Endpoint;
use crate::{session, words};

/// A queue that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// How many messages wait in it.
    pub messages: u32,
    /// How many programs take from it.
    pub consumers: u32,
}

/// Connects once and looks at each queue: its depth, or in words why it cannot be seen.
///
/// # Errors
///
/// Where the broker cannot be reached or refuses the login, in words, without credentials.
pub async fn look(url: &str, name: &str, queues: &[String]) -> Result<Vec<Result<Depth, String>>, String> {
    let connection = session::dial(&Endpoint::new(url, name.to_owned()), "look").await?;
    let mut found = Vec::with_capacity(queues.len());
    for queue in queues {
        found.push(depth(&connection, queue).await);
    }
    // It has served; how it ends changes nothing.
    let _ = connection.close(200, "done".into()).await;
    Ok(found)
}

/// A refusal closes the channel, so each queue has a new one.
async fn depth(connection: &Connection, queue: &str) -> Result<Depth, String> {
    let what = format!("queue {queue}");
    let channel = connection
        .create_channel()
        .await
        .map_err(|error| words::channel("a channel", &error))?;
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await
        .map_err(|error| words::channel(&what, &error))?;
    Ok(Depth {
        messages: declared.message_count(),
        consumers: declared.consumer_count(),
    })
}
