//! The life of a resource in the store, written once for all collections.
//!
//! **Invariant.** A write names the version that it was made for and changes nothing when the store holds another one:
//! of two writers with the same version exactly one wins.

use headwaters_model::batch::Batch;
use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::Etag;
use headwaters_model::filter::Filter;
use headwaters_model::flow::Flow;
use headwaters_model::page::{ListQuery, Page};
use headwaters_model::resource::{Kind, Resource, ResourceRef};
use headwaters_model::run::Run;
use headwaters_model::sandbox::Scope;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::target_connection::TargetConnection;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Row as _, Sqlite};

use crate::db::Store;
use crate::error::{Outdated, StoreError};
use crate::filter::index::{self, Indexed};
use crate::filter::{Selection, bind_all};
use crate::rows;
use crate::tx::Tx;

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

/// A kind of resource that has a table. Specs have none: they are built in.
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
            .bind(rows::to_json(K::COLLECTION.noun(), &new.body)?))
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
        // One more than asked for is read: that there are more is known without counting.
        let wanted = query.limit as usize + 1;
        let mut items = Vec::new();
        for selection in Selection::pages(K::TABLE, &scope, query) {
            let rows = bind_all(selection).fetch_all(self.connection()).await?;
            for row in rows.iter().take(wanted - items.len()) {
                items.push(rows::resource::<K>(row, &scope)?);
            }
            if items.len() == wanted {
                break;
            }
        }
        let more = items.len() == wanted;
        items.truncate(query.limit as usize);
        let next = items.last().filter(|_| more).map(|last| query.order.values_of(&last.document()));
        Ok(Page { items, next })
    }

    /// Counts the resources of this scope that pass the filters.
    pub async fn count<K: Stored>(&mut self, filters: &[Filter]) -> Result<u64, StoreError> {
        let selection = Selection::count(K::TABLE, self.scope(), filters);
        let row = bind_all(selection).fetch_one(self.connection()).await?;
        let count: i64 = row.try_get(0)?;
        u64::try_from(count).map_err(|error| StoreError::damaged("a count", error))
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
