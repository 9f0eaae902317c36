//! What runs have landed: told by batches and by the origin of runs, never by what is shown of them.

use headwaters_model::batch::{Batch, BatchStatus};
use headwaters_model::flow::Flow;
use headwaters_model::id::RunId;
use headwaters_model::job::{Landed, Totals};
use headwaters_model::metrics::Window;
use headwaters_model::resource::{Resource, State};
use headwaters_model::run::{Run, RunOrigin, RunStatus};
use headwaters_model::window::{DeltaColumn, Windowed};
use headwaters_store::{LandedRun, Promotion, StoreError};
use serde_json::json;

use crate::settlements::settle;
use crate::world::{self, NOW, Pipeline, World, object};

fn origin(window: Option<(i64, i64)>) -> RunOrigin {
    let delta = DeltaColumn { name: "changed".to_owned(), date_format: Some("epoch".to_owned()), timezone: None };
    let window = window.map(|(start_ms, end_ms)| Window { start_ms, end_ms });
    RunOrigin { windowed: window.map(|window| Windowed { window, delta }), ..RunOrigin::default() }
}

async fn queue(world: &World, flow: &Resource<Flow>, origin: &RunOrigin) -> Resource<Run> {
    let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
    let run = Resource::new(world.scope.clone(), State::Enabled, body, &world.actor, NOW);
    let mut tx = world.store.write(&world.scope).await.unwrap();
    tx.queue_run(&run, origin, NOW).await.unwrap();
    tx.commit().await.unwrap();
    run
}

/// As when a run is settled.
async fn lands(world: &World, pipeline: &Pipeline, run: &Resource<Run>, rows_out: u64) {
    let body = Batch {
        data_set_id: pipeline.data_set.id.clone(),
        flow_id: run.body.flow_id,
        run_id: run.id,
        status: BatchStatus::Success,
        started_at_ms: NOW,
        completed_at_ms: NOW,
        table_version: Some(0),
        totals: Totals { rows_in: 5, rows_out, ..Totals::default() },
        files: Vec::new(),
        errors: Vec::new(),
    };
    world.add(body).await;
}

/// As when a service reports on a run: whatever is shown of it is replaced.
async fn is_reported(world: &World, run: &Resource<Run>, parent: Option<RunId>) {
    let mut tx = world.store.write(&world.scope).await.unwrap();
    let mut run = tx.get::<Run>(&run.id).await.unwrap().unwrap();
    run.body.parent_flow_run_id = parent;
    run.body.params = Some(object(json!({ "windowStartTime": "soon", "windowEndTime": [] })));
    run.body.metrics = json!({
        "recordSummary": { "outputRecordCount": "many" }, "statusSummary": { "status": "success" } });
    let extensions = json!({ "windowStart": "then", "windowEnd": 1.7e12 });
    run.body.activities = vec![json!({ "durationSummary": { "extensions": extensions } })];
    let expected = run.touch(&world.actor, NOW);
    tx.replace_reported(&run, &expected).await.unwrap();
    tx.commit().await.unwrap();
}

async fn found(
    world: &World,
    run: &Resource<Run>,
    window: Option<(i64, i64)>,
    limit: u32,
) -> Result<Vec<LandedRun>, StoreError> {
    let mut tx = world.store.read(&world.scope).await.unwrap();
    tx.landed_before(run, origin(window).windowed.map(|windowed| windowed.window), limit).await
}

pub(crate) async fn what_a_run_reads_is_kept_beside_it(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    let windowed = origin(Some((i64::MIN, i64::MAX)));
    let first = queue(world, &flow, &windowed).await;
    is_reported(world, &first, None).await;
    let mut tx = world.store.read(&world.scope).await.unwrap();
    assert_eq!(tx.run_origin(first.id).await.unwrap(), windowed);
    assert!(matches!(tx.run_origin(RunId::mint()).await, Err(StoreError::Outdated(_))));
    drop(tx);
    let repeat = queue(world, &flow, &windowed.repeated(first.id)).await;
    let claim = world.claim("a", NOW).await.unwrap();
    assert_eq!((claim.run.id, claim.origin), (repeat.id, windowed.repeated(first.id)));
    assert!(!repeat.document().to_string().contains("changed"), "it is not shown");
}

pub(crate) async fn the_kin_of_a_run_are_found_from_each_of_them_and_those_that_landed_are_told(world: &World) {
    let pipeline = world.add_pipeline().await;
    let flow = &pipeline.flow;
    let first = world.add_run(flow, Some(NOW)).await;
    lands(world, &pipeline, &first, 3).await;
    let second = world.add_repeat(&first).await;
    lands(world, &pipeline, &second, 0).await;
    let third = world.add_repeat(&second).await;
    let sibling = world.add_repeat(&first).await;
    let stranger = queue(world, flow, &origin(None)).await;
    let waiting = world.store.read(&world.scope).await.unwrap().waiting_runs(flow.id).await.unwrap();
    assert_eq!(waiting, 5);
    // A report makes no kin, and parts none.
    is_reported(world, &stranger, Some(first.id)).await;
    is_reported(world, &second, None).await;

    let mut tx = world.store.read(&world.scope).await.unwrap();
    for run in [&first, &second, &third, &sibling] {
        let kin = tx.kin(run.id).await.unwrap();
        let found: Vec<_> = kin.iter().map(|kin| (kin.run, kin.landed)).collect();
        assert_eq!(found, [(first.id, true), (second.id, false), (third.id, false), (sibling.id, false)]);
        assert_eq!((kin[1].status, kin[2].status), (RunStatus::Success, RunStatus::Scheduled));
    }
    let alone = tx.kin(stranger.id).await.unwrap();
    assert_eq!(alone.iter().map(|kin| (kin.run, kin.landed)).collect::<Vec<_>>(), [(stranger.id, false)]);
    drop(tx);
    let mut elsewhere = world.store.read(&world.elsewhere).await.unwrap();
    assert_eq!(elsewhere.kin(first.id).await.unwrap(), []);
}

pub(crate) async fn runs_that_landed_what_a_window_covers_are_found(world: &World) {
    let pipeline = world.add_pipeline().await;
    let landed = async |window: Option<(i64, i64)>, rows: u64| {
        let run = queue(world, &pipeline.flow, &origin(window)).await;
        lands(world, &pipeline, &run, rows).await;
        LandedRun { id: run.id, is_whole_table: window.is_none() }
    };
    let (early, late) = (landed(Some((0, 1_000)), 1).await, landed(Some((1_000, 2_000)), 1).await);
    landed(Some((0, 2_000)), 0).await;
    let asking = queue(world, &pipeline.flow, &origin(None)).await;
    lands(world, &pipeline, &asking, 1).await;
    for (window, limit, expected) in [
        (Some((0, 1_000)), 9, vec![early]),
        (Some((1_000, 2_000)), 9, vec![late]),
        (Some((0, 2_000)), 9, vec![late, early]),
        (Some((0, 2_000)), 1, vec![late]),
        (Some((1_000, 1_000)), 9, vec![]),
        (Some((2_000, 3_000)), 9, vec![]),
        (None, 9, vec![late, early]),
    ] {
        assert_eq!(found(world, &asking, window, limit).await.unwrap(), expected, "{window:?}");
    }
    let whole = landed(None, 5).await;
    assert_eq!(found(world, &asking, Some((2_000, 3_000)), 9).await.unwrap(), [whole]);
}

pub(crate) async fn what_is_reported_of_runs_hides_nothing_that_they_landed(world: &World) {
    let pipeline = world.add_pipeline().await;
    let early = queue(world, &pipeline.flow, &origin(Some((0, 1_000)))).await;
    lands(world, &pipeline, &early, 1).await;
    let asking = queue(world, &pipeline.flow, &origin(None)).await;
    is_reported(world, &early, None).await;
    let expected = LandedRun { id: early.id, is_whole_table: false };
    assert_eq!(found(world, &asking, Some((999, 2_000)), 9).await.unwrap(), [expected]);
    assert_eq!(found(world, &asking, Some((1_000, 2_000)), 9).await.unwrap(), []);
}

pub(crate) async fn runs_and_flows_are_looked_up_many_at_a_time(world: &World) {
    let Pipeline { flow, .. } = world.add_pipeline().await;
    let run = world.add_run(&flow, Some(NOW)).await;
    let mut tx = world.store.read(&world.scope).await.unwrap();
    let runs = (0..2_000).map(|_| RunId::mint()).chain([run.id]).collect();
    assert_eq!(tx.runs_among(&runs).await.unwrap(), [run.id].into());
    assert_eq!(tx.flows_among(&[flow.id].into()).await.unwrap(), [flow.id].into());
    drop(tx);
    let mut elsewhere = world.store.read(&world.elsewhere).await.unwrap();
    assert_eq!(elsewhere.runs_among(&runs).await.unwrap(), [].into());
    assert_eq!(elsewhere.flows_among(&[flow.id].into()).await.unwrap(), [].into());
}

pub(crate) async fn what_a_run_covered_that_moved_the_watermark_is_known_once_it_landed(world: &World) {
    let pipeline = world.add_pipeline().await;
    let (flow, data_set) = (&pipeline.flow, &pipeline.data_set.id);
    let scheduled = RunOrigin { instant_ms: Some(NOW), ..RunOrigin::default() };
    let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
    let asking = Resource::new(world.scope.clone(), State::Enabled, body, &world.actor, NOW);
    let mut landed = Vec::new();
    for window in [Some(Window { start_ms: 0, end_ms: 1_000 }), Some(Window { start_ms: 1_000, end_ms: 2_000 }), None] {
        let run = queue(world, flow, &scheduled).await;
        let claim = world.claim("a", NOW).await.unwrap();
        let attempt = world.attempt(&claim, "a", data_set).await;
        let what = Landed { window, ..world::landed() };
        world.put_landed(&claim, &attempt, data_set, json!({}), what).await;
        let promotion = Promotion::Table(Some(attempt.ordinal));
        settle(world, &claim, data_set, promotion).await.unwrap();
        landed.push(LandedRun { id: run.id, is_whole_table: false });
    }
    let [early, late, counted] = landed[..] else { panic!("three") };
    for (window, expected) in [
        (Some((0, 1_000)), vec![early]),
        (Some((500, 1_500)), vec![late, early]),
        (Some((2_000, 3_000)), vec![]),
        (None, vec![counted, late, early]),
    ] {
        assert_eq!(found(world, &asking, window, 9).await.unwrap(), expected, "{window:?}");
    }
}
