//! Flows that recur, and their runs one after the other.
//!
//! The smallest interval is a minute (a server started with [`quick_recurring`]). Two runs come within seconds where the
//! start lies almost a minute in the past: see [`Recurring::soon_again`].

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::flows::{CopyOnce, now_s};
use super::{FLOW_SERVICE, World, WorldOptions, read};

/// Seconds between two runs of a [`Recurring`] flow.
pub const PERIOD_S: u64 = 60;

/// A flow that copies what has come to one table, every minute.
#[derive(Debug, Clone)]
pub struct Recurring {
    /// The table.
    pub table: String,
    /// The delta column, as the transformation `Copy` names it.
    pub delta_column: Value,
    /// The first instant, seconds since 1970.
    pub start_s: u64,
    /// Whether the first run reads what was there before.
    pub backfill: bool,
    /// `options` of the flow.
    pub options: Map<String, Value>,
}

/// Settings for flows that run every minute, and whose windows end with the instants of their runs.
#[must_use]
pub fn quick_recurring(options: WorldOptions) -> WorldOptions {
    options.env("HEADWATERS_FLOWS_INTERVAL_MINUTES_MIN", "1").env("HEADWATERS_FLOWS_WINDOW_LAG_SECONDS", "0")
}

impl Recurring {
    /// A flow that starts now.
    #[must_use]
    pub fn new(table: &str, delta_column: &str) -> Self {
        Self {
            table: table.to_owned(),
            delta_column: json!({"name": delta_column}),
            start_s: now_s(),
            backfill: true,
            options: Map::new(),
        }
    }

    /// The same with its first instant so far in the past that the second one comes in so many seconds.
    #[must_use]
    pub fn soon_again(mut self, seconds: u64) -> Self {
        self.start_s = now_s() + seconds - PERIOD_S;
        self
    }

    /// The same with an option.
    #[must_use]
    pub fn option(mut self, name: &str, value: Value) -> Self {
        self.options.insert(name.to_owned(), value);
        self
    }

    /// The k-th instant, the start being the 0th; seconds since 1970.
    #[must_use]
    pub const fn instant_s(&self, k: u64) -> u64 {
        self.start_s + k * PERIOD_S
    }
}

impl World {
    /// Creates a flow that copies what has come to a table every minute, with everything that it needs.
    ///
    /// # Errors
    /// One of the calls does not answer as the tutorial says.
    pub async fn copy_every_minute(&self, connection: &str, spec_name: &str, flow: &Recurring) -> Result<CopyOnce> {
        let source = self.source_of(connection, spec_name, &flow.table).await?;
        let data_set = self.data_set(&flow.table).await?;
        let target = self.target_of(&data_set).await?;
        let mut body = self.flow_body(&flow.table, &source, &target, flow.start_s).await?;
        body["scheduleParams"] = json!({
            "startTime": flow.start_s.to_string(), "frequency": "minute", "interval": "1",
            "backfill": flow.backfill.to_string(),
        });
        body["transformations"] = json!([{"name": "Copy", "params": {"deltaColumn": flow.delta_column}}]);
        if !flow.options.is_empty() {
            body["options"] = json!(flow.options);
        }
        let flow = self.create(&format!("{FLOW_SERVICE}/flows"), &body).await?;
        Ok(CopyOnce { flow, source, target, data_set })
    }

    /// The runs of a flow, the oldest first; at most a hundred.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn runs_of(&self, flow: &str) -> Result<Vec<Value>> {
        let property = format!("flowId=={flow}");
        let query = [("property", property.as_str()), ("orderby", "createdAt"), ("limit", "100")];
        let answer = read(self.request(Method::GET, &format!("{FLOW_SERVICE}/runs")).query(&query)).await?;
        let items = answer.body["items"].as_array().filter(|_| answer.status == 200);
        Ok(items.with_context(|| format!("GET runs answered {} {}", answer.status, answer.body))?.clone())
    }

    /// Waits until a flow has its k-th run, the first being the 0th, and that has ended; returns its record.
    ///
    /// # Errors
    /// It doesn't end in time.
    pub async fn nth_run(&self, flow: &str, k: usize, seconds_max: u64) -> Result<Value> {
        let start = Instant::now();
        loop {
            let runs = self.runs_of(flow).await?;
            if let Some(run) = runs.get(k) {
                let id = run["id"].as_str().context("a run has an id")?;
                return self.ended_run(id, seconds_max.saturating_sub(start.elapsed().as_secs())).await;
            }
            if start.elapsed() > Duration::from_secs(seconds_max) {
                bail!(
                    "the flow has {} runs after {seconds_max} s, not {}; the server's log ends:\n{}",
                    runs.len(),
                    k + 1,
                    self.log_tail()
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
