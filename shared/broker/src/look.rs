//! Looks at the broker, for `kvit doctor` and the console: declares nothing, takes nothing, publishes nothing. RabbitMQ asks
//! for no permission for that but the login's to its virtual host.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::address::Endpoint;
use crate::{session, words};

/// How long a broker that is connected may take to answer for all queues.
const ANSWERS: Duration = Duration::from_secs(10);

/// A queue that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// How many messages wait in it; not those that a program has in hand.
    pub messages: u32,
    /// How many programs take from it.
    pub consumers: u32,
}

/// What is seen of each queue: its depth, or in words why it cannot be seen.
pub type Seen = Vec<Result<Depth, String>>;

/// Connects once and looks at each queue.
///
/// # Errors
///
/// Where the broker cannot be reached or refuses the login, in words, without credentials.
pub async fn look(url: &str, name: &str, queues: &[String]) -> Result<Seen, String> {
    let connection = session::dial(&Endpoint::new(url, name.to_owned()), "look").await?;
    let seen = see(&connection, queues).await;
    // It has served; how it ends changes nothing.
    let _ = connection.close(200, "done".into()).await;
    seen
}

/// Looks again and again, over one connection that is opened when it is needed.
pub struct Looker {
    endpoint: Endpoint,
    connection: Mutex<Option<Connection>>,
}

impl Looker {
    /// Connects to nothing yet; the name is what the broker's operator sees in the list of connections.
    #[must_use]
    pub fn new(url: &str, name: &str) -> Self {
        Self {
            endpoint: Endpoint::new(url, name.to_owned()),
            connection: Mutex::default(),
        }
    }

    /// Looks at each queue.
    ///
    /// # Errors
    ///
    /// As [`look`]; the next look connects anew.
    pub async fn look(&self, queues: &[String]) -> Result<Seen, String> {
        let mut kept = self.connection.lock().await;
        // Taken out, so that a look that fails or is given up leaves none behind.
        let connection = match kept.take().filter(|connection| connection.status().connected()) {
            Some(connection) => connection,
            None => session::dial(&self.endpoint, "look").await?,
        };
        let seen = see(&connection, queues).await?;
        *kept = Some(connection);
        Ok(seen)
    }
}

async fn see(connection: &Connection, queues: &[String]) -> Result<Seen, String> {
    let all = async {
        let (mut channel, mut seen) = (None, Vec::with_capacity(queues.len()));
        for queue in queues {
            seen.push(depth(connection, &mut channel, queue).await);
        }
        if let Some(channel) = channel {
            let _ = channel.close(200, "done".into()).await;
        }
        seen
    };
    let seen = timeout(ANSWERS, all).await;
    let seen = seen.map_err(|_| "the broker is connected and does not answer".to_owned())?;
    if connection.status().connected() {
        Ok(seen)
    } else {
        Err("the connection to the broker was lost".to_owned())
    }
}

/// A refusal closes the channel, so the next queue has a new one.
async fn depth(connection: &Connection, kept: &mut Option<Channel>, queue: &str) -> Result<Depth, String> {
    let what = format!("queue {queue}");
    let channel = match kept.take() {
        Some(channel) => channel,
        None => connection
            .create_channel()
            .await
            .map_err(|error| words::channel("a channel", &error))?,
    };
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await
        .map_err(|error| words::channel(&what, &error))?;
    *kept = Some(channel);
    Ok(Depth {
        messages: declared.message_count(),
        consumers: declared.consumer_count(),
    })
}
