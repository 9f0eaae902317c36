//! Sources and a lake that need no server: what they answer depends on the parameters alone.

use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use headwaters_control::ports::{Executor, Lakes, Sources};
use headwaters_model::care::{CareLimits, CareReport};
use headwaters_model::connection::MASK;
use headwaters_model::explore::{ColumnType, ExploredColumn, ExploredTable, ListedTable, ServerInfo, TableKind};
use headwaters_model::id::SpecId;
use headwaters_model::job::{
    Committed, Failure, JobError, Landed, LandedFile, ReadRequest, RunEvent, RunJob, SourceAccess, Stage, Totals,
};
use headwaters_model::offset::{CommitMark, Ordinal};
use headwaters_model::row_filter::{Literal, RowFilter};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_model::spec::{MARIADB, MYSQL};
use headwaters_model::watermark::Delta;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The only password that the fake source lets in.
pub(crate) const PASSWORD: &str = "correct-horse-battery";
/// A host that the fake source can't reach.
pub(crate) const UNREACHABLE: &str = "nowhere.test";
/// A host that the fake source never hears from.
pub(crate) const SLOW: &str = "slow.test";
/// A table whose description makes the fake source panic.
pub(crate) const CURSED: &str = "shop.cursed";

/// A table that is described like any other and can not be landed.
pub(crate) const FAILING: &str = "shop.failing";

/// A MySQL with two tables and a broken view, and a MariaDB that does not filter rows.
pub(crate) struct FakeSources;

impl Sources for FakeSources {
    fn specs(&self) -> Vec<Value> {
        vec![mysql_spec(), mariadb_spec()]
    }

    fn serves(&self, spec: SpecId) -> bool {
        matches!(spec, MYSQL | MARIADB)
    }

    fn check(&self, access: &SourceAccess) -> Result<(), SourceError> {
        match access.params.get("sslMode").and_then(Value::as_str) {
            None | Some("REQUIRED" | "PREFERRED") => Ok(()),
            Some(_) => Err(SourceError::definite(
                SourceErrorKind::InvalidParameter { key: "sslMode".into() },
                "sslMode is none of disabled, preferred, required, verify-ca, verify-identity",
            )),
        }
    }

    fn masked(&self, access: &SourceAccess) -> Map<String, Value> {
        let mut params = access.params.clone();
        params.extend(access.secrets.iter().map(|(key, _)| (key.clone(), json!(MASK))));
        params
    }

    fn restored(&self, sent: &Map<String, Value>, stored: &SourceAccess) -> Map<String, Value> {
        let mut restored = sent.clone();
        for (key, secret) in &stored.secrets {
            if let Some(value) = restored.get_mut(key).filter(|value| *value == MASK) {
                *value = secret.expose().into();
            }
        }
        restored
    }

    fn probe<'a>(&'a self, access: &'a SourceAccess, _: Duration) -> BoxFuture<'a, Result<ServerInfo, SourceError>> {
        async move {
            if host(access) == SLOW {
                std::future::pending::<()>().await;
            }
            admit(access).map(|()| server())
        }
        .boxed()
    }

    fn list<'a>(&'a self, access: &'a SourceAccess) -> BoxFuture<'a, Result<Vec<ListedTable>, SourceError>> {
        let listed = |path: &str, kind, readable| ListedTable { path: path.into(), kind, readable };
        let tables = vec![
            listed("shop.customers", TableKind::Table, true),
            listed("shop.orders", TableKind::Table, true),
            listed("shop.stale", TableKind::View, false),
        ];
        ready(admit(access).map(|()| tables)).boxed()
    }

    fn describe<'a>(
        &'a self,
        access: &'a SourceAccess,
        table: &'a str,
        preview_rows: Option<u32>,
        _: Option<Value>,
    ) -> BoxFuture<'a, Result<ExploredTable, SourceError>> {
        assert_ne!(table, CURSED, "the fake source panics on purpose");
        ready(admit(access).and_then(|()| orders(table, preview_rows))).boxed()
    }

    fn check_read<'a>(
        &'a self,
        access: &'a SourceAccess,
        request: &'a ReadRequest,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        let checked = admit(access).and_then(|()| orders(&request.table, None)).and_then(|table| {
            let named = request.columns.iter().flatten();
            let known = |name: &&String| table.columns.iter().any(|column| column.name == **name);
            match named.into_iter().find(|name| !known(name)) {
                Some(name) => Err(SourceError::definite(
                    SourceErrorKind::UnknownColumn,
                    format!("the table {} has no column {name}", table.path),
                )),
                None => request
                    .filter
                    .as_ref()
                    .map_or(Ok(()), |filter| check_filter(filter, &table))
                    .and_then(|()| request.delta.as_ref().map_or(Ok(()), |delta| check_delta(delta, &table))),
            }
        });
        ready(checked).boxed()
    }
}

fn host(access: &SourceAccess) -> &str {
    access.params.get("server").and_then(Value::as_str).unwrap_or_default()
}

fn check_delta(delta: &Delta, table: &ExploredTable) -> Result<(), SourceError> {
    let name = &delta.column.name;
    if table.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let message = format!("the table {} has no column {name} to choose rows by", table.path);
    Err(SourceError::definite(SourceErrorKind::DeltaColumn, message))
}

/// Looks at single comparisons only: the tests need no more.
fn check_filter(filter: &Value, table: &ExploredTable) -> Result<(), SourceError> {
    let Ok(RowFilter::Compare { column: name, literal, .. }) = RowFilter::parse(filter) else { return Ok(()) };
    let refused = |kind, message: String| Err(SourceError::definite(kind, message));
    let Some(column) = table.columns.iter().find(|column| column.name == name) else {
        let message = format!("the row filter names the column {name}, which {} has not", table.path);
        return refused(SourceErrorKind::UnknownFilterColumn, message);
    };
    match (column.column_type, literal) {
        (ColumnType::Double | ColumnType::Long | ColumnType::Integer, Literal::Text(_) | Literal::Boolean(_)) => {
            refused(SourceErrorKind::FilterType, format!("the row filter compares the number {name} with another type"))
        }
        _ => Ok(()),
    }
}

fn admit(access: &SourceAccess) -> Result<(), SourceError> {
    let server = host(access);
    if server == UNREACHABLE {
        let error = SourceError::transient(SourceErrorKind::Unreachable, format!("could not connect to {server}:3306"));
        return Err(error.with_hint("check the host name, the port and the firewall between"));
    }
    let password = access.secrets.iter().find(|(key, _)| key == "password").map(|(_, secret)| secret.expose());
    if password != Some(PASSWORD) {
        let kind = SourceErrorKind::Server { number: 1045 };
        return Err(SourceError::definite(kind, "the server refused the account reader: wrong password"));
    }
    Ok(())
}

fn server() -> ServerInfo {
    ServerInfo {
        server: "MariaDB".into(),
        version: "10.11.19".into(),
        tls: "TLSv1.3 / TLS_AES_256_GCM_SHA384 / verified: chain+name".into(),
        account: "reader@localhost".into(),
        notes: Vec::new(),
    }
}

fn orders(table: &str, preview_rows: Option<u32>) -> Result<ExploredTable, SourceError> {
    if !matches!(table, "shop.orders" | "orders" | FAILING) {
        let message = format!("the table {table} does not exist or is not visible to this account");
        return Err(SourceError::definite(SourceErrorKind::UnknownTable, message));
    }
    let column = |name: &str, column_type| ExploredColumn { name: name.into(), column_type };
    let columns = vec![
        column("id", ColumnType::Long),
        column("total", ColumnType::Double),
        column("note", ColumnType::String),
        column("paid", ColumnType::Boolean),
        column("lines", ColumnType::Integer),
        column("created", ColumnType::DateTime),
    ];
    let row = json!({
        "id": 1, "total": 9.5, "note": null, "paid": true, "lines": 2, "created": "2022-06-22T17:19:33" });
    let Value::Object(row) = row else { unreachable!("written as an object") };
    Ok(ExploredTable { path: "shop.orders".into(), columns, preview: preview_rows.map(|_| vec![row]) })
}

/// A spec in the published shape, as short as the tests allow.
fn mysql_spec() -> Value {
    let text = json!({ "type": "string" });
    let secret = json!({ "type": "string", "format": "password" });
    json!({
        "id": MYSQL,
        "name": "mysql",
        "providerId": "0ed90a81-07f4-4586-8190-b40eccef1c5a",
        "version": "1.0",
        "authSpec": [{
            "name": "Basic Authentication",
            "type": "basicAuthentication",
            "spec": {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "type": "object",
                "properties": { "server": text, "port": text, "database": text, "username": text,
                    "password": secret, "sslMode": text },
                "required": ["server", "database", "username", "password"],
            },
        }],
        "sourceSpec": {
            "name": "Database",
            "type": "Database",
            "spec": {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "type": "object",
                "properties": { "tableName": text, "columns": { "type": "array" } },
                "required": ["tableName"],
            },
        },
        "attributes": { "category": "Databases", "connectorName": "MySQL", "isSource": true, "isDraftModeSupported": true,
            "filterAtSource": {
                "enabled": true,
                "queryLanguage": "SQL",
                "logicalOperators": ["and", "or", "not"],
                "comparisonOperators": ["=", "!=", "<", "<=", ">", ">=", "like", "in"],
                "columnNameEscapeChar": "`",
                "valueEscapeChar": "'",
            },
        },
    })
}

fn mariadb_spec() -> Value {
    let mut spec = mysql_spec();
    spec["id"] = json!(MARIADB);
    spec["name"] = json!("maria-db");
    spec["attributes"]["connectorName"] = json!("MariaDB");
    let Some(attributes) = spec["attributes"].as_object_mut() else { unreachable!("written as an object") };
    attributes.remove("filterAtSource");
    spec
}

/// Lands a thousand rows in one file, without any; nothing of the table [`FAILING`].
pub(crate) struct FakeExecutor;

impl Executor for FakeExecutor {
    fn applied<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<Ordinal>, JobError>> {
        ready(Ok(None)).boxed()
    }

    fn land<'a>(
        &'a self,
        job: RunJob,
        _: mpsc::Sender<RunEvent>,
        _: CancellationToken,
    ) -> BoxFuture<'a, Result<Landed, JobError>> {
        if job.read.table == FAILING {
            let message = "could not read the table shop.failing: it is marked as crashed".to_owned();
            let failure = Failure { stage: Stage::Source, message, hint: Some("repair the table".to_owned()) };
            return ready(Err(JobError::Definite(failure))).boxed();
        }
        let file = LandedFile {
            path: "part-00000.parquet".into(),
            size_bytes: 30_720,
            rows: 1000,
            modified_at_ms: 0,
            stats: None,
        };
        let totals = Totals { rows_in: 1000, rows_out: 1000, rows_rejected: 0, bytes_in: 51_200, bytes_out: 30_720 };
        ready(Ok(Landed { files: vec![file], totals, ..Landed::default() })).boxed()
    }

    fn commit<'a>(
        &'a self,
        _: &'a RunJob,
        _: &'a Landed,
        mark: &'a CommitMark,
    ) -> BoxFuture<'a, Result<Committed, JobError>> {
        ready(Ok(Committed { version: Some(0), ordinal: Some(mark.ordinal) })).boxed()
    }
}

/// A lake that is nowhere.
pub(crate) struct FakeLakes;

impl Lakes for FakeLakes {
    fn location(&self, org_folder: &str, sandbox: &str, data_set: &str) -> String {
        format!("file:///lake/{org_folder}/{sandbox}/{data_set}")
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), JobError>> {
        ready(Ok(())).boxed()
    }

    fn care<'a>(&'a self, _: &'a str, _: CareLimits) -> BoxFuture<'a, Result<CareReport, JobError>> {
        ready(Ok(CareReport::default())).boxed()
    }
}
