//! The behaviours that every backend of the store must have. Each is a function over a fresh, opened store.

use headwaters_model::account::{Account, Role};
use headwaters_model::connection::Connection;
use headwaters_model::filter::Filter;
use headwaters_model::flow::Flow;
use headwaters_model::id::{ClientId, SandboxId, SpecId};
use headwaters_model::page::{ListQuery, Order};
use headwaters_model::resource::{Collection, Resource, State};
use headwaters_model::run::{Run, RunStatus};
use headwaters_model::sandbox::Scope;
use headwaters_model::secret::Secret;
use headwaters_model::source_connection::SourceConnection;
use headwaters_store::{AuditEntry, AuditQuery, Outdated, SpecName, StoreError};
use serde_json::json;

pub(crate) use crate::care::{
    each_table_is_taken_once_in_a_while_and_a_new_one_waits_as_long,
    files_of_a_run_at_work_are_needed_since_it_was_made,
    what_a_run_has_landed_of_a_plan_is_needed_until_it_is_over_and_nobody_goes_on_with_it,
};
pub(crate) use crate::claims::{
    a_flow_has_one_run_at_work, a_flow_with_a_run_of_its_schedule_that_is_not_over_is_not_due,
    a_heartbeat_keeps_a_lease, a_lease_that_ended_is_taken_over, a_run_of_a_disabled_flow_waits,
    an_attempt_needs_the_lease, an_instant_of_a_schedule_has_one_run, flows_are_due_when_their_instant_has_come,
    flows_that_a_clock_ahead_has_put_off_are_found, of_many_workers_one_claims_a_run, ordinals_only_grow,
    runs_that_a_clock_ahead_has_made_wait_only_for_a_start_that_was_asked_for,
    what_a_worker_has_in_hand_it_does_not_take_from_itself, what_seems_leased_for_longer_than_any_lease_is_taken_over,
};
pub(crate) use crate::landings::{
    runs_and_flows_are_looked_up_many_at_a_time, runs_that_landed_what_a_window_covers_are_found,
    the_kin_of_a_run_are_found_from_each_of_them_and_those_that_landed_are_told,
    what_a_run_covered_that_moved_the_watermark_is_known_once_it_landed, what_a_run_reads_is_kept_beside_it,
    what_is_reported_of_runs_hides_nothing_that_they_landed,
};
pub(crate) use crate::notifications::{
    a_full_queue_lets_its_oldest_notification_go, a_notification_is_taken_by_one_until_its_lease_ends,
    a_run_is_told_to_be_late_once, what_a_fast_clock_has_put_off_too_far_is_due, what_has_waited_too_long_is_forgotten,
    what_was_delivered_is_gone_and_what_was_not_comes_again,
};
pub(crate) use crate::settlements::{
    a_commit_that_nothing_explains_stops_the_flow, a_failure_is_written_only_by_the_holder_of_the_lease,
    a_lost_answer_is_found_again, a_run_without_rows_moves_the_offset_from_its_base_only,
    lower_pending_offsets_go_and_higher_ones_stay, settling_a_run_twice_fails_the_second_time,
    settling_moves_everything_at_once, what_is_pending_of_a_run_that_is_over_is_found,
};
use crate::world::{NOW, Pipeline, World, connection, data_set, flow, source};

pub(crate) async fn a_resource_is_read_as_it_was_written(world: &World) {
    let Pipeline { connection, source, data_set, target, flow } = world.add_pipeline().await;
    assert_eq!(world.find(&connection.id).await, Some(connection));
    assert_eq!(world.find(&source.id).await, Some(source));
    assert_eq!(world.find(&data_set.id).await, Some(data_set));
    assert_eq!(world.find(&target.id).await, Some(target));
    assert_eq!(world.find(&flow.id).await, Some(flow));
}

pub(crate) async fn an_id_of_another_sandbox_is_not_found(world: &World) {
    let mine = world.add(connection("shop")).await;
    let mut tx = world.store.read(&world.elsewhere).await.unwrap();
    assert_eq!(tx.get::<Connection>(&mine.id).await.unwrap(), None);
    assert_eq!(tx.count::<Connection>(&[]).await.unwrap(), 0);
}

pub(crate) async fn a_write_of_another_sandbox_changes_nothing(world: &World) {
    let mine = world.add(connection("shop")).await;
    let mut stolen = mine.clone();
    stolen.body.name = "stolen".to_owned();
    let expected = stolen.touch(&world.actor, NOW);
    let mut tx = world.store.write(&world.elsewhere).await.unwrap();
    for refused in [tx.replace(&stolen, &expected).await, tx.delete::<Connection>(&mine.id, &mine.etag).await] {
        assert!(matches!(refused, Err(StoreError::Outdated(Outdated::Missing(_)))), "{refused:?}");
    }
    tx.put_secret(&mine.id.to_string(), "other", &Secret::new("x")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.find(&mine.id).await, Some(mine.clone()));
    let mut tx = world.store.read(&world.scope).await.unwrap();
    assert!(tx.secrets(&mine.id.to_string()).await.unwrap().is_empty());
}

pub(crate) async fn of_two_writers_with_one_version_exactly_one_wins(world: &World) {
    let read = world.add(connection("shop")).await;
    let write = |name: &'static str| {
        let mut mine = read.clone();
        async move {
            mine.body.name = name.to_owned();
            let expected = mine.touch(&world.actor, NOW + 1);
            let mut tx = world.store.write(&world.scope).await?;
            tx.replace(&mine, &expected).await?;
            tx.commit().await
        }
    };
    let (left, right) = tokio::join!(write("left"), write("right"));
    let winner = match (left, right) {
        (Ok(()), Err(StoreError::Outdated(Outdated::Stale { .. }))) => "left",
        (Err(StoreError::Outdated(Outdated::Stale { .. })), Ok(())) => "right",
        both => panic!("one must win: {both:?}"),
    };
    assert_eq!(world.find::<Connection>(&read.id).await.unwrap().body.name, winner);
}

pub(crate) async fn a_stale_write_names_the_version_that_stands(world: &World) {
    let mut first = world.add(connection("shop")).await;
    let stale = first.clone();
    let expected = first.touch(&world.actor, NOW + 1);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.replace(&first, &expected).await.unwrap();
    match tx.delete::<Connection>(&stale.id, &stale.etag).await {
        Err(StoreError::Outdated(Outdated::Stale { current, .. })) => assert_eq!(current, first.etag),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn what_is_derived_changes_no_version(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    let run = world.add_run(&flow, Some(NOW)).await;
    let shown = world.find::<Flow>(&flow.id).await.unwrap();
    assert_eq!((&shown.etag, &shown.updated), (&flow.etag, &flow.updated));
    let last = shown.body.last_run_details.unwrap();
    assert_eq!((last.id, last.state), (run.id, RunStatus::Scheduled));
}

pub(crate) async fn a_dropped_transaction_leaves_no_trace(world: &World) {
    let new = Resource::new(world.scope.clone(), State::Enabled, connection("shop"), &world.actor, NOW);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.insert(&new).await.unwrap();
    tx.put_secret(&new.id.to_string(), "password", &Secret::new("x")).await.unwrap();
    drop(tx);
    assert_eq!(world.find::<Connection>(&new.id).await, None);
}

pub(crate) async fn a_reader_sees_the_moment_at_which_it_began(world: &World) {
    world.add(connection("before")).await;
    let mut tx = world.store.read(&world.scope).await.unwrap();
    assert_eq!(tx.count::<Connection>(&[]).await.unwrap(), 1);
    world.add(connection("after")).await;
    assert_eq!(tx.count::<Connection>(&[]).await.unwrap(), 1);
}

pub(crate) async fn a_reader_can_not_write(world: &World) {
    let new = Resource::new(world.scope.clone(), State::Enabled, connection("shop"), &world.actor, NOW);
    let mut tx = world.store.read(&world.scope).await.unwrap();
    assert!(tx.insert(&new).await.is_err());
}

pub(crate) async fn an_indexed_field_is_filtered_like_any_other(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    let mine = world.add_run(&flow, Some(NOW)).await;
    let other = world.add(crate::world::flow("other", None, None)).await;
    world.add_run(&other, Some(NOW)).await;
    let mut tx = world.store.read(&world.scope).await.unwrap();
    let count = |text: String| vec![Filter::parse(&text, Collection::Runs).unwrap()];
    assert_eq!(tx.count::<Run>(&count(format!("flowId=={}", flow.id))).await.unwrap(), 1);
    assert_eq!(tx.count::<Run>(&count(format!("flowId!={}", flow.id))).await.unwrap(), 1);
    assert_eq!(tx.count::<Run>(&count("state==SCHEDULED".to_owned())).await.unwrap(), 2);
    assert_eq!(tx.count::<Run>(&count("metrics.statusSummary.status!=failed".to_owned())).await.unwrap(), 2);
    let latest = Filter::parse(&format!("flowId==\"{}\"", flow.id), Collection::Runs).unwrap();
    let page = tx.list::<Run>(&ListQuery { limit: 1, ..ListQuery::all() }.with(latest)).await.unwrap();
    assert_eq!((page.items[0].id, page.next), (mine.id, None));
}

pub(crate) async fn an_indexed_field_is_paged_like_any_other(world: &World) {
    for name in ["b", "a", "c", "a"] {
        world.add(connection(name)).await;
    }
    let order = Order::parse("-name", Collection::Connections).unwrap();
    let mut query = ListQuery { order, limit: 1, ..ListQuery::all() };
    let mut names = Vec::new();
    loop {
        let mut tx = world.store.read(&world.scope).await.unwrap();
        let page = tx.list::<Connection>(&query).await.unwrap();
        names.extend(page.items.into_iter().map(|item| item.body.name));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["c", "b", "a", "a"]);
}

pub(crate) async fn a_spec_is_seen_in_every_sandbox_of_its_organisation(world: &World) {
    let (id, of) = (SpecId::mint(), Collection::ConnectionSpecs);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.put_spec(of, id, &json!({ "id": id, "name": "erp" }), NOW).await.unwrap();
    tx.put_spec(of, id, &json!({ "id": id, "name": "erp 2" }), NOW + 1).await.unwrap();
    tx.commit().await.unwrap();
    let beside = Scope { sandbox: SandboxId::mint(), ..world.scope.clone() };
    let mut tx = world.store.read(&beside).await.unwrap();
    assert_eq!(tx.spec(of, id).await.unwrap(), Some(json!({ "id": id, "name": "erp 2" })));
    assert_eq!(tx.spec(Collection::FlowSpecs, id).await.unwrap(), None);
    assert_eq!((tx.specs(of).await.unwrap().len(), tx.count_specs(of).await.unwrap()), (1, 1));
    assert_eq!(tx.spec_names().await.unwrap(), [SpecName { collection: of, id, name: "erp 2".into() }]);
    drop(tx);
    assert!(world.store.read(&world.elsewhere).await.unwrap().spec_names().await.unwrap().is_empty());
}

pub(crate) async fn secrets_open_only_for_their_owner(world: &World) {
    let [mine, other] = [world.add(connection("mine")).await, world.add(connection("other")).await];
    let id = mine.id.to_string();
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.put_secret(&id, "password", &Secret::new("first")).await.unwrap();
    tx.put_secret(&id, "password", &Secret::new("second")).await.unwrap();
    tx.put_secret(&id, "sslKeyPassword", &Secret::new("third")).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.store.read(&world.scope).await.unwrap();
    let secrets = tx.secrets(&id).await.unwrap();
    let shown: Vec<_> = secrets.iter().map(|(field, secret)| (field.as_str(), secret.expose())).collect();
    assert_eq!(shown, [("password", "second"), ("sslKeyPassword", "third")]);
    assert!(tx.secrets(&other.id.to_string()).await.unwrap().is_empty());
}

pub(crate) async fn a_deleted_connection_takes_its_secrets_along(world: &World) {
    let stored = world.add(connection("shop")).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.put_secret(&stored.id.to_string(), "password", &Secret::new("x")).await.unwrap();
    tx.delete::<Connection>(&stored.id, &stored.etag).await.unwrap();
    assert!(tx.secrets(&stored.id.to_string()).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    assert_eq!(world.find::<Connection>(&stored.id).await, None);
}

pub(crate) async fn flows_block_the_deletion_of_what_they_use(world: &World) {
    let Pipeline { connection, source, target, flow, .. } = world.add_pipeline().await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    assert_eq!(tx.flow_on_connection(connection.id).await.unwrap(), Some(flow.id));
    assert_eq!(tx.flow_on_source(source.id).await.unwrap(), Some(flow.id));
    assert_eq!(tx.flow_on_target(target.id).await.unwrap(), Some(flow.id));
    tx.delete::<Flow>(&flow.id, &flow.etag).await.unwrap();
    assert_eq!(tx.flow_on_connection(connection.id).await.unwrap(), None);
    assert_eq!(tx.flow_on_source(source.id).await.unwrap(), None);
    assert_eq!(tx.flow_on_target(target.id).await.unwrap(), None);
}

pub(crate) async fn the_flows_on_a_source_are_found_up_to_a_limit(world: &World) {
    let Pipeline { connection, source: used, target, flow: first, .. } = world.add_pipeline().await;
    let second = world.add(flow("second", Some(used.id), Some(target.id))).await;
    let third = world.add(flow("third", Some(used.id), None)).await;
    let other = world.add(source(connection.id)).await;
    world.add(flow("other", Some(other.id), None)).await;
    let mut tx = world.store.read(&world.scope).await.unwrap();
    assert_eq!(tx.flows_on_source(used.id, 2).await.unwrap(), [first.id, second.id]);
    assert_eq!(tx.flows_on_source(used.id, 9).await.unwrap(), [first.id, second.id, third.id]);
}

pub(crate) async fn unused_sources_go_with_their_connection(world: &World) {
    let Pipeline { connection, source: used, .. } = world.add_pipeline().await;
    let unused = world.add(source(connection.id)).await;
    let another = world.add(source(connection.id)).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    assert_eq!(tx.delete_unused_sources(connection.id, 1).await.unwrap().len(), 1, "no more than asked");
    drop(tx);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let mut gone = tx.delete_unused_sources(connection.id, 9).await.unwrap();
    gone.sort_by_key(|(id, _)| *id);
    assert_eq!(gone, [(unused.id, unused.etag), (another.id, another.etag)]);
    tx.commit().await.unwrap();
    assert_eq!(world.find::<SourceConnection>(&unused.id).await, None);
    assert!(world.find::<SourceConnection>(&used.id).await.is_some());
}

pub(crate) async fn table_names_are_unique_in_a_sandbox(world: &World) {
    world.add(data_set("orders")).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    assert_eq!(tx.free_table_name("orders").await.unwrap(), "orders_1");
    assert_eq!(tx.free_table_name("customers").await.unwrap(), "customers");
    let second = Resource::new(world.scope.clone(), State::Enabled, data_set("orders"), &world.actor, NOW);
    assert!(matches!(tx.insert(&second).await, Err(StoreError::Duplicate { .. })));
    drop(tx);
    for taken in ["orders_1", "orders_3", "orders_x", "orders_2_late"] {
        world.add(data_set(taken)).await;
    }
    let mut tx = world.store.write(&world.elsewhere).await.unwrap();
    assert_eq!(tx.free_table_name("orders").await.unwrap(), "orders");
    drop(tx);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    assert_eq!(tx.free_table_name("orders").await.unwrap(), "orders_2");
    drop(tx);
    let mut tx = world.store.write(&world.elsewhere).await.unwrap();
    let elsewhere = Resource::new(world.elsewhere.clone(), State::Enabled, data_set("orders"), &world.actor, NOW);
    tx.insert(&elsewhere).await.unwrap();
}

pub(crate) async fn an_account_proves_itself_with_its_secret(world: &World) {
    let World { store, account, scope, .. } = world;
    let right = store.authenticate(&account.client_id, &Secret::new("the secret of the account")).await.unwrap();
    assert_eq!(right.as_ref(), Some(account));
    assert_eq!(store.authenticate(&account.client_id, &Secret::new("another")).await.unwrap(), None);
    assert_eq!(store.authenticate(&ClientId::mint(), &Secret::new("another")).await.unwrap(), None);
    assert_eq!(store.account(&account.client_id).await.unwrap().as_ref(), Some(account));
    assert_eq!(store.accounts(&account.org).await.unwrap(), std::slice::from_ref(account));
    assert!(store.organisations().await.unwrap().contains(&account.org));
    let prod = store.sandbox(&account.org, "prod").await.unwrap().unwrap();
    assert_eq!((prod.scope(), prod.is_default), (scope.clone(), true));
    assert_eq!(store.sandbox(&account.org, "dev").await.unwrap(), None);
}

pub(crate) async fn the_audit_tells_who_did_what(world: &World) {
    let stored = world.add(connection("shop")).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    for (at_ms, action, allowed) in [(NOW, "create", true), (NOW + 1, "delete", false)] {
        let resource = stored.reference();
        let entry = AuditEntry {
            at_ms,
            by: &world.actor,
            action,
            resource,
            etag: Some(&stored.etag),
            request_id: Some("r1"),
            allowed,
        };
        tx.audit(&entry).await.unwrap();
    }
    tx.commit().await.unwrap();
    let all = world.store.audit(&AuditQuery::default()).await.unwrap();
    let shown: Vec<_> = all.iter().map(|record| (record.action.as_str(), record.allowed)).collect();
    assert_eq!(shown, [("delete", false), ("create", true)]);
    assert_eq!((all[0].user.as_str(), &all[0].resource_id), (world.actor.user.as_str(), &stored.id.to_string()));
    let late =
        AuditQuery { since_ms: Some(NOW + 1), resource_id: Some(stored.id.to_string()), ..AuditQuery::default() };
    assert_eq!(world.store.audit(&late).await.unwrap().len(), 1);
    let other = AuditQuery { resource_id: Some("elsewhere".to_owned()), ..AuditQuery::default() };
    assert!(world.store.audit(&other).await.unwrap().is_empty());
    let newest = AuditQuery { limit: 1, ..AuditQuery::default() };
    assert_eq!(world.store.audit(&newest).await.unwrap(), all[..1]);
    let place = (all[0].org.as_str(), all[0].sandbox.clone());
    assert_eq!(place, (world.scope.org.as_str(), world.scope.sandbox.to_string()));
}

pub(crate) async fn a_refused_login_is_recorded_without_a_sandbox(world: &World) {
    let account = Account::mint(world.scope.org.clone(), "a", Role::View, NOW);
    world.store.audit_refused_login(&account, "login", Some("r1"), NOW).await.unwrap();
    let lines = world.store.audit(&AuditQuery::default()).await.unwrap();
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((line.action.as_str(), line.collection.as_str(), line.allowed), ("login", "accounts", false));
    assert_eq!(
        (line.client.as_str(), line.resource_id.as_str()),
        (account.client_id.as_str(), account.client_id.as_str())
    );
    assert_eq!((line.sandbox.as_str(), line.request_id.as_deref()), ("", Some("r1")));
}

pub(crate) async fn the_oldest_of_the_audit_is_forgotten_first_and_not_more_than_asked(world: &World) {
    let account = Account::mint(world.scope.org.clone(), "a", Role::View, NOW);
    for at_ms in [NOW, NOW + 1, NOW + 2, NOW + 3] {
        world.store.audit_refused_login(&account, "login", None, at_ms).await.unwrap();
    }
    let kept = async || {
        let lines = world.store.audit(&AuditQuery::default()).await.unwrap();
        lines.iter().map(|line| line.at_ms - NOW).collect::<Vec<_>>()
    };
    assert_eq!(world.store.forget_audit(NOW + 3, 2).await.unwrap(), 2);
    assert_eq!(kept().await, [3, 2]);
    assert_eq!(world.store.forget_audit(NOW + 3, 2).await.unwrap(), 1);
    assert_eq!(world.store.forget_audit(NOW + 3, 2).await.unwrap(), 0);
    assert_eq!(kept().await, [3]);
}
