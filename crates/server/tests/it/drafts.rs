//! Drafts: made with gaps, edited, published in order, and only then at work (flow-service.md 11).

use headwaters_testkit::Flavour;
use headwaters_testkit::world::now_s;
use serde_json::{Value, json};

use crate::scene::{FAR_S, MASK, ROWS, Scene, assert_refused, assert_written, path, status, text};

const DATA_LAKE: &str = "c604ff05-7f1a-43c0-8e18-33bf874cb11c";
const COLLECTIONS: [&str; 4] = ["connections", "sourceConnections", "targetConnections", "flows"];

/// The ids of four drafts, in the order of [`COLLECTIONS`].
struct Drafts {
    scene: Scene,
    ids: [String; 4],
}

impl Drafts {
    /// Drafts with everything left out that may be.
    async fn bare() -> Self {
        let scene = Scene::set(Flavour::MariaDb).await;
        let flow_spec = scene.world.spec("flowSpecs", "CRMToAEP").await.expect("a spec");
        let connection =
            draft(&scene, "connections", &json!({"name": "a", "connectionSpec": scene.spec().await})).await;
        let source = json!({
            "name": "b", "baseConnectionId": connection, "connectionSpec": scene.spec().await,
            "data": {"format": "tabular"},
        });
        let source = draft(&scene, "sourceConnections", &source).await;
        let target = json!({"name": "c", "connectionSpec": {"id": DATA_LAKE, "version": "1.0"}, "data": {}});
        let target = draft(&scene, "targetConnections", &target).await;
        let flow = draft(&scene, "flows", &json!({"name": "d", "flowSpec": flow_spec})).await;
        Self { scene, ids: [connection, source, target, flow] }
    }

    /// Drafts that lack nothing any more, edited one patch at a time; the flow begins at that moment.
    async fn complete(start_s: u64) -> (Self, String) {
        let drafts = Self::bare().await;
        let scene = &drafts.scene;
        let data_set = scene.world.data_set("orders").await.expect("a data set");
        let [_, source, target, _] = &drafts.ids;
        let auth = json!({"specName": "Basic Authentication", "params": scene.basic_params()});
        let schedule = json!({"startTime": start_s.to_string(), "frequency": "once"});
        for (at, patch) in [
            (0, json!([{"op": "add", "path": "/auth", "value": auth}])),
            (1, json!([{"op": "add", "path": "/params", "value": {"tableName": scene.table()}}])),
            (2, json!([{"op": "add", "path": "/params", "value": {"dataSetId": data_set}}])),
            (
                3,
                json!([
                    {"op": "add", "path": "/sourceConnectionIds", "value": [source]},
                    {"op": "add", "path": "/targetConnectionIds", "value": [target]},
                ]),
            ),
            (
                3,
                json!([
                    {"op": "add", "path": "/transformations", "value": []},
                    {"op": "add", "path": "/scheduleParams", "value": schedule},
                ]),
            ),
        ] {
            let before = drafts.shown(at).await;
            let patched = scene.patch(COLLECTIONS[at], &drafts.ids[at], &patch).await;
            let etag = assert_written(&patched, 200, &drafts.ids[at]);
            assert_ne!(etag, before["etag"]);
            assert_eq!(drafts.shown(at).await["state"], "draft", "an edit publishes nothing");
        }
        (drafts, data_set)
    }

    async fn shown(&self, at: usize) -> Value {
        self.scene.document(COLLECTIONS[at], &self.ids[at]).await
    }

    async fn publish(&self, at: usize) -> headwaters_testkit::world::Answer {
        self.scene.act(&format!("{}/{}/action?op=publish", COLLECTIONS[at], self.ids[at])).await
    }

    /// Publishing is refused with that code, and nothing has changed.
    async fn assert_unpublished(&self, at: usize, code: &str) {
        let before = self.shown(at).await;
        assert_refused(&self.publish(at).await, code);
        assert_eq!(self.shown(at).await, before, "{}", COLLECTIONS[at]);
    }

    async fn assert_published(&self, at: usize) {
        let before = self.shown(at).await;
        let etag = assert_written(&self.publish(at).await, 200, &self.ids[at]);
        let shown = self.shown(at).await;
        assert_ne!(before["etag"], etag);
        assert_eq!((&shown["state"], &shown["etag"]), (&json!("enabled"), &json!(etag)), "{}", COLLECTIONS[at]);
        assert_refused(&self.publish(at).await, "FLOW-1422-400");
    }
}

async fn draft(scene: &Scene, collection: &str, body: &Value) -> String {
    let answer = scene.post(&format!("{collection}?mode=draft"), body).await;
    let id = text(&answer.body["id"]);
    assert_written(&answer, 201, &id);
    let shown = scene.document(collection, &id).await;
    assert_eq!((&shown["state"], &shown["lastOperation"]["operation"]), (&json!("draft"), &json!("draft_create")));
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_are_made_with_gaps_edited_published_in_order_and_then_the_flow_lands_its_rows() {
    let (drafts, data_set) = Drafts::complete(now_s()).await;
    let scene = &drafts.scene;
    // A second complete flow that nobody publishes: it would be due as well.
    let [_, source, target, _] = &drafts.ids;
    let body = scene.world.flow_body("never", source, target, now_s()).await.expect("a body");
    let never = draft(scene, "flows", &body).await;

    // Nothing but the base connection may go first.
    drafts.assert_unpublished(3, "FLOW-1422-400").await;
    drafts.assert_unpublished(1, "FLOW-1422-400").await;
    drafts.assert_published(0).await;
    drafts.assert_unpublished(3, "FLOW-1422-400").await;
    drafts.assert_published(1).await;
    drafts.assert_unpublished(3, "FLOW-1422-400").await;
    drafts.assert_published(2).await;
    assert_eq!(scene.count("runs", &format!("flowId=={}", drafts.ids[3])).await, 0, "drafts never run");
    drafts.assert_published(3).await;

    let run = scene.finished_run(&drafts.ids[3]).await;
    assert_eq!(status(&run), "success", "{run:#}");
    assert_eq!(scene.landed(&data_set).await, ROWS);
    assert_eq!(scene.document("flows", &drafts.ids[3]).await["lastRunDetails"]["state"], "success");
    assert_eq!(scene.count("runs", &format!("flowId=={never}")).await, 0, "drafts never run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_lacks_something_stays_a_draft_when_it_is_published() {
    let drafts = Drafts::bare().await;
    let scene = &drafts.scene;
    drafts.assert_unpublished(0, "CONNECTOR-1304-400").await;
    let auth = json!({"specName": "Basic Authentication", "params": scene.basic_params()});
    let mut wrong = auth.clone();
    wrong["params"]["password"] = json!("wrong");
    let added =
        scene.patch("connections", &drafts.ids[0], &json!([{"op": "add", "path": "/auth", "value": wrong}])).await;
    assert_written(&added, 200, &drafts.ids[0]);
    drafts.assert_unpublished(0, "CONNECTOR-1308-400").await;
    let right = &auth["params"];
    let swap = json!([{"op": "replace", "path": "/auth/params", "value": right}]);
    assert_written(&scene.patch("connections", &drafts.ids[0], &swap).await, 200, &drafts.ids[0]);
    drafts.assert_published(0).await;

    drafts.assert_unpublished(1, "CONNECTOR-1304-400").await;
    drafts.assert_unpublished(2, "CONNECTOR-1325-400").await;
    drafts.assert_unpublished(3, "CONNECTOR-1320-400").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_takes_gaps_but_nothing_malformed() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let spec = scene.spec().await;
    let flow_spec = scene.world.spec("flowSpecs", "CRMToAEP").await.expect("a spec");
    let unknown = json!({"id": "00000000-0000-0000-0000-000000000000", "version": "1.0"});
    for (collection, body, code) in [
        ("connections", json!({"name": "a", "connectionSpec": unknown}), "FLOW-1413-400"),
        ("connections", json!({"name": "a", "connectionSpec": spec, "auth": "secret"}), "CONNECTOR-1312-400"),
        (
            "connections",
            json!({"name": "a", "connectionSpec": spec, "auth": {"specName": "No Such Authentication", "params": {}}}),
            "FLOW-1415-400",
        ),
        ("sourceConnections", json!({"name": "b", "connectionSpec": spec, "params": 7}), "CONNECTOR-1312-400"),
        ("targetConnections", json!({"name": "c", "connectionSpec": unknown, "data": {}}), "FLOW-1413-400"),
        ("flows", json!({"name": "d", "flowSpec": unknown}), "FLOW-1413-400"),
        ("flows", json!({"name": "d", "flowSpec": flow_spec, "transformations": {}}), "CONNECTOR-1312-400"),
        ("flows", json!({"name": "d", "flowSpec": flow_spec, "state": "draft"}), "FLOW-1410-400"),
    ] {
        assert_refused(&scene.post(&format!("{collection}?mode=draft"), &body).await, code);
    }
    for collection in COLLECTIONS {
        let body = json!({"name": "e", "connectionSpec": spec, "flowSpec": flow_spec});
        assert_refused(&scene.post(&format!("{collection}?mode=final"), &body).await, "CONNECTOR-1312-400");
        assert_eq!(scene.get(collection).await.body, json!({"items": [], "_links": {}}), "nothing was stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_are_listed_tested_explored_and_deleted_like_others_but_neither_enabled_nor_run() {
    let (drafts, _) = Drafts::complete(FAR_S).await;
    let scene = &drafts.scene;
    let [connection, source, _, flow] = &drafts.ids;
    for (at, collection) in COLLECTIONS.into_iter().enumerate() {
        let listed = scene.get(&format!("{collection}?property=state==draft")).await;
        assert_eq!(listed.body["items"], json!([drafts.shown(at).await]), "{collection}");
    }
    assert_eq!(drafts.shown(0).await["auth"]["params"]["password"], MASK);
    let ops = &drafts.shown(0).await["lastOperation"]["ops"];
    assert!(!ops.to_string().contains(scene.database.account("reader").password), "{ops}");
    let tested = scene.get(&format!("connections/{connection}/test")).await;
    assert_eq!(tested.body["result"], true, "{}", tested.body);
    let root = scene.get(&format!("connections/{connection}/explore?objectType=root")).await;
    assert_eq!(root.body[0]["path"], scene.table(), "{}", root.body);

    for op in ["enable", "disable"] {
        assert_refused(&scene.act(&format!("flows/{flow}/action?op={op}")).await, "FLOW-1422-400");
    }
    let window = json!({"startTime": now_s(), "windowStartTime": 0, "windowEndTime": now_s(), "deltaColumn": {"name": "changed"}});
    assert_refused(&scene.post("runs", &json!({"flowId": flow, "params": window})).await, "FLOW-1422-400");

    // A draft counts as a user of what it names.
    assert_refused(&scene.delete("connections", connection).await, "FLOW-1418-400");
    assert_refused(&scene.delete("sourceConnections", source).await, "FLOW-1447-400");
    for (collection, id) in COLLECTIONS.into_iter().zip(&drafts.ids).rev() {
        assert_eq!(scene.delete(collection, id).await.status, 204, "{collection}");
        assert_refused(&scene.world.get(&path(collection, id)).await.expect("an answer"), "FLOW-1439-404");
    }
}
