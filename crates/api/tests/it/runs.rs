//! Runs and the batches that they land (flow-service.md 17, platform-services.md 2.4), with the real worker.

use std::time::Duration;

use headwaters_control::{Settings, Strict, Worker};
use headwaters_model::account::Role;
use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::fakes::FAILING;
use crate::world::{
    CATALOG, FLOW, OLD, START_MS, UNKNOWN, World, assert_answer, assert_refusals, new_flow, new_source,
};

/// Waits until the flow has a run that is over.
async fn finished_run(world: &World, flow: &str) -> Value {
    let target = format!("{FLOW}/runs?property=flowId=={flow}&orderby=-createdAt&limit=1");
    for _ in 0..1000 {
        if let [run] = world.get(&target).await.items().as_slice()
            && matches!(run["metrics"]["statusSummary"]["status"].as_str(), Some("success" | "failed"))
        {
            return run.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the flow has no finished run");
}

/// Makes a flow that is due at once and waits until its run is over.
async fn run_at_once(world: &World, table: &str) -> Value {
    let connection = world.make_connection().await;
    let data_set = world.make_data_set().await;
    let mut source = new_source(&connection);
    source["params"]["tableName"] = json!(table);
    let source = world.make(&format!("{FLOW}/sourceConnections"), &source).await;
    let mut flow = new_flow(&source, &world.make_target(&data_set).await);
    flow["scheduleParams"]["startTime"] = json!(START_MS / 1000);
    let flow = world.make(&format!("{FLOW}/flows"), &flow).await;
    let stop = CancellationToken::new();
    let worker = tokio::spawn(Worker::new(world.control.clone()).run(stop.clone()));
    let run = finished_run(world, &flow).await;
    stop.cancel();
    worker.await.unwrap();
    run
}

fn at(run: &Value) -> String {
    format!("{FLOW}/runs/{}", run["id"].as_str().unwrap())
}

fn window() -> Value {
    let seconds = START_MS / 1000;
    json!({ "startTime": seconds, "windowStartTime": seconds - 3600, "windowEndTime": seconds,
        "deltaColumn": { "name": "created" } })
}

#[tokio::test]
async fn a_run_is_made_on_demand_and_one_that_failed_is_repeated_and_reported_on() {
    let world = World::start().await;
    let collection = format!("{FLOW}/runs");
    let run = run_at_once(&world, FAILING).await;
    assert_eq!(run["metrics"]["statusSummary"]["status"], "failed", "{run}");
    assert_answer(
        "list_runs",
        &world.get(&format!("{collection}?property=metrics.statusSummary.status==Failed")).await,
    );
    assert_answer("get_run", &world.get(&at(&run)).await);
    let body = json!({ "flowId": run["flowId"], "params": window(), "status": "active" });
    assert_answer("create_run", &world.post(&format!("{collection}/"), &body).await);
    let repeated = world.act(&at(&run), "RE_TRIGGER").await;
    assert_answer("retrigger_run", &repeated);
    assert_eq!(repeated.json()["parentFlowRunId"], run["id"]);
    let world = world.seen_by_role(Role::Service).await;
    let report =
        json!({ "flowId": run["flowId"], "metrics": { "statusSummary": { "status": "FAILED" } }, "activities": [] });
    let etag = world.etag(&at(&run)).await;
    assert_answer(
        "report_run",
        &world.call(Method::PUT, &at(&run)).header("if-match", &etag).json(&report).send().await,
    );
}

#[tokio::test]
async fn what_is_asked_wrongly_of_runs_is_refused() {
    let world = World::start().await;
    let collection = format!("{FLOW}/runs");
    let run = run_at_once(&world, "shop.orders").await;
    let flow = run["flowId"].as_str().unwrap();
    let unknown = format!("{collection}/{UNKNOWN}");
    let create = async |body: Value| world.post(&collection, &body).await;
    assert_refusals(
        "create_run_refused",
        &[
            ("an empty body", world.call(Method::POST, &collection).send().await),
            ("no flow", create(json!({ "flowId": null, "params": window() })).await),
            ("an unknown flow", create(json!({ "flowId": UNKNOWN, "params": window() })).await),
            ("no params", create(json!({ "flowId": flow, "status": "active" })).await),
        ],
    );
    assert_refusals(
        "list_runs_refused",
        &[
            ("an unknown parameter", world.get(&format!("{collection}?colour=red")).await),
            ("a list where one value goes", world.get(&format!("{collection}?property=createdAt==1,2")).await),
            ("nothing to compare with", world.get(&format!("{collection}?property=flowId==")).await),
        ],
    );
    assert_refusals("get_run_refused", &[("an unknown id", world.get(&unknown).await)]);
    let retrigger =
        async |target: &str, query: &str| world.call(Method::POST, &format!("{target}/action{query}")).send().await;
    let old = world.call(Method::POST, &format!("{}/action?op=re-trigger", at(&run))).header("if-match", OLD);
    assert_refusals(
        "retrigger_run_refused",
        &[
            ("no op", retrigger(&at(&run), "").await),
            ("an unknown op", retrigger(&at(&run), "?op=enable").await),
            ("a run that ended well", retrigger(&at(&run), "?op=re-trigger").await),
            ("an old If-Match", old.send().await),
            ("an unknown id", retrigger(&unknown, "?op=re_trigger").await),
        ],
    );
    let report = json!({ "flowId": flow, "metrics": { "statusSummary": { "status": "failed" } } });
    let by_user = world.call(Method::PUT, &at(&run)).header("if-match", OLD).json(&report).send().await;
    let world = world.seen_by_role(Role::Service).await;
    let put = async |target: &str, body: &Value| {
        world.call(Method::PUT, target).header("if-match", "*").json(body).send().await
    };
    let old = world.call(Method::PUT, &at(&run)).header("if-match", OLD).json(&report).send().await;
    let mut strange = report.clone();
    strange["metrics"]["statusSummary"]["status"] = json!("wet");
    assert_refusals(
        "report_run_refused",
        &[
            ("a user", by_user),
            ("no If-Match", world.call(Method::PUT, &at(&run)).json(&report).send().await),
            ("an old If-Match", old),
            ("an unknown id", put(&unknown, &report).await),
            ("no flow", put(&at(&run), &json!({})).await),
            ("a status that there is not", put(&at(&run), &strange).await),
        ],
    );
}

#[tokio::test]
async fn a_new_run_is_answered_for_every_reader_and_under_the_switch_in_the_published_form() {
    for run_body in [false, true] {
        let strict = Strict { run_body, ..Strict::default() };
        let world = World::start_with(Settings { strict, ..Settings::default() }).await;
        let body = json!({ "flowId": world.make_flow().await.flow, "params": window() });
        let answer = world.post(&format!("{FLOW}/runs"), &body).await;
        let (made, headers) = (answer.json(), (answer.header("location"), answer.header("etag")));
        let (id, etag) = (made["id"].as_str().unwrap(), made["etag"].as_str().unwrap());
        assert_eq!(headers, (Some(format!("{FLOW}/runs/{id}").as_str()), Some(etag)));
        let items = if run_body { Value::Null } else { json!([{ "id": id, "etag": etag }]) };
        assert_eq!(made["items"], items, "{made}");
    }
}

#[tokio::test]
async fn a_flow_that_is_due_has_a_run_with_its_numbers_and_a_batch() {
    let settings = Settings { poll: Duration::from_millis(20), ..Settings::default() };
    let world = World::start_with(settings).await;
    let stop = CancellationToken::new();
    let worker = tokio::spawn(Worker::new(world.control.clone()).run(stop.clone()));

    let connection = world.make_connection().await;
    let data_set = world.make_data_set().await;
    let (source, target) = (world.make_source(&connection).await, world.make_target(&data_set).await);
    let mut flow = new_flow(&source, &target);
    flow["scheduleParams"]["startTime"] = json!(START_MS / 1000);
    let flow = world.make(&format!("{FLOW}/flows"), &flow).await;
    let run = finished_run(&world, &flow).await;
    stop.cancel();
    worker.await.unwrap();

    assert_eq!(run["metrics"]["statusSummary"]["status"], "success", "{run}");
    let run_id = run["id"].as_str().unwrap();
    assert_answer("run", &world.get(&format!("{FLOW}/runs/{run_id}")).await);
    let failed = format!("{FLOW}/runs?property=metrics.statusSummary.status==failed");
    assert!(world.get(&failed).await.items().is_empty());
    assert_eq!(world.get(&format!("{FLOW}/runs?count=true")).await.json(), json!({ "count": 1 }));
    let shown = world.get(&format!("{FLOW}/flows/{flow}")).await.items().remove(0);
    assert_eq!(
        (&shown["lastRunDetails"]["id"], &shown["lastRunDetails"]["state"]),
        (&json!(run_id), &json!("success"))
    );

    let batch = run["activities"][1]["targetInfo"][0]["reference"]["ids"][0].as_str().unwrap();
    assert_answer("batch", &world.get(&format!("{CATALOG}/batches/{batch}")).await);
    for query in [format!("dataSet={data_set}"), "status=success".into(), format!("batch={batch}&limit=1")] {
        let batches = world.get(&format!("{CATALOG}/batches?{query}")).await.json();
        assert!(batches[batch].is_object(), "{query}: {batches}");
    }
    assert_eq!(world.get(&format!("{CATALOG}/batches?status=failed")).await.json(), json!({}));
    let data_set = &world.get(&format!("{CATALOG}/dataSets/{data_set}")).await.json()[&data_set];
    assert_eq!(data_set["lastSuccessfulBatch"], batch);

    // The runs of a flow stay readable when it is gone.
    world.delete(&format!("{FLOW}/flows/{flow}")).await;
    assert_eq!(world.get(&format!("{FLOW}/runs/{run_id}")).await.items()[0]["flowId"], flow);
    let unknown = world.call(Method::GET, &format!("{FLOW}/runs/{flow}")).header("x-request-id", "r").send().await;
    assert_answer("run_not_found", &unknown);
}
