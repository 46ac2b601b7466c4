//! Who may read what is secret, and who may write what everything goes by: on this machine, by the files' modes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use runtime::Loaded;

use super::Probe;
use super::disk::sqlite;

/// Anything at all for the group or for others.
const NOT_THE_OWNER: u32 = 0o077;
/// Writing, for the group or for others.
const WRITTEN_BY_OTHERS: u32 = 0o022;
/// Reading, for everybody.
const READ_BY_ALL: u32 = 0o004;

pub(super) fn probe(loaded: &Loaded) -> Vec<Probe> {
    let mut probes = of_owner_alone(loaded, "secrets", &secrets(loaded));
    probes.extend(of_owner_alone(loaded, "store files", &stores(loaded)));
    probes.extend(configuration(loaded));
    probes
}

/// A file, and what it is.
type Named = (PathBuf, String);

/// Every file that holds a secret.
fn secrets(loaded: &Loaded) -> Vec<Named> {
    let config = &loaded.config;
    let mut all: Vec<Named> = config
        .secret_files()
        .into_iter()
        .map(|secret| (secret.file.to_owned(), secret.key()))
        .collect();
    let users = config.console.users.iter();
    let hashes = users.map(|(id, user)| {
        (
            &user.password_hash_file,
            format!("console.users.{id}.password_hash_file"),
        )
    });
    let oidc = config.console.oidc.iter();
    let oidc = oidc.map(|oidc| (&oidc.client_secret_file, "console.oidc.client_secret_file".to_owned()));
    let targets = config.journal_targets.iter();
    let targets = targets.map(|(name, target)| (&target.url_file, format!("journal_targets.{name}.url_file")));
    let further = hashes.chain(oidc).chain(targets);
    all.extend(further.filter_map(|(file, key)| Some((file.clone()?, key))));
    // Made at first use, where none is named.
    all.push((config.journal.dir.join("journal.asc"), "the journal's key".to_owned()));
    all
}

/// The files of SQLite: the store's and the key store's, with those that it keeps beside them.
fn stores(loaded: &Loaded) -> Vec<Named> {
    let config = &loaded.config;
    let both = [
        (sqlite(config.store.url()), "the store"),
        (sqlite(config.vault.url()), "the key store"),
    ];
    let mut all = Vec::new();
    for (file, what) in both {
        for beside in ["", "-wal", "-shm", "-journal"] {
            let Some(file) = &file else { continue };
            let mut name = file.clone().into_os_string();
            name.push(beside);
            all.push((PathBuf::from(name), what.to_owned()));
        }
    }
    all
}

/// Files that their owner alone may touch. One that is not there is a finding of the configuration, or not made yet.
fn of_owner_alone(loaded: &Loaded, check: &str, files: &[Named]) -> Vec<Probe> {
    let there = files.iter().filter_map(|(path, what)| Some((path, what, mode(path)?)));
    let there: Vec<_> = there.collect();
    let open = there.iter().filter(|(.., mode)| mode & NOT_THE_OWNER != 0);
    let probes: Vec<Probe> = open
        .map(|(path, what, mode)| {
            let shown = shown(loaded, path);
            let found = format!("{shown} ({what}) can be read by others: its mode is {mode:03o}");
            Probe::warn(check, found, format!("chmod 600 {shown}"))
        })
        .collect();
    if probes.is_empty() && !there.is_empty() {
        let found = format!("{} files, which their owner alone can read", there.len());
        return vec![Probe::ok(check, found)];
    }
    probes
}

/// The configuration itself: who writes it decides where the answers go.
fn configuration(loaded: &Loaded) -> Vec<Probe> {
    const CHECK: &str = "configuration files";
    let mut all = vec![loaded.path.clone(), loaded.config.forms_dir.clone()];
    // Who can write a folder can put another file in a file's place.
    all.extend(
        loaded
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .map(Path::to_owned),
    );
    let forms = std::fs::read_dir(&loaded.config.forms_dir).into_iter().flatten();
    all.extend(forms.filter_map(|entry| Some(entry.ok()?.path())));
    let mut probes = Vec::new();
    for path in &all {
        let Some(mode) = mode(path).filter(|mode| mode & WRITTEN_BY_OTHERS != 0) else {
            continue;
        };
        let shown = shown(loaded, path);
        let found = format!("{shown} can be written by others: its mode is {mode:03o}");
        probes.push(Probe::warn(CHECK, found, format!("chmod go-w {shown}")));
    }
    let read_by_all = mode(&loaded.path).is_some_and(|mode| mode & READ_BY_ALL != 0);
    let text = std::fs::read_to_string(&loaded.path).unwrap_or_default();
    if let Some(key) = secret_within(&text).filter(|_| read_by_all) {
        let shown = shown(loaded, &loaded.path);
        let found = format!("{shown} holds a secret ({key}), and everybody on this machine can read it");
        let next = format!(
            "put the secret into a file of its own ({key}_file), or let the services' group alone read it: \
             chgrp GROUP {shown}, chmod 640 {shown}"
        );
        probes.push(Probe::warn(CHECK, found, next));
    }
    if probes.is_empty() {
        let found = format!(
            "{} files and folders, which others can neither write nor learn a secret from",
            all.len()
        );
        probes.push(Probe::ok(CHECK, found));
    }
    probes
}

/// The first key of a `kvit.toml` that holds a secret in itself. The broker's own `guest` is none.
fn secret_within(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    within(&table, "")
}

fn within(table: &toml::Table, above: &str) -> Option<String> {
    table.iter().find_map(|(key, value)| match value {
        toml::Value::Table(table) => within(table, &format!("{above}{key}.")),
        toml::Value::String(text) if is_secret(key, text) => Some(format!("{above}{key}")),
        _ => None,
    })
}

fn is_secret(key: &str, text: &str) -> bool {
    let with_password = || {
        let url = url::Url::parse(text);
        url.is_ok_and(|url| url.password().is_some_and(|password| password != "guest"))
    };
    match key {
        "url" => with_password(),
        "key" | "client_secret" | "password_hash" => true,
        key => key.ends_with("_key"),
    }
}

fn mode(path: &Path) -> Option<u32> {
    Some(path.metadata().ok()?.permissions().mode() & 0o777)
}

/// The path as people write it, from the configuration's folder.
fn shown(loaded: &Loaded, path: &Path) -> String {
    path.strip_prefix(loaded.folder()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::super::State;
    use super::*;
    use runtime::Layers;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            crate::init::create(folder.path()).unwrap();
            Self(folder)
        }

        fn set(&self, name: &str, mode: u32) {
            let path = self.0.path().join(name);
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }

        fn probes(&self) -> Vec<Probe> {
            let loaded = Loaded::load_with(&self.0.path().join("kvit.toml"), &Layers::default()).unwrap();
            probe(&loaded)
        }

        /// The one that is not well.
        fn only(&self) -> Probe {
            let mut ill: Vec<_> = self.probes();
            ill.retain(|probe| probe.state != State::Ok);
            assert_eq!(ill.len(), 1, "{ill:?}");
            ill.remove(0)
        }
    }

    #[test]
    fn a_new_configuration_is_well() {
        let probes = Folder::new().probes();
        assert!(probes.iter().all(|probe| probe.state == State::Ok), "{probes:?}");
    }

    #[test]
    fn a_secret_that_others_can_read_is_named_with_what_to_do() {
        let folder = Folder::new();
        folder.set("secrets/mail.key", 0o644);
        let probe = folder.only();
        assert_eq!(probe.next.as_deref(), Some("chmod 600 secrets/mail.key"));
        assert!(probe.found.contains("vault.mail_key_file"), "{}", probe.found);
    }

    #[test]
    fn a_store_that_others_can_read_is_named_and_so_is_the_key_store() {
        for (name, what) in [("kvit.db-wal", "the store"), ("kvit-keys.db", "the key store")] {
            let folder = Folder::new();
            std::fs::write(folder.0.path().join(name), "").unwrap();
            folder.set(name, 0o600);
            let probes = folder.probes();
            assert!(probes.iter().all(|probe| probe.state == State::Ok), "{probes:?}");
            folder.set(name, 0o640);
            let probe = folder.only();
            assert!(probe.found.contains(&format!("{name} ({what})")), "{}", probe.found);
            assert_eq!(probe.next, Some(format!("chmod 600 {name}")));
        }
    }

    #[test]
    fn what_others_can_write_is_named() {
        for (name, mode) in [
            ("kvit.toml", 0o664),
            ("forms/anmeldelse_teknik_miljoe.toml", 0o646),
            ("forms", 0o777),
        ] {
            let folder = Folder::new();
            folder.set(name, mode);
            assert_eq!(folder.only().next, Some(format!("chmod go-w {name}")));
        }
    }

    #[test]
    fn a_configuration_that_holds_a_secret_is_not_for_everybody() {
        let folder = Folder::new();
        let path = folder.0.path().join("kvit.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(secret_within(&text), None);
        std::fs::write(&path, text.replace("guest:guest@", "kvit:hemmelig@")).unwrap();
        let probe = folder.only();
        assert!(probe.found.contains("broker.url"), "{}", probe.found);
        assert!(!probe.found.contains("hemmelig"), "{}", probe.found);
        folder.set("kvit.toml", 0o640);
        assert!(folder.probes().iter().all(|probe| probe.state == State::Ok));
    }

    #[test]
    fn a_key_and_a_password_in_the_configuration_are_secrets() {
        for (text, key) in [
            ("[vault]\nmail_key = \"AAAA\"", Some("vault.mail_key")),
            ("[evidence]\nkey = \"AAAA\"", Some("evidence.key")),
            (
                "[console.oidc]\nclient_secret = \"x\"",
                Some("console.oidc.client_secret"),
            ),
            ("[store]\nurl = \"postgres://kvit:x@db/kvit\"", Some("store.url")),
            ("[vault]\nmail_key_file = \"secrets/mail.key\"", None),
            ("[store]\nurl = \"sqlite:kvit.db\"", None),
        ] {
            assert_eq!(secret_within(text).as_deref(), key, "{text}");
        }
    }
}
