//! Flows that recur: instants, windows, and what a pause, a busy flow or a failure does to them (flow-service.md 16.4, 16.6).

mod clocks;
mod demand;
mod failures;
mod instants;
mod parts;
mod windows;

use std::time::Duration;

use headwaters_control::Settings;
use headwaters_model::flow::Flow;
use headwaters_model::metrics::Window;
use headwaters_model::resource::Resource;
use headwaters_model::run::Run;
use headwaters_model::watermark::{Position, Watermark};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::asked::{PATIENCE, over, runs};
use crate::world::{NOW_MS, World, object, quick};

const PERIOD: Duration = Duration::from_secs(900);
const PERIOD_MS: i64 = 900_000;

/// The k-th instant of a flow that starts now.
const fn instant_ms(k: i64) -> i64 {
    NOW_MS + k * PERIOD_MS
}

/// The moments from one instant of a flow that starts now to another.
const fn between(from: i64, to: i64) -> Window {
    Window { start_ms: instant_ms(from), end_ms: instant_ms(to) }
}

/// Everything before the first instant.
const BEFORE: Window = Window { start_ms: 0, end_ms: NOW_MS };

/// Settings under which a window ends with its run's instant.
fn exact() -> Settings {
    Settings { window_lag: Duration::ZERO, ..quick() }
}

impl World {
    /// A world whose windows end with the instants of their runs.
    async fn exact() -> Self {
        Self::with(exact()).await
    }

    /// A flow that runs every 15 minutes from now on.
    async fn recurring_flow(&self) -> Resource<Flow> {
        self.recurring_flow_with(json!({}), "updated_at").await
    }

    /// The same with more in its schedule, by another delta column.
    async fn recurring_flow_with(&self, schedule: Value, column: &str) -> Resource<Flow> {
        let mut command = self.flow_command().await;
        let mut params = json!({ "startTime": NOW_MS / 1000, "frequency": "minute", "interval": 15 });
        for (key, value) in schedule.as_object().unwrap() {
            params[key] = value.clone();
        }
        command.schedule_params = object(&params);
        command.transformations =
            Some(vec![json!({ "name": "Copy", "params": { "deltaColumn": { "name": column } } })]);
        self.control.create_flow(&self.caller, command).await.unwrap()
    }

    /// The k-th run there is, the first being the 0th, once it is over.
    async fn nth_over(&self, k: usize) -> Resource<Run> {
        let id = self.nth(k).await.id;
        over(self, id).await
    }

    /// The k-th run there is, once it is there.
    async fn nth(&self, k: usize) -> Resource<Run> {
        let made = async {
            loop {
                if let Some(run) = runs(self).await.into_iter().nth(k) {
                    return run;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, made).await.expect("a run in time")
    }

    /// Lets a scheduler look once more, then tells how many runs there are.
    async fn runs_after_a_look(&self) -> usize {
        self.schedule_once().await;
        runs(self).await.len()
    }

    /// How far the flow has got, milliseconds since 1970; none before its first run.
    async fn watermark_ms(&self, flow: &Resource<Flow>) -> Option<i64> {
        match self.watermark(flow).await?.position {
            Position::Moment { through_us } => Some(through_us / 1000),
            counter @ Position::Counter { .. } => panic!("no moment: {counter:?}"),
        }
    }

    async fn watermark(&self, flow: &Resource<Flow>) -> Option<Watermark> {
        let data_set = crate::on_demand::data_set(self).await;
        let mut tx = self.store.read(&self.caller.scope).await.unwrap();
        let offset = tx.offset(flow.id, &data_set).await.unwrap()?;
        Watermark::of(&offset.value)
    }

    /// The windows that are in the table, in the order of their commits.
    fn landed(&self) -> Vec<Window> {
        self.executor.table().windows
    }
}

/// The window that a run shows.
fn shown_window(run: &Resource<Run>) -> Value {
    run.body.activities[0]["durationSummary"]["extensions"].clone()
}
