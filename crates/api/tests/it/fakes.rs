//! Sources and a lake that need no server: what they answer depends on the parameters alone.

use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use headwaters_control::ports::{Executor, Lakes, Sources};
use headwaters_model::explore::{ColumnType, ExploredColumn, ExploredTable, ListedTable, ServerInfo, TableKind};
use headwaters_model::id::SpecId;
use headwaters_model::job::{
    Committed, JobError, Landed, LandedFile, ReadRequest, RunEvent, RunJob, SourceAccess, Totals,
};
use headwaters_model::offset::{CommitMark, Ordinal};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_model::spec::MYSQL;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The only password that the fake source lets in.
pub(crate) const PASSWORD: &str = "correct-horse-battery";
/// A host that the fake source can't reach.
pub(crate) const UNREACHABLE: &str = "nowhere.test";
/// A table whose description makes the fake source panic.
pub(crate) const CURSED: &str = "shop.cursed";

/// A MySQL with two tables and a broken view.
pub(crate) struct FakeSources;

impl Sources for FakeSources {
    fn specs(&self) -> Vec<Value> {
        vec![mysql_spec()]
    }

    fn serves(&self, spec: SpecId) -> bool {
        spec == MYSQL
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
        params.extend(access.secrets.iter().map(|(key, _)| (key.clone(), json!("*****"))));
        params
    }

    fn probe<'a>(&'a self, access: &'a SourceAccess, _: Duration) -> BoxFuture<'a, Result<ServerInfo, SourceError>> {
        ready(admit(access).map(|()| server())).boxed()
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
                None => Ok(()),
            }
        });
        ready(checked).boxed()
    }
}

fn admit(access: &SourceAccess) -> Result<(), SourceError> {
    let server = access.params.get("server").and_then(Value::as_str).unwrap_or_default();
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
    if !matches!(table, "shop.orders" | "orders") {
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
        "attributes": { "category": "Databases", "connectorName": "MySQL", "isSource": true, "isDraftModeSupported": true },
    })
}

/// Lands a thousand rows in one file, without any.
pub(crate) struct FakeExecutor;

impl Executor for FakeExecutor {
    fn applied<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<Ordinal>, JobError>> {
        ready(Ok(None)).boxed()
    }

    fn land<'a>(
        &'a self,
        _: RunJob,
        _: mpsc::Sender<RunEvent>,
        _: CancellationToken,
    ) -> BoxFuture<'a, Result<Landed, JobError>> {
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
}
