//! The object store behind a table's location, and the state of its log.

use std::sync::Arc;

use deltalake_core::DeltaTableError;
use deltalake_core::kernel::EagerSnapshot;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, logstore_for};
use futures::TryStreamExt;
use headwaters_model::job::LandedFile;
use headwaters_model::offset::Ordinal;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;
use uuid::Uuid;

use super::errors;
use crate::contract::LakeError;

/// The location of a table and the ways to it.
#[derive(Clone)]
pub(crate) struct Place {
    location: Arc<str>,
    url: Url,
    log: LogStoreRef,
    store: Arc<dyn ObjectStore>,
}

impl Place {
    /// Finds the store for an absolute URI. The folder of a table on the local disk need not exist.
    pub(crate) fn at(location: &str) -> Result<Self, LakeError> {
        let url = Url::parse(location).map_err(|error| {
            LakeError::definite(format!("not the location of a table: {location} ({error})"))
                .with_hint("give an absolute URI such as file:///srv/lake/orders")
        })?;
        let log = log_store(&url)?;
        Ok(Self::over(location, url, log))
    }

    fn over(location: &str, url: Url, log: LogStoreRef) -> Self {
        let store = log.object_store(None);
        Self { location: location.into(), url, log, store }
    }

    /// The place behind a store that a test has prepared; the store is rooted where the URL's scheme is.
    #[cfg(test)]
    pub(crate) fn behind(location: &str, store: Arc<dyn ObjectStore>) -> Self {
        let url = Url::parse(location).unwrap();
        let log = deltalake_core::logstore::logstore_with(store, &url, StorageConfig::default()).unwrap();
        Self::over(location, url, log)
    }

    /// The location as it was given.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// The location as a URL.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// The log of the table.
    pub(crate) fn log(&self) -> &LogStoreRef {
        &self.log
    }

    /// The store, rooted at the table.
    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The newest state of the table; none where there is no table.
    pub(crate) async fn load(&self) -> Result<Option<EagerSnapshot>, LakeError> {
        if !self.has_log().await? {
            return Ok(None);
        }
        match EagerSnapshot::try_new(self.log.as_ref(), None).await {
            Ok(state) => Ok(Some(state)),
            Err(DeltaTableError::NotATable(_)) => Ok(None),
            Err(error) => Err(errors::delta("read the log of", &self.location, &error)),
        }
    }

    /// Whether anything is in the log; the library takes a missing folder for an error.
    async fn has_log(&self) -> Result<bool, LakeError> {
        let first = self.store.list(Some(&Path::from("_delta_log"))).try_next().await;
        Ok(first.map_err(|error| errors::storage("read the log of", &self.location, &error))?.is_some())
    }

    /// The last ordinal that a state of the table knows of an application.
    pub(crate) async fn last_ordinal(&self, state: &EagerSnapshot, app_id: &str) -> Result<Option<Ordinal>, LakeError> {
        let version = state.transaction_version(self.log.as_ref(), app_id).await;
        Ok(version.map_err(|error| errors::delta("read the log of", &self.location, &error))?.map(Ordinal))
    }

    /// Deletes finished files; what can't be deleted is left for vacuum.
    pub(crate) async fn discard(&self, files: &[LandedFile]) {
        for file in files {
            if let Err(error) = self.store.delete(&Path::from(file.path.as_str())).await {
                tracing::warn!(path = file.path, %error, "could not delete a file that is not wanted any more");
            }
        }
    }

    /// Writes, reads back and deletes a small object.
    pub(crate) async fn probe(&self) -> Result<(), LakeError> {
        let path = Path::from(format!("_headwaters_probe_{}", Uuid::new_v4().simple()));
        let failed =
            |doing: &'static str| move |error: object_store::Error| errors::storage(doing, &self.location, &error);
        self.store.put(&path, b"headwaters"[..].into()).await.map_err(failed("write to"))?;
        let read = async { self.store.get(&path).await?.bytes().await }.await;
        self.store.delete(&path).await.map_err(failed("delete from"))?;
        if read.map_err(failed("read from"))?.as_ref() == b"headwaters" {
            Ok(())
        } else {
            Err(LakeError::definite(format!("what was written to {} is read back differently", self.location)))
        }
    }
}

/// The one place where a kind of store is added: build the store from its URL here.
fn log_store(url: &Url) -> Result<LogStoreRef, LakeError> {
    match url.scheme() {
        "file" if url.to_file_path().is_ok() => logstore_for(url, StorageConfig::default())
            .map_err(|error| errors::delta("open the folder of", url.as_str(), &error)),
        "file" => Err(LakeError::definite(format!("not a path on this machine: {url}"))
            .with_hint("give an absolute path such as file:///srv/lake/orders")),
        scheme => Err(LakeError::definite(format!(
            "tables at {scheme}:// locations are not built into this headwaters: {url}"
        ))
        .with_hint("use a folder on the local disk, e.g. file:///srv/lake/orders")),
    }
}
