//! The store misbehaves on purpose: what matters is what the log says afterwards.

use std::sync::Arc;

use deltalake_core::kernel::StructField;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::*;
use crate::delta::flaky::{Flaky, Mischief};

const LOCATION: &str = "memory:///lake/t";

fn place(inner: &Arc<InMemory>, mischief: Mischief, times: u32) -> Place {
    Place::behind(LOCATION, Arc::new(Flaky::new(inner.clone(), mischief, times)))
}

fn landed(path: &str) -> Landed {
    let schema = StructType::try_new([StructField::nullable("id", deltalake_core::kernel::DataType::LONG)]).unwrap();
    let stats = Some(r#"{"numRecords":3}"#.to_owned());
    let file = LandedFile { path: path.to_owned(), size_bytes: 10, rows: 3, modified_at_ms: 0, stats };
    Landed { files: vec![file], schema: serde_json::to_value(schema).unwrap(), ..Landed::default() }
}

fn mark(base: Option<i64>, ordinal: i64) -> CommitMark {
    CommitMark { app_id: "flow-1".to_owned(), base: base.map(Ordinal), ordinal: Ordinal(ordinal) }
}

async fn files(inner: &Arc<InMemory>) -> Vec<String> {
    let state = place(inner, Mischief::Refuses, 0).load().await.unwrap().unwrap();
    let mut paths: Vec<_> = state.log_data().iter().map(|file| file.path().to_string()).collect();
    paths.sort();
    paths
}

async fn append(place: &Place, path: &str, mark: &CommitMark) -> Result<Committed, LakeError> {
    place.store().put(&Path::from(path), vec![0; 10].into()).await.unwrap();
    commit(place, &landed(path), mark, WriteMode::Append, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_not_made_twice() {
    for (base, mischief) in [None, Some(1)].into_iter().flat_map(|base| Mischief::WRITING.map(|how| (base, how))) {
        let store = Arc::new(InMemory::new());
        if base.is_some() {
            append(&place(&store, Mischief::Refuses, 0), "first", &mark(None, 1)).await.unwrap();
        }
        let flaky = place(&store, mischief, 1);
        let made = append(&flaky, "second", &mark(base, 2)).await.unwrap();
        assert_eq!(made, Committed { version: Some(base.map_or(0, |_| 1)), ordinal: Some(Ordinal(2)) });
        assert_eq!(files(&store).await.iter().filter(|path| *path == "second").count(), 1);

        let again = append(&flaky, "second", &mark(base, 2)).await.unwrap();
        assert_eq!(again, made, "and a repeated call finds the same commit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_below_commits_of_others() {
    let store = Arc::new(InMemory::new());
    let quiet = place(&store, Mischief::Refuses, 0);
    append(&quiet, "ours", &mark(None, 1)).await.unwrap();
    let other = CommitMark { app_id: "flow-2".to_owned(), ..mark(None, 1) };
    append(&quiet, "theirs", &other).await.unwrap();
    let again = append(&quiet, "ours", &mark(None, 1)).await.unwrap();
    assert_eq!(again, Committed { version: Some(0), ordinal: Some(Ordinal(1)) });
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_gone_are_not_committed() {
    let store = Arc::new(InMemory::new());
    let quiet = place(&store, Mischief::Refuses, 0);
    append(&quiet, "first", &mark(None, 1)).await.unwrap();
    for size_bytes in [None, Some(9)] {
        if let Some(bytes) = size_bytes {
            quiet.store().put(&Path::from("second"), vec![0; bytes].into()).await.unwrap();
        }
        let error = commit(&quiet, &landed("second"), &mark(Some(1), 2), WriteMode::Append, &[]).await.unwrap_err();
        assert!(matches!(&error, LakeError::Transient(fault) if fault.message.contains("are gone")), "{error:?}");
        assert_eq!(files(&store).await, ["first"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_for_a_moment_is_tried_again() {
    let store = Arc::new(InMemory::new());
    let made = append(&place(&store, Mischief::Refuses, 2), "first", &mark(None, 1)).await.unwrap();
    assert_eq!(made.version, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_keeps_refusing_is_a_transient_error() {
    let store = Arc::new(InMemory::new());
    let error = append(&place(&store, Mischief::Refuses, 99), "first", &mark(None, 1)).await.unwrap_err();
    assert!(matches!(error, LakeError::Transient(_)), "{error:?}");
    assert!(place(&store, Mischief::Refuses, 0).load().await.unwrap().is_none(), "no table");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_attempts_only_the_first_to_commit_counts_in_both_orders() {
    for (first, second) in [(2, 3), (3, 2)] {
        let store = Arc::new(InMemory::new());
        let quiet = place(&store, Mischief::Refuses, 0);
        append(&quiet, "base", &mark(None, 1)).await.unwrap();
        append(&quiet, &format!("attempt-{first}"), &mark(Some(1), first)).await.unwrap();
        let error = append(&quiet, &format!("attempt-{second}"), &mark(Some(1), second)).await.unwrap_err();
        assert_eq!(error, LakeError::Overtaken { found: Some(Ordinal(first)) });
        assert_eq!(files(&store).await, [format!("attempt-{first}"), "base".to_owned()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attempts_that_commit_at_the_same_moment_exclude_each_other() {
    let store = Arc::new(InMemory::new());
    for round in 0..8 {
        let base = (round > 0).then_some(round * 10);
        let tries = (1..=4).map(|racer| {
            let (place, ordinal) = (place(&store, Mischief::Refuses, 0), (round + 1) * 10 - (racer % 4));
            tokio::spawn(async move { append(&place, &format!("{round}-{racer}"), &mark(base, ordinal)).await })
        });
        let mut made = 0;
        for result in futures::future::join_all(tries).await {
            match result.unwrap() {
                Ok(_) => made += 1,
                Err(LakeError::Overtaken { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(made, 1, "in round {round}");
        // The next round follows whoever won.
        let state = place(&store, Mischief::Refuses, 0).load().await.unwrap().unwrap();
        let last = place(&store, Mischief::Refuses, 0).last_ordinal(&state, "flow-1").await.unwrap().unwrap();
        let next = mark(Some(last.0), (round + 1) * 10 + 5);
        append(&place(&store, Mischief::Refuses, 0), &format!("{round}-close"), &next).await.unwrap();
        let fix = CommitMark { base: Some(next.ordinal), ordinal: Ordinal((round + 1) * 10), ..next };
        append(&place(&store, Mischief::Refuses, 0), &format!("{round}-next"), &fix).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn different_flows_can_append_to_one_table_at_the_same_moment() {
    let store = Arc::new(InMemory::new());
    let tries = (0..6).map(|flow| {
        let place = place(&store, Mischief::Refuses, 0);
        let mark = CommitMark { app_id: format!("flow-{flow}"), base: None, ordinal: Ordinal::FIRST };
        tokio::spawn(async move { append(&place, &format!("of-{flow}"), &mark).await })
    });
    for result in futures::future::join_all(tries).await {
        result.unwrap().unwrap();
    }
    assert_eq!(files(&store).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_table_was_replaced_stops() {
    let store = Arc::new(InMemory::new());
    let error = append(&place(&store, Mischief::Refuses, 0), "x", &mark(Some(7), 8)).await.unwrap_err();
    assert_eq!(error, LakeError::Overtaken { found: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_made_now_and_then_and_the_mark_survives_it() {
    let store = Arc::new(InMemory::new());
    let quiet = place(&store, Mischief::Refuses, 0);
    for ordinal in 1..=22 {
        append(&quiet, &format!("f{ordinal:02}"), &mark((ordinal > 1).then_some(ordinal - 1), ordinal)).await.unwrap();
    }
    let checkpoint = Path::from("lake/t/_delta_log/_last_checkpoint");
    assert!(store.head(&checkpoint).await.is_ok(), "after 20 versions there is a checkpoint");
    let state = quiet.load().await.unwrap().unwrap();
    assert_eq!(quiet.last_ordinal(&state, "flow-1").await.unwrap(), Some(Ordinal(22)));
    assert_eq!(files(&store).await.len(), 22);
}
