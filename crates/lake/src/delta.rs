//! Delta Lake tables of Parquet files.
//!
//! ```text
//! open ── evolve ── names, types      which columns the files have
//!   ├── widen ── rewrite              a column that needs a wider type, and with it all files
//!   └── land ── encoding, upload      batches -> Parquet files, statistics from their footers
//! commit                              files -> one version of the table, exactly once
//! scan                                rows of written files, to be compared
//! care ── compact ── rewrite          checkpoints after the commit; small files, orphans and old entries now and then
//! ```

mod care;
mod commit;
mod encoding;
mod errors;
mod evolve;
mod file;
#[cfg(test)]
mod flaky;
mod kept;
mod land;
mod names;
mod open;
mod rewrite;
mod scan;
mod statistics;
mod storage;
mod types;
mod upload;
mod widen;

use arrow_schema::SchemaRef;
use futures::FutureExt;
use futures::future::BoxFuture;
use headwaters_model::care::{CareLimits, CareReport};
use headwaters_model::flow::SchemaChange;
use headwaters_model::job::{Committed, Landed, LandedFile, WriteMode};
use headwaters_model::offset::{CommitMark, Ordinal};

use crate::contract::{Batches, Label, Lake, LakeError, StoredTable, Table, WriteLimits, WrittenFile};
use evolve::Rules;
use storage::Place;

/// How often a commit (or the commit that adds columns) is tried while other writers are in the way.
pub(crate) const COMMIT_TRIES_MAX: u32 = 20;

/// What the log names as the engine of our commits.
pub(crate) const ENGINE: &str = concat!("headwaters/", env!("CARGO_PKG_VERSION"));

/// Tables in the Delta format.
#[derive(Debug)]
pub(crate) struct DeltaLake {
    limits: WriteLimits,
}

impl DeltaLake {
    /// All its writers keep these limits.
    pub(crate) fn new(limits: WriteLimits) -> Self {
        Self { limits }
    }
}

impl Lake for DeltaLake {
    fn open<'a>(
        &'a self,
        location: &'a str,
        schema: &'a SchemaRef,
        mode: WriteMode,
        change: SchemaChange,
    ) -> BoxFuture<'a, Result<Box<dyn Table>, LakeError>> {
        async move {
            let table = open::open(Place::at(location)?, schema, Rules { mode, change }, self.limits).await?;
            Ok(Box::new(table) as Box<dyn Table>)
        }
        .boxed()
    }

    fn last_ordinal<'a>(
        &'a self,
        location: &'a str,
        app_id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Ordinal>, LakeError>> {
        async move {
            let place = Place::at(location)?;
            match place.load().await? {
                Some(state) => place.last_ordinal(&state, app_id).await,
                None => Ok(None),
            }
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        location: &'a str,
        landed: &'a Landed,
        mark: &'a CommitMark,
        mode: WriteMode,
        labels: &'a [Label],
    ) -> BoxFuture<'a, Result<Committed, LakeError>> {
        async move { commit::commit(&Place::at(location)?, landed, mark, mode, labels).await }.boxed()
    }

    fn has<'a>(&'a self, location: &'a str, files: &'a [LandedFile]) -> BoxFuture<'a, Result<bool, LakeError>> {
        async move { kept::still_good(&Place::at(location)?, files).await }.boxed()
    }

    fn discard<'a>(&'a self, location: &'a str, files: &'a [LandedFile]) -> BoxFuture<'a, Result<(), LakeError>> {
        async move {
            Place::at(location)?.discard(files).await;
            Ok(())
        }
        .boxed()
    }

    fn current<'a>(&'a self, location: &'a str) -> BoxFuture<'a, Result<Option<StoredTable>, LakeError>> {
        async move { scan::current(&Place::at(location)?).await }.boxed()
    }

    fn scan(&self, location: &str, files: Vec<WrittenFile>) -> Result<Batches, LakeError> {
        Ok(scan::scan(&Place::at(location)?, files))
    }

    fn probe<'a>(&'a self, location: &'a str) -> BoxFuture<'a, Result<(), LakeError>> {
        async move { Place::at(location)?.probe().await }.boxed()
    }

    fn care<'a>(&'a self, location: &'a str, limits: CareLimits) -> BoxFuture<'a, Result<CareReport, LakeError>> {
        async move { care::care(&Place::at(location)?, limits, self.limits).await }.boxed()
    }
}
