//! `headwaters audit`: who did what to which version of what (flow-service.md 20).

use chrono::{DateTime, SecondsFormat};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use headwaters_control::ports::Clock;
use headwaters_store::{AUDIT_RECORDS, AuditQuery, AuditRecord};
use serde_json::{Value, json};

use crate::cli::{Audit, LIMIT_MAX, Output};
use crate::config::Config;
use crate::exit::CliError;
use crate::place::{Directory, with_causes};
use crate::wire::SystemClock;

/// Prints the newest records that were asked for, the newest last; says when there are more.
pub(crate) async fn run(arguments: Audit, config: &Config) -> Result<(), CliError> {
    let output = match arguments.output {
        Some(output) => output,
        None => super::parsed::<Output>(config, "output")?.unwrap_or(Output::Table),
    };
    let since = config.option(arguments.since, "since")?;
    let limit = config.option(arguments.limit, "limit")?.unwrap_or(AUDIT_RECORDS).clamp(1, LIMIT_MAX);
    let query = AuditQuery {
        since_ms: since.map(|since| since.at_ms(SystemClock.now_ms())),
        resource_id: config.option(arguments.resource, "resource")?,
        // One more than is shown tells whether there are more.
        limit: limit.saturating_add(1),
    };
    let directory = Directory::existing(arguments.place.data, config)?;
    let store = directory.read_store(config, directory.key_ring()?).await?;
    let found = store.audit(&query).await;
    store.close().await;
    let mut records = found.map_err(|error| CliError::other(with_causes(&error)))?;

    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    if records.len() > shown {
        records.truncate(shown);
        super::warn(&format!("only the newest {shown} records are shown; ask for more with --limit, or name --since"));
    }
    records.reverse();
    super::print(&match output {
        Output::Json => format!("{:#}", records.iter().map(json_of).collect::<Value>()),
        Output::Table => table_of(&records),
    })
}

fn json_of(record: &AuditRecord) -> Value {
    json!({
        "time": time(record),
        "status": status(record),
        "action": record.action,
        "collection": record.collection,
        "resourceId": record.resource_id,
        "etag": record.etag,
        "user": record.user,
        "client": record.client,
        "org": record.org,
        "sandboxId": record.sandbox,
        "requestId": record.request_id,
    })
}

fn table_of(records: &[AuditRecord]) -> String {
    let mut table = Table::new();
    let header = ["time", "status", "action", "collection", "resource", "etag", "client", "request"];
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header);
    for record in records {
        table.add_row([
            time(record).as_str(),
            status(record),
            &record.action,
            &record.collection,
            &record.resource_id,
            record.etag.as_deref().unwrap_or("-"),
            &record.client,
            record.request_id.as_deref().unwrap_or("-"),
        ]);
    }
    table.to_string()
}

/// The moment as RFC 3339, to the millisecond.
fn time(record: &AuditRecord) -> String {
    let moment = DateTime::from_timestamp_millis(record.at_ms).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn status(record: &AuditRecord) -> &'static str {
    if record.allowed { "allowed" } else { "denied" }
}
