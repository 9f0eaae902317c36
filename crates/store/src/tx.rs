//! A transaction: everything that happens to the resources of one scope, at once or not at all.

use std::sync::Arc;

use headwaters_model::sandbox::Scope;
use sqlx::{Sqlite, SqliteConnection, Transaction};

use crate::error::StoreError;
use crate::vault::Vault;

/// A transaction on the resources of one scope. Dropped without [`Tx::commit`] it leaves no trace.
pub struct Tx {
    inner: Transaction<'static, Sqlite>,
    scope: Scope,
    pub(crate) vault: Arc<Vault>,
}

impl Tx {
    pub(crate) fn new(inner: Transaction<'static, Sqlite>, scope: Scope, vault: Arc<Vault>) -> Self {
        Self { inner, scope, vault }
    }

    /// Where it works.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Makes everything that was done visible and durable.
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.inner.commit().await?)
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.inner
    }

    /// The organisation, as it is bound.
    pub(crate) fn org(&self) -> String {
        self.scope.org.as_str().to_owned()
    }

    /// The sandbox, as it is bound.
    pub(crate) fn sandbox(&self) -> String {
        self.scope.sandbox.to_string()
    }
}
