//! The behaviours that every backend of the store must have. Each is a function over a fresh, opened store.

use headwaters_model::account::{Account, Role};
use headwaters_model::batch::{Batch, BatchStatus};
use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::filter::Filter;
use headwaters_model::flow::Flow;
use headwaters_model::id::{ClientId, DataSetId, SandboxId, SpecId};
use headwaters_model::metrics::RunRecord;
use headwaters_model::offset::Ordinal;
use headwaters_model::page::{ListQuery, Order};
use headwaters_model::resource::{Collection, Resource, State};
use headwaters_model::run::{Run, RunStatus};
use headwaters_model::sandbox::Scope;
use headwaters_model::secret::Secret;
use headwaters_model::source_connection::SourceConnection;
use headwaters_store::{
    AttemptEnd, AuditEntry, AuditQuery, Claim, Outdated, PendingCommit, Promotion, Settlement, SpecName, StoreError,
};
use serde_json::json;

use crate::world::{LEASE, NOW, Pipeline, World, batch, connection, data_set, flow, landed, source};

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

pub(crate) async fn the_flows_on_a_source_are_found_page_by_page(world: &World) {
    let Pipeline { connection, source: used, target, flow: first, .. } = world.add_pipeline().await;
    let second = world.add(flow("second", Some(used.id), Some(target.id))).await;
    let third = world.add(flow("third", Some(used.id), None)).await;
    let other = world.add(source(connection.id)).await;
    world.add(flow("other", Some(other.id), None)).await;
    let mut tx = world.store.read(&world.scope).await.unwrap();
    let page = tx.flows_on_source(used.id, None, 2).await.unwrap();
    assert_eq!(page, [first.id, second.id]);
    assert_eq!(tx.flows_on_source(used.id, Some(second.id), 2).await.unwrap(), [third.id]);
    assert_eq!(tx.flows_on_source(used.id, Some(third.id), 2).await.unwrap(), []);
}

pub(crate) async fn unused_sources_go_with_their_connection(world: &World) {
    let Pipeline { connection, source: used, .. } = world.add_pipeline().await;
    let unused = world.add(source(connection.id)).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    assert_eq!(tx.delete_unused_sources(connection.id).await.unwrap(), [(unused.id, unused.etag)]);
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

pub(crate) async fn an_instant_of_a_schedule_has_one_run(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
    let again = Resource::new(world.scope.clone(), State::Enabled, body, &world.actor, NOW);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    assert!(!tx.schedule_run(&again, NOW, Some(NOW)).await.unwrap());
    assert!(tx.schedule_run(&again, NOW, Some(NOW + 60_000)).await.unwrap());
    assert_eq!(tx.unfinished_runs(flow.id).await.unwrap().len(), 2);
}

pub(crate) async fn of_many_workers_one_claims_a_run(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    let run = world.add_run(&flow, Some(NOW)).await;
    assert_eq!(world.claim("early", NOW - 1).await, None);
    let (a, b, c) = tokio::join!(world.claim("a", NOW), world.claim("b", NOW), world.claim("c", NOW));
    let claims: Vec<_> = [a, b, c].into_iter().flatten().collect();
    let [claim] = &claims[..] else { panic!("one claim: {claims:?}") };
    assert_eq!((claim.run.id, claim.taken_over, claim.scheduled_for_ms), (run.id, false, Some(NOW)));
    assert_eq!((claim.run.body.status(), claim.run.body.started_at_ms()), (RunStatus::InProgress, Some(NOW)));
    assert_ne!(claim.run.etag, run.etag);
    assert_eq!(world.find(&run.id).await.as_ref(), Some(&claim.run));
    let shown = world.find::<Flow>(&flow.id).await.unwrap().body.last_run_details.unwrap();
    assert_eq!((shown.state, shown.started_at_ms), (RunStatus::InProgress, Some(NOW)));
}

pub(crate) async fn a_flow_has_one_run_at_work(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let second = world.add_run(&flow, Some(NOW + 1)).await;
    let first = world.claim("a", NOW).await.unwrap();
    assert_eq!(world.claim("b", NOW).await, None);
    settle(world, &first, &data_set.id, Promotion::Unchanged).await.unwrap();
    assert_eq!(world.claim("b", NOW).await.unwrap().run.id, second.id);
}

pub(crate) async fn a_run_of_a_disabled_flow_waits(world: &World) {
    let Pipeline { mut flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    flow = world.find(&flow.id).await.unwrap();
    flow.state = State::Disabled;
    let expected = flow.touch(&world.actor, NOW);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.replace(&flow, &expected).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.claim("a", NOW).await, None);
}

pub(crate) async fn a_lease_that_ended_is_taken_over(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let first = world.claim("a", NOW).await.unwrap();
    assert_eq!(world.claim("b", NOW + LEASE - 1).await, None);
    let second = world.claim("b", NOW + LEASE).await.unwrap();
    assert!(second.taken_over);
    assert_eq!((&second.batch, &second.run), (&first.batch, &first.run));
    assert!(!world.store.heartbeat(first.run.id, "a", NOW + 2 * LEASE).await.unwrap());
    world.store.release(second.run.id, "b").await.unwrap();
    assert!(world.claim("c", NOW + LEASE).await.unwrap().taken_over);
}

pub(crate) async fn a_heartbeat_keeps_a_lease(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    assert!(world.store.heartbeat(claim.run.id, "a", NOW + 2 * LEASE).await.unwrap());
    assert_eq!(world.claim("b", NOW + LEASE).await, None);
}

pub(crate) async fn ordinals_only_grow(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let first = world.attempt(&claim, "a", &data_set.id).await;
    let second = world.attempt(&claim, "a", &data_set.id).await;
    assert_eq!((first.ordinal, first.number, first.base), (Ordinal::FIRST, 1, None));
    assert_eq!((second.ordinal, second.number, second.base), (Ordinal(2), 2, None));
    settle(world, &claim, &data_set.id, Promotion::Unchanged).await.unwrap();
    world.add_run(&flow, Some(NOW + 1)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let third = world.attempt(&claim, "a", &data_set.id).await;
    assert_eq!((third.ordinal, third.number), (Ordinal(3), 1));
}

pub(crate) async fn an_attempt_needs_the_lease(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    world.claim("b", NOW + LEASE).await.unwrap();
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let refused = tx.begin_attempt(&claim.run, "a", &data_set.id, NOW).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost(_))), "{refused:?}");
}

pub(crate) async fn settling_moves_everything_at_once(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let attempt = world.attempt(&claim, "a", &data_set.id).await;
    world.put_pending(&claim, &attempt, &data_set.id, json!({ "id": 3 })).await;
    settle(world, &claim, &data_set.id, Promotion::Table(Some(attempt.ordinal))).await.unwrap();

    assert_eq!(world.standing(&flow, &data_set.id).await, (vec![], Some(json!({ "id": 3 }))));
    let run: Resource<Run> = world.find(&claim.run.id).await.unwrap();
    assert_eq!(run.body.status(), RunStatus::Success);
    let shown = world.find::<Flow>(&flow.id).await.unwrap().body.last_run_details.unwrap();
    assert_eq!((shown.id, shown.state, shown.completed_at_ms), (run.id, RunStatus::Success, Some(NOW)));
    let batch = world.find::<Batch>(&claim.batch).await.unwrap();
    assert_eq!((batch.body.run_id, batch.body.status), (run.id, BatchStatus::Success));
    let data_set: Resource<DataSet> = world.find(&data_set.id).await.unwrap();
    assert_eq!(data_set.body.last_successful_batch, Some(claim.batch.clone()));
    let mut tx = world.store.read(&world.scope).await.unwrap();
    let attempts = tx.attempts(run.id).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].ended_at_ms), (1, Some(NOW)));
    assert_eq!(world.claim("b", NOW + LEASE).await, None);

    // Whoever finds the same commit again is told that there is nothing left to do.
    let again = Claim { run, ..claim };
    let refused = settle(world, &again, &data_set.id, Promotion::Table(Some(attempt.ordinal))).await;
    assert!(matches!(refused, Err(StoreError::Settled(_))), "{refused:?}");
}

pub(crate) async fn the_kin_of_a_run_are_found_from_each_of_them_and_those_that_landed_are_told(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    let first = world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    settle(world, &claim, &data_set.id, Promotion::Unchanged).await.unwrap();
    let second = world.add_repeat(&first).await;
    let third = world.add_repeat(&second).await;
    let sibling = world.add_repeat(&first).await;
    let stranger = world.add_run(&flow, None).await;

    let mut tx = world.store.read(&world.scope).await.unwrap();
    for run in [&first, &second, &third, &sibling] {
        let kin = tx.kin(run).await.unwrap();
        let found: Vec<_> = kin.iter().map(|kin| (kin.run.id, kin.landed)).collect();
        assert_eq!(found, [(first.id, true), (second.id, false), (third.id, false), (sibling.id, false)]);
    }
    let alone = tx.kin(&stranger).await.unwrap();
    assert_eq!(alone.iter().map(|kin| (kin.run.id, kin.landed)).collect::<Vec<_>>(), [(stranger.id, false)]);
    assert_eq!(tx.waiting_runs(flow.id).await.unwrap(), 4);
}

pub(crate) async fn runs_that_landed_what_a_window_covers_are_found(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    let landed = async |window: Option<(i64, i64)>, rows: u64| {
        let mut body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
        body.metrics =
            json!({ "recordSummary": { "outputRecordCount": rows }, "statusSummary": { "status": "success" } });
        let window = window.map(|(start, end)| json!({ "windowStart": start, "windowEnd": end }));
        body.activities = vec![json!({ "durationSummary": { "extensions": window } })];
        world.add(body).await.id
    };
    let (early, late, empty) =
        (landed(Some((0, 1_000)), 1).await, landed(Some((1_000, 2_000)), 1).await, landed(Some((0, 2_000)), 0).await);
    let asked = |start_s: i64, end_s: i64| {
        let params =
            json!({ "windowStartTime": start_s, "windowEndTime": end_s, "deltaColumn": { "name": "changed" } });
        let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), params.as_object().cloned());
        Resource::new(world.scope.clone(), State::Enabled, body, &world.actor, NOW)
    };
    let whole = Resource { body: Run { params: None, ..asked(0, 1).body }, ..asked(0, 1) };
    let found = async |run: &Resource<Run>, limit| {
        let mut tx = world.store.read(&world.scope).await.unwrap();
        tx.landed_before(run, limit).await.unwrap().iter().map(|landed| landed.id).collect::<Vec<_>>()
    };
    assert_eq!(found(&asked(0, 1), 9).await, [early]);
    assert_eq!(found(&asked(1, 2), 9).await, [late]);
    assert_eq!(found(&asked(0, 2), 9).await, [late, early], "the newest first");
    assert_eq!(found(&asked(0, 2), 1).await, [late]);
    assert_eq!(found(&asked(1, 1), 9).await, [], "there is nothing in an empty window");
    assert_eq!(found(&asked(2, 3), 9).await, []);
    assert_eq!(found(&whole, 9).await, [late, early]);
    let whole_before = landed(None, 5).await;
    assert_eq!(found(&asked(2, 3), 9).await, [whole_before]);
    assert!(!found(&whole, 9).await.contains(&empty));
}

pub(crate) async fn settling_a_run_twice_fails_the_second_time(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    settle(world, &claim, &data_set.id, Promotion::Unchanged).await.unwrap();
    let refused = settle(world, &claim, &data_set.id, Promotion::Unchanged).await;
    assert!(matches!(refused, Err(StoreError::Outdated(Outdated::Stale { .. }))), "{refused:?}");
}

pub(crate) async fn a_failure_is_written_only_by_the_holder_of_the_lease(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let first = world.claim("a", NOW).await.unwrap();
    world.claim("b", NOW + LEASE).await.unwrap();
    let mut run = first.run.clone();
    let record = json!({ "statusSummary": { "status": "failed" } });
    run.body.record(RunRecord { metrics: record, activities: Vec::new() });
    let expected = run.touch(&world.actor, NOW);
    for (owner, allowed) in [(None, false), (Some("a"), false), (Some("b"), true)] {
        let mut tx = world.store.write(&world.scope).await.unwrap();
        let settlement = Settlement {
            run: &run,
            expected: &expected,
            owner,
            data_set: &data_set.id,
            promotion: Promotion::Unchanged,
            attempt: None,
            batch: None,
            by: &world.actor,
            now_ms: NOW,
        };
        let settled = tx.settle(settlement).await;
        assert_eq!(settled.is_ok(), allowed, "{owner:?}: {settled:?}");
        assert!(allowed || matches!(settled, Err(StoreError::LeaseLost(_))), "{settled:?}");
    }
}

pub(crate) async fn what_is_pending_of_a_run_that_is_over_is_found(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let attempt = world.attempt(&claim, "a", &data_set.id).await;
    world.put_pending(&claim, &attempt, &data_set.id, json!(3)).await;
    assert_eq!(world.store.left_behind(None, 10).await.unwrap(), [], "its run is at work");
    settle(world, &claim, &data_set.id, Promotion::Unchanged).await.unwrap();
    let found = world.store.left_behind(None, 10).await.unwrap();
    let [left] = &found[..] else { panic!("one: {found:?}") };
    assert_eq!((left.pending.run, left.pending.ordinal, &left.scope), (claim.run.id, attempt.ordinal, &world.scope));
    assert_eq!(left.pending.facts.batch, claim.batch);
    assert!(world.store.left_behind(Some(left), 10).await.unwrap().is_empty());

    // What belongs to the flow stays while something is pending, and goes with it.
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.forget_flow(flow.id).await.unwrap();
    assert_eq!(tx.attempts(claim.run.id).await.unwrap().len(), 1);
    tx.drop_pending(&left.pending).await.unwrap();
    tx.forget_flow(flow.id).await.unwrap();
    assert!(tx.attempts(claim.run.id).await.unwrap().is_empty());
}

pub(crate) async fn a_commit_that_nothing_explains_stops_the_flow(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let refused = settle(world, &claim, &data_set.id, Promotion::Table(Some(Ordinal(7)))).await;
    match refused {
        Err(StoreError::Disagreement { table, store, .. }) => assert_eq!((table, store), (Some(Ordinal(7)), None)),
        other => panic!("{other:?}"),
    }
    // Nothing of the settlement is left: the run is still at work.
    let run: Resource<Run> = world.find(&claim.run.id).await.unwrap();
    assert_eq!(run, claim.run);
    assert_eq!(world.find::<Batch>(&claim.batch).await, None);
}

pub(crate) async fn lower_pending_offsets_go_and_higher_ones_stay(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    for next in [1, 2, 3] {
        let attempt = world.attempt(&claim, "a", &data_set.id).await;
        world.put_pending(&claim, &attempt, &data_set.id, json!(next)).await;
    }
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.promote(flow.id, &data_set.id, &Promotion::Table(None), NOW).await.unwrap();
    tx.promote(flow.id, &data_set.id, &Promotion::Table(Some(Ordinal(2))), NOW).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.standing(&flow, &data_set.id).await, (vec![Ordinal(3)], Some(json!(2))));
    // The third was made for a base that is gone: it can not have been committed.
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let refused = tx.promote(flow.id, &data_set.id, &Promotion::Table(Some(Ordinal(3))), NOW).await;
    assert!(matches!(refused, Err(StoreError::Disagreement { .. })), "{refused:?}");
}

pub(crate) async fn a_run_without_rows_moves_the_offset_from_its_base_only(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let attempt = world.attempt(&claim, "a", &data_set.id).await;
    world.put_pending(&claim, &attempt, &data_set.id, json!(10)).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.promote(flow.id, &data_set.id, &Promotion::Table(Some(attempt.ordinal)), NOW).await.unwrap();
    let from_nowhere = Promotion::Empty { base: None, next: json!(5) };
    tx.promote(flow.id, &data_set.id, &from_nowhere, NOW).await.unwrap();
    assert_eq!(tx.offset(flow.id, &data_set.id).await.unwrap().unwrap().value, json!(10));
    let from_base = Promotion::Empty { base: Some(attempt.ordinal), next: json!(20) };
    tx.promote(flow.id, &data_set.id, &from_base, NOW).await.unwrap();
    let offset = tx.offset(flow.id, &data_set.id).await.unwrap().unwrap();
    assert_eq!((offset.value, offset.ordinal), (json!(20), Some(attempt.ordinal)));
}

pub(crate) async fn a_lost_answer_is_found_again(world: &World) {
    let Pipeline { flow, data_set, .. } = world.add_pipeline().await;
    world.add_run(&flow, Some(NOW)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    let attempt = world.attempt(&claim, "a", &data_set.id).await;
    world.put_pending(&claim, &attempt, &data_set.id, json!(3)).await;
    // The worker dies after its commit; whoever takes over finds what was landed.
    let heir = world.claim("b", NOW + LEASE).await.unwrap();
    let mut tx = world.store.read(&world.scope).await.unwrap();
    let found = tx.pending(flow.id, &data_set.id).await.unwrap();
    let [PendingCommit { run, ordinal, landed: rows, next, .. }] = &found[..] else { panic!("one: {found:?}") };
    assert_eq!((*run, *ordinal, rows, next), (heir.run.id, attempt.ordinal, &landed(), &json!(3)));
    assert_eq!(tx.pending(flow.id, &DataSetId::mint()).await.unwrap(), []);
    drop(tx);
    settle(world, &heir, &data_set.id, Promotion::Table(Some(attempt.ordinal))).await.unwrap();
    assert_eq!(world.standing(&flow, &data_set.id).await, (vec![], Some(json!(3))));
}

pub(crate) async fn flows_are_due_when_their_instant_has_come(world: &World) {
    let first = world.add(flow("first", None, None)).await;
    let second = world.add(flow("second", None, None)).await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.set_next_due(first.id, Some(NOW + 10)).await.unwrap();
    tx.set_next_due(second.id, Some(NOW)).await.unwrap();
    assert_eq!(tx.next_due(first.id).await.unwrap(), Some(NOW + 10));
    tx.commit().await.unwrap();
    let due = world.store.due_flows(NOW + 9, 10).await.unwrap();
    let [due] = &due[..] else { panic!("one: {due:?}") };
    assert_eq!((&due.flow, due.due_ms, &due.scope), (&second, NOW, &world.scope));
    assert_eq!(world.store.due_flows(NOW + 10, 1).await.unwrap().len(), 1);
    assert_eq!(world.store.due_flows(NOW + 10, 10).await.unwrap().len(), 2);
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
    world.store.audit_refused_login(&account, Some("r1"), NOW).await.unwrap();
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
        world.store.audit_refused_login(&account, None, at_ms).await.unwrap();
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

/// Settles a claimed run as a success, as control does it.
async fn settle(world: &World, claim: &Claim, data_set: &DataSetId, promotion: Promotion) -> Result<(), StoreError> {
    let mut run = claim.run.clone();
    let record = json!({
        "durationSummary": { "startedAtUTC": NOW, "completedAtUTC": NOW },
        "statusSummary": { "status": "success" },
    });
    run.body.record(RunRecord { metrics: record, activities: Vec::new() });
    let expected = run.touch(&world.actor, NOW);
    let batch = batch(world, claim, data_set, BatchStatus::Success);
    let mut tx = world.store.write(&world.scope).await?;
    let settlement = Settlement {
        run: &run,
        expected: &expected,
        owner: None,
        data_set,
        promotion,
        attempt: Some(AttemptEnd { ordinal: Ordinal::FIRST, error: None }),
        batch: Some(&batch),
        by: &world.actor,
        now_ms: NOW,
    };
    tx.settle(settlement).await?;
    tx.commit().await
}
