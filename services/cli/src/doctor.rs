//! Placeholder.
use runtime::ConfigArgs;
pub(crate) async fn run(_config: &ConfigArgs, _json: bool) -> anyhow::Result<u8> {
    Ok(70)
}
