//! Lists of many rows: what the store selects is what the model selects, page by page.

use std::cmp::Ordering;
use std::collections::HashSet;

use headwaters_model::account::Actor;
use headwaters_model::filter::Filter;
use headwaters_model::flow::{Flow, LastRunDetails};
use headwaters_model::id::{ConnectionId, FlowId, RunId, SourceConnectionId, SpecId};
use headwaters_model::page::{ListQuery, Order, SEARCH_LIMIT_MAX};
use headwaters_model::resource::{Collection, Kind as _, Resource, State};
use headwaters_model::run::{Run, RunOrigin, RunStatus};
use headwaters_model::source_connection::{InheritedConnection, SourceConnection};
use headwaters_model::spec::{self, SpecRef};
use headwaters_store::{KeyRing, Store, Stored};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::world::{NOW, World, connection, flow, object, source};

/// How many rows the lists are made of.
const ROWS: usize = 5_000;
/// How many random queries are compared.
const QUERIES: u32 = 96;

#[test]
fn pages_of_flows_agree_with_the_model() {
    agree(varied_flow, &FLOW_PATHS, &FLOW_SORT_KEYS);
}

#[test]
fn pages_of_runs_agree_with_the_model() {
    agree(varied_run, &RUN_PATHS, &RUN_SORT_KEYS);
}

#[test]
fn pages_of_source_connections_agree_with_the_model() {
    agree(varied_source, &SOURCE_PATHS, &SOURCE_SORT_KEYS);
}

/// Compares what the store selects, and in which order, with what the model says, on random questions about many rows.
fn agree<K: Stored>(varied: fn(&World, usize) -> Resource<K>, paths: &'static [&str], sort_keys: &'static [&str]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (world, documents) = runtime.block_on(many(varied));
    let mut runner = TestRunner::new(Config { cases: QUERIES, failure_persistence: None, ..Config::default() });
    let agreed =
        runner.run(&query(K::COLLECTION, paths, sort_keys), |RandomQuery { filters, order, limit, starts }| {
            let filters: Vec<_> = filters.iter().map(|text| Filter::parse(text, K::COLLECTION).unwrap()).collect();
            let order = Order::parse(&order, K::COLLECTION).unwrap();
            let query = ListQuery { filters, order, limit, skip: 0, after: None };
            let expected = reference(&documents, &query);
            prop_assert_eq!(runtime.block_on(count::<K>(&world, &query)), expected.len() as u64);
            // One page from the start, and one from behind rows anywhere in the list.
            let starts = starts.iter().filter(|_| !expected.is_empty()).map(|start| start.index(expected.len()) + 1);
            for start in std::iter::once(0).chain(starts) {
                let after = start.checked_sub(1).map(|last| expected[last].clone());
                let found = runtime.block_on(page::<K>(&world, &ListQuery { after, ..query.clone() }));
                let rest = &expected[start..];
                prop_assert_eq!(&found, &rest[..rest.len().min(limit as usize)]);
            }
            Ok(())
        });
    agreed.unwrap();

    let everything = ListQuery { limit: SEARCH_LIMIT_MAX, ..ListQuery::all() };
    let found = runtime.block_on(walk::<K>(&world, &everything));
    assert!(found == reference(&documents, &everything) && found.len() == ROWS);
}

#[test]
fn a_walk_through_pages_meets_every_row_once_while_others_come_and_go() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for (order, filter) in [
        ("-createdAt", None),
        ("name", None),
        ("-name", Some("state==enabled")),
        ("-options.a", None),
        ("options.a,-updatedAt", None),
        ("-lastRunDetails.startedAtUTC,state", None),
        ("-createdAt", Some("state==enabled,draft")),
    ] {
        runtime.block_on(walk_while_rows_change(order, filter));
    }
}

/// Walks through a list in small pages; between two of them a row comes and a row goes, anywhere in the order.
async fn walk_while_rows_change(order: &str, filter: Option<&str>) {
    const STAYING: usize = 120;
    let world = empty_world().await;
    let mut staying = Vec::new();
    let mut going = Vec::new();
    let mut tx = world.store.write(&world.scope).await.unwrap();
    for number in 0..2 * STAYING {
        let flow = varied_flow(&world, number * 17);
        tx.insert(&flow).await.unwrap();
        if number.is_multiple_of(2) { staying.push(flow.document()) } else { going.push(flow) }
    }
    tx.commit().await.unwrap();
    let filters = filter.iter().map(|text| Filter::parse(text, Flow::COLLECTION).unwrap()).collect();
    let mut query =
        ListQuery { filters, order: Order::parse(order, Flow::COLLECTION).unwrap(), limit: 7, skip: 0, after: None };
    let expected: HashSet<String> = reference(&staying, &query).into_iter().map(id_of).collect();
    let mut met = Vec::new();
    for turn in 1_usize.. {
        let page = world.store.read(&world.scope).await.unwrap().list::<Flow>(&query).await.unwrap();
        assert!(page.next.is_none() || page.items.len() == 7, "a page before the last is full");
        met.extend(page.items.iter().map(|item| query.order.values_of(&item.document())));
        let Some(after) = page.next else { break };
        let token = query.token(Flow::COLLECTION, after);
        query = ListQuery::from_token(&token, Flow::COLLECTION).unwrap();
        let mut tx = world.store.write(&world.scope).await.unwrap();
        tx.insert(&varied_flow(&world, turn * 31)).await.unwrap();
        // Half of those that go are behind, half before, in every order.
        let gone = going.swap_remove(turn * 7 % going.len());
        tx.delete::<Flow>(&gone.id, &gone.etag).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert!(met.is_sorted_by(|left, right| query.order.compare(left, right) == Ordering::Less), "{order}");
    let met: HashSet<String> = met.into_iter().map(id_of).collect();
    assert!(met.is_superset(&expected), "{order}: {:?} were not met", expected.difference(&met));
}

/// The last of the sort values.
fn id_of(values: Vec<Value>) -> String {
    values.last().and_then(Value::as_str).unwrap_or_else(|| panic!("no id: {values:?}")).to_owned()
}

#[tokio::test]
async fn the_catalog_pages_by_offset() {
    let world = empty_world().await;
    for number in 0..5 {
        world.add(connection(&format!("c{number}"))).await;
    }
    let order = Order::parse("name", Collection::Connections).unwrap();
    let query = ListQuery { order, limit: 2, skip: 3, ..ListQuery::all() };
    let mut tx = world.store.read(&world.scope).await.unwrap();
    let page = tx.list::<headwaters_model::connection::Connection>(&query).await.unwrap();
    let names: Vec<_> = page.items.iter().map(|item| item.body.name.as_str()).collect();
    assert_eq!((names, page.next), (vec!["c3", "c4"], None));
}

#[tokio::test]
async fn lists_that_read_every_row_are_refused_when_too_many_ask_and_hold_up_nobody_else() {
    const ASKING: usize = 100;
    let (world, _) = many(varied_flow).await;
    let of = |filter: &str| ListQuery::all().with(Filter::parse(filter, Collection::Flows).unwrap());
    let (everywhere, by_index) = (of("options.nowhere==x"), of("state==enabled"));
    let mut scans = tokio::task::JoinSet::new();
    for _ in 0..ASKING {
        let (store, scope, query) = (world.store.clone(), world.scope.clone(), everywhere.clone());
        scans.spawn(async move { store.documents::<Flow>(&scope, &query).await });
    }
    tokio::task::yield_now().await;
    let listed = world.store.documents::<Flow>(&world.scope, &by_index).await.unwrap();
    assert_eq!(listed.items.len(), 20, "an index finds it");
    let (answered, refused): (Vec<_>, Vec<_>) = scans.join_all().await.into_iter().partition(Result::is_ok);
    assert!(!answered.is_empty() && !refused.is_empty(), "{} answered", answered.len());
    let refused: Vec<_> = refused.into_iter().filter_map(Result::err).collect();
    assert!(refused.iter().all(|error| error.is_unavailable() && error.hint().is_some()), "{refused:?}");
    let later = world.store.count::<Flow>(&world.scope, &everywhere.filters).await;
    assert_eq!(later.unwrap(), 0, "who comes back is answered");
}

/// What a client may ask for, and from where in the list.
#[derive(Debug, Clone)]
struct RandomQuery {
    filters: Vec<String>,
    order: String,
    limit: u32,
    starts: Vec<Index>,
}

/// Places of every kind that a flow has.
const FLOW_PATHS: [&str; 30] = [
    "name",
    "description",
    "state",
    "createdAt",
    "updatedAt",
    "createdBy",
    "sandboxName",
    "sandboxId",
    "imsOrgId",
    "version",
    "options.a",
    "options.a[]",
    "options.a[].b",
    "options.a[].b[]",
    "options.a[].b[].c",
    "options.a.b",
    "labels",
    "labels[]",
    "transformations[].name",
    "transformations[].params.n",
    "lastRunDetails.state",
    "lastRunDetails.startedAtUTC",
    "scheduleParams.startTime",
    "id",
    "sourceConnectionIds[]",
    "inheritedAttributes.sourceConnections[].connectionSpec.id",
    "inheritedAttributes.sourceConnections[].baseConnection.id",
    "inheritedAttributes.properties.isSourceFlow",
    "flowSpec.id",
    "options",
];
/// Places of every kind that a run has.
const RUN_PATHS: [&str; 8] = [
    "flowId",
    "state",
    "metrics.statusSummary.status",
    "metrics.durationSummary.startedAtUTC",
    "metrics.durationSummary.startedAtUTC",
    "createdAt",
    "activities[].name",
    "providerRefId",
];
/// Places of every kind that a source connection has.
const SOURCE_PATHS: [&str; 8] = [
    "baseConnectionId",
    "connectionSpec.id",
    "params.tableName",
    "params.tableName",
    "params.columns[].name",
    "params.columns[].meta.tags[]",
    "state",
    "name",
];
/// Values of every type, some that only look like one, and ids that rows share.
const VALUES: [&str; 28] = [
    "0",
    "1",
    "-1",
    "7",
    "2.5",
    "1e3",
    "1700000000500",
    "1700000000007",
    "9007199254740993",
    "true",
    "false",
    "\"a\"",
    "b",
    "\"a, b\"",
    "ä",
    "Enabled",
    "enabled",
    "draft",
    "SUCCESS",
    "failed",
    "prod",
    "n7",
    "zz",
    "\"\"",
    "null",
    "\"a\\\"b\"",
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000002",
];
/// What a list of flows may be ordered by.
const FLOW_SORT_KEYS: [&str; 16] = [
    "name",
    "-name",
    "createdAt",
    "-createdAt",
    "-createdAt",
    "updatedAt",
    "-updatedAt",
    "options.a",
    "-options.a",
    "description",
    "-state",
    "-id",
    "sandboxName",
    "lastRunDetails.startedAtUTC",
    "-lastRunDetails.startedAtUTC",
    "labels",
];
/// What a list of runs may be ordered by.
const RUN_SORT_KEYS: [&str; 5] = [
    "-createdAt",
    "createdAt",
    "metrics.durationSummary.startedAtUTC",
    "-metrics.durationSummary.startedAtUTC",
    "state",
];
/// What a list of source connections may be ordered by.
const SOURCE_SORT_KEYS: [&str; 6] =
    ["-createdAt", "params.tableName", "-params.tableName", "baseConnectionId", "-name", "updatedAt"];

/// Random filters and orders, over fields of every kind that a document has.
fn query(
    collection: Collection,
    paths: &'static [&str],
    sort_keys: &'static [&str],
) -> impl Strategy<Value = RandomQuery> {
    let path = prop::sample::select(paths);
    let value = prop::sample::select(&VALUES[..]);
    let sign = prop::sample::select(vec!["==", "==", "!=", "=", ">", ">=", "<", "<="]);
    let filter = (path, sign, prop::collection::vec(value, 1..4)).prop_filter_map(
        "not a filter",
        move |(path, sign, values)| {
            let text = format!("{path}{sign}{}", values.join(","));
            Filter::parse(&text, collection).is_ok().then_some(text)
        },
    );
    let key = prop::sample::select(sort_keys);
    let several = prop::collection::vec(key.clone(), 2..4).prop_map(|keys| keys.join(","));
    let order = prop_oneof![1 => key.prop_map(str::to_owned), 1 => several];
    let filters = prop_oneof![1 => Just(Vec::new()), 4 => prop::collection::vec(filter, 1..3)];
    let starts = prop::collection::vec(any::<Index>(), 6);
    (filters, order, 1..60u32, starts).prop_map(|(filters, order, limit, starts)| RandomQuery {
        filters,
        order,
        limit,
        starts,
    })
}

/// The sort values of what the model selects, in its order; the last of each is the id.
fn reference(documents: &[Value], query: &ListQuery) -> Vec<Vec<Value>> {
    let selected = documents.iter().filter(|document| query.filters.iter().all(|filter| filter.matches(document)));
    let mut keyed: Vec<_> = selected.map(|document| query.order.values_of(document)).collect();
    keyed.sort_by(|left, right| query.order.compare(left, right));
    assert!(keyed.is_sorted_by(|left, right| query.order.compare(left, right) == Ordering::Less));
    keyed
}

/// The sort values of one page of the store, read into its types and as it is shown.
async fn page<K: Stored>(world: &World, query: &ListQuery) -> Vec<Vec<Value>> {
    let read = world.store.list::<K>(&world.scope, query).await.unwrap();
    let shown = world.store.documents::<K>(&world.scope, query).await.unwrap();
    assert_eq!((read.items.len(), &read.next), (shown.items.len(), &shown.next));
    for (read, shown) in read.items.iter().zip(shown.items) {
        assert_eq!((&read.id, &read.etag), (&shown.id, &shown.etag));
        let mut text: Map<String, Value> = shown.read().unwrap();
        // What was stored as null is read as absent.
        text.retain(|_, value| !value.is_null());
        assert_eq!(Value::Object(text).to_string(), read.shown().to_string(), "the text is the document");
    }
    read.items.iter().map(|item| query.order.values_of(&item.document())).collect()
}

/// The sort values of everything that the store gives, each page asked for by the token of the one before.
async fn walk<K: Stored>(world: &World, query: &ListQuery) -> Vec<Vec<Value>> {
    let mut query = query.clone();
    let mut all = Vec::new();
    loop {
        let mut tx = world.store.read(&world.scope).await.unwrap();
        let page = tx.list::<K>(&query).await.unwrap();
        all.extend(page.items.iter().map(|item| query.order.values_of(&item.document())));
        let Some(after) = page.next else { return all };
        let token = query.token(K::COLLECTION, after);
        query = ListQuery::from_token(&token, K::COLLECTION).unwrap();
    }
}

async fn count<K: Stored>(world: &World, query: &ListQuery) -> u64 {
    world.store.count::<K>(&world.scope, &query.filters).await.unwrap()
}

async fn empty_world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headwaters.db");
    let store = Store::open(path.to_str().unwrap(), KeyRing::generate().unwrap()).await.unwrap();
    World::new(store, dir).await
}

/// A store with many resources, and their documents; a few of another sandbox must never appear.
async fn many<K: Stored>(varied: fn(&World, usize) -> Resource<K>) -> (World, Vec<Value>) {
    let world = empty_world().await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let mut documents = Vec::new();
    for number in 0..ROWS {
        let resource = varied(&world, number);
        tx.insert(&resource).await.unwrap();
        documents.push(resource.document());
    }
    tx.commit().await.unwrap();
    let mut tx = world.store.write(&world.elsewhere).await.unwrap();
    for number in 20..30 {
        let mut resource = varied(&world, number);
        resource.scope = world.elsewhere.clone();
        tx.insert(&resource).await.unwrap();
    }
    tx.commit().await.unwrap();
    (world, documents)
}

/// One of the values that JSON has, of every type.
fn odd(number: usize, step: usize) -> Value {
    let odd = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(7),
        json!(-1),
        json!(2.5),
        json!(1000.0),
        json!("1"),
        json!("a"),
        json!("a, b"),
        json!("ä"),
        json!(""),
        json!("true"),
        json!([]),
        json!(["a", 7, null, true, 2.5]),
        json!([{ "b": "a" }, { "b": 7 }]),
        json!([{ "b": [{ "c": "b" }, { "c": 1 }] }, "zz"]),
        json!({ "b": "a" }),
        json!({ "b": { "c": 1 } }),
        json!([[1], ["a"]]),
        json!(9_007_199_254_740_993_i64),
        json!(9_007_199_254_740_992.0),
        json!([{ "b": ["a", { "c": false }] }]),
        json!(u64::MAX),
    ];
    odd[(number * step + number / 7) % odd.len()].clone()
}

/// One of a few ids that rows share, as `VALUES` spell two of them.
fn shared<T: std::str::FromStr<Err: std::fmt::Debug>>(number: usize) -> T {
    Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0000 + (number % 5) as u128).to_string().parse().unwrap()
}

/// A flow whose fields have every type that JSON has, many of them shared by several flows.
fn varied_flow(world: &World, number: usize) -> Resource<Flow> {
    let every = |step: usize| number.is_multiple_of(step);
    let source: Option<SourceConnectionId> = (!every(3)).then(|| shared(number));
    let mut body = flow(&format!("n{}", number % 13), source, None);
    body.name = body.name.filter(|_| !every(10));
    if source.is_some() {
        let of = |id: String, base| InheritedConnection {
            id,
            connection_spec: SpecRef::new(shared::<SpecId>(number / 2)),
            base_connection: base,
        };
        let base = of(shared::<ConnectionId>(number / 3).to_string(), None);
        let inherited = of(shared::<SourceConnectionId>(number).to_string(), Some(Box::new(base)));
        body.inherited_attributes.source_connections.push(inherited);
    }
    body.description = every(3).then(|| odd(number, 5).to_string());
    body.options = (!every(11)).then(|| object(json!({ "a": odd(number, 1) })));
    body.labels = (!every(4)).then(|| odd(number, 3));
    body.transformations = vec![json!({ "name": "Copy", "params": { "n": odd(number, 7) } }), odd(number, 2)];
    body.schedule_params = Some(object(json!({ "startTime": if every(2) { json!("7") } else { json!(7) } })));
    body.last_run_details = (!every(5)).then(|| LastRunDetails {
        id: RunId::mint(),
        state: if every(2) { RunStatus::Success } else { RunStatus::Failed },
        started_at_ms: (number % 10 != 1).then_some(NOW + (number % 17) as i64),
        completed_at_ms: None,
    });
    vary(world, number, body)
}

/// A run whose record holds what no run of ours would.
fn varied_run(world: &World, number: usize) -> Resource<Run> {
    let mut body = Run::scheduled(shared::<FlowId>(number), SpecRef::new(spec::CRM_TO_AEP), None);
    let status = ["success", "failed", "inProgress", "enabled"][number % 4];
    let started = if number.is_multiple_of(2) { json!(NOW + (number % 29) as i64) } else { odd(number, 3) };
    // No two runs of a flow are at work at a time.
    let status = if status == "inProgress" && number >= 20 { "scheduled" } else { status };
    body.metrics = json!({ "durationSummary": { "startedAtUTC": started }, "statusSummary": { "status": status } });
    body.activities = vec![json!({ "name": odd(number, 5) }), odd(number, 1)];
    vary(world, number, body)
}

/// A source connection with parameters as a draft may have them.
fn varied_source(world: &World, number: usize) -> Resource<SourceConnection> {
    let mut body = source(shared::<ConnectionId>(number));
    body.base_connection_id = body.base_connection_id.filter(|_| !number.is_multiple_of(6));
    body.name = format!("n{}", number % 11);
    body.connection_spec = SpecRef::new(shared::<SpecId>(number / 5));
    let columns = json!([{ "name": odd(number, 1) }, { "name": "b", "meta": { "tags": [odd(number, 3), "a"] } }]);
    body.params = object(json!({ "tableName": odd(number, 7), "columns": columns }));
    if number.is_multiple_of(9) {
        body.params.clear();
    }
    vary(world, number, body)
}

/// A resource in one of three states, of one of a thousand instants, sometimes changed since.
fn vary<K: Stored>(world: &World, number: usize, body: K) -> Resource<K> {
    let state = [State::Draft, State::Enabled, State::Disabled][number % 3];
    let mut resource = Resource::new(world.scope.clone(), state, body, &world.actor, NOW + (number % 1000) as i64);
    if number.is_multiple_of(2) {
        resource.touch(&Actor::scheduler(), NOW + 5 * number as i64);
    }
    resource
}

/// How many polls are timed.
const POLLS: u32 = 200;

#[tokio::test]
async fn a_poll_over_ten_thousand_flows_of_which_none_is_due_takes_no_longer_than_one_over_ten() {
    let poll = async |flows: i64| {
        let world = empty_world().await;
        let mut tx = world.store.write(&world.scope).await.unwrap();
        for number in 0..flows {
            let flow = Resource::new(world.scope.clone(), State::Enabled, flow("f", None, None), &world.actor, NOW);
            tx.insert(&flow).await.unwrap();
            tx.set_next_due(flow.id, Some(NOW + 60_000 + number), NOW).await.unwrap();
            // Half of them are busy, and would be due.
            if number % 2 == 0 {
                let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
                let run = Resource::new(world.scope.clone(), State::Enabled, body, &world.actor, NOW);
                assert!(tx.schedule_run(&run, &RunOrigin::default(), NOW, Some(NOW)).await.unwrap());
                tx.set_next_due(flow.id, Some(NOW - 1), NOW).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
        let begun = std::time::Instant::now();
        for _ in 0..POLLS {
            assert!(world.store.due_flows(NOW, 100).await.unwrap().is_empty());
            assert!(world.store.flows_set_ahead(NOW, 100).await.unwrap().is_empty());
        }
        begun.elapsed() / POLLS
    };
    let (few, many) = (poll(10).await, poll(10_000).await);
    // Room for whatever else the machine does; reading every flow would take hundreds of times as long.
    assert!(many < few * 8 + std::time::Duration::from_millis(2), "{few:?}, {many:?}");
}
