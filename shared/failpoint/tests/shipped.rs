//! What is shipped has no fail points.

use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};

/// The name of the variable that would arm a program; written backwards, so that this test does not hold it itself.
const BACKWARDS: &str = "STNIOPLIAF_TIVK";

fn holds(built: &Path) -> bool {
    let name: Vec<u8> = BACKWARDS.bytes().rev().collect();
    let bytes = std::fs::read(built).expect("a build");
    bytes.windows(name.len()).any(|window| window == name)
}

/// Issue 4: compiled as a release is, with the feature on, as a release build of the whole workspace has it.
#[test]
fn a_release_has_no_fail_points_even_where_the_feature_is_on() {
    let folder = tempfile::tempdir().expect("a folder");
    // An object holds code and no documentation.
    let built = folder.path().join("failpoint.o");
    let compiled = Command::new("rustc")
        .args([
            "--edition=2024",
            "--crate-type=lib",
            "--crate-name=failpoint",
            "--emit=obj",
        ])
        .args([
            "--cfg",
            "feature=\"failpoints\"",
            "-Cdebug-assertions=off",
            "-Copt-level=3",
        ])
        .arg("-o")
        .arg(&built)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs"))
        .status()
        .expect("rustc");
    assert!(compiled.success());
    assert!(!holds(&built), "a release could be armed");
}

/// The control: what the tests start can be armed, and this is how one sees it.
#[test]
fn a_build_for_tests_has_them() {
    let now = failpoint::mutant("none");
    assert!(!now);
    let this = std::env::current_exe().expect("a test knows where it is");
    // Polled, since what is never run is not in a program.
    let reached = pin!(failpoint::reached("nothing is planned here"));
    let polled = reached.poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(()));
    assert_eq!(holds(&this), failpoint::ARMED);
}
