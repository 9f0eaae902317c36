//! Many clients at once on the same resources (flow-service.md 4: of two changes under one etag exactly one wins).

use std::collections::HashSet;

use futures::future::join_all;
use headwaters_testkit::Flavour;
use headwaters_testkit::world::{Answer, now_s};
use serde_json::json;

use crate::scene::{FAR_S, ROWS, RUN_SECONDS_MAX, Scene, assert_refused, assert_written, code, path, status, text};

const CLIENTS: usize = 20;
/// How often a race is run whose outcome may go either way.
const ROUNDS: usize = 5;

/// The winners, and the losers, each of whom has that code.
#[track_caller]
fn split(answers: Vec<Answer>, refusal: &str) -> (Vec<Answer>, Vec<Answer>) {
    let (won, lost): (Vec<Answer>, Vec<Answer>) = answers.into_iter().partition(|answer| answer.status < 300);
    for answer in &lost {
        assert_refused(answer, refusal);
    }
    (won, lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_20_changes_under_one_etag_exactly_one_wins_in_every_collection() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let connection = scene.connection().await;
    let copy = scene.world.copy_at(FAR_S, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    for (collection, id) in [
        ("connections", &connection),
        ("sourceConnections", &copy.source),
        ("targetConnections", &copy.target),
        ("flows", &copy.flow),
    ] {
        let etag = text(&scene.document(collection, id).await["etag"]);
        let (target, etag) = (path(collection, id), etag.as_str());
        let answers = join_all((0..CLIENTS).map(async |client| {
            let patch = json!([{"op": "replace", "path": "/name", "value": format!("client {client}")}]);
            (client, scene.world.patch(&target, etag, &patch).await.expect("an answer"))
        }));
        let (clients, answers): (Vec<usize>, Vec<Answer>) = answers.await.into_iter().unzip();
        let winner =
            clients.into_iter().zip(&answers).find(|(_, answer)| answer.status == 200).map(|(client, _)| client);
        let (won, lost) = split(answers, "FLOW-1404-412");
        assert_eq!((won.len(), lost.len()), (1, CLIENTS - 1), "{collection}");
        let shown = scene.document(collection, id).await;
        assert_eq!(shown["name"], format!("client {}", winner.expect("a winner")), "{collection}");
        assert_eq!(assert_written(&won[0], 200, id), shown["etag"], "{collection}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_of_clients_that_read_and_try_again_when_they_are_late() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let connection = scene.connection().await;
    let copy = scene.world.copy_at(FAR_S, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    assert_eq!(
        scene.patch("flows", &copy.flow, &json!([{"op": "add", "path": "/labels", "value": []}])).await.status,
        200
    );
    let late = join_all((0..CLIENTS).map(async |client| {
        let patch = json!([{"op": "add", "path": "/labels/-", "value": format!("core/C{client}")}]);
        let mut late = 0;
        loop {
            let answer = scene.patch("flows", &copy.flow, &patch).await;
            if answer.status == 200 {
                break late;
            }
            assert_refused(&answer, "FLOW-1404-412");
            late += 1;
            // Who is late was overtaken by a winner, and each client wins once.
            assert!(late < CLIENTS, "late without a winner");
        }
    }))
    .await;
    let shown = scene.document("flows", &copy.flow).await;
    let labels: HashSet<String> = shown["labels"].as_array().expect("labels").iter().map(text).collect();
    assert_eq!(labels.len(), CLIENTS, "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_20_switches_exactly_one_moves_the_flow() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let connection = scene.connection().await;
    let copy = scene.world.copy_at(FAR_S, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    for op in ["disable", "enable"] {
        let action = format!("flows/{}/action?op={op}", copy.flow);
        let (won, lost) = split(join_all((0..CLIENTS).map(|_| scene.act(&action))).await, "FLOW-1422-400");
        assert_eq!((won.len(), lost.len()), (1, CLIENTS - 1), "{op}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_20_publishers_exactly_one_publishes_the_draft() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let id = text(&scene.post("connections?mode=draft", &scene.basic_body().await).await.body["id"]);
    let action = format!("connections/{id}/action?op=publish");
    let answers = join_all((0..CLIENTS).map(|_| scene.act(&action))).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(["FLOW-1422-400", "FLOW-1404-412"].contains(&code(answer).as_str()), "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_20_retries_of_a_failed_run_one_lands_the_rows() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let connection = scene.connection().await;
    let copy = scene.world.copy_at(now_s() + 2, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    scene.database.execute(&format!("drop table {}", scene.table())).await.expect("a table less");
    let failed = scene.finished_run(&copy.flow).await;
    assert_eq!(status(&failed), "failed", "{failed:#}");
    scene.make_table().await;
    let action = format!("runs/{}/action?op=re-trigger", text(&failed["id"]));
    let (won, _) = split(join_all((0..CLIENTS).map(|_| scene.act(&action))).await, "CONNECTOR-1387-400");
    assert!(!won.is_empty());
    for new in &won {
        let run = scene.world.ended_run(&text(&new.body["id"]), RUN_SECONDS_MAX).await.expect("a run");
        assert_eq!(status(&run), "success", "{run:#}");
    }
    assert_eq!(scene.landed(&copy.data_set).await, ROWS, "by {} runs", won.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_delta_columns_that_are_named_at_once_the_flow_keeps_one_and_runs_use_no_other() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let alter = format!("alter table {} add column made datetime(6)", scene.table());
    scene.database.execute(&alter).await.expect("a column more");
    let connection = scene.connection().await;
    let copy = scene.world.copy_at(FAR_S, &connection, scene.spec_name(), &scene.table()).await.expect("a flow");
    let answers = join_all((0..CLIENTS).map(|client| {
        let column = if client % 2 == 0 { "changed" } else { "made" };
        let params = json!({
            "startTime": now_s(), "windowStartTime": 0, "windowEndTime": now_s(), "deltaColumn": {"name": column},
        });
        let (scene, flow) = (&scene, &copy.flow);
        async move { (column, scene.post("runs", &json!({"flowId": flow, "params": params})).await) }
    }))
    .await;
    let copies = scene.document("flows", &copy.flow).await["transformations"].clone();
    let kept = text(&copies[0]["params"]["deltaColumn"]["name"]);
    assert_eq!(copies.as_array().map(Vec::len), Some(1), "{copies}");
    for (column, answer) in answers {
        if column == kept {
            assert_eq!(answer.status, 201, "{}", answer.body);
        } else {
            assert_refused(&answer, "CONNECTOR-1382-400");
        }
    }
    assert_eq!(scene.count("runs", &format!("flowId=={}", copy.flow)).await, CLIENTS as u64 / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_clients_create_twenty_resources_even_under_one_name_and_one_request_id() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let connection = scene.connection().await;
    let source = scene.world.source_of(&connection, scene.spec_name(), &scene.table()).await.expect("a source");
    let data_set = scene.world.data_set("same").await.expect("a data set");
    let target = scene.world.target_of(&data_set).await.expect("a target");
    let body = scene.world.flow_body("same", &source, &target, FAR_S).await.expect("a body").to_string();
    let collection = path("flows", "");
    let headers = [("x-request-id", "b0c4e3f2-2d1c-4a6e-9f0b-7c1d2e3f4a5b")];
    let answers = join_all((0..CLIENTS).map(|_| scene.world.spell("POST", &collection, &headers, Some(&body)))).await;
    let mut ids = HashSet::new();
    for answer in answers {
        let answer = answer.expect("an answer");
        let id = text(&answer.body["id"]);
        let etag = assert_written(&answer, 201, &id);
        assert_eq!(scene.document("flows", &id).await["etag"], etag);
        ids.insert(id);
    }
    assert_eq!(ids.len(), CLIENTS);
    assert_eq!(scene.count("flows", "name==same").await, CLIENTS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_deleted_while_others_change_it_is_deleted_once_and_stays_gone() {
    let scene = Scene::set(Flavour::MariaDb).await;
    for _ in 0..ROUNDS {
        let id = scene.connection().await;
        let etag = text(&scene.document("connections", &id).await["etag"]);
        let (target, etag) = (path("connections", &id), etag.as_str());
        let patch = json!([{"op": "replace", "path": "/name", "value": "late"}]);
        let answers = join_all((0..CLIENTS).map(async |client| match client % 2 {
            0 => (client, scene.delete("connections", &id).await),
            _ => (client, scene.world.patch(&target, etag, &patch).await.expect("an answer")),
        }))
        .await;
        let (deletes, patches): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(client, _)| client % 2 == 0);
        let statuses = |answers: &[(usize, Answer)], status: u16| {
            answers.iter().filter(|(_, answer)| answer.status == status).count()
        };
        assert_eq!((statuses(&deletes, 204), statuses(&deletes, 404)), (1, deletes.len() - 1), "{deletes:?}");
        let (changed, late) = (statuses(&patches, 200), statuses(&patches, 412) + statuses(&patches, 404));
        assert!(changed <= 1 && changed + late == patches.len(), "{patches:?}");
        assert_refused(&scene.get(&format!("connections/{id}")).await, "FLOW-1439-404");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flow_is_left_without_its_connections_when_they_are_deleted_while_it_is_made() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let data_set = scene.world.data_set("raced").await.expect("a data set");
    for round in 0..2 * ROUNDS {
        let connection = scene.connection().await;
        let source = scene.world.source_of(&connection, scene.spec_name(), &scene.table()).await.expect("a source");
        let target = scene.world.target_of(&data_set).await.expect("a target");
        let body = scene.world.flow_body("raced", &source, &target, FAR_S).await.expect("a body");
        let (collection, id, refusal) = match round % 3 {
            0 => ("connections", &connection, "FLOW-1418-400"),
            1 => ("sourceConnections", &source, "FLOW-1447-400"),
            _ => ("targetConnections", &target, "FLOW-1447-400"),
        };
        let (made, deleted) = futures::join!(scene.post("flows", &body), scene.delete(collection, id));
        if made.status == 201 {
            assert_refused(&deleted, refusal);
            let shown = scene.get(&format!("{collection}/{id}")).await;
            assert_eq!(shown.status, 200, "what a flow uses is there");
        } else {
            assert_eq!((made.status, deleted.status), (400, 204), "{} {}", made.body, deleted.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_is_deleted_while_it_runs_takes_its_run_along() {
    let scene = Scene::set(Flavour::MariaDb).await;
    let connection = scene.connection().await;
    // Two minutes a row: what does not stop when it is told to is not over before the test gives up.
    let view = format!("create view {0}.slow as select id, sleep(120) as slept from {0}.orders", scene.schema);
    scene.database.execute(&view).await.expect("a view");
    let table = format!("{}.slow", scene.schema);
    let copy = scene.world.copy_once(&connection, scene.spec_name(), &table).await.expect("a flow");
    let busy = format!("flowId=={}&property=state==inProgress", copy.flow);
    let run = loop {
        let runs = scene.get(&format!("runs?property={busy}")).await.body;
        if let Some(run) = runs["items"].get(0) {
            break text(&run["id"]);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(scene.delete("flows", &copy.flow).await.status, 204);
    let ended = scene.world.ended_run(&run, RUN_SECONDS_MAX).await.expect("an end");
    assert_eq!(status(&ended), "failed", "{ended:#}");
    for (collection, id) in
        [("sourceConnections", &copy.source), ("targetConnections", &copy.target), ("connections", &connection)]
    {
        assert_eq!(scene.delete(collection, id).await.status, 204, "{collection}");
    }
}
