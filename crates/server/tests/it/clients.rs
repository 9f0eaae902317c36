//! The habits of clients that are out there, one test each (flow-service.md 23, 1.1, 4, 5).

use std::collections::BTreeSet;

use headwaters_testkit::Flavour;
use headwaters_testkit::world::{FLOW_SERVICE, now_s};
use serde_json::{Value, json};

use crate::scene::{FAR_S, MASK, ROWS, RUN_SECONDS_MAX, Scene, assert_refused, assert_written, path, status, text};

/// `title like '%lamp%'`, with a remark beside it that makes both alphabets of base64 differ and padding necessary.
const LAMP: &str = "eyJ0eXBlIjoiUFFMIiwiZm9ybWF0IjoicHFsL2pzb24iLCJ2YWx1ZSI6eyJub2RlVHlwZSI6ImZuQXBwbHkiLCJmbk5hbWUiOiJsaWtlIiwi\
    cGFyYW1zIjpbeyJub2RlVHlwZSI6ImZpZWxkTG9va3VwIiwiZmllbGROYW1lIjoidGl0bGUifSx7Im5vZGVUeXBlIjoibGl0ZXJhbCIsInZhbHVlIjoi\
    JWxhbXAlIn1dfSwgIm5vdGUiOiJ+P34/In0=";

const COLLECTIONS: [&str; 5] = ["connections", "sourceConnections", "targetConnections", "flows", "runs"];

async fn scene() -> Scene {
    Scene::set(Flavour::MariaDb).await
}

/// A flow of the connection that never runs by itself.
async fn idle_flow(scene: &Scene, connection: &str) -> String {
    let copy = scene.world.copy_at(FAR_S, connection, scene.spec_name(), &scene.table()).await;
    copy.expect("a flow").flow
}

/// A new flow on the connection runs and lands all rows.
async fn assert_runs(scene: &Scene, connection: &str) {
    let copy = scene.world.copy_once(connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    let run = scene.finished_run(&copy.flow).await;
    assert_eq!(status(&run), "success", "{run:#}");
    assert_eq!(scene.landed(&copy.data_set).await, ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_unwraps_the_first_item_finds_it_in_all_seven_collections() {
    let scene = scene().await;
    let connection = scene.connection().await;
    let copy = scene.world.copy_once(&connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    let run = text(&scene.finished_run(&copy.flow).await["id"]);
    let spec = text(&scene.spec().await["id"]);
    let flow_spec = text(&scene.document("flows", &copy.flow).await["flowSpec"]["id"]);
    for (collection, id) in [
        ("connections", &connection),
        ("sourceConnections", &copy.source),
        ("targetConnections", &copy.target),
        ("flows", &copy.flow),
        ("runs", &run),
        ("connectionSpecs", &spec),
        ("flowSpecs", &flow_spec),
    ] {
        let answer = scene.get(&format!("{collection}/{id}")).await;
        assert_eq!(answer.body["items"][0]["id"], **id, "{}", answer.body);
        let keys: Vec<&String> = answer.body.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["items"], "{collection}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn count_false_and_a_limit_on_every_list_are_no_contradiction() {
    let scene = scene().await;
    let connection = scene.connection().await;
    idle_flow(&scene, &connection).await;
    for collection in COLLECTIONS {
        for limit in [20, 100] {
            let answer = scene.get(&format!("{collection}?limit={limit}&count=false")).await;
            assert_eq!(answer.status, 200, "{collection}: {}", answer.body);
            let keys: BTreeSet<&str> = answer.body.as_object().expect("an object").keys().map(String::as_str).collect();
            assert_eq!(keys, BTreeSet::from(["_links", "items"]), "{collection}");
            assert_eq!(answer.body["_links"], json!({}), "an end is said by empty links");
        }
        assert_refused(&scene.get(&format!("{collection}?limit=20&count=true")).await, "FLOW-1401-400");
        let counted = scene.get(&format!("{collection}?count=true")).await;
        let expected = if collection == "runs" { 0 } else { 1 };
        assert_eq!(counted.body, json!({"count": expected}), "{collection}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn if_match_is_heard_in_any_case_with_its_quotes_or_without_and_behind_a_weak_mark() {
    let scene = scene().await;
    let id = scene.connection().await;
    let target = path("connections", &id);
    let body = json!([{"op": "replace", "path": "/name", "value": "renamed"}]).to_string();
    for name in ["If-Match", "if-match", "IF-MATCH"] {
        for form in ["{}", "W/{}", "unquoted", "*"] {
            let etag = text(&scene.document("connections", &id).await["etag"]);
            let value = match form {
                "unquoted" => etag.trim_matches('"').to_owned(),
                form => form.replace("{}", &etag),
            };
            let answer = scene.world.spell("PATCH", &target, &[(name, &value)], Some(&body)).await.expect("an answer");
            assert_ne!(assert_written(&answer, 200, &id), etag, "{name}: {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strict_switch_wants_if_match_exactly_as_the_etag_is() {
    let scene = Scene::set_with(Flavour::MariaDb, &[("HEADWATERS_API_STRICT", "if_match")]).await;
    let id = scene.connection().await;
    let patch = json!([{"op": "replace", "path": "/name", "value": "renamed"}]);
    let etag = text(&scene.document("connections", &id).await["etag"]);
    for value in [etag.trim_matches('"'), "*"] {
        let answer = scene.world.patch(&path("connections", &id), value, &patch).await.expect("an answer");
        assert_refused(&answer, "FLOW-1404-412");
    }
    let answer = scene.world.patch(&path("connections", &id), &etag, &patch).await.expect("an answer");
    assert_written(&answer, 200, &id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strict_switches_want_a_content_type_and_answer_a_new_run_as_the_published_description_does() {
    let settings = [("HEADWATERS_API_STRICT", "all"), ("HEADWATERS_RUNS_ALLOW_WITHOUT_PARAMS", "true")];
    let scene = Scene::set_with(Flavour::MariaDb, &settings).await;
    let connection = scene.connection().await;
    let flow = idle_flow(&scene, &connection).await;
    let body = json!({"flowId": flow}).to_string();
    let target = format!("{FLOW_SERVICE}/runs");
    for headers in [vec![], vec![("Content-Type", "text/plain")]] {
        let answer = scene.world.spell("POST", &target, &headers, Some(&body)).await.expect("an answer");
        assert_eq!((answer.status, &answer.body["status"]), (400, &json!(400)), "{}", answer.body);
        let said = (text(&answer.body["type"]), text(&answer.body["title"]), text(&answer.body["detail"]));
        let expected = ("/placeholder/type/uri", "BadRequestError", "A valid content-type must be specified");
        assert_eq!((said.0.as_str(), said.1.as_str(), said.2.as_str()), expected);
    }
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    let answer = scene.world.spell("POST", &target, &headers, Some(&body)).await.expect("an answer");
    let id = text(&answer.body["id"]);
    let etag = assert_written(&answer, 201, &id);
    assert_eq!(answer.body, json!({"id": id, "etag": etag}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_answers_with_nothing_at_all() {
    let scene = scene().await;
    for slash in ["", "/"] {
        let id = scene.connection().await;
        let target = format!("{}{slash}", path("connections", &id));
        let headers = [("Content-Type", "application/json")];
        let answer = scene.world.spell("DELETE", &target, &headers, None).await.expect("an answer");
        assert_eq!((answer.status, answer.body), (204, Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_may_have_an_empty_body_of_any_content_type() {
    let scene = scene().await;
    let connection = scene.connection().await;
    let flow = idle_flow(&scene, &connection).await;
    let no_headers: &[(&str, &str)] = &[];
    for (headers, body) in [
        (no_headers, None),
        (no_headers, Some("")),
        (&[("Content-Type", "application/json")], None),
        (&[("Content-Type", "application/json")], Some("")),
        (&[("Content-Type", "application/json")], Some("{}")),
        (&[("Content-Type", "application/x-www-form-urlencoded")], Some("")),
    ] {
        for op in ["disable", "enable"] {
            let target = format!("{}/action?op={op}", path("flows", &flow));
            let answer = scene.world.spell("POST", &target, headers, body).await.expect("an answer");
            assert_written(&answer, 200, &flow);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_may_carry_a_content_type_and_even_a_body() {
    let scene = scene().await;
    let id = scene.connection().await;
    for target in
        [path("connections", &id), format!("{FLOW_SERVICE}/connections"), format!("{}/test", path("connections", &id))]
    {
        for content_type in ["application/json", "text/plain"] {
            for body in [None, Some("{\"name\":\"ignored\"}"), Some("no JSON")] {
                let headers = [("Content-Type", content_type)];
                let answer = scene.world.spell("GET", &target, &headers, body).await.expect("an answer");
                assert_eq!(answer.status, 200, "{target}: {}", answer.body);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_as_json_whatever_its_content_type_says_and_what_is_unknown_in_it_is_ignored() {
    let scene = scene().await;
    let mut body = scene.basic_body().await;
    body["providerId"] = json!("0ed90a81-07f4-4586-8190-b40eccef1c5a");
    body["auth"]["params"]["port"] = json!(scene.database.port());
    let target = format!("{FLOW_SERVICE}/connections");
    for content_type in
        [None, Some("application/x-www-form-urlencoded"), Some("text/plain"), Some("application/json; charset=utf-8")]
    {
        let headers: Vec<(&str, &str)> = content_type.map(|value| ("Content-Type", value)).into_iter().collect();
        let answer = scene.world.spell("POST", &target, &headers, Some(&body.to_string())).await.expect("an answer");
        let id = text(&answer.body["id"]);
        let etag = assert_written(&answer, 201, &id);
        let shown = scene.document("connections", &id).await;
        assert_eq!(shown.get("providerId"), None);
        assert_eq!(shown["auth"]["params"]["port"], scene.database.port(), "a number stays a number");

        let mut headers = headers;
        headers.push(("If-Match", &etag));
        let patch = r#"{"op": "REPLACE", "path": "/name", "value": "renamed"}"#;
        let target = path("connections", &id);
        let answer = scene.world.spell("PATCH", &target, &headers, Some(patch)).await.expect("an answer");
        assert_written(&answer, 200, &id);
        assert_eq!(scene.document("connections", &id).await["name"], "renamed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_read_changed_and_written_back_with_its_masks_keeps_its_password() {
    let scene = scene().await;
    let id = scene.connection().await;
    for place in ["/auth", "/auth/params"] {
        let shown = scene.document("connections", &id).await;
        let mut value = shown.pointer(place).expect("a place").clone();
        let params = if place == "/auth" { &mut value["params"] } else { &mut value };
        assert_eq!(params["password"], MASK);
        params["sslMode"] = json!("REQUIRED");
        let patched = scene.patch("connections", &id, &json!([{"op": "replace", "path": place, "value": value}])).await;
        assert_written(&patched, 200, &id);
        let shown = scene.document("connections", &id).await;
        assert_eq!(shown["auth"]["params"]["sslMode"], "REQUIRED");
        assert_eq!(shown["auth"]["params"]["password"], MASK);
        assert_eq!(shown["lastOperation"]["ops"][0]["op"], "replace");
        let tested = scene.get(&format!("connections/{id}/test")).await;
        assert_ne!(tested.body["details"]["tls"], "none", "{}", tested.body);
    }
    assert_runs(&scene, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_string_that_is_written_back_masked_with_another_key_changed_keeps_its_password() {
    let scene = scene().await;
    // A password that only a reader of the grammar finds the end of.
    let string = format!("{};Database={}", scene.database.connection_string("odd_password"), scene.schema);
    let id = scene.world.connect(scene.spec_name(), &string).await.expect("a connection");
    let shown = text(&scene.document("connections", &id).await["auth"]["params"]["connectionString"]);
    assert!(shown.contains(MASK) && shown.contains(&format!("Port={}", scene.database.port())), "{shown}");
    assert!(!shown.contains("ключ"), "{shown}");

    let changed = format!("{shown};SslMode=Required");
    for patch in [
        json!([{"op": "replace", "path": "/auth/params/connectionString", "value": changed}]),
        json!([{"op": "replace", "path": "/auth/params", "value": {"connectionString": changed}}]),
    ] {
        assert_written(&scene.patch("connections", &id, &patch).await, 200, &id);
        let shown = scene.document("connections", &id).await;
        let string = text(&shown["auth"]["params"]["connectionString"]);
        assert!(string.contains(MASK) && string.contains("SslMode=Required"), "{string}");
        assert!(!shown.to_string().contains("ключ"), "{shown}");
        let tested = scene.get(&format!("connections/{id}/test")).await;
        assert_eq!(tested.body["result"], true, "{}", tested.body);
        assert_ne!(tested.body["details"]["tls"], "none", "{}", tested.body);
    }
    assert_runs(&scene, &id).await;
    assert!(!scene.world.log().contains("ключ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_parameters_is_refused_with_the_documented_code() {
    let scene = scene().await;
    let connection = scene.connection().await;
    let flow = idle_flow(&scene, &connection).await;
    for path in ["runs", "runs/"] {
        let refused = scene.post(path, &json!({"flowId": flow, "status": "active"})).await;
        assert_refused(&refused, "CONNECTOR-1384-400");
    }
    assert_eq!(scene.count("runs", &format!("flowId=={flow}")).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_parameters_lands_the_whole_table_where_the_operator_allows_it() {
    let scene = Scene::set_with(Flavour::MariaDb, &[("HEADWATERS_RUNS_ALLOW_WITHOUT_PARAMS", "true")]).await;
    let connection = scene.connection().await;
    let copy = scene.world.copy_at(FAR_S, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    let answer = scene.post("runs/", &json!({"flowId": copy.flow, "status": "active"})).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let run = scene.world.ended_run(&text(&answer.body["id"]), RUN_SECONDS_MAX).await.expect("a run");
    assert_eq!(status(&run), "success", "{run:#}");
    assert_eq!(scene.landed(&copy.data_set).await, ROWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_schedules_values_is_taken_and_comes_back_as_it_was_sent() {
    let scene = scene().await;
    let connection = scene.connection().await;
    let source = scene.world.source_of(&connection, scene.spec_name(), &scene.table()).await.expect("a source");
    let data_set = scene.world.data_set("forms").await.expect("a data set");
    let target = scene.world.target_of(&data_set).await.expect("a target");
    for start in [json!(FAR_S), json!(FAR_S.to_string())] {
        let mut body = scene.world.flow_body("forms", &source, &target, FAR_S).await.expect("a body");
        body["scheduleParams"]["startTime"] = start.clone();
        let flow = scene.create("flows", &body).await;
        assert_eq!(scene.document("flows", &flow).await["scheduleParams"]["startTime"], start);
        let sooner = json!(now_s() + 3600);
        let patch = json!([{"op": "replace", "path": "/scheduleParams/startTime", "value": sooner}]);
        assert_written(&scene.patch("flows", &flow, &patch).await, 200, &flow);
        assert_eq!(scene.document("flows", &flow).await["scheduleParams"]["startTime"], sooner);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_takes_its_row_filter_in_every_spelling_of_base64() {
    let scene = scene().await;
    let id = scene.connection().await;
    let preview = format!("connections/{id}/explore?objectType=table&object={}&preview=true&filters=", scene.table());
    for filter in [
        LAMP.to_owned(),
        LAMP.trim_end_matches('=').to_owned(),
        LAMP.replace('=', "%3D"),
        LAMP.replace('+', "-").replace('/', "_"),
        LAMP.replace('+', "%2B").replace('/', "%2F"),
        LAMP.replace('+', "%20"),
    ] {
        let answer = scene.get(&format!("{preview}{filter}")).await;
        let rows = answer.body["data"].as_array().unwrap_or_else(|| panic!("{filter}: {}", answer.body));
        assert_eq!(rows.iter().map(|row| &row["id"]).collect::<Vec<_>>(), [1], "{filter}");
    }
    for filter in ["%2A%2A%2A", "bm8ganNvbg=="] {
        assert_refused(&scene.get(&format!("{preview}{filter}")).await, "CONNECTOR-1389-400");
    }
    let explore = format!("connections/{id}/explore");
    for (query, code) in [
        ("", "CONNECTOR-1359-400"),
        ("?objectType=planet", "CONNECTOR-1358-400"),
        ("?objectType=table", "CONNECTOR-1337-400"),
        ("?objectType=table&object=nowhere.none", "CONNECTOR-1330-400"),
    ] {
        assert_refused(&scene.get(&format!("{explore}{query}")).await, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_stored_as_it_was_sent_and_a_run_that_can_not_apply_it_lands_nothing() {
    let scene = scene().await;
    let connection = scene.connection().await;
    let source = scene.world.source_of(&connection, scene.spec_name(), &scene.table()).await.expect("a source");
    let data_set = scene.world.data_set("mapped").await.expect("a data set");
    let target = scene.world.target_of(&data_set).await.expect("a target");
    for version in [json!(0), json!("0")] {
        let mapping = json!([{"name": "Mapping", "params": {
            "mappingId": "bf5286a9c1ad4266baca76ba3adc9366", "mappingVersion": version,
        }}]);
        let mut body = scene.world.flow_body("mapped", &source, &target, now_s()).await.expect("a body");
        body["transformations"] = mapping.clone();
        let flow = scene.create("flows", &body).await;
        assert_eq!(scene.document("flows", &flow).await["transformations"], mapping);
        let run = scene.finished_run(&flow).await;
        assert_eq!(status(&run), "failed", "{run:#}");
        let error = &run["metrics"]["statusSummary"]["errors"][0];
        assert_eq!(error["code"], "CONNECTOR-2001-500", "{run:#}");
        assert!(text(&error["message"]).contains("bf5286a9c1ad4266baca76ba3adc9366"), "{error}");
    }
    let folder = scene.world.table_dir(&data_set).await.expect("a place");
    assert!(!folder.join("_delta_log").exists(), "no unmapped column in place of a mapped one");
}
