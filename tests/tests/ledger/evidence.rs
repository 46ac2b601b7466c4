//! The order of the evidence among replicas, doing again what it records, and wrapping keys that change: on both engines.

use std::collections::BTreeSet;

use anyhow::Context as _;
use jiff::SignedDuration;
use ledger::{EvidenceLeaf, Ledger, Sequenced, WorkerId};
use uuid::Uuid;
use vault::{Purpose, Rewrapped, Ring, Vault, WrappingKeys};

use crate::bed::{Bed, at, both, discharge, message};

const BASE: &str = "kvit.example/kvit";
const YEAR: i16 = 2027;

async fn settled(bed: &Bed, count: usize) -> anyhow::Result<()> {
    for _ in 0..count {
        let new = message();
        let duties: Vec<_> = new.duties.iter().map(|duty| duty.id).collect();
        bed.accept(new).await?;
        for duty in duties {
            discharge(&bed.ledger, duty).await?;
        }
    }
    Ok(())
}

async fn leaves(ledger: &Ledger) -> anyhow::Result<Vec<EvidenceLeaf>> {
    Ok(ledger.evidence_leaves(YEAR, 0, 100_000).await?)
}

/// G2: two replicas sequence while leaves are written; each leaf gets one place, no place is empty, and whoever dies
/// gives up its turn.
#[tokio::test(flavor = "multi_thread")]
async fn two_sequencers_give_each_leaf_one_place() -> anyhow::Result<()> {
    for bed in both()? {
        let sequencers = [(bed.replica(), WorkerId::new()), (bed.replica(), WorkerId::new())];
        let turn = SignedDuration::from_secs(10);
        let work = sequencers.clone().map(|(ledger, worker)| async move {
            let mut placed = 0;
            for second in 0..40 {
                // The first holds its turn until it ends; then the other has it.
                let now = at(second);
                match ledger.sequence(worker, BASE.to_owned(), (now, now + turn), 7).await? {
                    Sequenced::Leaves(count) => placed += count,
                    Sequenced::Elsewhere => {}
                }
                if second == 20 {
                    ledger.stop_sequencing(worker).await?;
                }
            }
            anyhow::Ok(placed)
        });
        let [first, second] = work;
        let (written, first, second) = tokio::join!(settled(&bed, 20), tokio::spawn(first), tokio::spawn(second));
        written?;
        let mut placed = first?? + second??;
        let (ledger, worker) = &sequencers[0];
        loop {
            let now = at(1000);
            match ledger
                .sequence(*worker, BASE.to_owned(), (now, now + turn), 1000)
                .await?
            {
                Sequenced::Leaves(0) => break,
                Sequenced::Leaves(count) => placed += count,
                Sequenced::Elsewhere => anyhow::bail!("the other's turn has ended"),
            }
        }
        let logs = bed.ledger.evidence_logs().await?;
        let log = logs.first().context("a log")?;
        assert_eq!((logs.len(), log.size), (1, placed.try_into()?));
        let leaves = leaves(&bed.ledger).await?;
        assert_eq!(leaves.len(), placed, "a place is empty, or one is given twice");
        let about: BTreeSet<_> = leaves
            .iter()
            .map(|leaf| (&leaf.submission, &leaf.event, &leaf.duty))
            .collect();
        assert_eq!(about.len(), placed, "a leaf has two places");
    }
    Ok(())
}

/// D1, D2: what leaves record is done again, by their duties' names, however often, and only then have they a place.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_behind_does_again_what_leaves_record() -> anyhow::Result<()> {
    for (from, to) in both()?.into_iter().zip(both()?) {
        let (done, half) = (message(), message());
        let first = half.duties[0].id;
        for bed in [&from, &to] {
            bed.accept(done.clone()).await?;
            bed.accept(half.clone()).await?;
        }
        for duty in &done.duties {
            discharge(&from.ledger, duty.id).await?;
        }
        from.ledger.finish_deletion(vec![done.id], at(30)).await?;
        discharge(&from.ledger, first).await?;
        let (now, worker) = (at(40), WorkerId::new());
        let until = now + SignedDuration::from_secs(10);
        from.ledger
            .sequence(worker, BASE.to_owned(), (now, until), 1000)
            .await?;
        let leaves = leaves(&from.ledger).await?;

        for time in 1..=2 {
            // The second time is after an interruption before the record.
            let replayed = to.ledger.replay(leaves.clone()).await?;
            assert_eq!(
                replayed.deleted.iter().filter(|(id, _)| *id == done.id).count(),
                2,
                "begun and ended"
            );
            assert_eq!(replayed.deletions, u64::from(time == 1));
            assert!(replayed.unknown.is_empty());
            if time == 2 {
                to.ledger.replayed(replayed).await?;
            }
        }
        let figures = to.figures().await?;
        assert_eq!((figures.accepted, figures.open, figures.deleted), (2, 1, 1));
        let shown = to.ledger.show(half.id, at(60)).await?.context("it is there")?;
        let states: BTreeSet<_> = shown.duties.iter().map(|duty| duty.state.as_str()).collect();
        assert!(states.contains("done") && states.contains("ready"), "{states:?}");
        let shown = to.ledger.show(done.id, at(60)).await?.context("it is there")?;
        assert_eq!(shown.deleted_at, Some(at(30)));

        let (some, rest) = leaves.split_at(3);
        to.ledger
            .adopt(YEAR, format!("{BASE}/{YEAR}"), 0, some.to_vec())
            .await?;
        let twice = to.ledger.adopt(YEAR, format!("{BASE}/{YEAR}"), 0, some.to_vec()).await;
        assert!(twice.is_err(), "places are given once");
        to.ledger
            .adopt(YEAR, format!("{BASE}/{YEAR}"), 3, rest.to_vec())
            .await?;
        assert_eq!(self::leaves(&to.ledger).await?, leaves);
        assert!(
            !to.ledger.has_unsigned_leaves().await?,
            "the backup's own leaves have their places"
        );
    }
    Ok(())
}

/// Data keys are wrapped by the new key, those of the purpose alone, and open with it alone; one that is destroyed
/// meanwhile does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn data_keys_are_wrapped_anew_and_open_with_the_new_key_alone() -> anyhow::Result<()> {
    let given = |mail: &[u8]| WrappingKeys {
        mail: Ring::new(mail.iter().map(|fill| [*fill; 32])),
        journal: Some([9; 32].into()),
        index: Ring::new(mail.iter().map(|fill| [*fill; 32])),
        ..WrappingKeys::default()
    };
    for bed in both()? {
        let vault = |mail: &[u8]| Vault::new(&bed.keys, given(mail));
        let old = vault(&[1]);
        let mut owners = Vec::new();
        for _ in 0..600 {
            owners.push(Uuid::now_v7());
        }
        let made = owners
            .iter()
            .map(|owner| old.create(*owner, &[Purpose::Mail, Purpose::Journal], at(0)));
        let made = futures::future::try_join_all(made).await?;
        let sealed = made[0][0].seal(b"context", b"payload")?;
        let name = old.index(at(0)).await?.name("label", &[b"part"]);
        let digest = old.index(at(0)).await?.digest("label", &[b"part"]);
        old.destroy(vec![owners[1]]).await?;

        let both = vault(&[2, 1]);
        let cut = both.rewrap(Purpose::Mail, || false).await?;
        assert_eq!((cut.changed, cut.left), (500, 99), "interrupted after the first batch");
        let rest = both.rewrap(Purpose::Mail, || true).await?;
        assert_eq!((rest.changed, rest.unreadable, rest.left), (99, 0, 0));
        assert_eq!(both.rewrap(Purpose::Mail, || true).await?, Rewrapped::default());
        assert_eq!(both.rewrap_epochs().await?, 2, "the month's, and the names' secret");

        let new = vault(&[2]);
        let key = new.key(owners[0], Purpose::Mail).await?.context("a key")?;
        assert_eq!(key.open(b"context", &sealed)?, b"payload");
        assert!(new.key(owners[0], Purpose::Journal).await?.is_some());
        assert!(new.key(owners[1], Purpose::Mail).await?.is_none());
        assert_eq!(new.index(at(0)).await?.name("label", &[b"part"]), name);
        assert_eq!(new.index(at(0)).await?.digest("label", &[b"part"]), digest);
        assert!(
            old.key(owners[0], Purpose::Mail).await.is_err(),
            "the old key opens nothing any more"
        );
        assert_eq!(old.unreachable(Purpose::Mail).await?, 599);
        let lost = old.rewrap(Purpose::Mail, || true).await?;
        assert_eq!((lost.changed, lost.unreadable), (0, 599));
    }
    Ok(())
}
