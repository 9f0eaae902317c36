//! A table that is compared with what was landed of it: checksums of its parts, and rows that are shown.

use futures::FutureExt;
use futures::future::BoxFuture;
use headwaters_model::checksum::{CheckedColumn, Checksums, Cut, Form, Part, SHOWN_CHARS_MAX, ShownRow};
use headwaters_model::job::ReadRequest;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use tokio_util::sync::CancellationToken;

use super::{Checked, checked_columns, odd, read_sums, row_text, sums_list};
use crate::contract::{Compared, ComparedTable, Comparison, Pieces};
use crate::mysql::catalog::{TableDescription, quoted};
use crate::mysql::columns::RowLayout;
use crate::mysql::dsn::Parameters;
use crate::mysql::give_way::{self, Watch};
use crate::mysql::open::{self, Selection, Shape};
use crate::mysql::session::{self, Purpose, tagged};
use crate::mysql::snapshot::{self, Snapshot};
use crate::mysql::types::Decode;
use crate::mysql::wire::{ColumnDef, ColumnType, ConnectOptions, Connection, RowFormat, TextRow, TextRows};

/// What administrators see before each statement.
const COMMENT: &str = "headwaters verify";

/// One connection to a table, in one moment, which is that of the first question: until then nobody who wants to change
/// the table waits for us (see [`give_way`]), however long the lake is read before.
struct ComparedRows {
    state: State,
    cancel: CancellationToken,
    connect: ConnectOptions,
    described: TableDescription,
    /// The table's name in statements.
    quoted: String,
    table: ComparedTable,
    layout: RowLayout,
    defs: Vec<ColumnDef>,
    row_filter: Option<String>,
}

/// How far the connection has got.
enum State {
    /// It has not asked for rows yet.
    New(Connection),
    /// It shows one moment.
    Open(Connection, Watch),
    /// It is of no more use.
    Broken,
}

/// Opens a table: see [`crate::contract::Source::compare`].
pub(in crate::mysql) async fn compare(
    parameters: &Parameters,
    request: &ReadRequest,
    cancel: CancellationToken,
) -> Result<Box<dyn Comparison>, SourceError> {
    let mut first = session::open(&parameters.connect, Purpose::Reading).await?;
    let all = ReadRequest { columns: None, ..request.clone() };
    let Selection { table, mut columns, filter, .. } = open::select(&mut first, parameters, &all).await?;
    // What is named may be one that is landed on request only, and the key is wanted whatever is named.
    let named = open::named_columns(&table, request.columns.as_deref().unwrap_or_default())?;
    columns.extend(named.into_iter().filter(|column| !columns.contains(column)).collect::<Vec<_>>());
    if columns.is_empty() {
        let message = format!("the account may read no column of {}", table.name);
        return Err(SourceError::definite(SourceErrorKind::Privilege, message));
    }
    let Shape { layout, defs, .. } = open::shape(&mut first, parameters, &table, &columns, RowFormat::Binary).await?;
    let connect = parameters.connect.pinned_to(first.server().endpoint());
    let compared = compared_table(&table, &layout, &defs);
    Ok(Box::new(ComparedRows {
        state: State::New(first),
        cancel,
        connect,
        quoted: table.name.quoted(),
        table: compared,
        described: table,
        layout,
        defs,
        row_filter: filter.map(|filter| filter.spelt_out()),
    }))
}

fn compared_table(table: &TableDescription, layout: &RowLayout, defs: &[ColumnDef]) -> ComparedTable {
    let columns: Vec<CheckedColumn> =
        checked_columns(layout, defs, |_| false).into_iter().map(|checked| checked.column).collect();
    let key = table.row_keys().next();
    let key: Vec<String> = key.map_or_else(Vec::new, |key| key.columns.iter().map(|part| part.name.clone()).collect());
    let is_there = |name: &String| columns.iter().any(|column| column.name == *name);
    let key = if key.iter().all(is_there) { key } else { Vec::new() };
    let key_is_number = key.first().is_some_and(|first| {
        layout
            .landings()
            .iter()
            .zip(defs)
            .any(|(landing, def)| landing.field.name() == first && is_number(landing.decode, def))
    });
    ComparedTable { name: table.name.to_string(), columns, key, key_is_number, notes: snapshot::notes(table) }
}

/// Whether ranges of a column are ranges of what is landed for it. A YEAR is not one: the servers read a constant from 1 to
/// 99 as another year.
fn is_number(decode: Decode, def: &ColumnDef) -> bool {
    def.column_type != ColumnType::MYSQL_TYPE_YEAR
        && matches!(
            decode,
            Decode::Int8
                | Decode::Int16FromU8
                | Decode::Int16
                | Decode::Int32FromU16
                | Decode::Int32
                | Decode::Int64FromU32
                | Decode::Int64
                | Decode::DecimalFromU64
        )
}

impl ComparedRows {
    /// The columns in SQL, each in the form that was asked for.
    fn checked(&self, columns: &[CheckedColumn]) -> Result<Vec<Checked>, SourceError> {
        let known = checked_columns(&self.layout, &self.defs, |_| false);
        let find = |column: &CheckedColumn| {
            let known = known.iter().find(|known| known.column.name == column.name)?;
            let landing = self.layout.landings().iter().find(|landing| *landing.field.name() == column.name);
            Some(match landing {
                Some(landing) => Checked::of(landing.decode, column.clone(), &quoted(&column.name)),
                None => known.clone(),
            })
        };
        columns.iter().map(find).collect::<Option<Vec<_>>>().ok_or_else(|| odd("it is for a column that is not read"))
    }

    /// `FROM … WHERE …` for the rows of a part, and its key's hash.
    fn rows_of(&self, compared: &Compared, part: Part) -> Result<(String, String), SourceError> {
        let key = self.checked(if compared.key.is_empty() { &compared.columns } else { &compared.key })?;
        let hash = format!("CRC32({})", row_text(key.iter()));
        let mut conditions: Vec<String> = self.row_filter.iter().cloned().collect();
        if let (Some((lower, upper)), Some(first)) = (part.range, compared.key.first()) {
            let name = quoted(&first.name);
            conditions.push(format!("{name} >= {lower} AND {name} < {upper}"));
        }
        if part.hash.bits > 0 {
            conditions.push(format!("({hash} >> {}) = {}", 32 - part.hash.bits.min(32), part.hash.value));
        }
        let condition =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        Ok((format!("FROM {}{condition}", self.quoted), hash))
    }

    /// The statement whose rows are the pieces of a part.
    fn sums_sql(&self, compared: &Compared, part: Part, cut: Cut) -> Result<String, SourceError> {
        let (from, hash) = self.rows_of(compared, part)?;
        let list = sums_list(&self.checked(&compared.columns)?);
        let piece = match (cut, part.range, compared.key.first()) {
            (Cut::Whole, ..) => return Ok(format!("SELECT 0, {list} {from}")),
            (Cut::Range { width }, Some((lower, _)), Some(first)) => {
                format!("(CAST({} AS DECIMAL(21,0)) - ({lower})) DIV {width}", quoted(&first.name))
            }
            (Cut::Hash { bits }, ..) => {
                format!("(({hash} << {}) & 4294967295) >> {}", part.hash.bits, 32 - bits.min(32))
            }
            (Cut::Range { .. }, ..) => return Err(odd("it is for ranges of a key that is no number")),
        };
        Ok(format!("SELECT {piece} AS piece, {list} {from} GROUP BY piece"))
    }

    /// Asks in the moment of the first question. An error leaves nothing that could be asked again.
    async fn query(&mut self, sql: &str) -> Result<TextRows, SourceError> {
        let (mut connection, watch) = match std::mem::replace(&mut self.state, State::Broken) {
            State::New(first) => {
                let Snapshot { mut connections, .. } = snapshot::open(first, &self.connect, &self.described, 1).await?;
                let only = connections.pop().ok_or_else(|| odd("there is no connection"))?;
                (only, Watch::over(self.described.name.clone(), self.connect.clone()))
            }
            State::Open(connection, watch) => (connection, watch),
            State::Broken => {
                let message = format!("{} was compared after an error", self.table.name);
                return Err(SourceError::transient(SourceErrorKind::Lost, message));
            }
        };
        let sql = tagged(COMMENT, sql);
        let outcome = tokio::select! {
            biased;
            () = self.cancel.cancelled() => {
                let message = format!("comparing {} was cancelled", self.table.name);
                Err(SourceError::definite(SourceErrorKind::Cancelled, message))
            }
            () = watch.somebody_waits() => Err(give_way::gave_way(&self.table.name)),
            answer = connection.query_unhurried(&sql) => answer,
        };
        match &outcome {
            Ok(_) => self.state = State::Open(connection, watch),
            Err(_) => connection.abandon().await,
        }
        outcome
    }

    async fn pieces(&mut self, compared: &Compared, part: Part, cut: Cut) -> Result<Pieces, SourceError> {
        let answer = self.query(&self.sums_sql(compared, part, cut)?).await?;
        let mut pieces = Pieces::new();
        for row in &answer {
            let number = text(row, 0)?.parse().map_err(|_| odd("a piece has no number"))?;
            let sums: Checksums = read_sums(row, 1, compared.columns.len())?;
            if sums.rows > 0 {
                pieces.insert(number, sums);
            }
        }
        Ok(pieces)
    }

    async fn shown_rows(
        &mut self,
        compared: &Compared,
        part: Part,
        rows_max: usize,
    ) -> Result<Vec<ShownRow>, SourceError> {
        let (from, _) = self.rows_of(compared, part)?;
        let (key, columns) = (self.checked(&compared.key)?, self.checked(&compared.columns)?);
        let mut cells: Vec<String> = key.iter().map(whole_value).collect();
        for checked in &columns {
            cells.push(format!("CRC32({})", checked.sql));
            cells.push(format!("LEFT({}, {SHOWN_CHARS_MAX})", whole_value(checked)));
        }
        let answer = self.query(&format!("SELECT {} {from} LIMIT {rows_max}", cells.join(", "))).await?;
        let shown = |row: &TextRow| -> Result<ShownRow, SourceError> {
            let mut out = ShownRow { key: Vec::new(), crcs: Vec::new(), shown: Vec::new() };
            for place in 0..key.len() {
                // Of a key that is landed as null (a date that does not exist) null is all that both sides know.
                out.key.push(row.at(place).map(|_| text(row, place)).transpose()?);
            }
            for place in (key.len()..key.len() + 2 * columns.len()).step_by(2) {
                let crc = row.at(place).map(|_| text(row, place)?.parse().map_err(|_| odd("a CRC is no number")));
                out.crcs.push(crc.transpose()?);
                out.shown.push(row.at(place + 1).map(|_| text(row, place + 1)).transpose()?);
            }
            Ok(out)
        };
        answer.rows().iter().map(shown).collect()
    }

    async fn ends(&mut self) -> Result<Option<(i128, i128)>, SourceError> {
        let Some(first) = self.table.key.first().map(|name| quoted(name)) else { return Ok(None) };
        let answer = self.query(&format!("SELECT MIN({first}), MAX({first}) FROM {}", self.quoted)).await?;
        let Some(row) = answer.first().filter(|row| row.at(0).is_some()) else { return Ok(None) };
        let end = |place| text(row, place)?.parse::<i128>().map_err(|_| odd("a key is no number"));
        Ok(Some((end(0)?, end(1)?)))
    }
}

/// A value as it is shown, unclipped.
fn whole_value(checked: &Checked) -> String {
    match checked.column.form.is_binary() {
        true => format!("HEX({})", checked.sql),
        // A number has no character set, and what cuts texts would take it for bytes.
        false if matches!(checked.column.form, Form::Text { .. }) => checked.sql.clone(),
        false => format!("CAST({} AS CHAR)", checked.sql),
    }
}

fn text(row: &TextRow, place: usize) -> Result<String, SourceError> {
    let bytes = row.at(place).ok_or_else(|| odd("a cell is null"))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

impl Comparison for ComparedRows {
    fn table(&self) -> &ComparedTable {
        &self.table
    }

    fn key_ends(&mut self) -> BoxFuture<'_, Result<Option<(i128, i128)>, SourceError>> {
        self.ends().boxed()
    }

    fn sums<'a>(
        &'a mut self,
        compared: &'a Compared,
        part: Part,
        cut: Cut,
    ) -> BoxFuture<'a, Result<Pieces, SourceError>> {
        self.pieces(compared, part, cut).boxed()
    }

    fn rows<'a>(
        &'a mut self,
        compared: &'a Compared,
        part: Part,
        rows_max: usize,
    ) -> BoxFuture<'a, Result<Vec<ShownRow>, SourceError>> {
        self.shown_rows(compared, part, rows_max).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            if let State::New(connection) | State::Open(connection, _) = self.state {
                connection.close().await;
            }
        }
        .boxed()
    }
}
