//! Jobs on a real SQLite file.

use std::sync::Arc;

use futures::future::join_all;
use store::{Batch, Journal, Migration, Options, Store, StoreError, Tx, Url};

const OPTIONS: Options = Options {
    schema: "kvit_test",
    journal: Journal::Wal,
    migrations: &[Migration {
        sql: "CREATE TABLE thing (name TEXT PRIMARY KEY, bytes {bytes}); CREATE TABLE log (seq {serial}, name TEXT)",
    }],
    writers: 2,
    readers: 1,
};

fn at(path: &std::path::Path) -> Store {
    let url: Url = format!("sqlite:{}", path.display()).parse().expect("a url");
    Store::new(&url, OPTIONS)
}

async fn add(store: &Store, name: String) -> Result<u64, StoreError> {
    store
        .write(move |tx| {
            tx.execute(
                "INSERT INTO thing (name, bytes) VALUES ($1, $2)",
                &[name.into(), vec![0u8, 1].into()],
            )
        })
        .await
}

async fn count(store: &Store) -> i64 {
    let counted: Result<i64, StoreError> = store
        .read(|tx| tx.one("SELECT COUNT(*) FROM thing", &[])?.expect("a row").int(0))
        .await;
    counted.expect("counted")
}

#[tokio::test]
async fn a_failing_job_undoes_itself_and_not_its_neighbours() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Arc::new(at(&dir.path().join("a.db")));
    let jobs: Vec<_> = (0..100)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                if n % 10 == 0 {
                    let failed: Result<(), StoreError> = store
                        .write(move |tx| {
                            tx.execute("INSERT INTO thing (name) VALUES ($1)", &[format!("x{n}").into()])?;
                            tx.execute("INSERT INTO thing (name) VALUES ($1)", &[format!("x{n}").into()])?;
                            Ok(())
                        })
                        .await;
                    assert_eq!(failed, Err(StoreError::Conflict));
                } else {
                    assert_eq!(add(&store, format!("n{n}")).await, Ok(1));
                }
            })
        })
        .collect();
    for job in jobs {
        job.await.expect("a job");
    }
    assert_eq!(count(&store).await, 90);
}

#[tokio::test]
async fn a_panicking_job_is_undone_and_the_store_lives() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = at(&dir.path().join("a.db"));
    let failed: Result<(), StoreError> = store
        .write(|tx| {
            tx.execute("INSERT INTO thing (name) VALUES ('x')", &[])?;
            panic!("a fault of the test");
        })
        .await;
    assert_eq!(failed, Err(StoreError::Panicked));
    assert_eq!(add(&store, "y".to_owned()).await, Ok(1));
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_an_error_and_recovers() {
    let dir = tempfile::tempdir().expect("a folder");
    let below = dir.path().join("later");
    let store = at(&below.join("a.db"));
    let failed = add(&store, "x".to_owned()).await;
    assert!(matches!(failed, Err(StoreError::Unavailable { .. })), "{failed:?}");
    std::fs::create_dir(&below).expect("a folder");
    assert_eq!(add(&store, "x".to_owned()).await, Ok(1));
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let store = at(&dir.path().join("a.db"));
    add(&store, "x".to_owned()).await.expect("added");
    for entry in std::fs::read_dir(dir.path()).expect("listed") {
        let mode = entry
            .expect("a file")
            .metadata()
            .expect("its mode")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0);
    }
}

/// A store that root makes in another's folder is that other's, with all that lies beside it.
#[tokio::test]
async fn a_store_belongs_to_whom_its_folder_belongs() {
    use std::os::unix::fs::{MetadataExt, chown};
    let dir = tempfile::tempdir().expect("a folder");
    // Only root may lend its folder; anybody else's stays their own.
    let _not_root = chown(dir.path(), Some(65_534), Some(65_534));
    let owner = dir.path().metadata().expect("a folder").uid();
    let store = at(&dir.path().join("a.db"));
    assert_eq!(add(&store, "a thing".to_owned()).await, Ok(1));
    let mut files = 0;
    for file in dir.path().read_dir().expect("a folder") {
        let file = file.expect("a file");
        assert_eq!(
            file.metadata().expect("a file").uid(),
            owner,
            "{}",
            file.path().display()
        );
        files += 1;
    }
    assert!(files > 1, "the file and its write-ahead log");
}

/// Another that opens a new file at the same moment is waited for, though SQLite does not ask its busy handler there.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_that_another_has_begun_to_write_is_opened() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store.db");
    let other = rusqlite::Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("begun");
    let store = at(&path);
    let mut added = Box::pin(add(&store, "a".to_owned()));
    // A refusal would come at once.
    let waits = tokio::time::timeout(std::time::Duration::from_millis(100), &mut added).await;
    assert!(waits.is_err(), "{waits:?}");
    other.execute_batch("COMMIT").expect("committed");
    assert_eq!(added.await, Ok(1));
}

/// A job that adds things by name, a statement for each; says how many shared the job.
fn add_all(tx: &mut Tx<'_>, names: &[String]) -> Result<Vec<usize>, StoreError> {
    for name in names {
        assert_ne!(name, "panic", "a fault of the test");
        tx.execute("INSERT INTO thing (name) VALUES ($1)", &[name.into()])?;
    }
    Ok(vec![names.len(); names.len()])
}

#[tokio::test]
async fn inputs_that_come_together_share_a_job() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = at(&dir.path().join("a.db"));
    let batch = Batch::writing(&store, add_all);
    let shared = join_all((0..100).map(|n| batch.run(format!("n{n}")))).await;
    let shared: Result<Vec<usize>, _> = shared.into_iter().collect();
    assert!(shared.expect("all are added").iter().all(|together| *together > 1));
    assert_eq!(count(&store).await, 100);
    assert_eq!(batch.run("alone".to_owned()).await, Ok(1));
}

#[tokio::test]
async fn an_input_that_fails_fails_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = at(&dir.path().join("a.db"));
    let batch = Batch::writing(&store, add_all);
    assert_eq!(add(&store, "n7".to_owned()).await, Ok(1));
    let name = |n: usize| if n == 9 { "panic".to_owned() } else { format!("n{n}") };
    let outcomes = join_all((0..20).map(|n| batch.run(name(n)))).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let expected = match n {
            7 => Err(StoreError::Conflict),
            9 => Err(StoreError::Panicked),
            _ => Ok(1),
        };
        assert_eq!(outcome, expected, "number {n}");
    }
    assert_eq!(count(&store).await, 19);
    assert_eq!(batch.run("after".to_owned()).await, Ok(1));
}

#[tokio::test]
async fn a_store_that_is_away_is_said_to_all() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = at(&dir.path().join("missing/a.db"));
    let batch = Batch::writing(&store, add_all);
    let outcomes = join_all((0..20).map(|n| batch.run(format!("n{n}")))).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(StoreError::Unavailable { .. })))
    );
}

/// Whoever serves is told to end with its runtime: the next input is served by another.
#[test]
fn a_batch_outlives_the_runtime_that_served_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = at(&dir.path().join("a.db"));
    let batch = Batch::writing(&store, add_all);
    // Without a clock the wait for others panics, after the first job.
    let broken = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let outcomes = broken.block_on(join_all((0..100).map(|n| batch.run(format!("n{n}")))));
    assert!(outcomes.contains(&Err(StoreError::Panicked)));
    drop(broken);
    let whole = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let outcomes = whole
        .expect("a runtime")
        .block_on(join_all((0..100).map(|n| batch.run(format!("m{n}")))));
    assert!(outcomes.iter().all(Result::is_ok));
}
