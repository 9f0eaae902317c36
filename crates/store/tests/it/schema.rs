//! A store of an earlier version: brought up to date with all that is in it, or refused by who only reads.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use headwaters_model::filter::Filter;
use headwaters_model::flow::Flow;
use headwaters_model::page::{ListQuery, Order};
use headwaters_model::resource::Resource;
use headwaters_model::run::Run;
use headwaters_model::spec::CRM_TO_AEP;
use headwaters_store::{KeyRing, Store, StoreError, StoreOptions, Stored};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr as _};

use crate::world::{Pipeline, World, flow};

/// The schema as it was before lists had indexes.
const TABLES: &str = include_str!("../../migrations/sqlite/0001_tables.sql");

/// How many steps there have been since.
const STEPS_SINCE: usize = 2;

/// What is logged while it is held.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines of the store's own code.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains("headwaters_store")).map(str::to_owned).collect()
    }
}

/// A store of today with flows and runs, and the same rows in a database that only the first step has made.
struct Upgrade {
    world: World,
    pipeline: Pipeline,
    location: String,
}

impl Upgrade {
    async fn prepare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [today, earlier] = ["today.db", "earlier.db"].map(|name| dir.path().join(name));
        let store = Store::open(today.to_str().unwrap(), keys(dir.path())).await.unwrap();
        let world = World::new(store, dir).await;
        let pipeline = world.add_pipeline().await;
        for name in ["customers", "items"] {
            world.add(flow(name, Some(pipeline.source.id), None)).await;
        }
        world.add_run(&pipeline.flow, None).await;
        world.add_run(&pipeline.flow, None).await;
        copy_rows(&today, &earlier).await;
        Self { world, pipeline, location: earlier.to_str().unwrap().to_owned() }
    }

    async fn open(&self, options: StoreOptions) -> Result<Store, StoreError> {
        Store::open_with(&self.location, keys(self.world.dir.path()), options).await
    }

    /// Both stores have the same list.
    async fn assert_same_list<K: Stored>(&self, brought: &Store, filter: &str, order: &str) {
        let filter = Filter::parse(filter, K::COLLECTION).unwrap();
        let query = ListQuery { order: Order::parse(order, K::COLLECTION).unwrap(), ..ListQuery::all() }.with(filter);
        let mut lists: Vec<Vec<Resource<K>>> = Vec::new();
        for store in [&self.world.store, brought] {
            lists.push(store.list::<K>(&self.world.scope, &query).await.unwrap().items);
        }
        assert!(!lists[0].is_empty(), "{query:?}");
        assert_eq!(lists[0], lists[1], "{query:?}");
    }
}

fn keys(dir: &Path) -> KeyRing {
    KeyRing::open_or_create(&dir.join("keyring.json")).unwrap()
}

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(false);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// The columns of a table that are written, not computed.
async fn columns(connection: &mut SqliteConnection, table: &str) -> String {
    let sql = "select group_concat(name) from pragma_table_xinfo(?) where hidden = 0";
    sqlx::query_scalar(sql).bind(table).fetch_one(connection).await.unwrap()
}

/// Makes a database as the first version did, with the rows of one of today.
async fn copy_rows(today: &Path, earlier: &Path) {
    let mut connection = connect(earlier).await;
    let first = Migration::new(1, Cow::Borrowed("tables"), MigrationType::Simple, TABLES.into_sql_str(), false);
    Migrator::with_migrations(vec![first]).run(&mut connection).await.unwrap();
    let tables = "select name from sqlite_schema where type = 'table' and name not like '\\_%' escape '\\'
        and name not like 'sqlite%'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    sqlx::query("attach ? as today").bind(today.to_str().unwrap()).execute(&mut connection).await.unwrap();
    for table in tables {
        let columns = columns(&mut connection, &table).await;
        let copy = format!("insert into main.{table} ({columns}) select {columns} from today.{table}");
        sqlx::query(AssertSqlSafe(copy)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Every table and index of a database with the text that made it.
async fn schema_of(path: &Path) -> Vec<(String, Option<String>)> {
    let mut connection = connect(path).await;
    let sql = "select name, sql from sqlite_schema order by name";
    let found = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    found
}

#[tokio::test]
async fn an_earlier_store_is_brought_up_to_date_with_all_that_is_in_it_and_the_log_says_so() {
    let upgrade = Upgrade::prepare().await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let logged = tracing::subscriber::set_default(subscriber);
    let brought = upgrade.open(StoreOptions::default()).await.unwrap();
    let lines = log.lines();
    assert_eq!(lines.len(), 2 * STEPS_SINCE, "{lines:#?}");
    for (step, said) in (2..).zip(lines.chunks(2)) {
        let version = format!("version={step}");
        assert!(said[0].contains("bringing the metadata store up to date") && said[0].contains(&version), "{said:?}");
        assert!(said[1].contains("brought the metadata store up to date") && said[1].contains("took_ms="), "{said:?}");
    }

    let Pipeline { connection, source, flow, .. } = &upgrade.pipeline;
    let mut tx = brought.read(&upgrade.world.scope).await.unwrap();
    assert_eq!(tx.get(&connection.id).await.unwrap().as_ref(), Some(connection));
    assert_eq!(tx.get::<Flow>(&flow.id).await.unwrap(), upgrade.world.find(&flow.id).await);
    drop(tx);
    let by_spec = format!("flowSpec.id=={CRM_TO_AEP}");
    for (filter, order) in [(by_spec.as_str(), "name"), ("state==ENABLED", "-createdAt"), ("name==items", "-updatedAt")]
    {
        upgrade.assert_same_list::<Flow>(&brought, filter, order).await;
    }
    let by_source = format!("sourceConnectionIds[]=={}", source.id);
    upgrade.assert_same_list::<Flow>(&brought, &by_source, "name").await;
    upgrade.assert_same_list::<Run>(&brought, &format!("flowId=={}", flow.id), "-createdAt").await;
    let today = schema_of(&upgrade.world.dir.path().join("today.db")).await;
    assert_eq!(schema_of(Path::new(&upgrade.location)).await, today, "left: brought up to date, right: new");

    brought.close().await;
    upgrade.open(StoreOptions::default()).await.unwrap().close().await;
    assert_eq!(log.lines().len(), 2 * STEPS_SINCE, "nothing is left to do: {:#?}", log.lines());
    drop(logged);
}

#[tokio::test]
async fn who_only_reads_makes_no_store_and_changes_no_earlier_one() {
    let reading = || StoreOptions { upgrade: false, ..StoreOptions::default() };
    let upgrade = Upgrade::prepare().await;
    let before = schema_of(Path::new(&upgrade.location)).await;
    let refused = upgrade.open(reading()).await.err().unwrap();
    assert!(
        matches!(refused, StoreError::OldSchema { found: 1, needed } if usize::try_from(needed) == Ok(1 + STEPS_SINCE)),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("start its server"), "{refused}");
    assert_eq!(schema_of(Path::new(&upgrade.location)).await, before);

    let nowhere = upgrade.world.dir.path().join("nowhere.db");
    let refused = Store::open_with(nowhere.to_str().unwrap(), keys(upgrade.world.dir.path()), reading()).await;
    assert!(matches!(refused.err().unwrap(), StoreError::Open { .. }));
    assert!(!nowhere.exists());

    upgrade.open(StoreOptions::default()).await.unwrap().close().await;
    let store = upgrade.open(reading()).await.unwrap();
    upgrade.assert_same_list::<Flow>(&store, "state==enabled", "name").await;
}

#[tokio::test]
async fn of_many_processes_that_start_at_once_each_finds_a_store_that_is_up_to_date() {
    let upgrade = Upgrade::prepare().await;
    let fresh = upgrade.world.dir.path().join("fresh.db");
    let keys_dir = upgrade.world.dir.path();
    for location in [upgrade.location.as_str(), fresh.to_str().unwrap()] {
        let starts = (0..4).map(|_| Store::open(location, keys(keys_dir)));
        for opened in futures::future::join_all(starts).await {
            opened.unwrap().ping().await.unwrap();
        }
    }
}
