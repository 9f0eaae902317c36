//! Source and target connections (flow-service.md 14, 15): every operation once as it succeeds, and what each refuses.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{FLOW, OLD, UNKNOWN, World, assert_answer, assert_refusals, new_flow, new_source, new_target};

#[tokio::test]
async fn a_source_connection_goes_its_way_from_draft_to_deletion() {
    let world = World::start().await;
    let collection = format!("{FLOW}/sourceConnections");
    let base = world.make_connection().await;
    let mut draft = new_source(&base);
    draft["params"] = json!({});
    let made = world.post(&format!("{collection}?mode=draft"), &draft).await;
    assert_answer("create_source_connection", &made);
    let source = format!("{collection}/{}", made.json()["id"].as_str().unwrap());
    let patch = json!([
        { "op": "add", "path": "/params/tableName", "value": "shop.orders" },
        { "op": "ADD", "path": "/params/filters", "value": { "type": "PQL", "format": "pql/json", "value": {
            "nodeType": "fnApply", "fnName": ">", "params": [
                { "nodeType": "fieldLookup", "fieldName": "total" }, { "nodeType": "literal", "value": 5 }] } } },
    ]);
    assert_answer("patch_source_connection", &world.patch(&source, &patch).await);
    assert_answer("publish_source_connection", &world.act(&source, "publish").await);
    assert_answer("get_source_connection", &world.get(&source).await);
    let filter = "property=params.tableName==shop.orders&property=inheritedAttributes.baseConnection.id";
    let listed = world.get(&format!("{collection}?{filter}=={base}&orderby=-name&limit=1")).await;
    assert_answer("list_source_connections", &listed);
    assert_answer("delete_source_connection", &world.delete(&source).await);
    assert_eq!(world.get(&source).await.code(), "FLOW-1439-404");
}

#[tokio::test]
async fn a_target_connection_goes_its_way_from_draft_to_deletion() {
    let world = World::start().await;
    let collection = format!("{FLOW}/targetConnections");
    let mut draft = new_target("");
    draft["params"] = json!({});
    let made = world.post(&format!("{collection}?mode=draft"), &draft).await;
    assert_answer("create_target_connection", &made);
    let target = format!("{collection}/{}", made.json()["id"].as_str().unwrap());
    let data_set = world.make_data_set().await;
    let patch = json!([{ "op": "add", "path": "/params/dataSetId", "value": data_set }]);
    assert_answer("patch_target_connection", &world.patch(&target, &patch).await);
    assert_answer("publish_target_connection", &world.act(&target, "Publish").await);
    assert_answer("get_target_connection", &world.get(&target).await);
    let listed = world.get(&format!("{collection}?property=params.dataSetId=={data_set}&orderby=name")).await;
    assert_answer("list_target_connections", &listed);
    assert_answer("delete_target_connection", &world.delete(&target).await);
    assert_eq!(world.get(&target).await.code(), "FLOW-1439-404");
}

/// The requests that both kinds refuse in the same way; names of snapshots end in `kind`.
struct Refusing<'a> {
    world: &'a World,
    collection: String,
    id: String,
}

impl Refusing<'_> {
    fn one(&self) -> String {
        format!("{}/{}", self.collection, self.id)
    }

    fn unknown(&self) -> String {
        format!("{}/{UNKNOWN}", self.collection)
    }

    async fn created(&self, body: Value) -> crate::world::Answer {
        self.world.post(&self.collection, &body).await
    }

    async fn list(&self, name: &str) {
        let get = async |query: &str| self.world.get(&format!("{}?{query}", self.collection)).await;
        assert_refusals(
            name,
            &[
                ("an unknown parameter", get("colour=red").await),
                ("an unknown operator", get("property=name!%3Ex").await),
                ("an unknown order", get("orderby=colour").await),
            ],
        );
    }

    async fn get(&self, name: &str) {
        assert_refusals(name, &[("an unknown id", self.world.get(&self.unknown()).await)]);
    }

    async fn patch(&self, name: &str) {
        let rename = json!([{ "op": "replace", "path": "/name", "value": "renamed" }]);
        let under_old = async |target: String| {
            self.world.call(Method::PATCH, &target).header("if-match", OLD).json(&rename).send().await
        };
        let etag = json!([{ "op": "replace", "path": "/etag", "value": OLD }]);
        let nothing = json!([{ "op": "remove", "path": "/description" }, { "op": "remove", "path": "/description" }]);
        assert_refusals(
            name,
            &[
                ("no If-Match", self.world.call(Method::PATCH, &self.one()).json(&rename).send().await),
                ("an old If-Match", under_old(self.one()).await),
                ("an unknown id", under_old(self.unknown()).await),
                ("what is the server's", self.world.patch(&self.one(), &etag).await),
                ("what is not there", self.world.patch(&self.one(), &nothing).await),
            ],
        );
    }

    async fn act(&self, name: &str) {
        let act = async |target: String, query: &str| {
            self.world.call(Method::POST, &format!("{target}/action{query}")).send().await
        };
        assert_refusals(
            name,
            &[
                ("no op", act(self.one(), "").await),
                ("an unknown op", act(self.one(), "?op=explode").await),
                ("a state that does not allow it", act(self.one(), "?op=publish").await),
                ("an unknown id", act(self.unknown(), "?op=publish").await),
            ],
        );
    }

    async fn delete(&self, name: &str) {
        let old = self.world.call(Method::DELETE, &self.one()).header("if-match", OLD).send().await;
        assert_refusals(
            name,
            &[
                ("an unknown id", self.world.delete(&self.unknown()).await),
                ("an old If-Match", old),
                ("a flow on it", self.world.delete(&self.one()).await),
            ],
        );
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_of_a_source_connection_is_refused() {
    let world = World::start().await;
    let parts = world.make_flow().await;
    let refusing =
        Refusing { world: &world, collection: format!("{FLOW}/sourceConnections"), id: parts.source.clone() };
    let mut unknown_base = new_source(UNKNOWN);
    unknown_base["name"] = json!("nowhere");
    let mut format = new_source(&parts.connection);
    format["data"]["format"] = json!("parquet");
    assert_refusals(
        "create_source_connection_refused",
        &[
            ("no name", refusing.created(json!({})).await),
            ("an unknown base connection", refusing.created(unknown_base).await),
            ("another format", refusing.created(format).await),
        ],
    );
    refusing.list("list_source_connections_refused").await;
    refusing.get("get_source_connection_refused").await;
    refusing.patch("patch_source_connection_refused").await;
    refusing.act("act_on_source_connection_refused").await;
    refusing.delete("delete_source_connection_refused").await;
}

#[tokio::test]
async fn what_is_asked_wrongly_of_a_target_connection_is_refused() {
    let world = World::start().await;
    let parts = world.make_flow().await;
    let refusing = Refusing { world: &world, collection: format!("{FLOW}/targetConnections"), id: parts.target };
    let mut other_spec = new_target("0123456789abcdef01234567");
    other_spec["connectionSpec"]["id"] = json!("26d738e0-8963-47ea-aadf-c60de735468a");
    assert_refusals(
        "create_target_connection_refused",
        &[
            ("no data", refusing.created(json!({})).await),
            ("an unknown data set", refusing.created(new_target("0123456789abcdef01234567")).await),
            ("another kind of target", refusing.created(other_spec).await),
        ],
    );
    refusing.list("list_target_connections_refused").await;
    refusing.get("get_target_connection_refused").await;
    refusing.patch("patch_target_connection_refused").await;
    refusing.act("act_on_target_connection_refused").await;
    refusing.delete("delete_target_connection_refused").await;
}

#[tokio::test]
async fn drafts_are_published_from_the_base_connection_up() {
    let world = World::start().await;
    let draft = async |collection: &str, body: &Value| -> String {
        let id = world.make(&format!("{FLOW}/{collection}?mode=draft"), body).await;
        format!("{FLOW}/{collection}/{id}")
    };
    let id_of = |target: &str| target.rsplit('/').next().unwrap().to_owned();
    let connection = draft("connections", &crate::world::new_connection()).await;
    let source = draft("sourceConnections", &new_source(&id_of(&connection))).await;
    let target = draft("targetConnections", &new_target(&world.make_data_set().await)).await;
    let flow = draft("flows", &new_flow(&id_of(&source), &id_of(&target))).await;
    assert_eq!(world.act(&source, "publish").await.code(), "FLOW-1422-400", "its base connection is a draft");
    assert_eq!(world.act(&flow, "publish").await.code(), "FLOW-1422-400", "its connections are drafts");
    assert_eq!(world.act(&flow, "enable").await.code(), "FLOW-1422-400", "a draft is published, not enabled");
    for target in [&connection, &source, &target, &flow] {
        assert_eq!(world.act(target, "publish").await.status, StatusCode::OK, "{target}");
        assert_eq!(world.get(target).await.items()[0]["state"], "enabled");
        assert_eq!(world.act(target, "publish").await.code(), "FLOW-1422-400", "{target}");
    }
}
