//! Placeholder.
use runtime::ConfigArgs;
pub(crate) fn run(_config: &ConfigArgs, _command: crate::args::FormCommand, _json: bool) -> anyhow::Result<u8> {
    Ok(70)
}
