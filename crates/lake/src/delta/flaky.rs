//! A store that misbehaves on purpose, for tests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// What the store does to the next writes of log entries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mischief {
    /// Writes, then loses the answer.
    LosesAnswer,
    /// Writes, loses the answer, asks again by itself and tells the answer to that: the entry is there already.
    Contradicts,
    /// Writes nothing and says that the network broke.
    Refuses,
}

impl Mischief {
    /// Those that write nevertheless.
    pub(super) const WRITING: [Self; 2] = [Self::LosesAnswer, Self::Contradicts];
}

/// A store whose first writes of log entries go wrong.
#[derive(Debug)]
pub(super) struct Flaky {
    inner: Arc<InMemory>,
    mischief: Mischief,
    left: AtomicU32,
}

impl Flaky {
    /// Over this store, for so many writes.
    pub(super) fn new(inner: Arc<InMemory>, mischief: Mischief, times: u32) -> Self {
        Self { inner, mischief, left: AtomicU32::new(times) }
    }

    fn next(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flaky")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let broken = || object_store::Error::Generic { store: "flaky", source: "connection reset".into() };
        if !path.as_ref().contains("_delta_log") || !self.next() {
            return self.inner.put_opts(path, payload, options).await;
        }
        if self.mischief == Mischief::Refuses {
            return Err(broken());
        }
        self.inner.put_opts(path, payload, options).await?;
        match self.mischief {
            Mischief::Contradicts => {
                Err(object_store::Error::AlreadyExists { path: path.to_string(), source: "it is there".into() })
            }
            Mischief::LosesAnswer | Mischief::Refuses => Err(broken()),
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
