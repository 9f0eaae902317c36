//! Documents that are too deep or too large, and changes that would bring along too much at once.

use headwaters_control::{
    CreateConnection, CreateDataSet, CreateFlow, CreateRun, CreateSourceConnection, CreateTargetConnection,
    FLOWS_BROUGHT_ALONG_MAX, SOURCES_TAKEN_ALONG_MAX,
};
use headwaters_model::flow::FlowInheritance;
use headwaters_model::limits::{DOCUMENT_BYTES_MAX, DOCUMENT_DEPTH_MAX};
use headwaters_model::page::ListQuery;
use headwaters_model::patch::{NOT_SHOWN, SHOWN_VALUE_BYTES_MAX};
use headwaters_model::resource::Collection;
use headwaters_model::run::Run;
use headwaters_model::spec::{DATA_LAKE, MYSQL};
use headwaters_store::Stored;

use super::*;
use crate::fakes::PASSWORD;
use crate::world::{connection_command, object, spec};

/// As deep as the body of a request may be.
const BODY_DEPTH: usize = 120;

/// A value of so many levels.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

impl World {
    /// Everything of a collection can be read, one by one and in a list.
    async fn reads_all<K: Stored>(&self) {
        let all = self.control.list::<K>(&self.caller, &ListQuery::all()).await.unwrap().items;
        for resource in &all {
            let read = self.control.get::<K>(&self.caller, &resource.id.to_string()).await.unwrap();
            assert_eq!(&read, resource);
        }
        assert_eq!(all.len() as u64, self.control.count::<K>(&self.caller, &[]).await.unwrap());
    }
}

#[tokio::test]
async fn no_patch_makes_a_resource_that_can_not_be_read_any_more() {
    async fn holds<K: Changeable>(world: &World, id: &str, path: &str, wrapped: impl Fn(Value) -> Value) {
        for levels in DOCUMENT_DEPTH_MAX - 10..BODY_DEPTH {
            let before = world.read::<K>(id).await;
            match world.patch::<K>(id, add(path, wrapped(nested(levels)))).await {
                Ok(patched) => assert_eq!(world.read::<K>(id).await, patched, "{path} {levels}"),
                Err(refused) => {
                    assert_eq!(refused.cause(), Cause::Unpatchable, "{path} {levels}: {refused}");
                    assert_eq!(world.read::<K>(id).await, before);
                }
            }
        }
        let refused = world.patch::<K>(id, add(path, wrapped(nested(BODY_DEPTH)))).await.unwrap_err();
        assert!(refused.to_string().contains(&DOCUMENT_DEPTH_MAX.to_string()), "{refused}");
        world.reads_all::<K>().await;
    }
    let world = World::start().await;
    let [connection, source, target, flow] = world.chain().await;
    holds::<Connection>(&world, &connection, "/auth/params/note", |deep| deep).await;
    holds::<SourceConnection>(&world, &source, "/params/columns", |deep| json!([{ "name": "id", "x": deep }])).await;
    holds::<TargetConnection>(&world, &target, "/data/schema", |deep| json!({ "id": "https://a", "x": deep })).await;
    for path in ["/policy", "/labels", "/recordTypes"] {
        holds::<Flow>(&world, &flow, path, |deep| deep).await;
    }
    world.control.delete_flow(&world.caller, &flow, Precondition::None).await.unwrap();
}

#[tokio::test]
async fn a_patch_that_builds_a_deep_document_step_by_step_is_refused() {
    let world = World::start().await;
    let [.., flow] = world.chain().await;
    let mut steps = vec![add("/policy", json!([]))];
    steps.extend((0..250).map(|step| add(&format!("/policy{}", "/0".repeat(step * 100 + 1)), nested(100))));
    assert_eq!(world.refused::<Flow>(&flow, json!(steps)).await, Cause::Unpatchable);
    steps.truncate(1);
    steps.extend((0..3).map(|step| add(&format!("/policy{}", "/0".repeat(step * 30 + 1)), nested(30))));
    assert_eq!(world.refused::<Flow>(&flow, json!(steps)).await, Cause::Unpatchable);
    assert_eq!(world.read::<Flow>(&flow).await.body.policy, None);
}

#[tokio::test]
async fn nothing_too_deep_or_too_large_can_be_made() {
    let world = World::start().await;
    let (control, caller) = (&world.control, &world.caller);
    let [.., flow] = world.chain().await;
    for (value, words) in [(nested(BODY_DEPTH), "levels"), (json!("x".repeat(DOCUMENT_BYTES_MAX)), "bytes")] {
        let refused = |error: CommandError| {
            assert_eq!(error.cause(), Cause::InvalidValue, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        };
        let mut command = connection_command(PASSWORD);
        command.auth.as_mut().unwrap().params.as_mut().unwrap().insert("note".into(), value.clone());
        refused(control.create_connection(caller, CreateConnection { draft: true, ..command }).await.unwrap_err());
        let command = CreateSourceConnection {
            name: Some("orders".into()),
            connection_spec: spec(MYSQL),
            params: object(&json!({ "note": value })),
            draft: true,
            ..CreateSourceConnection::default()
        };
        refused(control.create_source_connection(caller, command).await.unwrap_err());
        let command = CreateTargetConnection {
            connection_spec: spec(DATA_LAKE),
            data: object(&json!({ "note": value })),
            draft: true,
            ..CreateTargetConnection::default()
        };
        refused(control.create_target_connection(caller, command).await.unwrap_err());
        let command = CreateFlow { labels: Some(value.clone()), ..world.flow_command().await };
        refused(control.create_flow(caller, command).await.unwrap_err());
        let as_sent = object(&json!({ "unifiedTags": value })).unwrap();
        let command = CreateDataSet { name: Some("a".into()), as_sent, ..CreateDataSet::default() };
        refused(control.create_data_set(caller, command).await.unwrap_err());
        let window =
            json!({ "windowStartTime": 0, "windowEndTime": 1, "deltaColumn": { "name": "updated_at", "x": value } });
        let command = CreateRun { flow_id: Some(flow.clone()), params: object(&window) };
        refused(control.create_run(caller, command).await.unwrap_err());
    }
    world.reads_all::<Flow>().await;
    assert_eq!(control.count::<Run>(caller, &[]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_service_can_not_describe_a_spec_that_is_too_deep() {
    let mut world = World::start().await;
    world.caller.role = headwaters_model::account::Role::Service;
    let fields = json!({ "name": "erp", "providerId": "p", "settings": { "x": nested(BODY_DEPTH) } });
    let made = world.control.create_spec(&world.caller, Collection::ConnectionSpecs, fields.as_object().unwrap()).await;
    assert_eq!(made.unwrap_err().cause(), Cause::InvalidValue);
}

#[tokio::test]
async fn patches_can_not_make_a_document_grow_without_end() {
    let world = World::start().await;
    let [.., flow] = world.chain().await;
    let half = "x".repeat(DOCUMENT_BYTES_MAX / 2 + 1);
    let patched = world.patch::<Flow>(&flow, json!([add("/labels", json!([half]))])).await.unwrap();
    assert_eq!(patched.body.last_operation.ops, Some(json!([add("/labels", NOT_SHOWN)])), "not kept twice");
    let refused = world.patch::<Flow>(&flow, json!([add("/labels/-", half)])).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::Unpatchable);
    assert!(refused.to_string().contains(&DOCUMENT_BYTES_MAX.to_string()), "{refused}");
    assert_eq!(world.read::<Flow>(&flow).await, patched);
    let small = "x".repeat(SHOWN_VALUE_BYTES_MAX / 2);
    let patched = world.patch::<Flow>(&flow, json!([replace("/labels", json!([small]))])).await.unwrap();
    assert_eq!(patched.body.last_operation.ops, Some(json!([replace("/labels", json!([small]))])));
}

#[tokio::test]
async fn a_flow_that_is_as_long_as_it_may_be_can_still_be_switched_off() {
    let world = World::start().await;
    let [.., flow] = world.chain().await;
    let there = world.patch::<Flow>(&flow, json!([add("/labels", json!([""]))])).await.unwrap();
    let room = DOCUMENT_BYTES_MAX - Value::Object(there.body_json()).to_string().len();
    let full = world.patch::<Flow>(&flow, json!([add("/labels", json!(["x".repeat(room)]))])).await.unwrap();
    assert_eq!(full.body.last_operation.ops, Some(json!([add("/labels", NOT_SHOWN)])));
    world.act::<Flow>(&flow, Action::Disable).await.unwrap();
    world.act::<Flow>(&flow, Action::Enable).await.unwrap();
}

#[tokio::test]
async fn only_so_many_flows_follow_their_source() {
    let world = World::start().await;
    let base = world.connection().await;
    let command = CreateSourceConnection {
        name: Some("orders".into()),
        base_connection_id: Some(base.id.to_string()),
        connection_spec: spec(MYSQL),
        draft: true,
        ..CreateSourceConnection::default()
    };
    let source = world.control.create_source_connection(&world.caller, command).await.unwrap();
    let command = CreateFlow {
        flow_spec: spec(headwaters_model::spec::CRM_TO_AEP),
        source_connection_ids: Some(vec![source.id.to_string()]),
        draft: true,
        ..CreateFlow::default()
    };
    let first = world.control.create_flow(&world.caller, command).await.unwrap();
    let more = async |count: u32| {
        let mut tx = world.store.write(&world.caller.scope).await.unwrap();
        for _ in 0..count {
            let body = Flow { inherited_attributes: FlowInheritance::new(vec![], vec![]), ..first.body.clone() };
            let flow = Resource::new(world.caller.scope.clone(), State::Draft, body, &world.caller.actor, NOW_MS);
            tx.insert(&flow).await.unwrap();
        }
        tx.commit().await.unwrap();
    };
    more(FLOWS_BROUGHT_ALONG_MAX - 1).await;
    let id = source.id.to_string();
    let other = world.connection().await.id.to_string();
    world.patch::<SourceConnection>(&id, json!([replace("/baseConnectionId", other.clone())])).await.unwrap();
    let query = ListQuery { limit: FLOWS_BROUGHT_ALONG_MAX, ..ListQuery::all() };
    let flows = world.control.list::<Flow>(&world.caller, &query).await.unwrap().items;
    assert_eq!(flows.len(), FLOWS_BROUGHT_ALONG_MAX as usize);
    for flow in flows {
        let shown = flow.document()["inheritedAttributes"]["sourceConnections"][0]["baseConnection"]["id"].clone();
        assert_eq!(shown, other.as_str(), "all of them show it");
    }
    more(1).await;
    let refused = world.patch::<SourceConnection>(&id, replace("/baseConnectionId", base.id.to_string())).await;
    assert_eq!(refused.unwrap_err().cause(), Cause::Unpatchable);
    assert_eq!(world.read::<SourceConnection>(&id).await.body.base_connection_id.unwrap().to_string(), other);
}

#[tokio::test]
async fn only_so_many_source_connections_go_with_their_base() {
    let world = World::start().await;
    let base = world.connection().await;
    let id = world.source(&base, json!({ "tableName": TABLE })).await;
    let first = world.read::<SourceConnection>(&id).await;
    let mut tx = world.store.write(&world.caller.scope).await.unwrap();
    for _ in 0..SOURCES_TAKEN_ALONG_MAX {
        let (scope, body) = (world.caller.scope.clone(), first.body.clone());
        tx.insert(&Resource::new(scope, State::Enabled, body, &world.caller.actor, NOW_MS)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let (control, caller, base) = (&world.control, &world.caller, base.id.to_string());
    let refused = control.delete_connection(caller, &base, Precondition::None).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::ConnectionInUse);
    let left = control.count::<SourceConnection>(caller, &[]).await.unwrap();
    assert_eq!(left, u64::from(SOURCES_TAKEN_ALONG_MAX) + 1, "none is gone");
    control.delete_source_connection(caller, &id, Precondition::None).await.unwrap();
    control.delete_connection(caller, &base, Precondition::None).await.unwrap();
    assert_eq!(control.count::<SourceConnection>(caller, &[]).await.unwrap(), 0);
}
