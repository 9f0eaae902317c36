//! Opening the store, and its pools.
//!
//! One connection writes, several read: SQLite has one writer at a time anyway, and waiting for our own pool is fair
//! where waiting for its lock is not. Readers see the snapshot at which their transaction began (WAL): they wait for no
//! writer and no writer waits for them; they can not write (`query_only`).
//!
//! What reads a single row by its key has connections of its own, and so has what may read the body of every row: a list
//! that no index helps ([`Reach::Bodies`]). Few of these are at work at a time and few wait, not for long: the others are
//! told to come back. However many there are, they keep nobody from a single row or from a list that an index finds.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headwaters_model::sandbox::Scope;
use sqlx::Connection as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::Semaphore;

use crate::error::{self, StoreError};
use crate::filter::index::Reach;
use crate::lister::Lister;
use crate::schema;
use crate::tx::Tx;
use crate::vault::{KeyRing, Vault};

/// How long a call waits for somebody else's transaction, in milliseconds.
const BUSY_TIMEOUT_MS: u64 = 5_000;
/// How many transactions may read at a time: those of commands and of the worker.
const READERS: u32 = 4;
/// How many lists that go along an index may be at work at a time, beside them: no number of lists keeps the worker
/// waiting.
const LISTS: u32 = 4;
/// How many rows of a query are read ahead of who takes them; each may have 2 MiB.
const ROWS_AHEAD_MAX: usize = 16;
/// How many single rows may be looked up at a time, beside them: each takes microseconds.
const LOOKUPS: u32 = 2;
/// How many lists that may read every row are at work at a time: on two cores, one core is left to all else at worst.
const SCANS: u32 = 1;
/// How many more wait for their turn; most of them take a moment only, because enough rows pass.
const SCANS_WAITING_MAX: usize = 32;
/// How long they wait, in milliseconds: longer than the one before them may be at work.
const SCAN_WAIT_MS_MAX: u64 = 12_000;
/// How long a list may be at work, in milliseconds.
const SCAN_MS_MAX: u64 = 10_000;
const _: () = assert!(SCAN_WAIT_MS_MAX > SCAN_MS_MAX);
/// How much of the database each connection keeps in memory, in KiB. The rest is in the system's cache.
const CACHE_KIB: u32 = 8 * 1024;
/// To which size the write-ahead log is cut back after it had to grow, in bytes.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// The size of a page of the database, in bytes.
const PAGE_BYTES: u64 = 4096;

/// For how long a write that the disk took proves that it takes writes.
const PROOF: Duration = Duration::from_secs(1);

/// The write that proves it: it marks the database as ours (`hwst` as a number) in a field of its header that SQLite keeps
/// for that, and so writes a page and changes nothing.
const PROVE: &str = "pragma application_id = 1752658804";

/// Who may read and write a new database: its owner.
const DATABASE_MODE: u32 = 0o600;

/// What can be set when a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// How long a call waits for somebody else's transaction.
    pub busy_timeout: Duration,
    /// How many transactions may read at a time.
    pub readers: u32,
    /// How long a list that may read every row may be at work.
    pub scan: Duration,
    /// The largest size of the database in bytes; none means as much as the disk holds.
    pub bytes_max: Option<u64>,
    /// Whether a store is made where there is none and an earlier one is brought up to date; else both are refused.
    pub upgrade: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_millis(BUSY_TIMEOUT_MS),
            readers: READERS,
            scan: Duration::from_millis(SCAN_MS_MAX),
            bytes_max: None,
            upgrade: true,
        }
    }
}

/// The metadata store. Cloning shares it.
#[derive(Clone)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    lookups: SqlitePool,
    lists: SqlitePool,
    scans: SqlitePool,
    scan_patience: Duration,
    scans_waiting: Arc<Semaphore>,
    vault: Arc<Vault>,
    /// When the disk took a write of [`Store::ping`] last.
    proved: Arc<Mutex<Option<Instant>>>,
}

impl Store {
    /// Opens the store at a path or a `sqlite://` URL, makes it where there is none, and brings its schema up to date.
    pub async fn open(location: &str, keys: KeyRing) -> Result<Self, StoreError> {
        Self::open_with(location, keys, StoreOptions::default()).await
    }

    /// Opens the store with settings of one's own.
    pub async fn open_with(location: &str, keys: KeyRing, options: StoreOptions) -> Result<Self, StoreError> {
        error::describe_metrics();
        let path = path_of(location)?;
        if options.upgrade {
            make_place(path)?;
        }
        let connect = connect_options(path, &options);
        let writer = opened(&connect, &options).await.map_err(|error| error.at_opening(location))?;
        let connect = connect.pragma("query_only", "on");
        let lookups = pool(LOOKUPS, &options).connect_lazy_with(connect.clone());
        let scan_wait = Duration::from_millis(SCAN_WAIT_MS_MAX);
        let scans = pool(SCANS, &options).acquire_timeout(scan_wait).connect_lazy_with(connect.clone());
        let lists = pool(LISTS, &options).connect_lazy_with(connect.clone());
        let scan_patience = options.scan;
        let readers = pool(options.readers, &options).connect_lazy_with(connect);
        let scans_waiting = Arc::new(Semaphore::new(SCANS_WAITING_MAX));
        Ok(Self {
            writer,
            readers,
            lookups,
            lists,
            scans,
            scan_patience,
            scans_waiting,
            vault: Arc::new(Vault::new(keys)),
            proved: Arc::default(),
        })
    }

    /// Begins to read: everything is seen as it was at this moment.
    pub async fn read(&self, scope: &Scope) -> Result<Tx, StoreError> {
        Ok(Tx::new(self.readers.begin().await?, scope.clone(), Arc::clone(&self.vault)))
    }

    /// A connection for a list by itself.
    pub(crate) async fn lister(&self, reach: Reach) -> Result<Lister, StoreError> {
        match reach {
            // An index may lead through very many rows that other filters keep out: these too end with their client.
            Reach::Index => Lister::stoppable(self.lists.acquire().await?, self.scan_patience).await,
            Reach::Bodies => {
                let _waiting = self.scans_waiting.try_acquire().map_err(|_| StoreError::TooManyScans)?;
                let connection = self.scans.acquire().await.map_err(|error| match error {
                    sqlx::Error::PoolTimedOut => StoreError::TooManyScans,
                    error => error.into(),
                })?;
                Lister::stoppable(connection, self.scan_patience).await
            }
        }
    }

    /// Begins to write: nobody else writes until the transaction is committed or dropped.
    pub async fn write(&self, scope: &Scope) -> Result<Tx, StoreError> {
        let begun = self.writer.begin_with("begin immediate").await?;
        Ok(Tx::new(begun, scope.clone(), Arc::clone(&self.vault)))
    }

    /// Proves that the store answers, that nobody holds it, and that its disk takes what is written, for readiness. Who
    /// asks often does not make it write more than once a second.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("select 1 from organisation limit 1").fetch_optional(&self.readers).await?;
        let mut probe = self.writer.begin_with("begin immediate").await?;
        if self.proved().is_some_and(|at| at.elapsed() < PROOF) {
            return Ok(probe.rollback().await?);
        }
        // A full disk shows only when something is written.
        sqlx::query(PROVE).execute(&mut *probe).await?;
        probe.commit().await?;
        *self.proved() = Some(Instant::now());
        Ok(())
    }

    fn proved(&self) -> MutexGuard<'_, Option<Instant>> {
        // A plain value, which a panic elsewhere can not leave half-changed.
        self.proved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all connections; the write-ahead log is folded into the database.
    pub async fn close(&self) {
        self.lookups.close().await;
        self.lists.close().await;
        self.scans.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// For queries that read a single row by its key.
    pub(crate) fn lookups(&self) -> &SqlitePool {
        &self.lookups
    }

    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.writer
    }
}

fn path_of(location: &str) -> Result<&Path, StoreError> {
    let path = match location.split_once("://") {
        Some(("sqlite" | "file", path)) => path,
        Some(_) => return Err(StoreError::UnknownKind { location: location.to_owned() }),
        None => location.strip_prefix("sqlite:").unwrap_or(location),
    };
    Ok(Path::new(path))
}

/// Makes the directory of the database, and its file readable by its owner only; the log beside it inherits that.
fn make_place(path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Place { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    OpenOptions::new().create(true).append(true).mode(DATABASE_MODE).open(path).map_err(failed)?;
    Ok(())
}

/// The connection that writes, over a schema that is up to date.
async fn opened(connect: &SqliteConnectOptions, options: &StoreOptions) -> Result<SqlitePool, StoreError> {
    let writer = pool(1, options).connect_with(connect.clone()).await?;
    let mut connection = writer.acquire().await?;
    match options.upgrade {
        true => schema::bring_up_to_date(&mut connection).await?,
        false => schema::require_current(&mut connection).await?,
    }
    drop(connection);
    Ok(writer)
}

fn connect_options(path: &Path, options: &StoreOptions) -> SqliteConnectOptions {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(options.busy_timeout)
        .row_buffer_size(ROWS_AHEAD_MAX)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("cache_size", format!("-{CACHE_KIB}"))
        .pragma("journal_size_limit", LOG_BYTES_MAX.to_string())
        // A pending offset must survive a power cut, else the commit that followed it could not be explained.
        .synchronous(SqliteSynchronous::Full);
    match options.bytes_max {
        Some(bytes) => connect.pragma("max_page_count", (bytes / PAGE_BYTES).max(1).to_string()),
        None => connect,
    }
}

fn pool(connections: u32, options: &StoreOptions) -> SqlitePoolOptions {
    let patience = options.busy_timeout.saturating_add(Duration::from_millis(500));
    // A connection to a file does not go stale: it is not tried before each use, and kept with what it has in memory.
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(patience)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_between_transactions(connection)))
        .idle_timeout(None)
        .max_lifetime(None)
}

/// Whether a connection may be used again. After a write for which there is no room SQLite has rolled the transaction back
/// itself; sqlx's own attempt to do so fails then, and it believes for ever that the connection is within a transaction.
/// Such a connection is replaced by a new one.
async fn is_between_transactions(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // What was dropped without a commit is rolled back by a task of the connection, in its order.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}
