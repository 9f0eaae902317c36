//! MySQL and MariaDB behind the contract of sources.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use headwaters_model::explore::{ExploredTable, ListedTable, ServerInfo};
use headwaters_model::id::SpecId;
use headwaters_model::job::{ReadRequest, SourceAccess};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::wire::RowFormat;
use super::{checksum, dsn, explore, open, probe, specs};
use crate::contract::{Comparison, OpenTable, Preview, ReadLimits, Source};

/// MySQL and MariaDB.
#[derive(Debug, Clone, Copy)]
pub struct MySqlSource {
    format: RowFormat,
}

impl Default for MySqlSource {
    fn default() -> Self {
        Self { format: RowFormat::Binary }
    }
}

impl MySqlSource {
    /// A source that reads tables in the text protocol, as proxies without prepared statements need it.
    #[must_use]
    pub fn in_text() -> Self {
        Self { format: RowFormat::Text }
    }
}

impl Source for MySqlSource {
    fn specs(&self) -> Vec<Value> {
        specs::specs()
    }

    fn serves(&self, spec: SpecId) -> bool {
        specs::serves(spec)
    }

    fn check(&self, access: &SourceAccess) -> Result<(), SourceError> {
        dsn::parameters(access).map(drop)
    }

    fn masked(&self, access: &SourceAccess) -> Map<String, Value> {
        dsn::masked(access)
    }

    fn restored(&self, sent: &Map<String, Value>, stored: &SourceAccess) -> Map<String, Value> {
        dsn::restored(sent, stored)
    }

    fn probe<'a>(
        &'a self,
        access: &'a SourceAccess,
        patience: Duration,
    ) -> BoxFuture<'a, Result<ServerInfo, SourceError>> {
        async move { probe::probe(&dsn::parameters(access)?, patience).await }.boxed()
    }

    fn list<'a>(&'a self, access: &'a SourceAccess) -> BoxFuture<'a, Result<Vec<ListedTable>, SourceError>> {
        async move { explore::list(&dsn::parameters(access)?).await }.boxed()
    }

    fn describe<'a>(
        &'a self,
        access: &'a SourceAccess,
        table: &'a str,
        preview: Option<Preview>,
    ) -> BoxFuture<'a, Result<ExploredTable, SourceError>> {
        async move { explore::describe(&dsn::parameters(access)?, table, preview.as_ref()).await }.boxed()
    }

    fn check_read<'a>(
        &'a self,
        access: &'a SourceAccess,
        request: &'a ReadRequest,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        async move { explore::check_read(&dsn::parameters(access)?, request).await }.boxed()
    }

    fn open<'a>(
        &'a self,
        access: &'a SourceAccess,
        request: &'a ReadRequest,
        limits: ReadLimits,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<OpenTable, SourceError>> {
        async move {
            let parameters = dsn::parameters(access)?;
            let opening = open::open(&parameters, request, &limits, self.format, cancel.clone());
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    let message = format!("opening {} was cancelled", request.table);
                    Err(SourceError::definite(SourceErrorKind::Cancelled, message))
                }
                opened = opening => opened,
            }
        }
        .boxed()
    }

    fn compare<'a>(
        &'a self,
        access: &'a SourceAccess,
        request: &'a ReadRequest,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<Box<dyn Comparison>, SourceError>> {
        async move { checksum::compare(&dsn::parameters(access)?, request, cancel).await }.boxed()
    }
}
