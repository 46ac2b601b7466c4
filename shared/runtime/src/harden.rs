//! What a process gives up at its start: to leave its memory behind. Keys and, in intake, answers are in it.

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};

/// Lets the kernel write no core file of this process, and nobody of the same user trace it or read its memory.
///
/// It is done at the start, before any key is read. It comes before the logs, so a system that
/// refuses it is told of on standard error; the program runs all the same.
pub fn harden() {
    let core = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let dumpable = set_dumpable(false);
    for (what, done) in [("the limit of core files", core), ("that it is not dumped", dumpable)] {
        if let Err(error) = done {
            eprintln!("kvit: {what} could not be set: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::prctl::get_dumpable;
    use nix::sys::resource::getrlimit;

    #[test]
    fn a_hardened_process_leaves_no_memory_behind() {
        harden();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        assert_eq!(get_dumpable(), Ok(false));
    }
}
