//! What `kvit demo` needs around Kvit itself: a broker, an inbox.

pub mod inbox;
pub mod rabbit;

pub(crate) async fn run(_args: &crate::args::DemoArgs) -> anyhow::Result<u8> {
    Ok(70)
}
