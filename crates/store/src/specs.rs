//! Specs that services have described, beside the built-in ones (flow-service.md 12.4). They belong to an organisation;
//! its sandboxes see the same.

use headwaters_model::id::SpecId;
use headwaters_model::resource::Collection;
use serde_json::Value;

use crate::error::StoreError;
use crate::rows;
use crate::tx::Tx;

/// What a body may name a spec by, and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecName {
    /// Connection specs or flow specs.
    pub collection: Collection,
    /// Its id.
    pub id: SpecId,
    /// Its name.
    pub name: String,
}

impl Tx {
    /// The documents of a collection of specs, the oldest first.
    pub async fn specs(&mut self, of: Collection) -> Result<Vec<Value>, StoreError> {
        let query = sqlx::query("select body from spec where org = $1 and collection = $2 order by created_at_us, id");
        let found = query.bind(self.org()).bind(of.name()).fetch_all(self.connection()).await?;
        found.iter().map(|row| rows::json(row, "body")).collect()
    }

    /// The document of one spec.
    pub async fn spec(&mut self, of: Collection, id: SpecId) -> Result<Option<Value>, StoreError> {
        let query = sqlx::query("select body from spec where org = $1 and collection = $2 and id = $3");
        let query = query.bind(self.org()).bind(of.name()).bind(id.to_string());
        let row = query.fetch_optional(self.connection()).await?;
        row.map(|row| rows::json(&row, "body")).transpose()
    }

    /// The names of all specs of the organisation.
    pub async fn spec_names(&mut self) -> Result<Vec<SpecName>, StoreError> {
        let query = sqlx::query("select collection, id, name from spec where org = $1").bind(self.org());
        let found = query.fetch_all(self.connection()).await?;
        let named = |row| {
            let flows = rows::value::<&str>(row, "collection")? == Collection::FlowSpecs.name();
            let collection = if flows { Collection::FlowSpecs } else { Collection::ConnectionSpecs };
            Ok(SpecName { collection, id: rows::parsed(row, "id")?, name: rows::value(row, "name")? })
        };
        found.iter().map(named).collect()
    }

    /// How many specs of a collection there are.
    pub async fn count_specs(&mut self, of: Collection) -> Result<u64, StoreError> {
        let query = sqlx::query("select count(*) as specs from spec where org = $1 and collection = $2");
        let row = query.bind(self.org()).bind(of.name()).fetch_one(self.connection()).await?;
        u64::try_from(rows::value::<i64>(&row, "specs")?).map_err(|error| StoreError::damaged("a count", error))
    }

    /// Stores a spec, in the place of the one with its id if there is one.
    pub async fn put_spec(
        &mut self,
        of: Collection,
        id: SpecId,
        document: &Value,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(
            "insert into spec (org, collection, id, created_at_us, updated_at_us, body) values ($1, $2, $3, $4, $4, $5)
             on conflict (org, collection, id) do update set updated_at_us = excluded.updated_at_us, body = excluded.body",
        );
        let query = query.bind(self.org()).bind(of.name()).bind(id.to_string()).bind(rows::us(now_ms));
        query.bind(rows::to_json(of.noun(), document)?).execute(self.connection()).await?;
        Ok(())
    }
}
