//! What `kvit demo` needs around Kvit itself: a broker, an inbox.

pub mod inbox;
pub mod rabbit;
