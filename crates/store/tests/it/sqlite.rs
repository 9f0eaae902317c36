//! The suite on SQLite, and what only a database in a file can show.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use headwaters_model::connection::Connection;
use headwaters_model::resource::{Resource, State};
use headwaters_model::secret::Secret;
use headwaters_store::{KeyRing, Store, StoreError, StoreOptions};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnectOptions;

use crate::run_suite;
use crate::world::{NOW, World, connection};

async fn open_with(options: StoreOptions) -> World {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headwaters.db");
    let store = Store::open_with(path.to_str().unwrap(), KeyRing::generate().unwrap(), options).await.unwrap();
    World::new(store, dir).await
}

async fn open() -> World {
    open_with(StoreOptions::default()).await
}

run_suite!(open:
    a_resource_is_read_as_it_was_written,
    an_id_of_another_sandbox_is_not_found,
    a_write_of_another_sandbox_changes_nothing,
    of_two_writers_with_one_version_exactly_one_wins,
    a_stale_write_names_the_version_that_stands,
    what_is_derived_changes_no_version,
    a_dropped_transaction_leaves_no_trace,
    a_reader_sees_the_moment_at_which_it_began,
    a_reader_can_not_write,
    an_indexed_field_is_filtered_like_any_other,
    an_indexed_field_is_paged_like_any_other,
    a_spec_is_seen_in_every_sandbox_of_its_organisation,
    secrets_open_only_for_their_owner,
    a_deleted_connection_takes_its_secrets_along,
    flows_block_the_deletion_of_what_they_use,
    the_flows_on_a_source_are_found_up_to_a_limit,
    unused_sources_go_with_their_connection,
    table_names_are_unique_in_a_sandbox,
    an_account_proves_itself_with_its_secret,
    an_instant_of_a_schedule_has_one_run,
    of_many_workers_one_claims_a_run,
    a_flow_has_one_run_at_work,
    each_table_is_taken_once_in_a_while_and_a_new_one_waits_as_long,
    files_of_a_run_at_work_are_needed_since_it_was_made,
    what_a_run_has_landed_of_a_plan_is_needed_until_it_is_over_and_nobody_goes_on_with_it,
    a_run_of_a_disabled_flow_waits,
    a_lease_that_ended_is_taken_over,
    a_heartbeat_keeps_a_lease,
    what_a_worker_has_in_hand_it_does_not_take_from_itself,
    what_seems_leased_for_longer_than_any_lease_is_taken_over,
    ordinals_only_grow,
    an_attempt_needs_the_lease,
    settling_moves_everything_at_once,
    the_kin_of_a_run_are_found_from_each_of_them_and_those_that_landed_are_told,
    runs_that_landed_what_a_window_covers_are_found,
    what_a_run_covered_that_moved_the_watermark_is_known_once_it_landed,
    what_a_run_reads_is_kept_beside_it,
    what_is_reported_of_runs_hides_nothing_that_they_landed,
    runs_and_flows_are_looked_up_many_at_a_time,
    settling_a_run_twice_fails_the_second_time,
    a_failure_is_written_only_by_the_holder_of_the_lease,
    what_is_pending_of_a_run_that_is_over_is_found,
    a_commit_that_nothing_explains_stops_the_flow,
    lower_pending_offsets_go_and_higher_ones_stay,
    a_run_without_rows_moves_the_offset_from_its_base_only,
    a_lost_answer_is_found_again,
    flows_are_due_when_their_instant_has_come,
    a_flow_with_a_run_of_its_schedule_that_is_not_over_is_not_due,
    flows_that_a_clock_ahead_has_put_off_are_found,
    runs_that_a_clock_ahead_has_made_wait_only_for_a_start_that_was_asked_for,
    a_notification_is_taken_by_one_until_its_lease_ends,
    what_was_delivered_is_gone_and_what_was_not_comes_again,
    a_full_queue_lets_its_oldest_notification_go,
    what_a_fast_clock_has_put_off_too_far_is_due,
    what_has_waited_too_long_is_forgotten,
    a_run_is_told_to_be_late_once,
    the_audit_tells_who_did_what,
    a_refused_login_is_recorded_without_a_sandbox,
    the_oldest_of_the_audit_is_forgotten_first_and_not_more_than_asked,
);

#[tokio::test]
async fn a_password_is_nowhere_in_the_files() {
    let world = open().await;
    let password = "Tr0ub4dor&3-planted";
    let stored = world.add(connection("shop")).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.put_secret(&stored.id.to_string(), "password", &Secret::new(password)).await.unwrap();
    tx.commit().await.unwrap();

    let before = files(&world);
    world.store.close().await;
    for (name, bytes) in before.into_iter().chain(files(&world)) {
        let found = bytes.windows(password.len()).any(|window| window == password.as_bytes());
        assert!(!found, "the password stands in {name}");
    }
}

/// Every file of the data directory with its bytes; the database and its log at least.
fn files(world: &World) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(world.dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect();
    assert!(files.iter().any(|(name, bytes)| name.ends_with("headwaters.db") && !bytes.is_empty()));
    files
}

#[tokio::test]
async fn a_database_that_somebody_else_holds_is_busy() {
    let world = open_with(StoreOptions { busy_timeout: Duration::from_millis(50), ..StoreOptions::default() }).await;
    let options = SqliteConnectOptions::new().filename(world.dir.path().join("headwaters.db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let held = other.begin_with("begin immediate").await.unwrap();

    let refused = world.store.write(&world.scope).await.err().unwrap();
    assert!(refused.is_unavailable() && refused.is_transient(), "{refused:?}");
    assert!(refused.hint().unwrap().contains("try again"));
    assert!(world.store.ping().await.is_err_and(|error| error.is_unavailable()));

    held.rollback().await.unwrap();
    world.store.write(&world.scope).await.unwrap();
    world.store.ping().await.unwrap();
}

#[tokio::test]
async fn a_full_database_says_so_and_keeps_what_it_had() {
    let world = open_with(StoreOptions { bytes_max: Some(512 * 1024), ..StoreOptions::default() }).await;
    let first = world.add(connection("first")).await;
    let big = Resource::new(world.scope.clone(), State::Enabled, connection(&"x".repeat(600_000)), &world.actor, NOW);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let refused = tx.insert(&big).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Full(_)) && refused.is_unavailable() && !refused.is_transient(),
        "{refused:?}"
    );
    assert!(refused.hint().unwrap().contains("free space"));
    drop(tx);
    assert_eq!(world.find(&first.id).await, Some(first));
    assert_eq!(world.find::<Connection>(&big.id).await, None);
    let small = world.add(connection("small")).await;
    assert_eq!(world.find(&small.id).await, Some(small), "what there is room for is taken all the same");
}

#[tokio::test]
async fn a_damaged_row_does_not_keep_the_others_waiting() {
    let world = open().await;
    let [broken, sound] = [world.add_pipeline().await.flow, {
        let flow = crate::world::flow("second", None, None);
        world.add(flow).await
    }];
    let damaged = world.add_run(&broken, Some(NOW)).await;
    let run = world.add_run(&sound, Some(NOW)).await;
    let options = SqliteConnectOptions::new().filename(world.dir.path().join("headwaters.db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    for (table, id, path) in
        [("run", damaged.id.to_string(), "$.flowSpec"), ("flow", broken.id.to_string(), "$.flowSpec")]
    {
        let text = format!("update {table} set body = json_set(body, '{path}', 7) where id = '{id}'");
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut other).await.unwrap();
    }

    assert_eq!(world.claim("a", NOW).await.unwrap().run.id, run.id);
    assert_eq!(world.claim("b", NOW).await, None);
}

#[tokio::test]
async fn a_store_is_found_again_as_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = dir.path().join("keyring.json");
    let location = format!("sqlite://{}", dir.path().join("deep/headwaters.db").display());
    let store = Store::open(&location, KeyRing::open_or_create(&keyring).unwrap()).await.unwrap();
    let world = World::new(store, dir).await;
    let left = world.add(connection("shop")).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.put_secret(&left.id.to_string(), "password", &Secret::new("hunter2")).await.unwrap();
    tx.commit().await.unwrap();
    world.store.close().await;

    let again = Store::open(&location, KeyRing::open_or_create(&keyring).unwrap()).await.unwrap();
    let mut tx = again.read(&world.scope).await.unwrap();
    assert_eq!(tx.get(&left.id).await.unwrap(), Some(left.clone()));
    let secrets = tx.secrets(&left.id.to_string()).await.unwrap();
    assert_eq!(secrets[0].1.expose(), "hunter2");
}

#[tokio::test]
async fn only_its_owner_can_read_the_database() {
    let world = open().await;
    world.add(connection("shop")).await;
    for entry in std::fs::read_dir(world.dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn a_place_that_can_not_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let location = file.join("headwaters.db");
    let refused = Store::open(location.to_str().unwrap(), KeyRing::generate().unwrap()).await.err().unwrap();
    assert!(refused.to_string().contains("a-file/headwaters.db"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headwaters.db");
    std::fs::write(&path, "this is a letter, not a database, and long enough to be read as a header of one").unwrap();
    let location = path.to_str().unwrap();
    let refused = Store::open(location, KeyRing::generate().unwrap()).await.err().unwrap();
    assert!(
        matches!(&refused, StoreError::Open { source, .. } if matches!(**source, StoreError::DamagedFile(_))),
        "{refused:?}"
    );
    assert!(refused.hint().unwrap().contains("from a backup"));
    assert_eq!(std::fs::read(&path).unwrap().len(), 79, "it is left as it was");
    let refused = Store::open("postgres://elsewhere/db", KeyRing::generate().unwrap()).await.err().unwrap();
    assert!(matches!(refused, StoreError::UnknownKind { .. }), "{refused:?}");
}
