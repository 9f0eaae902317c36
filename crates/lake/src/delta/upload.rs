//! One file on its way into the store.
//!
//! At most `parts_max` parts are under way; who writes faster than the store takes them waits. That is what bounds a
//! file's memory. A file that is not completed is not there: on the local disk it has another name until then, in an
//! object store a multipart upload is invisible before its end.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, Result};
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;
use tokio::task::JoinSet;

/// The size of a part; object stores refuse smaller ones.
const PART_BYTES: usize = 5 << 20;

/// Takes the bytes of a file and sends them off in parts; a small file goes in one piece.
pub(super) struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    parts_max: usize,
    /// Less than a part, between two calls.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// There once a first part is full.
    multipart: Option<Box<dyn MultipartUpload>>,
    under_way: JoinSet<Result<()>>,
}

impl Upload {
    pub(super) fn new(store: Arc<dyn ObjectStore>, path: Path, parts_max: usize) -> Self {
        Self {
            store,
            path,
            parts_max: parts_max.max(1),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            multipart: None,
            under_way: JoinSet::new(),
        }
    }

    /// Gives up; what was sent is deleted as far as the store allows.
    pub(super) async fn abort(mut self) {
        self.under_way.shutdown().await;
        if let Some(mut multipart) = self.multipart
            && let Err(error) = multipart.abort().await
        {
            tracing::warn!(path = %self.path, %error, "could not abort an upload; the store keeps its parts");
        }
    }

    async fn send(&mut self, bytes: Bytes) -> Result<()> {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes);
        while self.waiting_bytes >= PART_BYTES {
            let part = self.take(PART_BYTES);
            self.start(part).await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        let rest = self.take(self.waiting_bytes);
        if self.multipart.is_none() {
            self.store.put(&self.path, rest).await?;
            return Ok(());
        }
        if rest.content_length() > 0 {
            self.start(rest).await?;
        }
        self.wait_for_fewer_than(1).await?;
        if let Some(multipart) = &mut self.multipart {
            multipart.complete().await?;
        }
        Ok(())
    }

    /// Takes so many of the waiting bytes, without copying them.
    fn take(&mut self, bytes: usize) -> PutPayload {
        let mut missing = bytes;
        let mut part = Vec::new();
        while missing > 0
            && let Some(mut next) = self.waiting.pop_front()
        {
            if next.len() > missing {
                self.waiting.push_front(next.split_off(missing));
            }
            missing -= next.len();
            part.push(next);
        }
        self.waiting_bytes -= bytes - missing;
        PutPayload::from_iter(part)
    }

    async fn start(&mut self, part: PutPayload) -> Result<()> {
        self.wait_for_fewer_than(self.parts_max).await?;
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => none.insert(self.store.put_multipart(&self.path).await?),
        };
        self.under_way.spawn(multipart.put_part(part));
        Ok(())
    }

    async fn wait_for_fewer_than(&mut self, parts: usize) -> Result<()> {
        while self.under_way.len() >= parts
            && let Some(done) = self.under_way.join_next().await
        {
            done.map_err(|source| object_store::Error::JoinError { source })??;
        }
        Ok(())
    }
}

impl AsyncFileWriter for Upload {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        self.send(bytes).map(|sent| sent.map_err(external)).boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        self.end().map(|ended| ended.map_err(external)).boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn bytes_arrive_in_order_whatever_the_sizes_they_come_in() {
        for sizes in [vec![10], vec![PART_BYTES], vec![1, PART_BYTES * 2 + 3, 7], vec![PART_BYTES - 1, 1, 1]] {
            let store = Arc::new(InMemory::new());
            let mut upload = Upload::new(store.clone(), Path::from("f"), 2);
            let mut sent = Vec::new();
            for (index, size) in sizes.iter().enumerate() {
                let bytes = vec![u8::try_from(index).unwrap(); *size];
                sent.extend_from_slice(&bytes);
                upload.write(bytes.into()).await.unwrap();
                assert!(upload.waiting_bytes < PART_BYTES);
            }
            assert!(store.head(&Path::from("f")).await.is_err(), "not there before its end");
            upload.complete().await.unwrap();
            let read = store.get(&Path::from("f")).await.unwrap().bytes().await.unwrap();
            assert!(read == sent, "{sizes:?}");
        }
    }
}
