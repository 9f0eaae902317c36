//! The connection of a list, and the end of a list that takes too long or that nobody waits for.
//!
//! A future that is dropped stops nothing by itself: its statement goes on in the thread of its connection until there
//! is a row, which may be never, and its connection is taken until then. So a list is asked now and then
//! whether it is still waited for.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection};

use crate::error::StoreError;

/// After how many instructions of the database it is asked: some tenths of a millisecond.
const ASKED_EVERY: i32 = 10_000;

/// A connection for a list by itself.
pub(crate) struct Lister {
    /// Goes first: what is under way ends before the connection goes back to where others wait for it.
    _awaited: Awaited,
    connection: PoolConnection<Sqlite>,
}

/// Says no more when it is dropped.
struct Awaited(Arc<AtomicBool>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Lister {
    /// One whose statements are stopped when it is dropped, and after a time.
    pub(crate) async fn stoppable(
        mut connection: PoolConnection<Sqlite>,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let awaited = Arc::new(AtomicBool::new(true));
        let (asked, began) = (Arc::clone(&awaited), Instant::now());
        let goes_on = move || asked.load(Ordering::Relaxed) && began.elapsed() < patience;
        connection.lock_handle().await?.set_progress_handler(ASKED_EVERY, goes_on);
        Ok(Self { _awaited: Awaited(awaited), connection })
    }
}

impl Deref for Lister {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Lister {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use crate::db::{Store, StoreOptions};
    use crate::error::StoreError;
    use crate::filter::index::Reach;
    use crate::vault::KeyRing;

    use super::*;

    /// Counts for ever.
    const ENDLESS: &str =
        "with recursive number (n) as (select 1 union all select n + 1 from number) select count(*) from number";
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn store(folder: &tempfile::TempDir, scan: Duration) -> Store {
        let options = StoreOptions { scan, ..StoreOptions::default() };
        let location = folder.path().join("headwaters.db");
        Store::open_with(location.to_str().unwrap(), KeyRing::generate().unwrap(), options).await.unwrap()
    }

    #[tokio::test]
    async fn a_list_that_takes_too_long_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, Duration::from_millis(50)).await;
        let mut lister = store.lister(Reach::Bodies).await.unwrap();
        let ended = timeout(PATIENCE, sqlx::query(ENDLESS).fetch_all(&mut *lister)).await.unwrap();
        let error = StoreError::from(ended.unwrap_err());
        assert!(matches!(error, StoreError::ScanTooLong) && !error.is_transient(), "{error:?}");
    }

    #[tokio::test]
    async fn a_list_that_nobody_waits_for_gives_its_connection_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, PATIENCE).await;
        let abandoned = async {
            let mut lister = store.lister(Reach::Bodies).await.unwrap();
            sqlx::query(ENDLESS).fetch_all(&mut *lister).await
        };
        assert!(timeout(Duration::from_millis(50), abandoned).await.is_err(), "it counts");
        // There is one such connection only.
        let mut next = store.lister(Reach::Bodies).await.unwrap();
        sqlx::query("select 1").fetch_one(&mut *next).await.unwrap();
    }
}
