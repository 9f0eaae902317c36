//! Opens a table for reading: finds it, plans it, and connects its readers in one moment.

use std::sync::Arc;

use headwaters_model::job::ReadRequest;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use tokio_util::sync::CancellationToken;

use super::catalog::{self, ColumnDescription, Estimates, ObjectKind, TableDescription};
use super::columns::{BatchLimits, RowLayout};
use super::dsn::Parameters;
use super::filter::{self, Condition};
use super::frozen::{self, Resumed, Standing};
use super::give_way::Watch;
use super::increment::{self, Column, Subject};
use super::plan::{self, SplitPlan};
use super::read::{Reader, TableRead, fits, select_list};
use super::session::{self, Purpose};
use super::snapshot::{self, Snapshot};
use super::types::{Landing, ServerType};
use super::wire::{ColumnDef, ConnectOptions, Connection, ROW_BYTES_MAX, RowFormat};
use crate::contract::{OpenTable, ReadLimits, ReadPlan, SplitReader};

/// The most that a batch may hold: with the widest row it must still be counted by 32-bit offsets.
pub(super) const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What MySQL 8 names the key that it makes for a table without one (mysql-sources.md 8.4).
const GENERATED_KEY: &str = "my_row_id";

/// Errors that say that a statement cannot be prepared here, though it can be run: not supported, and too many of them.
const NOT_PREPARED: [u16; 2] = [1295, 1461];

/// A table that was found, with what is read of it.
pub(super) struct Selection {
    pub(super) table: TableDescription,
    pub(super) columns: Vec<ColumnDescription>,
    pub(super) filter: Option<Condition>,
    /// The column by which rows are chosen.
    pub(super) delta: Option<Column>,
}

/// How many columns a note names.
const COLUMNS_NAMED_MAX: usize = 20;

/// Finds the table of a request and checks its columns and its filter.
pub(super) async fn select(
    connection: &mut Connection,
    parameters: &Parameters,
    request: &ReadRequest,
) -> Result<Selection, SourceError> {
    let name = catalog::resolve(connection, parameters.connect.database.as_deref(), &request.table).await?;
    let table = catalog::describe(connection, &name).await?;
    let columns = match &request.columns {
        None => table.columns.iter().filter(|column| column.selectable && !is_generated_key(column)).cloned().collect(),
        Some(names) => named_columns(&table, names)?,
    };
    let filter = request.filter.as_ref().map(|document| filter::condition(document, &table, &parameters.rules));
    let delta = request.delta.as_ref().map(|delta| increment::find(delta, &table, &parameters.rules)).transpose()?;
    Ok(Selection { filter: filter.transpose()?, delta, columns, table })
}

/// Tells of columns that the account may not read, so that nobody takes the rest for the table. They are named as far as
/// the account may see their names: those without any privilege are hidden, and only `SELECT *` fails.
async fn left_out(connection: &mut Connection, table: &TableDescription) -> Result<Option<String>, SourceError> {
    let quoted = table.name.quoted();
    match connection.prepare(&format!("SELECT * FROM {quoted}")).await {
        Ok(statement) => {
            connection.close_statement(statement).await?;
            return Ok(None);
        }
        Err(error) if error.fault().kind == SourceErrorKind::Privilege => {}
        Err(error) if not_prepared(&error) => return Ok(None),
        Err(error) => return Err(error),
    }
    let names: Vec<&str> =
        table.columns.iter().filter(|column| !column.selectable).map(|column| column.name.as_str()).collect();
    let shown = match names.get(..names.len().min(COLUMNS_NAMED_MAX)).unwrap_or_default() {
        [] => "their names are hidden too".to_owned(),
        shown => shown.join(", "),
    };
    let more = if names.len() > COLUMNS_NAMED_MAX { ", …" } else { "" };
    Ok(Some(format!(
        "columns are left out, because the account may not read them ({shown}{more}): GRANT SELECT ON {quoted}"
    )))
}

/// MySQL's generated invisible key is landed on request only; what a person made invisible is landed like the rest.
fn is_generated_key(column: &ColumnDescription) -> bool {
    column.invisible && column.name == GENERATED_KEY
}

pub(super) fn named_columns(table: &TableDescription, names: &[String]) -> Result<Vec<ColumnDescription>, SourceError> {
    let mut columns: Vec<ColumnDescription> = Vec::with_capacity(names.len());
    for name in names {
        let Some(column) = table.column(name) else {
            let message = format!("the table {} has no column '{name}'", table.name);
            return Err(SourceError::definite(SourceErrorKind::UnknownColumn, message));
        };
        if !columns.contains(column) {
            columns.push(column.clone());
        }
    }
    Ok(columns)
}

/// Opens a table: see [`crate::contract::Source::open`].
pub(super) async fn open(
    parameters: &Parameters,
    request: &ReadRequest,
    limits: &ReadLimits,
    format: RowFormat,
    cancel: CancellationToken,
) -> Result<OpenTable, SourceError> {
    let mut first = session::open(&parameters.connect, Purpose::Reading).await?;
    let server = snapshot::identity(&mut first).await?;
    let Selection { table, columns, filter, delta } = select(&mut first, parameters, request).await?;
    if columns.is_empty() {
        return Err(no_columns(&table));
    }
    let Shape { layout, defs, format } = shape(&mut first, parameters, &table, &columns, format).await?;
    let estimates = estimates(&mut first, &table).await?;
    let note = if request.columns.is_none() { left_out(&mut first, &table).await? } else { None };
    let standing = Standing::of(&server, request, &table, &columns);
    let resumed = Resumed::of(limits.resume.as_ref(), &standing, &table)?;
    let chosen = match (&resumed, &delta) {
        (Some(resumed), _) => resumed.chosen(),
        (None, Some(column)) => {
            let filter = filter.as_ref();
            let asked_filter = request.filter.as_ref();
            let subject = Subject { table: &table, column, estimates, filter, asked_filter, server: &server };
            increment::choose(&mut first, &subject, request.delta.as_ref(), &cancel).await?
        }
        (None, None) => None,
    };
    let filter = Condition::all([filter, chosen.as_ref().map(|chosen| chosen.condition.clone())]);
    let readers_max = limits.readers_max.max(1);
    let plan = match &resumed {
        Some(resumed) => resumed.plan(),
        None => {
            let window = filter.as_ref().filter(|_| chosen.is_some());
            plan::plan(&mut first, &table, estimates, request.splits, readers_max, window).await?
        }
    };
    // From here on every connection meets the server that the first one met.
    let connect = parameters.connect.pinned_to(first.server().endpoint());
    let (plan, snapshot) = in_one_moment(first, &connect, &table, plan, resumed.as_ref(), readers_max).await?;
    let watch = Arc::new(Watch::over(table.name.clone(), connect));
    let said = chosen.iter().flat_map(|chosen| &chosen.notes);
    let notes =
        parameters.notes.iter().chain(&note).chain(said).chain(&plan.note).cloned().chain(snapshot.notes).collect();
    let mut public = ReadPlan {
        table: table.name.to_string(),
        server: Some(server),
        schema: layout.schema().clone(),
        splits: plan.splits.clone(),
        rows_estimate: estimates.rows,
        diagnostics: layout.diagnostics(),
        reached: chosen.as_ref().and_then(|chosen| chosen.reached.clone()),
        window: chosen.as_ref().and_then(|chosen| chosen.window),
        frozen: None,
        notes,
    };
    frozen::freeze(&mut public, limits, standing, &table, &plan, chosen.as_ref(), resumed);
    let comment = limits.comment.clone();
    let row_bytes_max = parameters.connect.row_bytes_max.max(ROW_BYTES_MAX);
    let read = Arc::new(TableRead {
        table: table.name.quoted(),
        plan,
        layout,
        format,
        filter,
        defs,
        comment,
        row_bytes_max,
        checksums: limits.checksums && sees_twice(&table),
    });
    let batch = batch_limits(limits);
    let reader = |connection| -> Box<dyn SplitReader> {
        Box::new(Reader::new(connection, read.clone(), batch, cancel.clone(), watch.clone()))
    };
    Ok(OpenTable { plan: public, readers: snapshot.connections.into_iter().map(reader).collect() })
}

/// How large the table is; what is behind a view is not known.
async fn estimates(connection: &mut Connection, table: &TableDescription) -> Result<Estimates, SourceError> {
    match table.kind {
        ObjectKind::View => Ok(Estimates::default()),
        ObjectKind::Table | ObjectKind::SystemVersioned => catalog::estimates(connection, &table.name).await,
    }
}

fn batch_limits(limits: &ReadLimits) -> BatchLimits {
    BatchLimits { rows_max: limits.batch_rows_max.max(1), bytes_max: limits.batch_bytes_max.clamp(1, BATCH_BYTES_MAX) }
}

/// Opens the snapshot, and proves the cut in it. One that does not hold is given up, unless an earlier attempt has begun to
/// read by it.
async fn in_one_moment(
    first: Connection,
    connect: &ConnectOptions,
    table: &TableDescription,
    plan: SplitPlan,
    resumed: Option<&Resumed>,
    readers_max: u32,
) -> Result<(SplitPlan, Snapshot), SourceError> {
    let busy = resumed.map_or(u32::try_from(plan.splits.len()).unwrap_or(u32::MAX), Resumed::readers);
    let mut snapshot = snapshot::open(first, connect, table, readers_max.min(busy)).await?;
    if let Some(connection) = snapshot.connections.first_mut()
        && !plan.is_proven(connection).await?
    {
        if let Some(resumed) = resumed {
            return Err(resumed.not_proven());
        }
        snapshot.narrow().await;
        return Ok((plan.uncut(&table.name), snapshot));
    }
    Ok((plan, snapshot))
}

/// That there is nothing to read, for want of a privilege.
pub(super) fn no_columns(table: &TableDescription) -> SourceError {
    let message = format!("the account may read no column of {}", table.name);
    let hint = format!("GRANT SELECT ON {} TO the account", table.name.quoted());
    SourceError::definite(SourceErrorKind::Privilege, message).with_hint(hint)
}

/// Whether a connection sees the same rows when it looks again. What a view shows is taken for such; where it is not, the
/// comparison fails and says so.
fn sees_twice(table: &TableDescription) -> bool {
    table.is_transactional() || table.kind == ObjectKind::View
}

/// The cells of a table's rows and their definitions.
pub(super) struct Shape {
    pub(super) layout: RowLayout,
    pub(super) defs: Vec<ColumnDef>,
    pub(super) format: RowFormat,
}

/// Asks the server for the definitions of the columns and decides what each becomes: by discovery, but by the wire for
/// views, whose columns `information_schema` may describe wrongly, and wherever the two contradict each other.
pub(super) async fn shape(
    connection: &mut Connection,
    parameters: &Parameters,
    table: &TableDescription,
    columns: &[ColumnDescription],
    format: RowFormat,
) -> Result<Shape, SourceError> {
    let key: Vec<String> =
        table.row_keys().next().map_or_else(Vec::new, |key| key.columns.iter().map(|part| part.name.clone()).collect());
    let landing = |column: &ColumnDescription, server: &ServerType| {
        Landing::of(&column.name, server, column.nullable, &parameters.rules)
    };
    let declared: Vec<Landing> = columns.iter().map(|column| landing(column, &column.server_type())).collect();
    let declared = RowLayout::new(declared, &key);
    let (defs, format) = definitions(connection, table, &declared, format).await?;
    let by_wire = |(column, (declared, def)): (&ColumnDescription, (&Landing, &ColumnDef))| {
        let trusted = !declared.unknown && fits(declared.decode, def, format);
        let vague = table.kind == ObjectKind::View && !matches!(column.data_type.as_str(), "enum" | "set");
        if trusted && !vague { declared.clone() } else { landing(column, &wire_type(column, def)) }
    };
    let landings = columns.iter().zip(declared.landings().iter().zip(&defs)).map(by_wire).collect();
    let layout = RowLayout::new(landings, &key);
    if layout.flagged() == declared.flagged() {
        return Ok(Shape { layout, defs, format });
    }
    let (defs, format) = definitions(connection, table, &layout, format).await?;
    Ok(Shape { layout, defs, format })
}

/// What the wire says of a column; a type that discovery does not know stays unknown, with the wire's word on whether
/// it is text.
fn wire_type(column: &ColumnDescription, def: &ColumnDef) -> ServerType {
    match (column.server_type(), ServerType::on_wire(def)) {
        (ServerType::Unknown { .. }, ServerType::Binary { .. }) => ServerType::Unknown { binary: true },
        (ServerType::Unknown { .. }, ServerType::Text) => ServerType::Unknown { binary: false },
        (_, on_wire) => on_wire,
    }
}

/// The definitions of the result's columns, in the protocol asked for, or in text where statements cannot be prepared.
async fn definitions(
    connection: &mut Connection,
    table: &TableDescription,
    layout: &RowLayout,
    format: RowFormat,
) -> Result<(Vec<ColumnDef>, RowFormat), SourceError> {
    if format == RowFormat::Binary {
        let sql = format!("SELECT {} FROM {}", select_list(layout, format), table.name.quoted());
        match connection.prepare(&sql).await {
            Ok(statement) => {
                let defs = statement.columns().to_vec();
                connection.close_statement(statement).await?;
                return Ok((defs, format));
            }
            Err(error) if not_prepared(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let list = select_list(layout, RowFormat::Text);
    let answer = connection.query(&format!("SELECT {list} FROM {} LIMIT 0", table.name.quoted())).await?;
    Ok((answer.columns().to_vec(), RowFormat::Text))
}

/// Whether a statement cannot be prepared here, though it can be run.
pub(super) fn not_prepared(error: &SourceError) -> bool {
    matches!(error.fault().kind, SourceErrorKind::Server { number } if NOT_PREPARED.contains(&number))
}
