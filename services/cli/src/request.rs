//! Asks something of the service that has the keys, and waits for its answer.

use serde::Serialize;
use serde_json::Value;

use crate::app::App;

/// Asks, and answers the answer.
///
/// # Errors
///
/// As [`operate::ask`].
pub(crate) async fn ask(app: &App, service: &str, kind: &'static str, args: &impl Serialize) -> anyhow::Result<Value> {
    operate::ask(&app.desk(), service, kind, args).await
}
