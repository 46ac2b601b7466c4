//! Placeholder.
pub(crate) fn run(_args: &crate::args::InitArgs, _json: bool) -> anyhow::Result<u8> {
    Ok(70)
}
