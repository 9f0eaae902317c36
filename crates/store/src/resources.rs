//! The life of a resource in the store, written once for all collections.
//!
//! **Invariant.** A write names the version that it was made for and changes nothing when the store holds another one:
//! of two writers with the same version exactly one wins.

use futures::TryStreamExt as _;
use headwaters_model::batch::Batch;
use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::Etag;
use headwaters_model::filter::Filter;
use headwaters_model::flow::Flow;
use headwaters_model::page::{ListQuery, Page};
use headwaters_model::resource::{Document, Kind, Resource, ResourceRef};
use headwaters_model::run::Run;
use headwaters_model::sandbox::Scope;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::target_connection::TargetConnection;
use serde_json::Value;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Connection as _, Row as _, Sqlite, SqliteConnection};

use crate::db::Store;
use crate::error::{Outdated, StoreError};
use crate::filter::index::{self, Indexed, RANGE_ROWS_MAX, Range, Reach};
use crate::filter::{Selection, bind_all};
use crate::rows;
use crate::tx::Tx;

/// How many bytes the bodies of a page may have together, unless it holds just one: what does not fit is on the next
/// page. With the rows that are on their way (`ROWS_AHEAD_MAX`) and the text of the answer, which repeats the page, a list
/// costs less than 100 MiB, however large its documents are.
pub const PAGE_BODIES_BYTES_MAX: usize = 16 << 20;

/// The columns that all resources share, in the order of [`rows::resource`].
macro_rules! columns {
    () => {
        "id, org, sandbox, state, etag, created_at_us, created_by, created_client, updated_at_us, updated_by, \
         updated_client, body"
    };
}
pub(crate) use columns;

/// The SQL texts of one collection's table.
#[derive(Debug)]
pub struct Table {
    pub(crate) name: &'static str,
    /// What lists find by an index, the best to find by first.
    pub(crate) indexed: &'static [Indexed],
    insert: &'static str,
    get: &'static str,
    replace: &'static str,
    rewrite: &'static str,
    delete: &'static str,
    version: &'static str,
}

/// A kind of resource that has a table of its own form. Specs have another one (`specs.rs`): they have no versions.
pub trait Stored: Kind {
    /// Its table.
    const TABLE: &'static Table;
}

macro_rules! tables {
    ($($kind:ident in $name:literal, $indexed:path;)*) => {$(
        impl Stored for $kind {
            const TABLE: &'static Table = &Table {
                name: $name,
                indexed: $indexed,
                insert: concat!(
                    "insert into ", $name, " (", columns!(), ") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
                ),
                get: concat!("select ", columns!(), " from ", $name, " where id = $1 and org = $2 and sandbox = $3"),
                replace: concat!(
                    "update ", $name, " set state = $1, etag = $2, updated_at_us = $3, updated_by = $4, \
                     updated_client = $5, body = $6 where id = $7 and org = $8 and sandbox = $9 and etag = $10"
                ),
                rewrite: concat!(
                    "update ", $name, " set body = $1 where id = $2 and org = $3 and sandbox = $4 and etag = $5"
                ),
                delete: concat!(
                    "delete from ", $name, " where id = $1 and org = $2 and sandbox = $3 and etag = $4"
                ),
                version: concat!("select etag from ", $name, " where id = $1 and org = $2 and sandbox = $3"),
            };
        }
    )*};
}

tables! {
    Connection in "connection", index::CONNECTION;
    SourceConnection in "source_connection", index::SOURCE_CONNECTION;
    TargetConnection in "target_connection", index::TARGET_CONNECTION;
    Flow in "flow", index::FLOW;
    Run in "run", index::RUN;
    DataSet in "data_set", index::DATA_SET;
    Batch in "batch", index::BATCH;
}

impl Store {
    /// Reads a resource of a scope by itself, without a transaction; an id of another scope is not found.
    pub async fn get<K: Stored>(&self, scope: &Scope, id: &K::Id) -> Result<Option<Resource<K>>, StoreError> {
        let row = by_id::<K>(scope, id).fetch_optional(self.lookups()).await?;
        row.map(|row| rows::resource(&row, scope)).transpose()
    }

    /// The same as it is shown.
    pub async fn document<K: Stored>(&self, scope: &Scope, id: &K::Id) -> Result<Option<Document<K>>, StoreError> {
        let row = by_id::<K>(scope, id).fetch_optional(self.lookups()).await?;
        row.map(|row| rows::document(&row, scope)).transpose()
    }

    /// Whether a page may take reading the body of every row: few such lists are at work at a time.
    #[must_use]
    pub fn page_is_scan<K: Stored>(query: &ListQuery) -> bool {
        Reach::of_page(K::TABLE, query) == Reach::Bodies
    }

    /// Whether a count may.
    #[must_use]
    pub fn count_is_scan<K: Stored>(filters: &[Filter]) -> bool {
        Reach::of_count(K::TABLE, filters) == Reach::Bodies
    }

    /// Lists resources of a scope by themselves.
    pub async fn list<K: Stored>(&self, scope: &Scope, query: &ListQuery) -> Result<Page<Resource<K>>, StoreError> {
        let mut connection = self.lister(Reach::of_page(K::TABLE, query)).await?;
        page::<K, _>(&mut connection, scope, query, rows::resource).await
    }

    /// The same as they are shown.
    pub async fn documents<K: Stored>(
        &self,
        scope: &Scope,
        query: &ListQuery,
    ) -> Result<Page<Document<K>>, StoreError> {
        let mut connection = self.lister(Reach::of_page(K::TABLE, query)).await?;
        page::<K, _>(&mut connection, scope, query, rows::document).await
    }

    /// Counts the resources of a scope that pass the filters.
    pub async fn count<K: Stored>(&self, scope: &Scope, filters: &[Filter]) -> Result<u64, StoreError> {
        let mut connection = self.lister(Reach::of_count(K::TABLE, filters)).await?;
        counted(&mut connection, Selection::count(K::TABLE, scope, filters)).await
    }
}

/// What a page is made of.
trait Shown<K: Kind> {
    /// The document that it is sorted by.
    fn sorted_by(&self) -> Result<Value, StoreError>;
}

impl<K: Kind> Shown<K> for Resource<K> {
    fn sorted_by(&self) -> Result<Value, StoreError> {
        Ok(self.document())
    }
}

impl<K: Kind> Shown<K> for Document<K> {
    fn sorted_by(&self) -> Result<Value, StoreError> {
        self.read().map_err(|error| StoreError::damaged(format!("{} {}", K::COLLECTION.noun(), self.id), error))
    }
}

/// Reads a page; all of it is seen as it was at one moment.
async fn page<K: Stored, T: Shown<K>>(
    connection: &mut SqliteConnection,
    scope: &Scope,
    query: &ListQuery,
    read: fn(&SqliteRow, &Scope) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let rare = rare_range::<K>(connection, scope, query).await?;
    let selections = Selection::pages(K::TABLE, scope, query, rare);
    // Who pages by offset would miss what a shorter page leaves out.
    let bytes_max = if K::COLLECTION.is_paged_by_offset() { usize::MAX } else { PAGE_BODIES_BYTES_MAX };
    let room = Room { rows_max: query.limit as usize, bytes_max };
    let (rows, more) = if selections.len() == 1 {
        rows_of(connection, selections, &room).await?
    } else {
        rows_of(&mut *connection.begin().await?, selections, &room).await?
    };
    let items: Vec<T> = rows.iter().filter_map(|row| rows::readable(read(row, scope))).collect();
    let next = match items.last().filter(|_| more) {
        Some(last) => Some(query.order.values_of(&last.sorted_by()?)),
        None => None,
    };
    Ok(Page { items, next })
}

/// The range that so few rows lie in that they are found first and sorted then, if one of the filters is such a range.
/// What is true of it a moment later decides how long a page takes, never what is on it.
async fn rare_range<K: Stored>(
    connection: &mut SqliteConnection,
    scope: &Scope,
    query: &ListQuery,
) -> Result<Option<Range>, StoreError> {
    let Some(range) = Range::of_page(K::TABLE, query) else { return Ok(None) };
    let found = counted(connection, Selection::probe(K::TABLE, scope, query, &range)).await?;
    Ok(Some(range).filter(|_| found <= RANGE_ROWS_MAX))
}

/// How much a page may hold.
struct Room {
    rows_max: usize,
    bytes_max: usize,
}

/// The rows of selections, one after the other, as far as there is room for them, and whether there are more: one more
/// than there is room for is looked at, so that nothing need be counted. The first one always has room.
async fn rows_of(
    connection: &mut SqliteConnection,
    selections: Vec<Selection>,
    room: &Room,
) -> Result<(Vec<SqliteRow>, bool), StoreError> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for selection in selections {
        let mut found = bind_all(selection).fetch(&mut *connection);
        while let Some(row) = found.try_next().await? {
            bytes += rows::value::<&str>(&row, "body")?.len();
            if rows.len() == room.rows_max || (bytes > room.bytes_max && !rows.is_empty()) {
                return Ok((rows, true));
            }
            rows.push(row);
        }
    }
    Ok((rows, false))
}

async fn counted(connection: &mut SqliteConnection, selection: Selection) -> Result<u64, StoreError> {
    let row = bind_all(selection).fetch_one(connection).await?;
    let count: i64 = row.try_get(0)?;
    u64::try_from(count).map_err(|error| StoreError::damaged("a count", error))
}

fn by_id<K: Stored>(scope: &Scope, id: &K::Id) -> Query<'static, Sqlite, SqliteArguments> {
    sqlx::query(K::TABLE.get).bind(id.to_string()).bind(scope.org.as_str().to_owned()).bind(scope.sandbox.to_string())
}

impl Tx {
    /// Stores a new resource of this scope.
    pub async fn insert<K: Stored>(&mut self, new: &Resource<K>) -> Result<(), StoreError> {
        let query = self.bind_new(sqlx::query(K::TABLE.insert), new)?;
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// Binds the columns that all resources share, in the order of [`columns`].
    pub(crate) fn bind_new<'q, K: Stored>(
        &self,
        query: Query<'q, Sqlite, SqliteArguments>,
        new: &'q Resource<K>,
    ) -> Result<Query<'q, Sqlite, SqliteArguments>, StoreError> {
        Ok(query
            .bind(new.id.to_string())
            .bind(self.org())
            .bind(self.sandbox())
            .bind(new.state.name())
            .bind(new.etag.as_str())
            .bind(rows::us(new.created.at_ms))
            .bind(new.created.by.user.as_str())
            .bind(new.created.by.client.as_str())
            .bind(rows::us(new.updated.at_ms))
            .bind(new.updated.by.user.as_str())
            .bind(new.updated.by.client.as_str())
            .bind(rows::body_json(new)?))
    }

    /// Reads a resource of this scope; an id of another one is not found.
    pub async fn get<K: Stored>(&mut self, id: &K::Id) -> Result<Option<Resource<K>>, StoreError> {
        let row = by_id::<K>(self.scope(), id).fetch_optional(self.connection()).await?;
        row.map(|row| rows::resource(&row, self.scope())).transpose()
    }

    /// Stores a new version of a resource if the store still holds `expected`; the new version is in the resource
    /// ([`Resource::touch`]).
    pub async fn replace<K: Stored>(&mut self, new: &Resource<K>, expected: &Etag) -> Result<(), StoreError> {
        let body = rows::to_json(K::COLLECTION.noun(), &new.body)?;
        let query = sqlx::query(K::TABLE.replace)
            .bind(new.state.name())
            .bind(new.etag.as_str())
            .bind(rows::us(new.updated.at_ms))
            .bind(new.updated.by.user.as_str())
            .bind(new.updated.by.client.as_str())
            .bind(body)
            .bind(new.id.to_string())
            .bind(self.org())
            .bind(self.sandbox())
            .bind(expected.as_str());
        let changed = query.execute(self.connection()).await?.rows_affected();
        self.expect_changed::<K>(changed, &new.id).await
    }

    /// Stores what the service has derived (`lastRunDetails`, counters of a run at work): same version, same times
    /// (flow-service.md 4).
    pub async fn rewrite<K: Stored>(&mut self, resource: &Resource<K>) -> Result<(), StoreError> {
        let query = sqlx::query(K::TABLE.rewrite)
            .bind(rows::to_json(K::COLLECTION.noun(), &resource.body)?)
            .bind(resource.id.to_string())
            .bind(self.org())
            .bind(self.sandbox())
            .bind(resource.etag.as_str());
        let changed = query.execute(self.connection()).await?.rows_affected();
        self.expect_changed::<K>(changed, &resource.id).await
    }

    /// Deletes a resource, with its secrets, if the store still holds `expected`.
    pub async fn delete<K: Stored>(&mut self, id: &K::Id, expected: &Etag) -> Result<(), StoreError> {
        let query = sqlx::query(K::TABLE.delete)
            .bind(id.to_string())
            .bind(self.org())
            .bind(self.sandbox())
            .bind(expected.as_str());
        let changed = query.execute(self.connection()).await?.rows_affected();
        self.expect_changed::<K>(changed, id).await?;
        self.delete_secrets(&id.to_string()).await
    }

    /// Lists resources of this scope.
    pub async fn list<K: Stored>(&mut self, query: &ListQuery) -> Result<Page<Resource<K>>, StoreError> {
        let scope = self.scope().clone();
        page::<K, _>(self.connection(), &scope, query, rows::resource).await
    }

    /// Counts the resources of this scope that pass the filters.
    pub async fn count<K: Stored>(&mut self, filters: &[Filter]) -> Result<u64, StoreError> {
        let selection = Selection::count(K::TABLE, self.scope(), filters);
        counted(self.connection(), selection).await
    }

    /// Turns "nothing was changed" into its reason.
    async fn expect_changed<K: Stored>(&mut self, changed: u64, id: &K::Id) -> Result<(), StoreError> {
        if changed == 1 {
            return Ok(());
        }
        // The id is the primary key: nothing was changed at all.
        let resource = ResourceRef::new(K::COLLECTION, id);
        let query = sqlx::query(K::TABLE.version).bind(id.to_string()).bind(self.org()).bind(self.sandbox());
        match query.fetch_optional(self.connection()).await? {
            Some(row) => Err(Outdated::Stale { resource, current: rows::parsed(&row, "etag")? }.into()),
            None => Err(Outdated::Missing(resource).into()),
        }
    }
}
