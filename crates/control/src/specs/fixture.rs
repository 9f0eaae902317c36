//! A catalogue with one database source, for unit tests.

use std::time::Duration;

use futures::future::BoxFuture;
use headwaters_model::connection::MASK;
use headwaters_model::explore::{ExploredTable, ListedTable, ServerInfo};
use headwaters_model::id::SpecId;
use headwaters_model::job::{ReadRequest, SourceAccess};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_model::spec::MYSQL;
use serde_json::{Map, Value, json};

use super::Specs;
use crate::ports::Sources;

/// A source that can be described but not reached.
struct OffLine;

/// The catalogue.
pub(crate) fn specs() -> Specs {
    Specs::load(&OffLine).unwrap()
}

fn refused<T>() -> Result<T, SourceError> {
    Err(SourceError::definite(SourceErrorKind::Unreachable, "there is no server in a unit test"))
}

impl Sources for OffLine {
    fn specs(&self) -> Vec<Value> {
        vec![json!({
            "id": MYSQL, "name": "mysql", "version": "1.0",
            "authSpec": [{
                "name": "Basic Authentication", "type": "basicAuthentication",
                "spec": {
                    "type": "object",
                    "properties": {
                        "server": { "type": "string" }, "port": { "type": "string" },
                        "password": { "type": "string", "format": "password" },
                    },
                    "required": ["server", "password"],
                },
            }],
            "sourceSpec": { "spec": {
                "type": "object",
                "properties": { "tableName": { "type": "string" }, "columns": { "type": "array" } },
                "required": ["tableName"],
            } },
            "attributes": { "connectorName": "MySQL", "isSource": true, "isDraftModeSupported": true,
                "filterAtSource": { "enabled": true } },
        })]
    }

    fn serves(&self, spec: SpecId) -> bool {
        spec == MYSQL
    }

    fn check(&self, _: &SourceAccess) -> Result<(), SourceError> {
        Ok(())
    }

    fn masked(&self, access: &SourceAccess) -> Map<String, Value> {
        let secrets = access.secrets.iter().map(|(key, _)| (key.clone(), MASK.into()));
        access.params.clone().into_iter().chain(secrets).collect()
    }

    fn restored(&self, sent: &Map<String, Value>, _: &SourceAccess) -> Map<String, Value> {
        sent.clone()
    }

    fn probe<'a>(&'a self, _: &'a SourceAccess, _: Duration) -> BoxFuture<'a, Result<ServerInfo, SourceError>> {
        Box::pin(async { refused() })
    }

    fn list<'a>(&'a self, _: &'a SourceAccess) -> BoxFuture<'a, Result<Vec<ListedTable>, SourceError>> {
        Box::pin(async { refused() })
    }

    fn describe<'a>(
        &'a self,
        _: &'a SourceAccess,
        _: &'a str,
        _: Option<u32>,
        _: Option<Value>,
    ) -> BoxFuture<'a, Result<ExploredTable, SourceError>> {
        Box::pin(async { refused() })
    }

    fn check_read<'a>(&'a self, _: &'a SourceAccess, _: &'a ReadRequest) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async { refused() })
    }
}
