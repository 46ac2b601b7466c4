//! The disks that Kvit writes to: how much room is left.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use runtime::{Config, Loaded};
use store::Url;

use super::Probe;

const CHECK: &str = "disk space";
const MIB: u64 = 1 << 20;
/// Below this it is time to make room: some dozens of the largest messages, or days of usual ones.
const LITTLE: Room = Room {
    bytes: 1024 * MIB,
    files: Some(10_000),
};
/// Below this a few of the largest messages, each written to the store and to its log beside it, fill the disk.
const NO_ROOM: Room = Room {
    bytes: 100 * MIB,
    files: Some(1_000),
};

/// What a disk can still take.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: u64,
    /// `None` where the file system does not count its files.
    files: Option<u64>,
}

impl Room {
    fn at(path: &Path) -> nix::Result<Self> {
        let found = statvfs(path)?;
        Ok(Self {
            // Without what is kept back for root.
            bytes: found.blocks_available().saturating_mul(found.fragment_size()),
            files: (found.files() > 0).then(|| found.files_available()),
        })
    }

    fn is_below(self, bound: Self) -> bool {
        let few_files = self.files.zip(bound.files).is_some_and(|(left, bound)| left < bound);
        self.bytes < bound.bytes || few_files
    }

    fn words(self) -> String {
        let mib = self.bytes / MIB;
        let bytes = if mib < 10 * 1024 {
            format!("{mib} MiB")
        } else {
            format!("{} GiB", mib / 1024)
        };
        match self.files {
            Some(files) if self.is_below(Room { bytes: 0, ..LITTLE }) => format!("{bytes} and {files} files are free"),
            _ => format!("{bytes} are free"),
        }
    }
}

/// A disk, and what Kvit keeps on it.
struct Disk {
    device: u64,
    at: PathBuf,
    used_for: Vec<&'static str>,
}

pub(super) fn probe(loaded: &Loaded) -> Vec<Probe> {
    let mut disks: Vec<Disk> = Vec::new();
    for (what, folder) in folders(&loaded.config) {
        let Some((at, data)) = there(&folder) else { continue };
        match disks.iter_mut().find(|disk| disk.device == data.dev()) {
            Some(disk) => disk.used_for.push(what),
            None => disks.push(Disk {
                device: data.dev(),
                at,
                used_for: vec![what],
            }),
        }
    }
    let mut probes: Vec<Probe> = disks.iter().map(look).collect();
    if away(&loaded.config) {
        let found = "the store's or the vault's server has a disk of its own, which is not seen from here";
        probes.push(Probe::ok(CHECK, found));
    }
    probes
}

/// What is written, and where.
fn folders(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let of_file = |file: PathBuf| file.parent().map(Path::to_owned);
    let all = [
        ("store", sqlite(config.store.url()).and_then(of_file)),
        ("vault", sqlite(config.vault.url()).and_then(of_file)),
        ("evidence", Some(config.evidence.dir.clone())),
        ("copy of the evidence", config.evidence.copy_dir.clone()),
        ("journal", Some(config.journal.dir.clone())),
    ];
    all.into_iter()
        .filter_map(|(what, folder)| Some((what, folder?)))
        .collect()
}

/// The file of a store that is one.
pub(super) fn sqlite<E>(url: Result<String, E>) -> Option<PathBuf> {
    match url.ok()?.parse().ok()? {
        Url::Sqlite(file) => Some(file),
        Url::Postgres(_) => None,
    }
}

fn away(config: &Config) -> bool {
    let on_a_server = |url: Option<String>| url.is_some_and(|url| url.parse().is_ok_and(|url: Url| !url.is_sqlite()));
    on_a_server(config.store.url().ok()) || on_a_server(config.vault.url().ok())
}

/// The folder, or the one in which it will be made.
fn there(folder: &Path) -> Option<(PathBuf, Metadata)> {
    let mut above = folder.ancestors();
    above.find_map(|path| Some((path.to_owned(), path.metadata().ok()?)))
}

fn look(disk: &Disk) -> Probe {
    match Room::at(&disk.at) {
        Ok(room) => judged(room, disk),
        Err(error) => Probe::warn(
            CHECK,
            format!("{} cannot be looked at: {error}", disk.at.display()),
            "run kvit doctor as the user of the services",
        ),
    }
}

fn judged(room: Room, disk: &Disk) -> Probe {
    let (at, used_for) = (disk.at.display(), disk.used_for.join(", "));
    let found = format!("{} in {at} ({used_for})", room.words());
    let next = format!("make room on the disk of {at}, or make it larger: what cannot be written waits, or is held");
    if room.is_below(NO_ROOM) {
        Probe::fail(CHECK, found, next)
    } else if room.is_below(LITTLE) {
        Probe::warn(CHECK, found, next)
    } else {
        Probe::ok(CHECK, found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use runtime::Layers;

    fn state(mib: u64, files: Option<u64>) -> State {
        let disk = Disk {
            device: 1,
            at: "/var/lib/kvit".into(),
            used_for: vec!["store", "vault"],
        };
        let bytes = mib * MIB;
        let probe = judged(Room { bytes, files }, &disk);
        assert!(probe.found.contains("/var/lib/kvit (store, vault)"), "{}", probe.found);
        assert_eq!(probe.next.is_some(), probe.state != State::Ok);
        probe.state
    }

    #[test]
    fn little_room_is_worth_a_look_and_none_fails() {
        assert_eq!(state(1024, None), State::Ok);
        assert_eq!(state(1023, None), State::Warn);
        assert_eq!(state(100, None), State::Warn);
        assert_eq!(state(99, None), State::Fail);
    }

    #[test]
    fn a_disk_that_takes_no_more_files_is_full_too() {
        assert_eq!(state(90_000, Some(10_000)), State::Ok);
        assert_eq!(state(90_000, Some(9_999)), State::Warn);
        assert_eq!(state(90_000, Some(999)), State::Fail);
    }

    #[test]
    fn folders_that_are_still_to_be_made_are_looked_at_where_they_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let created = crate::init::create(folder.path()).unwrap();
        let layers = Layers::default();
        let loaded = Loaded::load_with(&created.config, &layers).unwrap();
        assert!(!loaded.config.evidence.dir.exists());
        let found: Vec<_> = probe(&loaded).into_iter().map(|probe| probe.found).collect();
        let found = found.join("\n");
        for what in ["store", "vault", "evidence", "journal"] {
            assert!(found.contains(what), "{what} is not in {found}");
        }
        assert!(found.contains(&folder.path().display().to_string()), "{found}");
    }
}
