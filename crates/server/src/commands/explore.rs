//! `headwaters explore`: what a source shows, on a terminal or as JSON.

use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use headwaters_model::explore::{ColumnType, ExploredTable, ListedTable};
use headwaters_source::contract::Preview;
use serde_json::Value;

use super::source_argument::SourceArgument;
use crate::cli::{Explore, Output};
use crate::config::Config;
use crate::exit::CliError;

/// Lists the tables, or shows one.
pub(crate) async fn run(arguments: Explore, config: &Config) -> Result<(), CliError> {
    let output = match arguments.output {
        Some(output) => output,
        None => super::parsed::<Output>(config, "output")?.unwrap_or(Output::Table),
    };
    let source = SourceArgument::open(&arguments.source)?;
    let text = match arguments.table {
        None => {
            let tables = source.source.list(&source.access).await?;
            match output {
                Output::Json => pretty(&tables.iter().map(ListedTable::to_wire).collect()),
                Output::Table => list_table(&tables),
            }
        }
        Some(table) => {
            let preview = arguments.preview.map(|rows| Preview { rows, filter: None });
            let table = source.source.describe(&source.access, &table, preview).await?;
            match output {
                Output::Json => pretty(&table.to_wire()),
                Output::Table => table_text(&table),
            }
        }
    };
    super::print(&text)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

fn list_table(tables: &[ListedTable]) -> String {
    let mut shown = framed(&["table", "kind", "readable"]);
    for table in tables {
        shown.add_row([table.path.as_str(), table.kind.name(), if table.readable { "yes" } else { "no: broken view" }]);
    }
    shown.to_string()
}

fn table_text(table: &ExploredTable) -> String {
    let mut columns = framed(&["column", "type"]);
    for column in &table.columns {
        let name = if column.column_type == ColumnType::DateTime { "date-time" } else { column.column_type.name() };
        columns.add_row([column.name.as_str(), name]);
    }
    let mut text = format!("{}\n{columns}", table.path);
    if let Some(rows) = &table.preview {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let mut preview = framed(&names);
        for row in rows {
            preview.add_row(names.iter().map(|name| cell(row.get(*name))));
        }
        text.push_str(&format!("\n{preview}"));
    }
    text
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "NULL".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn framed(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}
