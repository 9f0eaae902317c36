//! Patches and actions: versions, paths, all or nothing (flow-service.md 4, 9, 10).

mod begun;
mod connections;
mod drafts;
mod flows;
mod limits;

use futures::future::join_all;
use headwaters_control::{Cause, Changeable, CommandError};
use headwaters_model::connection::Connection;
use headwaters_model::etag::{Etag, Precondition};
use headwaters_model::flow::Flow;
use headwaters_model::patch::Patch;
use headwaters_model::resource::{Action, Resource, State};
use headwaters_model::secret::Secret;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::target_connection::TargetConnection;
use headwaters_store::AuditQuery;
use serde_json::{Value, json};

use crate::fakes::TABLE;
use crate::world::{NOW_MS, World};

const STALE: &str = "\"00000000-0000-0200-0000-000000000000\"";

fn version(etag: &Etag) -> Precondition {
    Precondition::IfMatch(etag.to_string())
}

fn replace(path: &str, value: impl Into<Value>) -> Value {
    json!({ "op": "replace", "path": path, "value": value.into() })
}

fn add(path: &str, value: impl Into<Value>) -> Value {
    json!({ "op": "add", "path": path, "value": value.into() })
}

fn remove(path: &str) -> Value {
    json!({ "op": "remove", "path": path })
}

impl World {
    async fn read<K: Changeable>(&self, id: &str) -> Resource<K> {
        self.control.get::<K>(&self.caller, id).await.unwrap()
    }

    /// Patches the version that there is.
    async fn patch<K: Changeable>(&self, id: &str, patch: Value) -> Result<Resource<K>, CommandError> {
        let current = version(&self.read::<K>(id).await.etag);
        self.control.patch(&self.caller, id, &current, &Patch::parse(patch)?).await
    }

    async fn refused<K: Changeable>(&self, id: &str, patch: Value) -> Cause {
        self.patch::<K>(id, patch).await.unwrap_err().cause()
    }

    async fn act<K: Changeable>(&self, id: &str, action: Action) -> Result<Resource<K>, CommandError> {
        self.control.act(&self.caller, id, &Precondition::None, action).await
    }

    /// What was done to a resource, the newest first.
    async fn acts(&self, id: &str) -> Vec<String> {
        let query = AuditQuery { resource_id: Some(id.to_owned()), ..AuditQuery::default() };
        self.store.audit(&query).await.unwrap().into_iter().map(|line| line.action).collect()
    }

    async fn secrets(&self, id: &str) -> Vec<(String, Secret)> {
        self.store.read(&self.caller.scope).await.unwrap().secrets(id).await.unwrap()
    }

    /// The secrets of a resource in clear.
    async fn vault(&self, id: &str) -> Vec<(String, String)> {
        let secrets = self.secrets(id).await.into_iter();
        secrets.map(|(field, secret)| (field, secret.expose().to_owned())).collect()
    }

    /// Writes a resource past every rule, as another build may have left it.
    async fn write<K: Changeable>(&self, id: &str, change: impl FnOnce(&mut Resource<K>)) -> Resource<K> {
        let mut resource = self.read::<K>(id).await;
        change(&mut resource);
        let expected = resource.touch(&self.caller.actor, NOW_MS);
        let mut tx = self.store.write(&self.caller.scope).await.unwrap();
        tx.replace(&resource, &expected).await.unwrap();
        tx.commit().await.unwrap();
        resource
    }

    /// One of each collection, all enabled: connection, source connection, target connection, flow.
    async fn chain(&self) -> [String; 4] {
        let flow = self.flow().await;
        let source = flow.body.source_connection_ids[0].to_string();
        let target = flow.body.target_connection_ids[0].to_string();
        let base = self.read::<SourceConnection>(&source).await.body.base_connection_id.unwrap().to_string();
        [base, source, target, flow.id.to_string()]
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_makes_one_new_version() {
    let world = World::start().await;
    let [_, source, ..] = world.chain().await;
    let before = world.read::<SourceConnection>(&source).await;
    world.clock.advance(std::time::Duration::from_secs(5));
    let patch = json!([replace("/name", "orders of today"), add("/description", "the newest"), remove("/description")]);
    let after = world.patch::<SourceConnection>(&source, patch.clone()).await.unwrap();
    assert_eq!(after, world.read::<SourceConnection>(&source).await, "what is told is what is stored");
    assert_eq!((after.body.name.as_str(), after.body.description.as_deref()), ("orders of today", None));
    assert_eq!(after.body.params, before.body.params);
    assert_eq!(after.etag, before.etag.next(NOW_MS + 5000), "one new version");
    assert_eq!((after.created.at_ms, after.updated.at_ms), (NOW_MS, NOW_MS + 5000));
    assert_eq!(
        json!(after.body.last_operation),
        json!({ "started": NOW_MS + 5000, "updated": NOW_MS + 5000, "percentCompleted": 100.0, "operation": "update",
            "status": { "value": "completed", "errors": [] }, "ops": patch })
    );
    assert_eq!(world.acts(&source).await, ["update", "create"]);
}

#[tokio::test]
async fn a_patch_needs_the_version_that_it_is_made_for() {
    let world = World::start().await;
    let [connection, ..] = world.chain().await;
    let etag = world.read::<Connection>(&connection).await.etag;
    let rename = Patch::parse(replace("/name", "other")).unwrap();
    let patch = async |id: &str, expected: Precondition| {
        world.control.patch::<Connection>(&world.caller, id, &expected, &rename).await.map(|patched| patched.etag)
    };
    assert_eq!(patch(&connection, Precondition::None).await.unwrap_err().cause(), Cause::IfMatchAbsent);
    let refused = patch(&connection, Precondition::IfMatch(STALE.into())).await.unwrap_err();
    assert!(matches!(&refused, CommandError::Stale { current, .. } if *current == etag));
    assert_eq!(patch("nobody", version(&etag)).await.unwrap_err().cause(), Cause::Missing);
    let next = patch(&connection, version(&etag)).await.unwrap();
    assert_eq!(patch(&connection, version(&etag)).await.unwrap_err().cause(), Cause::Stale, "it was used up");
    patch(&connection, Precondition::IfMatch("*".into())).await.unwrap();
    assert_eq!(patch(&connection, version(&next)).await.unwrap_err().cause(), Cause::Stale);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_patches_of_one_version_exactly_one_wins() {
    async fn race<K: Changeable>(world: &World, id: &str) {
        let before = world.read::<K>(id).await;
        let patches = (0..8).map(|number| {
            let (control, caller, id) = (world.control.clone(), world.caller.clone(), id.to_owned());
            let (expected, patch) =
                (version(&before.etag), Patch::parse(replace("/name", format!("name {number}"))).unwrap());
            tokio::spawn(async move { control.patch::<K>(&caller, &id, &expected, &patch).await })
        });
        let outcomes = join_all(patches).await.into_iter().map(Result::unwrap);
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.partition(Result::is_ok);
        let [Ok(winner)] = &won[..] else { panic!("one winner: {won:?}") };
        assert!(lost.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.cause() == Cause::Stale)));
        assert_eq!(&world.read::<K>(id).await, winner, "nobody else has left a trace");
        assert_eq!(world.acts(id).await, ["update", "create"]);
    }
    let world = World::start().await;
    let [connection, source, target, flow] = world.chain().await;
    race::<Connection>(&world, &connection).await;
    race::<SourceConnection>(&world, &source).await;
    race::<TargetConnection>(&world, &target).await;
    race::<Flow>(&world, &flow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_that_name_no_version_wait_for_each_other() {
    let world = World::start().await;
    let [connection, ..] = world.chain().await;
    // As many as there are tries: each loses to each of the others once at most.
    let patches = ["name", "description", "auth/params/note"].map(|field| {
        let (control, caller, id) = (world.control.clone(), world.caller.clone(), connection.clone());
        let patch = Patch::parse(add(&format!("/{field}"), field)).unwrap();
        let any = Precondition::IfMatch("*".into());
        tokio::spawn(async move { control.patch::<Connection>(&caller, &id, &any, &patch).await })
    });
    for outcome in join_all(patches).await {
        outcome.unwrap().unwrap();
    }
    let patched = world.read::<Connection>(&connection).await.body;
    assert_eq!((patched.name.as_str(), patched.description.as_deref()), ("name", Some("description")));
    assert_eq!(patched.auth.unwrap().params["note"], "auth/params/note");
    assert_eq!(world.acts(&connection).await, ["update", "update", "update", "create"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_action_without_a_version_is_about_the_state_that_there_is() {
    let world = World::start().await;
    let [.., flow] = world.chain().await;
    let acts = (0..4).map(|_| {
        let (control, caller, id) = (world.control.clone(), world.caller.clone(), flow.clone());
        tokio::spawn(async move { control.act::<Flow>(&caller, &id, &Precondition::None, Action::Disable).await })
    });
    let outcomes: Vec<_> = join_all(acts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let causes = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).map(CommandError::cause);
    assert!(causes.into_iter().all(|cause| cause == Cause::NotApplicable), "nobody named a version");
    let stale = Precondition::IfMatch(STALE.into());
    let refused = world.control.act::<Flow>(&world.caller, &flow, &stale, Action::Enable).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::Stale, "a version that is named counts");
}

#[tokio::test]
async fn a_patch_is_carried_out_as_a_whole_or_not_at_all() {
    let world = World::start().await;
    let [connection, source, target, flow] = world.chain().await;
    async fn leaves_alone<K: Changeable>(world: &World, id: &str, last: Value, cause: Cause) {
        let before = world.read::<K>(id).await;
        assert_eq!(world.refused::<K>(id, json!([replace("/name", "half"), last])).await, cause, "{last}");
        assert_eq!(world.read::<K>(id).await, before);
        assert_eq!(world.acts(id).await, ["create"]);
    }
    let secrets = world.vault(&connection).await;
    for (last, cause) in [
        (remove("/nothing"), Cause::PatchPath),
        (remove("/auth/params/nothing"), Cause::Unpatchable),
        (remove("/auth/params/password"), Cause::MissingField),
        (replace("/auth/params/password", "wrong"), Cause::Driver),
    ] {
        leaves_alone::<Connection>(&world, &connection, last, cause).await;
    }
    assert_eq!(world.vault(&connection).await, secrets);
    for (last, cause) in [
        (replace("/params/tableName", ""), Cause::InvalidValue),
        (remove("/params/tableName"), Cause::MissingField),
        (add("/params/cdcEnabled", true), Cause::InvalidValue),
        (add("/params/filters", json!({ "type": "PQL", "format": "json" })), Cause::FilterFormat),
        (replace("/params", 7), Cause::InvalidValue),
        (remove("/name"), Cause::MissingField),
    ] {
        leaves_alone::<SourceConnection>(&world, &source, last, cause).await;
    }
    for (last, cause) in [
        (replace("/params/dataSetId", "5c8c3c555033b814b69f947f"), Cause::InvalidValue),
        (remove("/params/dataSetId"), Cause::NoDataSet),
        (replace("/data", "text"), Cause::InvalidValue),
    ] {
        leaves_alone::<TargetConnection>(&world, &target, last, cause).await;
    }
    for (last, cause) in [
        (add("/options/partialIngestionPercent", 0), Cause::Unpatchable),
        (add("/options", json!({ "partialIngestionPercent": 0 })), Cause::InvalidValue),
        (add("/transformations/-", json!({ "name": "Mapping", "params": {} })), Cause::Mapping),
        (remove("/scheduleParams"), Cause::EmptySchedule),
        (remove("/scheduleParams/frequency"), Cause::MissingField),
    ] {
        leaves_alone::<Flow>(&world, &flow, last, cause).await;
    }
}

#[tokio::test]
async fn each_path_is_allowed_or_refused_with_its_code() {
    let world = World::start().await;
    let [connection, source, target, flow] = world.chain().await;
    for path in ["/id", "/createdAt", "/etag", "/lastOperation", "/imsOrgId/x"] {
        let patch = || json!([replace(path, 1)]);
        assert_eq!(world.refused::<Connection>(&connection, patch()).await, Cause::PatchPath, "{path}");
        assert_eq!(world.refused::<SourceConnection>(&source, patch()).await, Cause::PatchPath, "{path}");
        assert_eq!(world.refused::<TargetConnection>(&target, patch()).await, Cause::PatchPath, "{path}");
        assert_eq!(world.refused::<Flow>(&flow, patch()).await, Cause::PatchPath, "{path}");
    }
    let spec = json!([replace("/connectionSpec/version", "2.0")]);
    assert_eq!(world.refused::<Connection>(&connection, spec.clone()).await, Cause::SpecChange);
    assert_eq!(world.refused::<SourceConnection>(&source, spec).await, Cause::PatchPath);
    let state = world.patch::<Flow>(&flow, replace("/state", "disabled")).await.unwrap_err();
    assert!(state.cause() == Cause::PatchPath && state.to_string().contains("actions enable, disable"), "{state}");
    for path in ["/sourceConnectionIds", "/targetConnectionIds/0"] {
        assert_eq!(world.refused::<Flow>(&flow, json!([replace(path, json!([source]))])).await, Cause::PatchPath);
    }
    for path in ["/baseConnectionId", "/data"] {
        assert_eq!(world.refused::<SourceConnection>(&source, json!([replace(path, "x")])).await, Cause::PatchPath);
    }
    assert_eq!(world.refused::<Flow>(&flow, json!([])).await, Cause::EmptyBody);
    let test = json!([{ "op": "test", "path": "/name", "value": "x" }]);
    assert_eq!(world.refused::<Flow>(&flow, test).await, Cause::PatchOperation);
    assert_eq!(world.refused::<Flow>(&flow, json!([{ "op": "add", "path": "/name" }])).await, Cause::Unpatchable);
}

#[tokio::test]
async fn every_part_that_may_change_can_be_changed() {
    let world = World::start().await;
    let [connection, source, target, flow] = world.chain().await;
    world.patch::<Connection>(&connection, json!([replace("/name", "a"), add("/description", "b")])).await.unwrap();
    let filter = json!({ "type": "PQL", "format": "pql/json", "value": { "nodeType": "fnApply", "fnName": "isNull",
        "params": [{ "nodeType": "fieldLookup", "fieldName": "id" }] } });
    let patch = json!([
        add("/params/filters", filter.clone()),
        add("/params/columns", json!([{ "name": "id" }])),
        add("/params/columns/-", json!({ "name": "paid" })),
        add("/params/cdcEnabled", false),
    ]);
    let patched = world.patch::<SourceConnection>(&source, patch).await.unwrap();
    assert_eq!(
        json!(patched.body.params),
        json!({ "tableName": TABLE, "filters": filter, "cdcEnabled": false, "columns": [{ "name": "id" }, { "name": "paid" }] })
    );
    let patched = world.patch::<SourceConnection>(&source, json!([remove("/params/filters")])).await.unwrap();
    assert_eq!(patched.body.filters(), None);
    let schema = json!({ "id": "https://ns/a", "version": "application/vnd.adobe.xed-full+json;version=1" });
    let patched = world.patch::<TargetConnection>(&target, json!([add("/data/schema", schema.clone())])).await.unwrap();
    assert_eq!(patched.body.schema().unwrap().0, "https://ns/a");
    let mapping = json!({ "name": "Mapping", "params": { "mappingId": "m", "mappingVersion": 0 } });
    let patch = json!([
        add("/labels", ["core/C12"]),
        add("/labels/-", "core/C1"),
        add("/policy", json!({ "enforcementRefs": [] })),
        add("/recordTypes", json!([{ "type": "profile", "extensions": {} }])),
        add("/options", json!({ "errorDiagnosticsEnabled": true })),
        add("/options/partialIngestionPercent", 5),
        add("/transformations/-", mapping),
        replace("/transformations/0/params/mappingVersion", "1"),
    ]);
    let patched = world.patch::<Flow>(&flow, patch).await.unwrap();
    assert_eq!(patched.body.labels, Some(json!(["core/C12", "core/C1"])));
    assert_eq!(patched.body.partial_ingestion_percent(), Some(5.0));
    assert_eq!(patched.body.transformation("Mapping").unwrap()["mappingVersion"], "1");
    let patched = world.patch::<Flow>(&flow, json!([remove("/labels"), remove("/transformations/0")])).await.unwrap();
    assert_eq!((patched.body.labels, patched.body.transformations), (None, Vec::new()));
}

#[tokio::test]
async fn what_is_on_its_way_to_another_state_can_not_be_patched() {
    let world = World::start().await;
    let [connection, source, _, flow] = world.chain().await;
    for name in ["disabling", "updating", "deleting", "delete-finalizing", "enabled-finalizing"] {
        let state: State = name.parse().unwrap();
        world.write::<Connection>(&connection, |connection| connection.state = state).await;
        world.write::<SourceConnection>(&source, |source| source.state = state).await;
        world.write::<Flow>(&flow, |flow| flow.state = state).await;
        let rename = json!([replace("/name", "x")]);
        assert_eq!(world.refused::<Connection>(&connection, rename.clone()).await, Cause::NotEditable, "{name}");
        assert_eq!(world.refused::<SourceConnection>(&source, rename.clone()).await, Cause::Disabling, "{name}");
        assert_eq!(world.refused::<Flow>(&flow, rename).await, Cause::Disabling, "{name}");
        assert_eq!(world.act::<Flow>(&flow, Action::Enable).await.unwrap_err().cause(), Cause::NotApplicable);
    }
}
