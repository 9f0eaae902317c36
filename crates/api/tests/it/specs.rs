//! Connection and flow specs (flow-service.md 12): every operation once as it succeeds, and what each refuses.

use headwaters_control::WRITTEN_SPECS_MAX;
use headwaters_model::account::Role;
use headwaters_model::spec::{CRM_TO_AEP, DATA_LAKE, MYSQL};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{
    FLOW, UNKNOWN, World, assert_answer, assert_refusals, new_connection, new_flow, new_source, new_target,
};

/// A spec as a service describes it.
fn new_spec() -> Value {
    json!({
        "name": "erp",
        "providerId": "0ed90a81-07f4-4586-8190-b40eccef1c5a",
        "version": "2.0",
        "attributes": { "category": "Databases", "isSource": true, "isAvailable": true },
        "colour": "ignored",
    })
}

async fn as_service() -> World {
    World::start().await.seen_by_role(Role::Service).await
}

#[tokio::test]
async fn a_connection_spec_is_added_shown_and_replaced_by_a_service() {
    let world = as_service().await;
    let collection = format!("{FLOW}/connectionSpecs");
    let made = world.post(&collection, &new_spec()).await;
    assert_answer("create_connection_spec", &made);
    let spec = format!("{collection}/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(made.header("location"), Some(spec.as_str()));
    let filter = "property=attributes.isAvailable==false&property=name==erp";
    assert_answer("list_connection_specs", &world.get(&format!("{collection}?{filter}")).await);
    let mut renamed = new_spec();
    renamed["name"] = json!("erp 2");
    renamed.as_object_mut().unwrap().remove("version");
    assert_answer("replace_connection_spec", &world.call(Method::PUT, &spec).json(&renamed).send().await);
    assert_answer("get_connection_spec", &world.get(&spec).await);
    assert_answer("configs_of_connection_spec", &world.get(&format!("{spec}/configs")).await);
}

#[tokio::test]
async fn a_flow_spec_is_added_found_and_replaced_by_a_service() {
    let world = as_service().await;
    let collection = format!("{FLOW}/flowSpecs");
    let mut body = new_spec();
    body["transformationSpecDTOS"] = json!([{ "name": "Wash", "spec": { "type": "object" } }]);
    body["sourceConnectionSpecIds"] = json!([MYSQL]);
    let made = world.post(&collection, &body).await;
    assert_answer("create_flow_spec", &made);
    let spec = format!("{collection}/{}", made.json()["id"].as_str().unwrap());
    assert_answer("list_flow_specs", &world.get(&format!("{collection}?property=name,version")).await);
    let search = json!({ "limit": 1, "orderby": "-name", "projectionFields": "name" });
    let first = world.post(&format!("{collection}/search"), &search).await;
    assert_eq!(first.items()[0]["name"], "erp");
    let next = format!("{FLOW}{}", first.json()["_links"]["next"]["href"].as_str().unwrap());
    assert_answer("search_flow_specs", &world.call(Method::POST, &next).send().await);
    let counted = world.post(&format!("{collection}/search"), &json!({ "count": true })).await;
    assert_eq!(counted.json(), json!({ "count": 2 }));
    body["name"] = json!("erp 2");
    assert_answer("replace_flow_spec", &world.call(Method::PUT, &spec).json(&body).send().await);
    assert_answer("get_flow_spec", &world.get(&spec).await);
}

#[tokio::test]
async fn what_is_asked_wrongly_of_connection_specs_is_refused() {
    let world = World::start().await;
    let collection = format!("{FLOW}/connectionSpecs");
    let (built_in, unknown) = (format!("{collection}/{MYSQL}"), format!("{collection}/{UNKNOWN}"));
    let by_user = world.post(&collection, &new_spec()).await;
    let put_by_user = world.call(Method::PUT, &built_in).json(&new_spec()).send().await;
    let world = world.seen_by_role(Role::Service).await;
    let put = async |target: &str, body| world.call(Method::PUT, target).json(&body).send().await;
    assert_refusals(
        "create_connection_spec_refused",
        &[
            ("a user", by_user),
            ("an empty body", world.call(Method::POST, &collection).send().await),
            ("no name", world.post(&collection, &json!({})).await),
            ("no provider", world.post(&collection, &json!({ "name": "erp" })).await),
            ("a field of another type", world.post(&collection, &json!({ "name": "erp", "authSpec": {} })).await),
        ],
    );
    assert_refusals(
        "replace_connection_spec_refused",
        &[
            ("a user", put_by_user),
            ("one that is built in", put(&built_in, new_spec()).await),
            ("the lake", put(&format!("{collection}/{DATA_LAKE}"), new_spec()).await),
            ("an unknown id", put(&unknown, new_spec()).await),
        ],
    );
    assert_refusals(
        "list_connection_specs_refused",
        &[
            ("an unknown parameter", world.get(&format!("{collection}?colour=red")).await),
            ("an unknown field", world.get(&format!("{collection}?property=colour==red")).await),
            ("a limit of none", world.get(&format!("{collection}?limit=0")).await),
            ("count beside limit", world.get(&format!("{collection}?count=true&limit=5")).await),
            ("a count that is neither", world.get(&format!("{collection}?count=maybe")).await),
        ],
    );
    assert_refusals("get_connection_spec_refused", &[("an unknown id", world.get(&unknown).await)]);
    assert_refusals(
        "explore_connection_spec_refused",
        &[
            ("a database", world.get(&format!("{built_in}/explore?objectType=root")).await),
            ("the lake", world.get(&format!("{collection}/{DATA_LAKE}/explore")).await),
            ("an unknown id", world.get(&format!("{unknown}/explore")).await),
        ],
    );
    assert_refusals(
        "configs_of_connection_spec_refused",
        &[("an unknown id", world.get(&format!("{unknown}/configs")).await)],
    );
}

#[tokio::test]
async fn what_is_asked_wrongly_of_flow_specs_is_refused() {
    let world = World::start().await;
    let collection = format!("{FLOW}/flowSpecs");
    let (built_in, unknown) = (format!("{collection}/{CRM_TO_AEP}"), format!("{collection}/{UNKNOWN}"));
    let by_user = world.post(&collection, &new_spec()).await;
    let put_by_user = world.call(Method::PUT, &built_in).json(&new_spec()).send().await;
    let world = world.seen_by_role(Role::Service).await;
    let put = async |target: &str, body| world.call(Method::PUT, target).json(&body).send().await;
    assert_refusals(
        "create_flow_spec_refused",
        &[("a user", by_user), ("no name", world.post(&collection, &json!({ "providerId": "p" })).await)],
    );
    assert_refusals(
        "replace_flow_spec_refused",
        &[
            ("a user", put_by_user),
            ("the one that is built in", put(&built_in, new_spec()).await),
            ("an unknown id", put(&unknown, new_spec()).await),
        ],
    );
    assert_refusals(
        "list_flow_specs_refused",
        &[("an unknown parameter", world.get(&format!("{collection}?colour=red")).await)],
    );
    assert_refusals(
        "search_flow_specs_refused",
        &[
            ("a limit over 1000", world.post(&format!("{collection}/search"), &json!({ "limit": 1001 })).await),
            (
                "an unknown field",
                world.post(&format!("{collection}/search"), &json!({ "queryString": "etag==x" })).await,
            ),
            ("no object", world.post(&format!("{collection}/search"), &json!([])).await),
        ],
    );
    assert_refusals("get_flow_spec_refused", &[("an unknown id", world.get(&unknown).await)]);
}

#[tokio::test]
async fn the_specs_that_match_are_counted_and_a_limit_cuts_nothing_off() {
    let world = World::start().await;
    for (collection, filter) in
        [("connectionSpecs", "property=attributes.category==Databases"), ("flowSpecs", "property=name==CRMToAEP")]
    {
        let list = format!("{FLOW}/{collection}?{filter}");
        let all = world.get(&list).await.items();
        assert!(!all.is_empty(), "{list}");
        let counted = world.get(&format!("{list}&count=true")).await;
        assert_eq!(counted.json(), json!({ "count": all.len() }), "{list}");
        // As clients ask every list.
        let asked = world.get(&format!("{list}&count=false&limit=1&orderby=-createdAt")).await;
        assert_eq!(asked.items(), all, "{list}");
    }
}

#[tokio::test]
async fn a_spec_that_is_only_listed_says_so_and_can_not_be_used() {
    let world = as_service().await;
    let written = world.make(&format!("{FLOW}/connectionSpecs"), &new_spec()).await;
    let flow_spec = world.make(&format!("{FLOW}/flowSpecs"), &new_spec()).await;
    let parts = world.make_flow().await;
    for spec in [written.as_str(), "74a1c565-4e59-48d7-9d67-7c03b8a13137"] {
        let shown = world.get(&format!("{FLOW}/connectionSpecs/{spec}")).await.items().remove(0);
        assert_eq!(shown["attributes"]["isAvailable"], false, "{spec}");
        let used = |mut body: Value| {
            body["connectionSpec"]["id"] = json!(spec);
            body
        };
        for (path, body) in [
            ("connections", used(new_connection())),
            ("sourceConnections", used(new_source(&parts.connection))),
            ("targetConnections", used(new_target("0123456789abcdef01234567"))),
        ] {
            let answer = world.post(&format!("{FLOW}/{path}"), &body).await;
            assert_eq!(answer.code(), "CONNECTOR-1305-400", "{path}: {answer:?}");
        }
    }
    let mut flow = new_flow(&parts.source, &parts.target);
    flow["flowSpec"]["id"] = json!(flow_spec);
    assert_eq!(world.post(&format!("{FLOW}/flows"), &flow).await.code(), "CONNECTOR-1305-400");
}

#[tokio::test]
async fn a_spec_belongs_to_its_organisation_and_their_number_is_bounded() {
    use headwaters_model::account::Account;
    use headwaters_model::id::OrgId;

    let world = as_service().await;
    let collection = format!("{FLOW}/flowSpecs");
    for _ in 0..WRITTEN_SPECS_MAX {
        assert_eq!(world.post(&collection, &new_spec()).await.status, StatusCode::CREATED);
    }
    assert_eq!(world.post(&collection, &new_spec()).await.code(), "CONNECTOR-1312-400");
    let all = world.get(&collection).await.items();
    assert_eq!(all.len() as u64, WRITTEN_SPECS_MAX + 1);
    let stranger = world.seen_by(Account::mint(OrgId::mint(), "stranger", Role::Service, 0)).await;
    assert_eq!(stranger.get(&collection).await.items().len(), 1);
    let foreign = format!("{collection}/{}", all[1]["id"].as_str().unwrap());
    assert_eq!(stranger.get(&foreign).await.code(), "FLOW-1439-404");
    assert_eq!(stranger.call(Method::PUT, &foreign).json(&new_spec()).send().await.code(), "FLOW-1439-404");
}

#[tokio::test]
async fn the_audit_tells_who_wrote_a_spec() {
    use headwaters_store::AuditQuery;

    let world = as_service().await;
    let spec = world.make(&format!("{FLOW}/connectionSpecs"), &new_spec()).await;
    world.call(Method::PUT, &format!("{FLOW}/connectionSpecs/{spec}")).json(&new_spec()).send().await;
    let lines = world.store.audit(&AuditQuery { resource_id: Some(spec), ..AuditQuery::default() }).await.unwrap();
    let acts: Vec<_> = lines.iter().map(|line| (line.action.as_str(), line.collection.as_str())).collect();
    assert_eq!(acts, [("update", "connectionSpecs"), ("create", "connectionSpecs")]);
    assert!(lines.iter().all(|line| line.client == world.credentials.client_id.as_str() && line.allowed));
}

#[tokio::test]
async fn every_database_of_the_hosted_catalogue_is_listed() {
    let world = World::start().await;
    let all = world.get(&format!("{FLOW}/connectionSpecs?property=attributes.category==Databases")).await.items();
    let available = |spec: &Value| spec["attributes"]["isAvailable"] != false;
    // Eighteen others and PostgreSQL, beside both that this product reads.
    assert_eq!(all.iter().filter(|spec| !available(spec)).count(), 19);
    let usable: Vec<_> = all.iter().filter(|spec| available(spec)).map(|spec| &spec["name"]).collect();
    assert_eq!(usable, ["mysql", "maria-db"]);
}
