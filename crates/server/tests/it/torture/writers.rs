//! Those who write while runs read: several at once, each in transactions that take their time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headwaters_testkit::DatabaseServer;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Dice;

/// How many write at a time.
const WRITERS: u64 = 3;
/// How many accounts there are to be changed.
pub(super) const ACCOUNTS: u64 = 60;
/// How many statements a transaction has at most.
const STATEMENTS_MAX: u64 = 5;
/// How long a writer thinks between two of them at most, in milliseconds: a transaction takes up to a second.
const THINKS_MS_MAX: u64 = 200;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rows that are added and never change.
    Event,
    /// Rows that change.
    Account,
}

impl Kind {
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Event => "torture.event",
            Self::Account => "torture.account",
        }
    }
}

/// The tables: what happened, and accounts with a log of every version that each has had.
const TABLES: [&str; 4] = [
    "create database torture",
    "create table torture.event (id bigint auto_increment primary key, writer int not null, \
     made_at datetime(6) not null, made_s datetime not null, key (made_at), key (made_s))",
    "create table torture.account (id int primary key, version int not null, updated_at datetime(6) not null, \
     updated_s datetime not null, stamp timestamp(3) not null default current_timestamp(3), \
     key (updated_at), key (updated_s), key (stamp))",
    "create table torture.account_log (id int not null, version int not null, primary key (id, version))",
];

pub(super) async fn make_tables(database: &DatabaseServer) {
    for sql in TABLES {
        database.execute(sql).await.expect("a table");
    }
    for id in 1..=ACCOUNTS {
        let account =
            format!("insert into torture.account values ({id}, 1, utc_timestamp(6), utc_timestamp(), now(3))");
        database.execute(&account).await.expect("an account");
    }
    database.execute("insert into torture.account_log select id, version from torture.account").await.expect("a log");
}

/// Those who write.
pub(super) struct Writers {
    tasks: JoinSet<()>,
    committed: Arc<AtomicU64>,
}

impl Writers {
    /// They write until they are told to stop, whatever becomes of the database meanwhile.
    pub(super) fn begin(database: &DatabaseServer, dice: &Dice, stop: &CancellationToken) -> Self {
        let committed = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..WRITERS {
            let options =
                OptsBuilder::default().socket(Some(database.socket().display().to_string())).user(Some("root"));
            let (stop, committed) = (stop.clone(), Arc::clone(&committed));
            let mut writer = Writer { number, options, dice: Dice::of(dice.clone().below(u64::MAX) ^ number) };
            tasks.spawn(async move { writer.write(&stop, &committed).await });
        }
        Self { tasks, committed }
    }

    /// Waits for their last transactions; how many there were that committed.
    pub(super) async fn end(mut self) -> u64 {
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a writer");
        }
        self.committed.load(Ordering::SeqCst)
    }
}

struct Writer {
    number: u64,
    options: OptsBuilder,
    dice: Dice,
}

impl Writer {
    async fn write(&mut self, stop: &CancellationToken, committed: &AtomicU64) {
        while !stop.is_cancelled() {
            // The database is down now and then.
            let Ok(mut connection) = Conn::new(self.options.clone()).await else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            while !stop.is_cancelled() {
                match self.transaction(&mut connection).await {
                    Ok(true) => drop(committed.fetch_add(1, Ordering::SeqCst)),
                    Ok(false) => {}
                    // A deadlock or a dead server; whether the transaction was committed, its tables tell.
                    Err(_) => break,
                }
            }
            drop(connection);
        }
    }

    /// Whether it was committed.
    async fn transaction(&mut self, connection: &mut Conn) -> mysql_async::Result<bool> {
        connection.query_drop("start transaction").await?;
        for _ in 0..=self.dice.below(STATEMENTS_MAX) {
            match self.dice.below(2) {
                0 => self.add_events(connection).await?,
                _ => self.change_accounts(connection).await?,
            }
            sleep(Duration::from_millis(self.dice.below(THINKS_MS_MAX))).await;
        }
        let commits = self.dice.below(8) > 0;
        connection.query_drop(if commits { "commit" } else { "rollback" }).await?;
        Ok(commits)
    }

    /// Several at once have one moment, and numbers that others' come between.
    async fn add_events(&mut self, connection: &mut Conn) -> mysql_async::Result<()> {
        let event = format!("({}, utc_timestamp(6), utc_timestamp())", self.number);
        let events = vec![event; 1 + usize::try_from(self.dice.below(3)).unwrap_or_default()].join(", ");
        connection.query_drop(format!("insert into torture.event (writer, made_at, made_s) values {events}")).await
    }

    /// Changes an account or two, and notes which versions these are.
    async fn change_accounts(&mut self, connection: &mut Conn) -> mysql_async::Result<()> {
        let first = 1 + self.dice.below(ACCOUNTS);
        let ids = format!("id between {first} and {}", first + self.dice.below(2));
        let change = format!(
            "update torture.account set version = version + 1, updated_at = utc_timestamp(6), \
             updated_s = utc_timestamp(), stamp = now(3) where {ids}"
        );
        connection.query_drop(change).await?;
        let note = format!("insert into torture.account_log select id, version from torture.account where {ids}");
        connection.query_drop(note).await
    }
}
