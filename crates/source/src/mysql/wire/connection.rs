//! One connection: statements in, results out.
//!
//! **Invariant.** `busy` is set from before a command is sent until its answer was read to the end. A connection that is
//! busy when a new command comes was left in the middle, and refuses: what it would read belongs to somebody else.

mod leave;

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwaters_model::source_error::{SourceError, SourceErrorKind};
use mysql_common::constants::{CapabilityFlags, Command, StatusFlags};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{ComStmtClose, ComStmtExecuteRequestBuilder, StmtPacket};
use mysql_common::proto::MySerialize;
use mysql_common::value::Value;

use super::column::{ColumnDef, Columns};
use super::handshake;
use super::hosts::{in_order, no_host, within};
use super::options::ConnectOptions;
use super::packets::{ERROR, Packets, ROW_BYTES_MAX};
use super::rows::{END, OLD_END_BYTES_MAX, RowFormat, Rows};
use super::server::{Flavour, Server};
use super::statement::{Param, Statement};
use super::text::{QUERY_BYTES_MAX, QUERY_ROWS_MAX, TextRow, TextRows};
use crate::mysql::errors::{self, Peer};

/// The first byte of an answer without rows.
const OK: u8 = 0x00;
/// The first byte with which a server asks for a file of ours.
const FILE_REQUEST: u8 = 0xFB;
/// The most columns that a result may have; the servers stop at 4,096.
const COLUMNS_MAX: u64 = 4_096;

/// A connection that passed authentication. One statement at a time.
#[derive(Debug)]
pub struct Connection {
    pub(super) packets: Packets,
    server: Server,
    options: Arc<ConnectOptions>,
    peer: Peer,
    busy: bool,
    may_kill: bool,
    opened_at: Instant,
}

impl Connection {
    /// Connects to the first host that lets us in: TCP or socket, greeting, TLS, authentication.
    ///
    /// The session's variables are as the server sets them; mysql-sources.md 6 is up to the caller. A host that can't be
    /// reached or has no room gives way to the next one; one that refuses the account ends the search.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, SourceError> {
        Self::open(Arc::new(options.clone()), true).await
    }

    /// A connection whose server is a test.
    #[cfg(test)]
    pub(super) fn scripted(packets: Packets, capabilities: CapabilityFlags) -> Self {
        let options = Arc::new(ConnectOptions::default());
        let endpoint = super::options::Endpoint::Tcp { host: "test".to_owned(), port: 1 };
        let peer = Peer { flavour: Flavour::MySql, endpoint: endpoint.clone(), user: "tester".to_owned(), tls: false };
        let server = Server::scripted(capabilities, endpoint);
        Self { packets, server, options, peer, busy: false, may_kill: false, opened_at: Instant::now() }
    }

    pub(super) async fn open(options: Arc<ConnectOptions>, may_kill: bool) -> Result<Self, SourceError> {
        let mut last = None;
        for endpoint in in_order(&options) {
            let attempt = handshake::establish(&options, endpoint);
            let connected =
                within(options.connect_timeout, attempt, |limit| errors::connect_timed_out(endpoint, limit)).await;
            match connected {
                Ok((packets, server, peer)) => {
                    let (options, opened_at) = (options.clone(), Instant::now());
                    return Ok(Self { packets, server, options, peer, busy: false, may_kill, opened_at });
                }
                Err(error @ SourceError::Transient(_)) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(no_host))
    }

    /// Who answered, and how we came in.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Tells Percona Server from MySQL by `@@version_comment`, which the greeting doesn't carry.
    pub fn note_version_comment(&mut self, comment: &str) {
        if self.server.flavour() == Flavour::MySql && comment.contains("Percona") {
            self.server.flavour = Flavour::Percona;
            self.peer.flavour = Flavour::Percona;
        }
    }

    /// Sends a statement whose rows, if it has any, do not matter.
    ///
    /// Like all of the metadata statements it ends after [`ConnectOptions::statement_timeout`], in an error that leaves
    /// the connection useless; dropping that kills the statement.
    pub async fn execute(&mut self, sql: &str) -> Result<(), SourceError> {
        self.query(sql).await.map(drop)
    }

    /// Sends a statement with a small result, at most [`QUERY_ROWS_MAX`] rows and [`QUERY_BYTES_MAX`] bytes.
    pub async fn query(&mut self, sql: &str) -> Result<TextRows, SourceError> {
        self.small_result(sql, self.options.statement_timeout).await
    }

    /// Like [`Connection::query`], of a statement that reads a whole table on the server: it may take as long as it takes.
    pub async fn query_unhurried(&mut self, sql: &str) -> Result<TextRows, SourceError> {
        self.small_result(sql, None).await
    }

    async fn small_result(&mut self, sql: &str, limit: Option<Duration>) -> Result<TextRows, SourceError> {
        let mut rows = Vec::new();
        let mut bytes_held = 0;
        let keep = |row: TextRow| {
            bytes_held += row.bytes_held();
            rows.push(row);
            match rows.len() > QUERY_ROWS_MAX || bytes_held > QUERY_BYTES_MAX {
                true => Err(too_long()),
                false => Ok(()),
            }
        };
        let columns = self.each_row(sql, limit, keep).await?;
        Ok(TextRows { columns, rows })
    }

    /// Sends a statement with a long result and hands on each row; an error of `each` leaves the connection useless.
    pub async fn query_each(
        &mut self,
        sql: &str,
        each: impl FnMut(TextRow) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        self.each_row(sql, self.options.statement_timeout, each).await.map(drop)
    }

    async fn each_row(
        &mut self,
        sql: &str,
        limit: Option<Duration>,
        mut each: impl FnMut(TextRow) -> Result<(), SourceError>,
    ) -> Result<Columns, SourceError> {
        let peer = self.peer.clone();
        let reading = async {
            let mut rows = self.stream_text(sql).await?;
            let columns = rows.shared_columns();
            loop {
                while let Some(packet) = rows.next_buffered()? {
                    let row = TextRow::parse(packet, &columns);
                    each(row.ok_or_else(unreadable_row)?)?;
                }
                if !rows.fill().await? {
                    return if rows.rows_too_large() == 0 { Ok(columns) } else { Err(too_long()) };
                }
            }
        };
        within(limit, reading, |limit| statement_timed_out(&peer, limit)).await
    }

    /// Prepares a statement. The server keeps it until [`Connection::close_statement`] or the end of the connection.
    pub async fn prepare(&mut self, sql: &str) -> Result<Statement, SourceError> {
        let limit = self.options.statement_timeout;
        let peer = self.peer.clone();
        within(limit, self.prepare_without_limit(sql), |limit| statement_timed_out(&peer, limit)).await
    }

    async fn prepare_without_limit(&mut self, sql: &str) -> Result<Statement, SourceError> {
        self.begin(&command(Command::COM_STMT_PREPARE, sql.as_bytes())).await?;
        let packet = self.packet().await?;
        if packet.first() == Some(&ERROR) {
            return Err(self.refused_by(&packet));
        }
        let Ok(prepared) = ParseBuf(&packet).parse::<StmtPacket>(()) else {
            return Err(self.out_of_step("the answer to a statement to be prepared can not be read"));
        };
        let params = usize::from(prepared.num_params());
        self.definitions(params).await?;
        let columns = self.definitions(usize::from(prepared.num_columns())).await?;
        self.busy = false;
        let connection_id = self.server.connection_id;
        Ok(Statement { id: prepared.statement_id(), connection_id, params, columns })
    }

    /// Lets the server forget a statement. It doesn't answer.
    pub async fn close_statement(&mut self, statement: Statement) -> Result<(), SourceError> {
        let mut request = Vec::new();
        ComStmtClose::new(statement.id).serialize(&mut request);
        self.begin(&request).await?;
        self.busy = false;
        Ok(())
    }

    /// Runs a prepared statement and reads its rows in the binary protocol as they arrive, without a cursor.
    ///
    /// The statement must come from this connection and get as many values as it has parameters.
    pub async fn stream<'a>(&'a mut self, statement: &Statement, params: &[Param]) -> Result<Rows<'a>, SourceError> {
        if statement.connection_id != self.server.connection_id || statement.params != params.len() {
            return Err(misuse("a statement was run on another connection, or with a wrong number of values"));
        }
        let values: Vec<Value> = params.iter().map(Value::from).collect();
        let (request, too_long) = ComStmtExecuteRequestBuilder::new(statement.id).build(&values);
        if too_long {
            return Err(misuse("the values of a statement are longer than one packet"));
        }
        let mut payload = Vec::new();
        request.serialize(&mut payload);
        self.rows(&payload, RowFormat::Binary).await
    }

    /// Sends a statement and reads its rows in the text protocol as they arrive.
    pub async fn stream_text<'a>(&'a mut self, sql: &str) -> Result<Rows<'a>, SourceError> {
        self.rows(&command(Command::COM_QUERY, sql.as_bytes()), RowFormat::Text).await
    }

    async fn rows(&mut self, request: &[u8], format: RowFormat) -> Result<Rows<'_>, SourceError> {
        self.begin(request).await?;
        let packet = self.packet().await?;
        match packet.first() {
            Some(&OK) => {
                self.finish(&packet)?;
                Ok(Rows::new(self, Arc::from([]), format, true))
            }
            Some(&ERROR) => Err(self.refused_by(&packet)),
            Some(&FILE_REQUEST) => Err(self.out_of_step("the server asks for a file of this machine")),
            _ => {
                let count =
                    ParseBuf(&packet).checked_eat_lenenc_int().filter(|count| (1..=COLUMNS_MAX).contains(count));
                let Some(count) = count.and_then(|count| usize::try_from(count).ok()) else {
                    return Err(self.out_of_step("the answer to a statement can not be read"));
                };
                let columns = self.definitions(count).await?;
                Ok(Rows::new(self, columns, format, false))
            }
        }
    }

    /// Reads so many column definitions and what ends them.
    async fn definitions(&mut self, count: usize) -> Result<Columns, SourceError> {
        let extended = !self.server.extended.is_empty();
        let mut columns = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            let packet = self.packet().await?;
            match ColumnDef::parse(&packet, extended) {
                Some(column) => columns.push(column),
                None if packet.first() == Some(&ERROR) => return Err(self.refused_by(&packet)),
                None => return Err(self.out_of_step("the definition of a column can not be read")),
            }
        }
        if count > 0 && !self.deprecates_eof() {
            let packet = self.packet().await?;
            match packet.first() {
                Some(&END) if packet.len() <= OLD_END_BYTES_MAX => {}
                Some(&ERROR) => return Err(self.refused_by(&packet)),
                _ => return Err(self.out_of_step("what ends the definitions of columns can not be read")),
            }
        }
        Ok(columns.into())
    }

    /// Asks whether the server is still there.
    pub async fn ping(&mut self) -> Result<(), SourceError> {
        let limit = self.options.statement_timeout;
        let peer = self.peer.clone();
        let asking = async {
            self.begin(&command(Command::COM_PING, &[])).await?;
            let packet = self.packet().await?;
            match packet.first() {
                Some(&ERROR) => Err(self.refused_by(&packet)),
                _ => self.finish(&packet),
            }
        };
        within(limit, asking, |limit| statement_timed_out(&peer, limit)).await
    }

    /// Sends a request; the answer is up to the caller.
    async fn begin(&mut self, request: &[u8]) -> Result<(), SourceError> {
        if self.busy {
            return Err(errors::lost(&self.peer, "it was left in the middle of a statement"));
        }
        self.busy = true;
        match self.packets.command(request).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.last_words().await.unwrap_or_else(|| self.broken_by(error))),
        }
    }

    async fn packet(&mut self) -> Result<Vec<u8>, SourceError> {
        match self.packets.packet().await {
            Ok(packet) => Ok(packet.to_vec()),
            Err(error) => Err(self.broken_by(error)),
        }
    }

    pub(super) fn deprecates_eof(&self) -> bool {
        self.server.capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)
    }

    pub(super) fn row_bytes_max(&self) -> usize {
        self.options.row_bytes_max.max(ROW_BYTES_MAX)
    }

    /// The answer ended well, with an OK or an end-of-rows packet.
    pub(super) fn finish(&mut self, packet: &[u8]) -> Result<(), SourceError> {
        let Some(status) = status(packet, self.deprecates_eof()) else {
            return Err(self.out_of_step("the end of an answer can not be read"));
        };
        if status.contains(StatusFlags::SERVER_MORE_RESULTS_EXISTS) {
            return Err(self.out_of_step("a statement has more than one result"));
        }
        self.busy = false;
        Ok(())
    }

    /// The answer ended with an error of the server, which is ready for the next statement.
    pub(super) fn refused_by(&mut self, packet: &[u8]) -> SourceError {
        match errors::from_packet(&self.peer, packet) {
            Some(error) => {
                self.busy = false;
                error
            }
            None => self.out_of_step("an error can not be read"),
        }
    }

    /// What came is not the protocol.
    pub(super) fn out_of_step(&mut self, what: &'static str) -> SourceError {
        errors::protocol(&self.peer, what)
    }
}

/// The status of an OK packet, or of what ends rows; none if it is neither.
fn status(packet: &[u8], deprecates_eof: bool) -> Option<StatusFlags> {
    let mut buf = ParseBuf(packet);
    let first = buf.checked_eat_u8()?;
    match first == OK || deprecates_eof {
        true => {
            let _affected_rows = buf.checked_eat_lenenc_int()?;
            let _last_insert_id = buf.checked_eat_lenenc_int()?;
        }
        false => {
            let _warnings = buf.checked_eat_u16_le()?;
        }
    }
    buf.checked_eat_u16_le().map(StatusFlags::from_bits_truncate)
}

fn command(command: Command, argument: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(1 + argument.len());
    payload.push(command as u8);
    payload.extend_from_slice(argument);
    payload
}

fn statement_timed_out(peer: &Peer, limit: Duration) -> SourceError {
    errors::lost(peer, format_args!("a metadata statement took longer than {} s", limit.as_secs_f32()))
        .with_hint("raise DefaultCommandTimeout")
}

fn too_long() -> SourceError {
    let message = format!("a metadata statement has more than {QUERY_ROWS_MAX} rows or {QUERY_BYTES_MAX} bytes");
    SourceError::definite(SourceErrorKind::Protocol, message)
}

fn unreadable_row() -> SourceError {
    SourceError::transient(SourceErrorKind::Protocol, "a row of a metadata statement can not be read")
}

fn misuse(what: &str) -> SourceError {
    SourceError::definite(SourceErrorKind::Protocol, what)
}
