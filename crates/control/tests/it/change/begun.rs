//! What flows have landed binds what may be changed: nothing lands a table twice, or goes on in another one (flow-service.md 9,
//! 16.6).

use std::sync::Arc;
use std::time::Duration;

use headwaters_model::job::{JobError, Stage};
use headwaters_model::run::{Run, RunStatus};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::*;
use crate::asked::{landed_flow, over, repeat, rewrite, runs};
use crate::fakes::{Commit, Land, failure};
use crate::world::{object, status};

fn recurs() -> Value {
    json!([
        replace("/scheduleParams/frequency", "minute"),
        add("/scheduleParams/interval", 15),
        add("/transformations", json!([{ "name": "Copy", "params": { "deltaColumn": { "name": "updated_at" } } }])),
    ])
}

#[tokio::test]
async fn a_flow_that_has_landed_its_table_does_not_become_one_that_would_land_it_again() {
    let world = World::start().await;
    let (flow, run, worker) = landed_flow(&world).await;
    worker.stop().await;
    let id = flow.id.to_string();
    for state in [State::Enabled, State::Disabled] {
        let refused = world.patch::<Flow>(&id, recurs()).await.unwrap_err();
        assert_eq!(refused.cause(), Cause::StartPassed, "{state:?}: {refused}");
        let told = refused.to_string();
        assert!(told.contains(&run.id.to_string()) && told.contains("make a new flow"), "{told}");
        world.patch::<Flow>(&id, json!([replace("/name", state.name())])).await.unwrap();
        if state == State::Enabled {
            world.act::<Flow>(&id, Action::Disable).await.unwrap();
        }
    }
}

#[tokio::test]
async fn nor_does_one_whose_run_may_land_the_table_yet() {
    let world = World::start().await;
    let go_on = Arc::new(Notify::new());
    world.executor.on_land([Land::Stalled(go_on.clone())]);
    let id = world.flow().await.id.to_string();
    let worker = world.worker();
    world.landings(1).await;
    assert_eq!(world.refused::<Flow>(&id, recurs()).await, Cause::StartPassed);
    go_on.notify_one();
    world.finished().await;
    worker.stop().await;

    let world = World::start().await;
    world.executor.on_commit([Commit::MadeThenStalled(Arc::default())]);
    let id = world.flow().await.id.to_string();
    let worker = world.worker();
    let made = async {
        while world.executor.table().commits == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), made).await.expect("a commit in time");
    worker.kill().await;
    let run = world.run().await;
    rewrite::<Run>(&world, &run.id, |run| run.body.metrics["statusSummary"]["status"] = json!("failed")).await;
    assert_eq!(world.refused::<Flow>(&id, recurs()).await, Cause::StartPassed, "its commit may be found");
}

#[tokio::test]
async fn a_flow_that_has_landed_nothing_may_recur_and_lands_each_row_once() {
    let world = World::start().await;
    let broken = Land::Breaks(JobError::Definite(failure(Stage::Source, "no table shop.orders")));
    world.executor.on_land([broken]);
    let (flow, failed, worker) = landed_flow(&world).await;
    assert_eq!(status(&failed), RunStatus::Failed);
    world.patch::<Flow>(&flow.id.to_string(), recurs()).await.unwrap();
    let refused = repeat(&world, &failed).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::NotRepeatable);
    assert!(refused.to_string().contains("recurs by now"), "{refused}");
    world.clock.advance(Duration::from_secs(900));
    let landed = async {
        while world.executor.table().commits == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), landed).await.expect("a commit in time");
    over(&world, runs(&world).await[1].id).await;
    worker.stop().await;
    assert_eq!((runs(&world).await.len(), world.executor.table().rows), (2, 3));

    let world = World::start().await;
    world.executor.on_land([Land::Rows(0, 0)]);
    let (flow, _, worker) = landed_flow(&world).await;
    worker.stop().await;
    world.patch::<Flow>(&flow.id.to_string(), recurs()).await.unwrap();
}

#[tokio::test]
async fn a_source_connection_keeps_its_table_once_a_recurring_flow_has_read_of_it() {
    let world = World::start().await;
    let mut command = world.flow_command().await;
    let schedule = json!({ "startTime": NOW_MS / 1000, "frequency": "minute", "interval": 15 });
    command.schedule_params = object(&schedule);
    command.transformations = recurs()[2]["value"].as_array().cloned();
    let flow = world.control.create_flow(&world.caller, command).await.unwrap();
    let source = flow.body.source_connection_ids[0].to_string();
    let table = |name: &str| json!([replace("/params/tableName", name)]);
    for name in ["shop.customers", TABLE] {
        world.patch::<SourceConnection>(&source, table(name)).await.unwrap();
    }
    let worker = world.worker();
    world.finished().await;
    worker.stop().await;
    for change in [table("shop.customers"), json!([replace("/params", json!({ "tableName": "shop.customers" }))])] {
        let refused = world.patch::<SourceConnection>(&source, change).await.unwrap_err();
        assert_eq!(refused.cause(), Cause::InvalidValue, "{refused}");
        let told = refused.to_string();
        assert!(told.contains("/params/tableName") && told.contains(&flow.id.to_string()), "{told}");
    }
    let columns = json!([replace("/params", json!({ "tableName": TABLE, "columns": [{ "name": "id" }] }))]);
    world.patch::<SourceConnection>(&source, columns).await.unwrap();

    let world = World::start().await;
    let (flow, _, worker) = landed_flow(&world).await;
    worker.stop().await;
    let source = flow.body.source_connection_ids[0].to_string();
    world.patch::<SourceConnection>(&source, table("shop.customers")).await.unwrap();
}
