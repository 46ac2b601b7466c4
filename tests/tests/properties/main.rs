//! What must hold whatever chance makes: no answer on the wire, and no input that brings a reader or a writer down.
//!
//! The fuzz targets run for `KVIT_FUZZ_SECONDS` each (2 where it is not set; `make fuzz` gives them a minute), with
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
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// How many inputs are tried between two looks at the time.
const BATCH: u32 = 8;

/// Tries inputs by chance until the time is over, and at least [`BATCH`] of them.
fn fuzz<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let until = Instant::now() + seconds();
    let mut tried = 0;
    loop {
        let config = Config::default();
        let mut runner = TestRunner::new(Config {
            cases: BATCH,
            rng_seed: seed_of_batch(config.rng_seed, tried),
            failure_persistence: None,
            max_shrink_iters: 4096,
            max_shrink_time: 30_000,
            ..config
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

/// The seed of the batch after so many inputs: a seed that is set (`PROPTEST_RNG_SEED`) makes the same inputs in every run,
/// and not the same in every batch.
fn seed_of_batch(set: RngSeed, tried: u32) -> RngSeed {
    match set {
        RngSeed::Fixed(seed) => RngSeed::Fixed(seed.wrapping_add(u64::from(tried))),
        RngSeed::Random => RngSeed::Random,
    }
}

#[test]
fn each_batch_has_other_inputs_also_with_a_seed_that_is_set() {
    let of = |tried| {
        let config = Config {
            rng_seed: seed_of_batch(RngSeed::Fixed(7), tried),
            ..Config::default()
        };
        let mut runner = TestRunner::new(config);
        let tree = proptest::prelude::any::<u128>().new_tree(&mut runner).unwrap();
        proptest::strategy::ValueTree::current(&tree)
    };
    assert_eq!(of(8), of(8));
    assert_ne!(of(0), of(8));
}

fn seconds() -> Duration {
    let set = std::env::var("KVIT_FUZZ_SECONDS").unwrap_or_default();
    Duration::from_secs(set.parse().unwrap_or(2))
}

/// Runs it, and fails where it takes longer than anything that intake could wait for.
fn within<T>(limit: Duration, run: impl FnOnce() -> T) -> Result<T, TestCaseError> {
    let start = Instant::now();
    let done = run();
    let took = start.elapsed();
    proptest::prop_assert!(took < limit, "it took {took:?}");
    Ok(done)
}
