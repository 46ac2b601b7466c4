//! The store and the vault: opened, written, and left as they were; which services were heard of; and what is judged with
//! the help of the two.

use jiff::{SignedDuration, Timestamp};
use ledger::{Ledger, WorkerRow};
use runtime::{Clock, Loaded};
use uuid::Uuid;
use vault::{Purpose, Vault, VaultError};
use worker::{HEARD, Keys};

use super::{Probe, evidence, expiry};

/// Services on other machines may be ahead of this machine's clock by so much.
const DISORDER: SignedDuration = SignedDuration::from_secs(5);
/// What one installation runs.
const SERVICES: [&str; 4] = ["intake", "mailer", "journaliser", "scheduler"];
const PURPOSES: [Purpose; 4] = [Purpose::Intake, Purpose::Mail, Purpose::Journal, Purpose::Registration];
/// So many existing keys are tried.
const SAMPLE: u32 = 20;

pub(super) async fn probe(loaded: &Loaded, clock: &Clock) -> Vec<Probe> {
    let mut probes = Vec::new();
    let ledger = worker::ledger(&loaded.config);
    match &ledger {
        Ok(ledger) => probes.extend(store(ledger, clock.now()).await),
        Err(error) => probes.push(Probe::fail("store", format!("{error:#}"), "correct [store]")),
    }
    let keys = Keys {
        intake: true,
        mail: true,
        journal: true,
        registration: true,
        index: true,
    };
    let vault = worker::vault(&loaded.config, keys);
    match &vault {
        Ok(vault) => probes.push(keys_work(vault, clock.now()).await),
        Err(error) => probes.push(Probe::fail("vault", format!("{error:#}"), "correct [vault]")),
    }
    probes.extend(expiry::probe(loaded, ledger.as_ref().ok(), clock.now()).await);
    if let (Ok(ledger), Ok(vault)) = (&ledger, &vault) {
        probes.extend(evidence::probe(&loaded.config, ledger, vault, clock).await);
    }
    probes
}

async fn store(ledger: &Ledger, now: Timestamp) -> Vec<Probe> {
    // A write that changes nothing: no request is as old as that.
    if let Err(error) = ledger.forget_requests(Timestamp::UNIX_EPOCH).await {
        let next = "is the folder writable by this user and the disk not full, or the server up and [store] url right?";
        return vec![Probe::fail("store", chain(&error), next)];
    }
    let mut probes = vec![Probe::ok("store", "it opens and can be written")];
    match ledger.workers(now - HEARD).await {
        Ok(workers) => probes.extend(services(&workers, now)),
        Err(error) => probes.push(Probe::fail("services", chain(&error), "see the store")),
    }
    probes
}

fn services(workers: &[WorkerRow], now: Timestamp) -> Vec<Probe> {
    let mut probes: Vec<Probe> = SERVICES
        .iter()
        .map(|service| {
            let running = workers.iter().filter(|worker| worker.service == *service).count();
            let check = format!("service {service}");
            match running {
                0 => Probe::warn(
                    check,
                    "not heard of for 15 seconds",
                    format!("start kvit-{service}, or kvit up"),
                ),
                1 => Probe::ok(check, "it runs"),
                several => Probe::ok(check, format!("{several} of it run")),
            }
        })
        .collect();
    let ahead = workers.iter().filter(|worker| worker.seen_at > now + DISORDER).count();
    if ahead > 0 {
        probes.push(Probe::warn(
            "clock",
            format!("{ahead} services are more than 5 seconds ahead of this machine's clock"),
            "set the machines' clocks by NTP: leases and deadlines go by them",
        ));
    }
    probes
}

async fn keys_work(vault: &Vault, now: Timestamp) -> Probe {
    match round_trip(vault, now).await {
        Ok(tried) => Probe::ok(
            "vault and keys",
            format!("a new key of each purpose was wrapped, opened and destroyed; {tried} existing ones open"),
        ),
        Err(error @ (VaultError::WrongWrappingKey(_) | VaultError::NoWrappingKey(_) | VaultError::NoIndexKey)) => {
            let next =
                "put back the key files that the data keys were made with: without them nothing waiting can be opened";
            Probe::fail("vault and keys", error.to_string(), next)
        }
        Err(error) => {
            let next =
                "is the folder writable by this user and the disk not full, or the server up and [vault] url right?";
            Probe::fail("vault and keys", chain(&error), next)
        }
    }
}

/// Makes a key of each purpose, seals and opens with what the vault gives back, destroys them; then opens some that are
/// there, which tells whether a wrapping key was exchanged.
async fn round_trip(vault: &Vault, now: Timestamp) -> Result<usize, VaultError> {
    let owner = Uuid::now_v7();
    let made = vault.create(owner, &PURPOSES, now).await?;
    let mut tried = Ok(());
    for (purpose, key) in PURPOSES.into_iter().zip(&made) {
        let sealed = key.seal(owner.as_bytes(), b"kvit doctor")?;
        tried = match vault.key(owner, purpose).await {
            Ok(Some(back)) => back.open(owner.as_bytes(), &sealed).map(drop),
            Ok(None) => Err(VaultError::Damaged),
            Err(error) => Err(error),
        };
        if tried.is_err() {
            break;
        }
    }
    vault.destroy(vec![owner]).await?;
    vault.destroy_one(owner, Purpose::Journal).await?; // which `destroy` leaves alone
    tried?;
    vault.index(now).await?;
    let mut opened = 0;
    for owner in vault.owners_since_before(now, None, SAMPLE).await? {
        for purpose in PURPOSES {
            opened += usize::from(vault.key(owner, purpose).await?.is_some());
        }
    }
    Ok(opened)
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let words: Vec<_> = causes.map(ToString::to_string).collect();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use runtime::Layers;

    fn loaded(folder: &std::path::Path) -> Loaded {
        let config = folder.join("kvit.toml");
        if !config.exists() {
            crate::init::create(folder).unwrap();
        }
        Loaded::load_with(&config, &Layers::default()).unwrap()
    }

    fn state(probes: &[Probe], check: &str) -> State {
        probes.iter().find(|probe| probe.check == check).unwrap().state
    }

    #[tokio::test]
    async fn a_new_store_and_vault_are_well_and_no_service_was_heard_of() {
        let folder = tempfile::tempdir().unwrap();
        let probes = probe(&loaded(folder.path()), &Clock::system()).await;
        assert_eq!(state(&probes, "store"), State::Ok);
        assert_eq!(state(&probes, "vault and keys"), State::Ok);
        assert_eq!(state(&probes, "service intake"), State::Warn);
    }

    #[tokio::test]
    async fn an_exchanged_key_is_found_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let before = loaded(folder.path());
        let keys = Keys {
            mail: true,
            ..Keys::default()
        };
        let vault = worker::vault(&before.config, keys).unwrap();
        let (owner, now) = (Uuid::now_v7(), Clock::system().now());
        vault.create(owner, &[Purpose::Mail], now).await.unwrap();
        let later = Clock::offset(SignedDuration::from_secs(1));
        assert_eq!(state(&probe(&before, &later).await, "vault and keys"), State::Ok);
        let left = vault.owners_since_before(later.now(), None, 10).await.unwrap();
        assert_eq!(left, [owner]);

        let other = std::fs::read(folder.path().join("secrets/journal.key")).unwrap();
        std::fs::write(folder.path().join("secrets/mail.key"), other).unwrap();
        let probes = probe(&loaded(folder.path()), &later).await;
        assert_eq!(state(&probes, "vault and keys"), State::Fail);
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_opened_fails_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let loaded = loaded(folder.path());
        std::fs::create_dir(folder.path().join("kvit.db")).unwrap();
        let probes = probe(&loaded, &Clock::system()).await;
        assert_eq!(state(&probes, "store"), State::Fail);
    }
}
