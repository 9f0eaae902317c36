//! Runs and the batches that they land (flow-service.md 17, platform-services.md 2.4), with the real worker.

use std::time::Duration;

use headwaters_control::{Settings, Worker};
use http::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{CATALOG, FLOW, START_MS, World, assert_answer, new_flow};

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
