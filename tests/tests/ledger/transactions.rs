//! What the store promises of its jobs, on both engines.

use anyhow::Context as _;
use futures::future::join_all;
use store::{Insert, Journal, Migration, Options, Store, StoreError, Tx, Url, Value};

use crate::bed::{Bed, both};

const OPTIONS: Options = Options {
    schema: "kvit_test",
    journal: Journal::Wal,
    migrations: &[Migration {
        sql: "CREATE TABLE thing (name TEXT PRIMARY KEY, number BIGINT NOT NULL);
              CREATE TABLE line (seq {serial}, name TEXT, number BIGINT, bytes {bytes}, twice BIGINT)",
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

/// What a row of the test's lines holds, by its place: odd texts, and nothing now and then.
fn line(n: i64) -> [Value; 3] {
    let odd = ["", "\\", "\"", "'", "{a,b}", "NULL", "æ\n"];
    let name = usize::try_from(n).map_or("", |n| odd[n % odd.len()]);
    let number = (n % 3 > 0).then_some(n);
    let bytes = (n % 5 > 0).then(|| vec![0, 0xff, u8::try_from(n % 200).unwrap_or_default()]);
    [format!("{n}{name}").into(), number.into(), bytes.into()]
}

const LINES: Insert<'_> = Insert {
    into: "line (name, number, bytes, twice)",
    computed: Some("2 * CAST($2 AS BIGINT)"),
    on_conflict: None,
};

/// Rows keep their order, whatever they hold; one that cannot be inserted takes the others with it.
#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_inserted_in_order_or_not_at_all() -> anyhow::Result<()> {
    for bed in both()? {
        let store = store(&bed);
        let rows: Result<_, StoreError> = store
            .write(|tx| {
                tx.insert::<3>(LINES, &[])?;
                tx.insert(LINES, &(0..500).map(line).collect::<Vec<_>>())?;
                // The statement for one row is another, though it reads alike.
                let alike = "INSERT INTO line (name, number, bytes, twice) VALUES ($1, $2, $3, 2 * CAST($2 AS BIGINT))";
                tx.execute(alike, &line(500))?;
                tx.insert(LINES, &[line(501)])?;
                tx.query("SELECT name, number, bytes, twice FROM line ORDER BY seq", &[])
            })
            .await;
        let rows = rows?;
        assert_eq!(rows.len(), 502);
        for (row, n) in rows.iter().zip(0..) {
            let found: [Value; 3] = [row.text(0)?.into(), row.opt_int(1)?.into(), row.opt_blob(2)?.into()];
            assert!(found == line(n), "row {n}");
            assert_eq!(row.opt_int(3)?, row.opt_int(1)?.map(|number| 2 * number));
        }
        let things = Insert::into("thing (name, number)");
        let twice = [["a".into(), 1.into()], ["b".into(), 2.into()], ["a".into(), 3.into()]];
        let again = twice.clone();
        let refused: Result<(), StoreError> = store.write(move |tx| tx.insert(things, &twice)).await;
        assert_eq!(refused, Err(StoreError::Conflict));
        assert_eq!(count(&store).await?, 0);
        let once = Insert {
            on_conflict: Some("(name) DO NOTHING"),
            ..things
        };
        store
            .write::<_, StoreError, _>(move |tx| tx.insert(once, &again))
            .await?;
        assert_eq!(count(&store).await?, 2);
    }
    Ok(())
}

/// Each of many keys finds its row, of any type, once; and its own number.
#[tokio::test(flavor = "multi_thread")]
async fn many_keys_find_their_rows_and_their_numbers() -> anyhow::Result<()> {
    for bed in both()? {
        let store = store(&bed);
        store
            .write(|tx| tx.insert(LINES, &(0..300).map(line).collect::<Vec<_>>()))
            .await?;
        for count in [0, 1, 3, 128] {
            let found: Result<[usize; 3], StoreError> = store
                .read(move |tx| {
                    let list = |column: usize| {
                        let keys = (0..count).map(|n| line(n)[column].clone());
                        [Value::list(keys.collect())]
                    };
                    // On PostgreSQL a list without keys has a type all the same: the column's.
                    let names = tx.query("SELECT 1 FROM line WHERE name = ANY($1)", &list(0))?;
                    let numbers = tx.query("SELECT 1 FROM line WHERE number = ANY($1)", &list(1))?;
                    let bytes = tx.query("SELECT 1 FROM line WHERE bytes = ANY($1) AND seq <= 128", &list(2))?;
                    Ok([names.len(), numbers.len(), bytes.len()])
                })
                .await;
            let with = |every: i64| (0..count).filter(|n| n % every > 0).count();
            assert_eq!(found?, [usize::try_from(count)?, with(3), with(5)], "{count} keys");
        }
        let lists: Vec<Value> = Value::lists(0..257i64).collect();
        assert_eq!(lists.len(), 3);
        assert_eq!(Value::lists(0..0i64).count(), 0);
        // From the last to the first, and one of them twice: the first of its numbers counts.
        let numbered: Result<Vec<i64>, StoreError> = store
            .write(|tx| {
                let mut keys: Vec<i64> = (1..=300).rev().collect();
                keys.insert(5, 296);
                let numbers = 1000..1000 + 301i64;
                for (keys, numbers) in Value::lists(keys).zip(Value::lists(numbers)) {
                    let sql = "UPDATE line SET number = NTH(seq, $1, $2), twice = $3 WHERE seq = ANY($1)";
                    tx.execute(sql, &[keys, numbers, 7.into()])?;
                }
                let sql = "UPDATE line SET number = NTH(name, $1, $2) WHERE name = ANY($1)";
                let names = Value::list(vec![line(0)[0].clone()]);
                tx.execute(sql, &[names, Value::list(vec![Value::Int(-1)])])?;
                let rows = tx.query("SELECT number FROM line WHERE twice = 7 ORDER BY seq", &[])?;
                rows.iter().map(|row| row.int(0)).collect()
            })
            .await;
        let mut expected: Vec<i64> = (1..=300).map(|seq| 1000 + 300 - seq + i64::from(seq < 296)).collect();
        expected[0] = -1;
        assert_eq!(numbered?, expected);
    }
    Ok(())
}
