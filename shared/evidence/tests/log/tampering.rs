//! G2: what is done to a folder afterwards is found, by the folder alone or against a checkpoint that somebody kept.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{grow, key, leaf, log_of, trust};
use evidence::{Fault, FolderError, Log, Signed, Tile, verify_folder};

const SIZE: u64 = 600;

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// A bundle's leaves, to be written back otherwise.
fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut leaves = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (leaf, after) = after.split_at(u16::from_be_bytes(*length).into());
        leaves.push(leaf.to_vec());
        rest = after;
    }
    change(&mut leaves);
    let mut bytes = Vec::new();
    for leaf in leaves {
        bytes.extend(u16::try_from(leaf.len()).unwrap().to_be_bytes());
        bytes.extend(leaf);
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_log_that_nobody_touched_holds_at_every_size() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::of_year(dir.path(), 2026);
    let mut kept: Vec<Signed> = Vec::new();
    for size in [1, 2, 255, 256, 257, 511, 513, 700, 1024] {
        let before = kept.last().map(|signed| &signed.checkpoint);
        kept.push(grow(&log, before, size).unwrap());
        let verified = verify_folder(dir.path(), &trust(), &kept).unwrap();
        assert_eq!(verified[0].continues, kept.len());
        assert_eq!(verified[0].signed.checkpoint.size, size);
    }
}

#[test]
fn every_flipped_byte_and_every_missing_file_is_found_by_the_folder_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = log_of(dir.path(), SIZE);
    for path in files(log.dir()) {
        if path.ends_with("verifier.key") {
            continue; // nobody believes the key in the folder
        }
        let right = fs::read(&path).unwrap();
        for at in [0, right.len() / 2, right.len() - 1] {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            fs::write(&path, wrong).unwrap();
            let verified = verify_folder(dir.path(), &trust(), &[]);
            assert!(verified.is_err(), "byte {at} of {}", path.display());
        }
        fs::remove_file(&path).unwrap();
        assert!(verify_folder(dir.path(), &trust(), &[]).is_err(), "{}", path.display());
        fs::write(&path, right).unwrap();
    }
    verify_folder(dir.path(), &trust(), &[]).unwrap();
}

#[test]
fn leaves_that_were_changed_left_out_or_reordered_are_found_by_the_folder_alone() {
    let change = |leaves: &mut Vec<Vec<u8>>| {
        let mut other = leaf(1);
        other.event = "accepted".to_owned();
        leaves[1] = other.to_bytes();
    };
    let changes: [fn(&mut Vec<Vec<u8>>); 4] = [
        change,
        |leaves| drop(leaves.remove(1)),
        |leaves| leaves.swap(1, 2),
        |leaves| leaves.insert(1, leaf(1).to_bytes()),
    ];
    for (case, change) in changes.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = log_of(dir.path(), SIZE);
        rewrite(&log.dir().join("tile/entries/000"), change);
        let fault = verify_folder(dir.path(), &trust(), &[]).unwrap_err();
        assert!(
            matches!(fault, Fault::Tile { .. } | Fault::Folder(FolderError::Damaged { .. })),
            "case {case}: {fault}"
        );
    }
}

#[test]
fn leaves_and_tiles_that_were_changed_together_are_found_by_the_signature() {
    let dir = tempfile::tempdir().unwrap();
    let (log, signed) = log_of(dir.path(), SIZE);
    // Somebody without the key rewrites all but the checkpoint.
    let elsewhere = tempfile::tempdir().unwrap();
    let forged = Log::of_year(elsewhere.path(), 2026);
    let mut appender = forged.append(None).unwrap();
    for index in 0..SIZE {
        let mut leaf = leaf(index);
        leaf.rule = None;
        appender.push(leaf.to_bytes()).unwrap();
    }
    appender
        .sign(crate::common::ORIGIN, &evidence::LogKey::from_seed([1; 32]))
        .unwrap();
    fs::write(forged.dir().join("checkpoint"), &signed.note).unwrap();
    let fault = verify_folder(elsewhere.path(), &trust(), &[]).unwrap_err();
    assert!(matches!(fault, Fault::Root { size: SIZE, .. }), "{fault}");
    verify_folder(log.dir(), &trust(), &[]).unwrap();
}

#[test]
fn a_log_that_another_key_signed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::of_year(dir.path(), 2026);
    let mut appender = log.append(None).unwrap();
    appender.push(leaf(0).to_bytes()).unwrap();
    appender
        .sign(crate::common::ORIGIN, &evidence::LogKey::from_seed([1; 32]))
        .unwrap();
    let fault = verify_folder(dir.path(), &trust(), &[]).unwrap_err();
    assert!(
        matches!(fault, Fault::Folder(FolderError::Checkpoint { .. })),
        "{fault}"
    );
}

#[test]
fn a_truncated_or_replayed_log_is_found_against_a_kept_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (_, kept) = log_of(dir.path(), SIZE);
    // The operator signs again what is left, or puts last week's folder back: by itself it holds.
    let shorter = tempfile::tempdir().unwrap();
    log_of(shorter.path(), SIZE - 100);
    verify_folder(shorter.path(), &trust(), &[]).unwrap();
    let fault = verify_folder(shorter.path(), &trust(), &[kept]).unwrap_err();
    assert!(matches!(fault, Fault::Truncated { kept: SIZE, .. }), "{fault}");
}

#[test]
fn a_forked_log_is_found_against_a_kept_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (_, kept) = log_of(dir.path(), SIZE);
    let forked = tempfile::tempdir().unwrap();
    let log = Log::of_year(forked.path(), 2026);
    let mut appender = log.append(None).unwrap();
    for index in 0..SIZE + 50 {
        let mut leaf = leaf(index);
        if index == 301 {
            leaf.event = "accepted".to_owned();
        }
        appender.push(leaf.to_bytes()).unwrap();
    }
    appender.sign(crate::common::ORIGIN, &key()).unwrap();
    verify_folder(forked.path(), &trust(), &[]).unwrap();
    let fault = verify_folder(forked.path(), &trust(), &[kept]).unwrap_err();
    assert!(matches!(fault, Fault::Forked { kept: SIZE, .. }), "{fault}");
}

#[test]
fn a_year_that_was_dropped_is_missed_only_by_who_kept_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (log, kept) = log_of(dir.path(), 3);
    let next = Log::of_year(dir.path(), 2027);
    let mut appender = next.append(None).unwrap();
    appender.push(leaf(0).to_bytes()).unwrap();
    appender.sign("kvit.example/2027", &key()).unwrap();
    assert_eq!(verify_folder(dir.path(), &trust(), &[]).unwrap().len(), 2);
    fs::remove_dir_all(log.dir()).unwrap();
    assert_eq!(verify_folder(dir.path(), &trust(), &[]).unwrap().len(), 1);
    let fault = verify_folder(dir.path(), &trust(), &[kept]).unwrap_err();
    assert!(matches!(fault, Fault::Dropped { size: 3, .. }), "{fault}");
}

#[test]
fn the_sequencer_refuses_leaves_that_it_did_not_sign_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, signed) = log_of(dir.path(), 300);
    let before: Vec<_> = files(log.dir()).iter().map(|path| fs::read(path).unwrap()).collect();
    let mut appender = log.append(Some(&signed.checkpoint)).unwrap();
    assert_eq!(appender.size(), 256);
    let refused = (256..400).find_map(|index| {
        let mut other = leaf(index);
        other.rule = Some("another past".to_owned());
        appender.push(other.to_bytes()).err()
    });
    assert!(matches!(refused, Some(FolderError::Forked { size: 300 })));
    assert!(matches!(
        log.append(Some(&signed.checkpoint)).unwrap().finish(),
        Err(FolderError::Forked { size: 300 })
    ));
    let after: Vec<_> = files(log.dir()).iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn a_crash_between_tiles_and_checkpoint_is_mended_by_doing_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, signed) = log_of(dir.path(), 250);
    // Tiles of the next round are there, its checkpoint is not.
    let mut appender = log.append(Some(&signed.checkpoint)).unwrap();
    for index in 0..600 {
        appender.push(leaf(index).to_bytes()).unwrap();
    }
    drop(appender);
    verify_folder(dir.path(), &trust(), std::slice::from_ref(&signed)).unwrap();
    let again = grow(&log, Some(&signed.checkpoint), 600).unwrap();
    verify_folder(dir.path(), &trust(), &[signed, again]).unwrap();
}

#[test]
fn a_copy_made_while_the_log_grows_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (log, signed) = log_of(dir.path(), 300);
    let copy = tempfile::tempdir().unwrap();
    let to = Log::of_year(copy.path(), 2026);
    // The partial tiles of the copied checkpoint are gone by the time that they are read.
    grow(&log, Some(&signed.checkpoint), 600).unwrap();
    fs::write(log.dir().join("checkpoint"), &signed.note).unwrap();
    assert!(
        !log.dir()
            .join(
                Tile {
                    level: 0,
                    index: 1,
                    width: 44
                }
                .path()
            )
            .exists()
    );
    assert_eq!(log.copy_to(&to).unwrap(), Some(signed.clone()));
    verify_folder(copy.path(), &trust(), &[signed]).unwrap();
}
