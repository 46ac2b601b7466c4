//! Placeholder.
use runtime::ConfigArgs;
pub(crate) async fn run(
    _config: &ConfigArgs,
    _command: crate::args::ScheduleCommand,
    _json: bool,
) -> anyhow::Result<u8> {
    Ok(70)
}
