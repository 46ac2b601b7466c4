//! What must hold whatever chance makes: no answer on the wire, and no input that brings a reader or a writer down.
//!
//! The fuzz targets run for `KVIT_FUZZ_SECONDS` each (5 where it is not set; `make fuzz` gives them a minute), with
//! proptest: it needs no nightly compiler, and shows the smallest input that fails.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

mod addresses;
mod canaries;
mod certificates;
mod desk;
mod mime;
mod shapes;
mod wire;

use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// How many inputs are tried between two looks at the time.
const BATCH: u32 = 8;

/// Tries inputs by chance until the time is over, and at least [`BATCH`] of them.
fn fuzz<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let until = Instant::now() + seconds();
    let mut tried = 0;
    loop {
        let mut runner = TestRunner::new(Config {
            cases: BATCH,
            failure_persistence: None,
            max_shrink_iters: 4096,
            max_shrink_time: 30_000,
            ..Config::default()
        });
        if let Err(failure) = runner.run(strategy, &test) {
            panic!("after {tried} inputs: {failure}");
        }
        tried += BATCH;
        if Instant::now() >= until {
            println!("{tried} inputs");
            return;
        }
    }
}

fn seconds() -> Duration {
    let set = std::env::var("KVIT_FUZZ_SECONDS").unwrap_or_default();
    Duration::from_secs(set.parse().unwrap_or(5))
}

/// Runs it, and fails where it takes longer than anything that intake could wait for.
fn within<T>(limit: Duration, run: impl FnOnce() -> T) -> Result<T, TestCaseError> {
    let start = Instant::now();
    let done = run();
    let took = start.elapsed();
    proptest::prop_assert!(took < limit, "it took {took:?}");
    Ok(done)
}
