//! The object store behind a table's location, and the state of its log.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::EagerSnapshot;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, logstore_for};
use futures::{StreamExt, TryStreamExt, stream};
use headwaters_model::job::LandedFile;
use headwaters_model::offset::Ordinal;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;
use uuid::Uuid;

use super::errors;
use crate::contract::LakeError;

/// So many files are looked for at a time.
const LOOKS_MAX: usize = 16;

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

    /// Whether finished files are all there, each with its size.
    pub(crate) async fn has(&self, files: &[LandedFile]) -> Result<bool, LakeError> {
        let is_there = |file: &LandedFile| {
            let (path, size_bytes) = (Path::from(file.path.as_str()), file.size_bytes);
            async move {
                match self.store.head(&path).await {
                    Ok(found) => Ok(found.size == size_bytes),
                    Err(object_store::Error::NotFound { .. }) => Ok(false),
                    Err(error) => Err(errors::storage("look for a file of", &self.location, &error)),
                }
            }
        };
        // Made beforehand, as what borrows the files item by item can't be sent between threads.
        let looks: Vec<_> = files.iter().map(is_there).collect();
        stream::iter(looks).buffer_unordered(LOOKS_MAX).try_all(|there| async move { there }).await
    }

    /// Fails if finished files are not all there: a commit would make a table of them that nobody can read.
    pub(crate) async fn check_there(&self, files: &[LandedFile]) -> Result<(), LakeError> {
        if self.has(files).await? {
            return Ok(());
        }
        Err(LakeError::transient(format!(
            "could not commit to {}: files that were landed are gone; they are landed again",
            self.location
        )))
    }

    /// Makes finished files outlast a power cut. What is written to the local disk lies in memory for a while, which the
    /// store does not wait for; object stores answer when it is safe.
    pub(crate) async fn persist(&self, paths: Vec<String>) -> Result<(), LakeError> {
        let ("file", Ok(folder)) = (self.url.scheme(), self.url.to_file_path()) else { return Ok(()) };
        let persisted = tokio::task::spawn_blocking(move || persist(&folder, &paths)).await;
        let persisted = persisted.unwrap_or_else(|broken| Err(std::io::Error::other(broken)));
        persisted.map_err(|error| errors::storage("write to", &self.location, &error))
    }

    /// Deletes finished files; what can't be deleted is left for vacuum.
    pub(crate) async fn discard(&self, files: &[LandedFile]) {
        for file in files {
            if let Err(error) = self.store.delete(&Path::from(file.path.as_str())).await {
                tracing::warn!(path = file.path, %error, "could not delete a file that is not wanted any more");
            }
        }
    }

    /// Deletes uploads that nobody goes on with since `before_ms`, milliseconds since 1970: how many, and their bytes.
    ///
    /// On the local disk they are files of another name, which a store does not list; object stores have rules of their
    /// own for theirs.
    pub(crate) async fn delete_unfinished(&self, before_ms: i64) -> Result<(u64, u64), LakeError> {
        let Ok(folder) = self.url.to_file_path() else { return Ok((0, 0)) };
        let deleted = tokio::task::spawn_blocking(move || delete_unfinished(&folder, before_ms)).await;
        let deleted = deleted.unwrap_or_else(|broken| Err(std::io::Error::other(broken)));
        deleted.map_err(|error| errors::storage("clean up", &self.location, &error))
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

/// Waits until files below a folder are on the disk, and the names that lead to them.
fn persist(folder: &std::path::Path, paths: &[String]) -> std::io::Result<()> {
    let mut folders: BTreeSet<PathBuf> =
        [Some(folder), folder.parent()].into_iter().flatten().map(Into::into).collect();
    for path in paths {
        let path = folder.join(path);
        File::open(&path)?.sync_all()?;
        folders.extend(path.parent().map(Into::into));
    }
    for folder in folders {
        // Not every file system takes that of a folder, and the one above may be closed to us.
        File::open(folder).and_then(|folder| folder.sync_all()).ok();
    }
    Ok(())
}

/// Whether the name is that of a Parquet file on its way: the store adds `#` and a number until it is complete.
fn is_unfinished(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(file, number)| {
        file.ends_with(".parquet") && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn delete_unfinished(folder: &std::path::Path, before_ms: i64) -> std::io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_unfinished) {
            continue;
        }
        // One that is completed at this moment is gone under this name.
        let Ok(about) = entry.metadata() else { continue };
        if DateTime::<Utc>::from(about.modified()?).timestamp_millis() < before_ms
            && std::fs::remove_file(entry.path()).is_ok()
        {
            files += 1;
            bytes += about.len();
        }
    }
    Ok((files, bytes))
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
