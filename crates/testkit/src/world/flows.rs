//! The tutorial's steps as single calls, for tests that are about what comes after them.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{CATALOG, FLOW_SERVICE, World};

/// The data lake as a target; its id is the same on every installation.
const DATA_LAKE_SPEC: &str = "c604ff05-7f1a-43c0-8e18-33bf874cb11c";

/// The ids of a flow that copies one table once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOnce {
    /// The flow.
    pub flow: String,
    /// Its source connection.
    pub source: String,
    /// Its target connection.
    pub target: String,
    /// The data set that it writes to.
    pub data_set: String,
}

/// Seconds since 1970 by the machine's clock.
///
/// # Panics
/// If the clock stands before 1970.
#[expect(clippy::disallowed_methods, reason = "a client of the API says by its own clock when a flow begins")]
pub fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_else(|error| panic!("the clock stands before 1970: {error}")).as_secs()
}

impl World {
    /// Creates a flow that copies one table once, now, with everything that it needs; see [`CopyOnce`].
    ///
    /// # Errors
    /// One of the calls does not answer as the tutorial says.
    pub async fn copy_once(&self, connection: &str, spec_name: &str, table: &str) -> Result<CopyOnce> {
        self.copy_at(now_s(), connection, spec_name, table).await
    }

    /// As [`Self::copy_once`], at a moment in seconds since 1970.
    ///
    /// # Errors
    /// One of the calls does not answer as the tutorial says.
    pub async fn copy_at(&self, start_s: u64, connection: &str, spec_name: &str, table: &str) -> Result<CopyOnce> {
        let source = self.source_of(connection, spec_name, table).await?;
        let data_set = self.data_set(table).await?;
        let target = self.target_of(&data_set).await?;
        let flow = self.flow_body(table, &source, &target, start_s).await?;
        let flow = self.create(&format!("{FLOW_SERVICE}/flows"), &flow).await?;
        Ok(CopyOnce { flow, source, target, data_set })
    }

    /// Creates a source connection of one table.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn source_of(&self, connection: &str, spec_name: &str, table: &str) -> Result<String> {
        let source = json!({
            "name": table, "baseConnectionId": connection,
            "connectionSpec": self.spec("connectionSpecs", spec_name).await?,
            "data": {"format": "tabular"}, "params": {"tableName": table},
        });
        self.create(&format!("{FLOW_SERVICE}/sourceConnections"), &source).await
    }

    /// Creates a data set.
    ///
    /// # Errors
    /// The Catalog refuses it.
    pub async fn data_set(&self, name: &str) -> Result<String> {
        let made = self.post(&format!("{CATALOG}/dataSets"), &json!({"name": name})).await?;
        let id = made.body[0].as_str().and_then(|link| link.strip_prefix("@/dataSets/"));
        Ok(id.with_context(|| format!("no data set: {} {}", made.status, made.body))?.to_owned())
    }

    /// Creates a target connection into a data set.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn target_of(&self, data_set: &str) -> Result<String> {
        let lake = json!({"id": DATA_LAKE_SPEC, "version": "1.0"});
        let target = json!({"name": data_set, "connectionSpec": lake, "data": {}, "params": {"dataSetId": data_set}});
        self.create(&format!("{FLOW_SERVICE}/targetConnections"), &target).await
    }

    /// What `POST /flows` takes for a flow that copies a table once, at a moment in seconds since 1970.
    ///
    /// # Errors
    /// The server doesn't know the tutorial's flow spec.
    pub async fn flow_body(&self, name: &str, source: &str, target: &str, start_s: u64) -> Result<Value> {
        Ok(json!({
            "name": name, "flowSpec": self.spec("flowSpecs", "CRMToAEP").await?,
            "sourceConnectionIds": [source], "targetConnectionIds": [target],
            "scheduleParams": {"startTime": start_s.to_string(), "frequency": "once"},
        }))
    }

    /// Creates a base connection from a connection string.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn connect(&self, spec_name: &str, connection_string: &str) -> Result<String> {
        let body = json!({
            "name": "a test database", "connectionSpec": self.spec("connectionSpecs", spec_name).await?,
            "auth": {
                "specName": "Connection String Based Authentication",
                "params": {"connectionString": connection_string},
            },
        });
        self.create(&format!("{FLOW_SERVICE}/connections"), &body).await
    }

    /// The id and version of a spec by its name, as bodies refer to it.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn spec(&self, collection: &str, name: &str) -> Result<Value> {
        let items = self.items(collection, &format!("name==\"{name}\"")).await?;
        let id = items.first().and_then(|spec| spec["id"].as_str());
        Ok(json!({"id": id.with_context(|| format!("{collection} has no {name}"))?, "version": "1.0"}))
    }

    /// Waits until the flow's newest run has ended, and returns its record.
    ///
    /// # Errors
    /// It doesn't end in time.
    pub async fn finished_run(&self, flow: &str, seconds_max: u64) -> Result<Value> {
        let newest = async || {
            let runs = self.items("runs", &format!("flowId=={flow}")).await?;
            Ok(runs.into_iter().next().unwrap_or_default())
        };
        self.until_ended(newest, seconds_max).await
    }

    /// Waits until this run has ended, and returns its record.
    ///
    /// # Errors
    /// It doesn't end in time.
    pub async fn ended_run(&self, run: &str, seconds_max: u64) -> Result<Value> {
        self.until_ended(async || self.document("runs", run).await, seconds_max).await
    }

    async fn until_ended(&self, look: impl AsyncFn() -> Result<Value>, seconds_max: u64) -> Result<Value> {
        let start = Instant::now();
        loop {
            let run = look().await?;
            match run.pointer("/metrics/statusSummary/status").and_then(Value::as_str) {
                Some("success" | "failed") => return Ok(run),
                _ if start.elapsed() > Duration::from_secs(seconds_max) => {
                    bail!(
                        "the run did not end within {seconds_max} s: {run}; the server's log ends:\n{}",
                        self.log_tail()
                    )
                }
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The folder of a data set's Delta table.
    ///
    /// # Errors
    /// The Catalog doesn't know it.
    pub async fn table_dir(&self, data_set: &str) -> Result<PathBuf> {
        let answer = self.get(&format!("{CATALOG}/dataSets/{data_set}")).await?;
        let location = answer.body[data_set]["location"].as_str().and_then(|uri| uri.strip_prefix("file://"));
        Ok(PathBuf::from(location.with_context(|| format!("no location: {} {}", answer.status, answer.body))?))
    }
}
