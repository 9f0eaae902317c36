//! The Catalog (platform-services.md 2).

use headwaters_model::spec::MYSQL;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{CATALOG, World, assert_answer};

#[tokio::test]
async fn a_data_set_is_made_and_shown_keyed_by_its_id() {
    let world = World::start().await;
    let body = json!({
        "name": "Orders – EU",
        "description": "all orders",
        "schemaRef": { "id": "https://ns.adobe.com/acme/schemas/5f1c", "contentType": "application/vnd.adobe.xed+json;version=1" },
        "tags": { "unifiedProfile": ["enabled:true"] },
        "fileDescription": { "format": "parquet" },
        "location": "file:///etc/passwd",
        "imsOrg": "somebody else",
    });
    let made = world.post(&format!("{CATALOG}/dataSets?requestDataSource=true"), &body).await;
    assert_answer("data_set_created", &made);
    let reference = made.json()[0].as_str().unwrap().to_owned();
    let id = reference.strip_prefix("@/dataSets/").unwrap();
    assert_eq!(made.header("location"), Some(format!("{CATALOG}/dataSets/{id}").as_str()));
    let shown = world.get(&format!("{CATALOG}/dataSets/{id}")).await;
    let document = &shown.json()[id];
    let folder = world.credentials.org_id.folder().to_owned();
    assert_eq!(document["location"], format!("file:///lake/{folder}/prod/{id}"));
    assert_eq!(document["imsOrg"], world.credentials.org_id.as_str());
    assert_answer("data_set", &shown);
    let missing =
        world.call(Method::GET, &format!("{CATALOG}/dataSets/0123456789abcdef01234567")).header("x-request-id", "r");
    assert_answer("data_set_not_found", &missing.send().await);
}

#[tokio::test]
async fn data_sets_are_listed_filtered_ordered_and_paged_by_offset() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(world.make(&format!("{CATALOG}/dataSets"), &json!({ "name": name })).await);
    }
    let list = async |query: &str| -> Vec<String> {
        let body = world.get(&format!("{CATALOG}/dataSets?{query}")).await.json();
        body.as_object().unwrap().values().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(list("").await.len(), 3);
    assert_eq!(list("orderBy=desc:name").await, ["c", "b", "a"]);
    assert_eq!(list("orderBy=asc:created&limit=1&start=1").await, ["b"]);
    assert_eq!(list("name=b").await, ["b"]);
    assert_eq!(list("name=!b&orderBy=name").await, ["a", "c"]);
    assert_eq!(list("property=name==a,c&orderBy=name").await, ["a", "c"]);
    let both = world.get(&format!("{CATALOG}/dataSets/{},{}", ids[0], ids[2])).await.json();
    assert_eq!(both.as_object().unwrap().len(), 2);
    let projected = world.get(&format!("{CATALOG}/dataSets?properties=name,nothing&name=a")).await.json();
    assert_eq!(projected, json!({ ids[0].as_str(): { "name": "a" } }));
    for query in ["limit=0", "limit=101", "limit=many", "colour=red", "name=b*", "property=name", "property=!name"] {
        assert_eq!(world.get(&format!("{CATALOG}/dataSets?{query}")).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn what_the_python_client_indexes_is_always_there() {
    let world = World::start().await;
    let id = world.make_data_set().await;
    let document = world.get(&format!("{CATALOG}/dataSets")).await.json()[&id].clone();
    assert_eq!(document["tags"]["adobe/pqs/table"], json!(["orders"]));
    assert_eq!(document["tags"]["adobe/siphon/table/format"], json!(["delta"]));
    assert_eq!(document["classification"]["dataBehavior"], "record");
}

#[tokio::test]
async fn an_empty_collection_is_an_empty_object() {
    let world = World::start().await;
    for path in ["dataSets", "batches", "batches?dataSet=0123456789abcdef01234567"] {
        assert_eq!(
            world.get(&format!("{CATALOG}/{path}")).await.json(),
            Value::Object(serde_json::Map::new()),
            "{path}"
        );
    }
    let batch = world.get(&format!("{CATALOG}/batches/{MYSQL}")).await;
    assert_eq!((batch.status.as_u16(), &batch.json()["title"]), (404, &json!("NotFoundError")));
}
