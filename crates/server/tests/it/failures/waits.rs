//! Sources that make a run wait, or that a run must wait for: locks, changes of the table, too many connections.

use std::time::Duration;

use headwaters_testkit::Flavour;
use mysql_async::prelude::Queryable;
use tokio::time::{Instant, sleep};

use super::{SLOW_BYTES_PER_SECOND, SOON, Trouble, on_both, rows};

/// How long another session holds the table.
const HELD: Duration = Duration::from_secs(3);
/// How long a change of the table may have to wait for us.
const COURTESY: Duration = Duration::from_secs(12);

on_both!(
    a_table_that_another_session_holds_is_waited_for,
    a_change_of_the_table_gets_through_within_seconds_and_the_run_after_it,
    a_change_gets_through_too_where_splits_are_of_different_moments,
    a_server_without_room_is_read_when_there_is_some_again,
);

async fn a_table_that_another_session_holds_is_waited_for(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    let connection = trouble.connection("reader").await;
    let copy = trouble.will_copy(&connection, "d.t").await;
    let mut session = trouble.database.connect().await.expect("a session");
    session.query_drop("lock tables d.t write").await.expect("the lock");
    trouble.logged("an attempt begins", 1).await;
    sleep(HELD).await;
    session.query_drop("unlock tables").await.expect("the lock is let go");
    let errors = trouble.assert_landed_once(&copy).await;
    assert!(errors.is_empty(), "a short wait breaks nothing: {errors:?}");
}

async fn a_change_of_the_table_gets_through_within_seconds_and_the_run_after_it(flavour: Flavour) {
    changed_while_read(flavour, None).await;
}

async fn a_change_gets_through_too_where_splits_are_of_different_moments(flavour: Flavour) {
    changed_while_read(flavour, Some("split")).await;
}

async fn changed_while_read(flavour: Flavour, consistency: Option<&str>) {
    let trouble = Trouble::set(flavour, &[]).await;
    trouble.proxy.throttle(SLOW_BYTES_PER_SECOND / 2);
    // Others are seen waiting by who has PROCESS.
    let copy = trouble.copies_with("admin", consistency).await;
    trouble.reader(None).await;
    let waited = Instant::now();
    trouble.execute("alter table d.t add column added int not null default 7").await;
    assert!(waited.elapsed() < COURTESY, "the change waited for {:?}", waited.elapsed());
    trouble.proxy.mend();
    let errors = trouble.assert_landed_once(&copy).await;
    assert!(errors.first().is_some_and(|error| error.contains("gave way")), "{errors:?}");
    let rows = rows(&trouble.world.table_dir(&copy.data_set).await.expect("a table"));
    assert!(rows.iter().all(|row| row["added"] == 7), "the run that followed has the new column in every row");
}

async fn a_server_without_room_is_read_when_there_is_some_again(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &["--max-connections=10"]).await;
    let connection = trouble.connection("reader").await;
    let copy = trouble.will_copy(&connection, "d.t").await;
    let mut held = Vec::new();
    while let Ok(session) = trouble.database.connect().await {
        held.push(session);
        assert!(held.len() < 20, "{flavour} takes more connections than it may");
    }
    let start = Instant::now();
    trouble.logged("the attempt broke", 1).await;
    drop(held);
    let errors = trouble.assert_landed_once(&copy).await;
    assert!(start.elapsed() < SOON + SOON, "{:?}", start.elapsed());
    assert!(errors.first().is_some_and(|error| error.contains("error 1040")), "{errors:?}");
}
