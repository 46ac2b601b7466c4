//! What the store promises of its jobs, on both engines.

use anyhow::Context as _;
use futures::future::join_all;
use store::{Journal, Migration, Options, Store, StoreError, Tx, Url};

use crate::bed::{Bed, both};

const OPTIONS: Options = Options {
    schema: "kvit_test",
    journal: Journal::Wal,
    migrations: &[Migration {
        sql: "CREATE TABLE thing (name TEXT PRIMARY KEY, number BIGINT NOT NULL)",
    }],
    writers: 4,
    readers: 2,
};

fn store(bed: &Bed) -> Store {
    let url = match &bed.url {
        Url::Sqlite(path) => Url::Sqlite(path.with_extension("things")),
        other @ Url::Postgres(_) => other.clone(),
    };
    Store::new(&url, OPTIONS)
}

fn add(tx: &mut Tx<'_>, name: &str) -> Result<u64, StoreError> {
    tx.execute(
        "INSERT INTO thing (name, number) VALUES ($1, $2)",
        &[name.into(), 1.into()],
    )
}

async fn count(store: &Store) -> Result<i64, StoreError> {
    let job = |tx: &mut Tx<'_>| {
        tx.one("SELECT COUNT(*) FROM thing", &[])?
            .map_or(Ok(0), |row| row.int(0))
    };
    store.read(job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_leaves_its_neighbours() -> anyhow::Result<()> {
    for bed in both()? {
        let store = store(&bed);
        let jobs = (0..200).map(|n| {
            store.write(move |tx| {
                add(tx, &format!("n{n}"))?;
                match n % 10 {
                    0 => add(tx, &format!("n{n}")),
                    1 => Err(StoreError::Stopped),
                    2 => panic!("a fault of the test"),
                    _ => Ok(1),
                }
            })
        });
        for (n, answer) in join_all(jobs).await.into_iter().enumerate() {
            let expected = match n % 10 {
                0 => Err(StoreError::Conflict),
                1 => Err(StoreError::Stopped),
                2 => Err(StoreError::Panicked),
                _ => Ok(1),
            };
            assert_eq!(answer, expected);
        }
        assert_eq!(count(&store).await?, 140);
    }
    Ok(())
}

/// Reads that come together share a look at the store: each has its own answer, and sees what was written before it came.
#[tokio::test(flavor = "multi_thread")]
async fn reads_that_come_together_are_answered_each_by_itself() -> anyhow::Result<()> {
    for bed in both()? {
        let store = store(&bed);
        for round in 1..=20 {
            store.write(move |tx| add(tx, &format!("n{round}"))).await?;
            let jobs = (0..60).map(|n| {
                store.read(move |tx| {
                    let row = tx.one("SELECT COUNT(*) FROM thing", &[])?;
                    match n % 10 {
                        0 => tx.one("SELECT nothing FROM nowhere", &[]).map(|_| 0),
                        1 => Err(StoreError::Stopped),
                        2 => panic!("a fault of the test"),
                        _ => row.map_or(Ok(0), |row| row.int(0)),
                    }
                })
            });
            for (n, answer) in join_all(jobs).await.into_iter().enumerate() {
                match (n % 10, answer) {
                    (0, Err(_)) | (1, Err(StoreError::Stopped)) | (2, Err(StoreError::Panicked)) => {}
                    (3.., Ok(seen)) => assert_eq!(seen, round),
                    (n, answer) => panic!("{n}: {answer:?}"),
                }
            }
        }
    }
    Ok(())
}

/// PostgreSQL answers the COMMIT of a transaction in which a statement failed without an error, and undoes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_passes_over_a_failure_is_not_said_to_be_committed() -> anyhow::Result<()> {
    for bed in both()? {
        let store = store(&bed);
        let jobs = (0..20).map(|n| {
            store.write(move |tx| {
                add(tx, &format!("n{n}"))?;
                let _ = add(tx, &format!("n{n}"));
                Ok::<_, StoreError>(())
            })
        });
        for answer in join_all(jobs).await {
            assert_eq!(answer, Err(StoreError::Conflict));
        }
        assert_eq!(count(&store).await?, 0);
    }
    Ok(())
}

/// P4: a database's own error text holds the row; ours does not.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_holds_no_value() -> anyhow::Result<()> {
    const CANARY: &str = "010203-1234";
    for bed in both()? {
        let store = store(&bed);
        store.write(|tx| add(tx, CANARY)).await?;
        let statements = [
            "INSERT INTO thing (name, number) VALUES ($1, 1)",
            "INSERT INTO thing (name, number) VALUES ($1, NULL)",
            "INSERT INTO thing (name, number) VALUES ('010203-1234', CAST($1 AS BIGINT))",
            "SELECT nothing FROM thing WHERE name = $1",
        ];
        for sql in statements {
            let failed = store.write(move |tx| tx.execute(sql, &[CANARY.into()])).await;
            let error = failed.err().context("it must fail")?;
            let shown = format!(
                "{error} {error:?} {:?}",
                std::error::Error::source(&error).map(ToString::to_string)
            );
            assert!(!shown.contains("0102"), "{shown}");
        }
        let shown = store
            .read(|tx| Ok::<_, StoreError>(format!("{:?}", tx.query("SELECT name FROM thing", &[])?)))
            .await?;
        assert!(!shown.contains("0102"), "{shown}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_reads_sees_one_state_and_cannot_write() -> anyhow::Result<()> {
    for bed in both()? {
        let store = store(&bed);
        assert!(store.read(|tx| add(tx, "x")).await.is_err());
        let writes = async {
            for n in 0..100 {
                store.write(move |tx| add(tx, &format!("n{n}"))).await?;
            }
            Ok::<_, StoreError>(())
        };
        let reads = async {
            for _ in 0..100 {
                let (first, second) = store
                    .read(|tx| {
                        let sql = "SELECT COUNT(*) FROM thing";
                        let first = tx.one(sql, &[])?.map_or(Ok(0), |row| row.int(0))?;
                        let second = tx.one(sql, &[])?.map_or(Ok(0), |row| row.int(0))?;
                        Ok::<_, StoreError>((first, second))
                    })
                    .await?;
                assert_eq!(first, second);
            }
            Ok(())
        };
        tokio::try_join!(writes, reads)?;
    }
    Ok(())
}

/// Migrations run once under a lock, however many processes start at once.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_grow_the_schema_once() -> anyhow::Result<()> {
    for bed in both()? {
        let stores: Vec<_> = (0..12).map(|_| store(&bed)).collect();
        let jobs = stores
            .iter()
            .enumerate()
            .map(|(n, store)| store.write(move |tx| add(tx, &format!("n{n}"))));
        for answer in join_all(jobs).await {
            assert_eq!(answer, Ok(1));
        }
        let steps = stores[0]
            .read(|tx| {
                tx.one("SELECT COUNT(*) FROM migration", &[])?
                    .map_or(Ok(0), |row| row.int(0))
            })
            .await;
        assert_eq!(steps, Ok::<_, StoreError>(1));
    }
    Ok(())
}
