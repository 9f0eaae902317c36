//! Stand-ins for the data plane: a source with one table, and an engine whose lake keeps marks and rows as the real one
//! does (executor.rs).

mod executor;
mod increment;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering as Atomic};
use std::time::Duration;

use futures::future::BoxFuture;
use headwaters_control::ports::{Clock, Lakes, Sources};
use headwaters_model::care::{CareLimits, CareReport};
use headwaters_model::connection::MASK;
use headwaters_model::explore::{ColumnType, ExploredColumn, ExploredTable, ListedTable, ServerInfo, TableKind};
use headwaters_model::id::SpecId;
use headwaters_model::job::{JobError, ReadRequest, SourceAccess};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_model::spec::MYSQL;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

pub(crate) use self::executor::{Commit, FakeExecutor, Land, failure, lost};
pub(crate) use self::plan::{Cut, READERS};

/// The password that the fake source takes.
pub(crate) const PASSWORD: &str = "hunter2-river";
/// The only table of the fake source.
pub(crate) const TABLE: &str = "shop.orders";

/// Its columns.
pub(crate) const COLUMNS: [(&str, ColumnType); 5] = [
    ("id", ColumnType::Long),
    ("updated_at", ColumnType::DateTime),
    ("noted", ColumnType::String),
    ("created_s", ColumnType::Integer),
    ("paid", ColumnType::Boolean),
];

/// A database with one table.
#[derive(Default)]
pub(crate) struct FakeSources;

impl FakeSources {
    fn log_in(access: &SourceAccess) -> Result<(), SourceError> {
        let password = access.secrets.iter().find(|(key, _)| key == "password").map(|(_, secret)| secret.expose());
        if password == Some(PASSWORD) {
            return Ok(());
        }
        let message = "could not log in to db:3306 as reader: access denied";
        Err(SourceError::definite(SourceErrorKind::Refused, message).with_hint("check username and password"))
    }
}

impl Sources for FakeSources {
    fn specs(&self) -> Vec<Value> {
        let text = json!({ "type": "string" });
        let password = json!({ "type": "string", "format": "password" });
        vec![json!({
            "id": MYSQL, "name": "mysql", "version": "1.0",
            "authSpec": [{ "name": "Basic Authentication", "spec": {
                "type": "object",
                "properties": {
                    "server": text, "port": text, "database": text, "username": text, "password": password,
                },
                "required": ["server", "database", "username", "password"],
            } }],
            "sourceSpec": { "spec": {
                "type": "object", "properties": { "tableName": text }, "required": ["tableName"],
            } },
            "attributes": { "connectorName": "MySQL", "isSource": true, "isDraftModeSupported": true,
                "filterAtSource": { "enabled": true } },
        })]
    }

    fn serves(&self, spec: SpecId) -> bool {
        spec == MYSQL
    }

    fn check(&self, access: &SourceAccess) -> Result<(), SourceError> {
        match access.params.get("sslMode") {
            Some(Value::String(mode)) if mode == "sometimes" => {
                let kind = SourceErrorKind::InvalidParameter { key: "sslMode".into() };
                Err(SourceError::definite(kind, "sslMode has no such value"))
            }
            _ => Ok(()),
        }
    }

    fn masked(&self, access: &SourceAccess) -> Map<String, Value> {
        let mut shown = access.params.clone();
        let secret = access.secrets.iter().map(|(key, _)| key.clone());
        // A parameter that the published schema does not know as a secret, but the source does.
        for key in secret.chain(shown.contains_key("certificatePassword").then(|| "certificatePassword".into())) {
            shown.insert(key, MASK.into());
        }
        shown
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
        Box::pin(async {
            Self::log_in(access)?;
            Ok(ServerInfo {
                server: "MySQL".into(),
                version: "9.4.0".into(),
                tls: "none".into(),
                account: "reader@localhost".into(),
                notes: Vec::new(),
            })
        })
    }

    fn list<'a>(&'a self, access: &'a SourceAccess) -> BoxFuture<'a, Result<Vec<ListedTable>, SourceError>> {
        Box::pin(async {
            Self::log_in(access)?;
            Ok(vec![ListedTable { path: TABLE.into(), kind: TableKind::Table, readable: true }])
        })
    }

    fn describe<'a>(
        &'a self,
        access: &'a SourceAccess,
        table: &'a str,
        preview_rows: Option<u32>,
        _: Option<Value>,
    ) -> BoxFuture<'a, Result<ExploredTable, SourceError>> {
        Box::pin(async move {
            Self::log_in(access)?;
            if table != TABLE {
                return Err(SourceError::definite(SourceErrorKind::UnknownTable, format!("no table {table}")));
            }
            let row = json!({ "id": 1 }).as_object().cloned().unwrap();
            let column = |(name, column_type): (&str, ColumnType)| ExploredColumn { name: name.into(), column_type };
            Ok(ExploredTable {
                path: TABLE.into(),
                columns: COLUMNS.into_iter().map(column).collect(),
                preview: preview_rows.map(|_| vec![row]),
            })
        })
    }

    fn check_read<'a>(
        &'a self,
        access: &'a SourceAccess,
        request: &'a ReadRequest,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async {
            Self::log_in(access)?;
            if request.table != TABLE {
                let message = format!("no table {}", request.table);
                return Err(SourceError::definite(SourceErrorKind::UnknownTable, message));
            }
            if let Some(column) = request.columns.iter().flatten().find(|column| *column != "id") {
                return Err(SourceError::definite(SourceErrorKind::UnknownColumn, format!("no column {column}")));
            }
            match &request.delta {
                Some(delta) => increment::check(delta),
                None => Ok(()),
            }
        })
    }
}

/// Names places, holds nothing.
pub(crate) struct FakeLakes;

impl Lakes for FakeLakes {
    fn location(&self, org_folder: &str, sandbox: &str, data_set: &str) -> String {
        format!("file:///lake/{org_folder}/{sandbox}/{data_set}")
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), JobError>> {
        Box::pin(async { Ok(()) })
    }

    fn care<'a>(&'a self, _: &'a str, _: CareLimits) -> BoxFuture<'a, Result<CareReport, JobError>> {
        Box::pin(async { Ok(CareReport::default()) })
    }
}

/// A clock that goes on only when it is told to.
pub(crate) struct FakeClock(AtomicI64);

impl FakeClock {
    pub(crate) fn at(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    /// Somebody sets it, back perhaps.
    pub(crate) fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Atomic::SeqCst);
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Atomic::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Atomic::SeqCst)
    }
}

/// The same clock, which tells when it was read.
pub(crate) struct WatchedClock {
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) read: Notify,
}

impl Clock for WatchedClock {
    fn now_ms(&self) -> i64 {
        self.read.notify_one();
        self.clock.now_ms()
    }
}
