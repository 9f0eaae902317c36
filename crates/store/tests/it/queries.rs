//! Lists of many rows: what the store selects is what the model selects, page by page.

use std::cmp::Ordering;

use headwaters_model::filter::Filter;
use headwaters_model::flow::{Flow, LastRunDetails};
use headwaters_model::id::RunId;
use headwaters_model::page::{ListQuery, Order, SEARCH_LIMIT_MAX};
use headwaters_model::resource::{Collection, Resource, State};
use headwaters_model::run::RunStatus;
use headwaters_store::{KeyRing, Store};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::world::{NOW, World, connection, flow, object};

/// How many rows the lists are made of.
const ROWS: usize = 10_000;
/// How many random queries are compared.
const QUERIES: u32 = 64;

#[test]
fn pages_of_ten_thousand_rows_agree_with_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (world, documents) = runtime.block_on(many_flows());
    let mut runner = TestRunner::new(Config { cases: QUERIES, failure_persistence: None, ..Config::default() });
    let agreed = runner.run(&query(), |RandomQuery { filters, order, limit, starts }| {
        let filters: Vec<_> = filters.iter().map(|text| Filter::parse(text, Collection::Flows).unwrap()).collect();
        let order = Order::parse(&order, Collection::Flows).unwrap();
        let query = ListQuery { filters, order, limit, skip: 0, after: None };
        let expected = reference(&documents, &query);
        prop_assert_eq!(runtime.block_on(count(&world, &query)), expected.len() as u64);
        // One page from the start, and one from behind rows anywhere in the list.
        let starts = starts.iter().filter(|_| !expected.is_empty()).map(|start| start.index(expected.len()) + 1);
        for start in std::iter::once(0).chain(starts) {
            let after = start.checked_sub(1).map(|last| expected[last].clone());
            let found = runtime.block_on(page(&world, &ListQuery { after, ..query.clone() }));
            let rest = &expected[start..];
            prop_assert_eq!(&found, &rest[..rest.len().min(limit as usize)]);
        }
        Ok(())
    });
    agreed.unwrap();

    let everything = ListQuery { limit: SEARCH_LIMIT_MAX, ..ListQuery::all() };
    let found = runtime.block_on(walk(&world, &everything));
    assert!(found == reference(&documents, &everything) && found.len() == ROWS);
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

/// What a client may ask for, and from where in the list.
#[derive(Debug, Clone)]
struct RandomQuery {
    filters: Vec<String>,
    order: String,
    limit: u32,
    starts: Vec<Index>,
}

/// Places of every kind that a document has.
const PATHS: [&str; 25] = [
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
    "scheduleParams.startTime",
    "id",
    "sourceConnectionIds[]",
    "options",
];
/// Values of every type, and some that only look like one.
const VALUES: [&str; 23] = [
    "0",
    "1",
    "-1",
    "7",
    "2.5",
    "1e3",
    "1700000000500",
    "9007199254740993",
    "true",
    "false",
    "\"a\"",
    "b",
    "\"a, b\"",
    "ä",
    "Enabled",
    "enabled",
    "SUCCESS",
    "prod",
    "n7",
    "zz",
    "\"\"",
    "null",
    "\"a\\\"b\"",
];
/// What a list may be ordered by.
const SORT_KEYS: [&str; 14] = [
    "name",
    "-name",
    "createdAt",
    "-createdAt",
    "updatedAt",
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

/// Random filters and orders, over fields of every kind that a document has.
fn query() -> impl Strategy<Value = RandomQuery> {
    let path = prop::sample::select(&PATHS[..]);
    let value = prop::sample::select(&VALUES[..]);
    let sign = prop::sample::select(vec!["==", "!=", "=", ">", ">=", "<", "<="]);
    let filter =
        (path, sign, prop::collection::vec(value, 1..3)).prop_filter_map("not a filter", |(path, sign, values)| {
            let text = format!("{path}{sign}{}", values.join(","));
            Filter::parse(&text, Collection::Flows).is_ok().then_some(text)
        });
    let key = prop::sample::select(&SORT_KEYS[..]);
    let order = prop::collection::vec(key, 1..4).prop_map(|keys| keys.join(","));
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

/// The sort values of one page of the store.
async fn page(world: &World, query: &ListQuery) -> Vec<Vec<Value>> {
    let mut tx = world.store.read(&world.scope).await.unwrap();
    let page = tx.list::<Flow>(query).await.unwrap();
    page.items.iter().map(|item| query.order.values_of(&item.document())).collect()
}

/// The sort values of everything that the store gives, each page asked for by the token of the one before.
async fn walk(world: &World, query: &ListQuery) -> Vec<Vec<Value>> {
    let mut query = query.clone();
    let mut all = Vec::new();
    loop {
        let mut tx = world.store.read(&world.scope).await.unwrap();
        let page = tx.list::<Flow>(&query).await.unwrap();
        all.extend(page.items.iter().map(|item| query.order.values_of(&item.document())));
        let Some(after) = page.next else { return all };
        let token = query.token(Collection::Flows, after);
        query = ListQuery::from_token(&token, Collection::Flows).unwrap();
    }
}

async fn count(world: &World, query: &ListQuery) -> u64 {
    world.store.read(&world.scope).await.unwrap().count::<Flow>(&query.filters).await.unwrap()
}

async fn empty_world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("headwaters.db");
    let store = Store::open(path.to_str().unwrap(), KeyRing::generate().unwrap()).await.unwrap();
    World::new(store, dir).await
}

/// A store with many flows, and their documents; a few flows of another sandbox must never appear.
async fn many_flows() -> (World, Vec<Value>) {
    let world = empty_world().await;
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let mut documents = Vec::new();
    for number in 0..ROWS {
        let flow = varied_flow(&world, number);
        tx.insert(&flow).await.unwrap();
        documents.push(flow.document());
    }
    tx.commit().await.unwrap();
    let mut tx = world.store.write(&world.elsewhere).await.unwrap();
    for number in 0..10 {
        let mut flow = varied_flow(&world, number);
        flow.scope = world.elsewhere.clone();
        tx.insert(&flow).await.unwrap();
    }
    tx.commit().await.unwrap();
    (world, documents)
}

/// A flow whose fields have every type that JSON has, many of them shared by several flows.
fn varied_flow(world: &World, number: usize) -> Resource<Flow> {
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
    let pick = |step: usize| odd[(number * step + number / 7) % odd.len()].clone();
    let every = |step: usize| number.is_multiple_of(step);
    let mut body = flow(&format!("n{}", number % 13), None, None);
    body.description = every(3).then(|| pick(5).to_string());
    body.options = (!every(11)).then(|| object(json!({ "a": pick(1) })));
    body.labels = (!every(4)).then(|| pick(3));
    body.transformations = vec![json!({ "name": "Copy", "params": { "n": pick(7) } }), pick(2)];
    body.schedule_params = Some(object(json!({ "startTime": if every(2) { json!("7") } else { json!(7) } })));
    body.last_run_details = (!every(5)).then(|| LastRunDetails {
        id: RunId::mint(),
        state: if every(2) { RunStatus::Success } else { RunStatus::Failed },
        started_at_ms: (number % 10 != 1).then_some(NOW + (number % 17) as i64),
        completed_at_ms: None,
    });
    let state = [State::Draft, State::Enabled, State::Disabled][number % 3];
    let mut flow = Resource::new(world.scope.clone(), state, body, &world.actor, NOW + (number % 1000) as i64);
    if every(2) {
        flow.touch(&headwaters_model::account::Actor::scheduler(), NOW + 5 * number as i64);
    }
    flow
}
