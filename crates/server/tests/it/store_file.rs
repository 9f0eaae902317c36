//! Reaches into the store file of a server: holds it as another program would, or lets time pass for what waits there.

use std::path::Path;

use headwaters_testkit::world::World;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, SqlSafeStr as _};

/// A connection of our own to the store of a server, which may run or not.
pub(crate) struct StoreFile(SqliteConnection);

impl StoreFile {
    pub(crate) async fn of(world: &World) -> Self {
        Self::below(&world.data_dir()).await
    }

    /// The same by the data directory of the server.
    pub(crate) async fn below(data: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(data.join("headwaters.db"));
        Self(SqliteConnection::connect_with(&options).await.expect("a store"))
    }

    /// Takes the write lock.
    pub(crate) async fn hold(&mut self) {
        self.run("begin immediate").await;
    }

    /// Gives it back.
    pub(crate) async fn let_go(&mut self) {
        self.run("rollback").await;
    }

    /// Every lease and every pause of a run at work is over, as if the time had passed.
    pub(crate) async fn end_leases(&mut self) {
        self.run("update run set lease_until_us = 0 where status = 'inProgress'").await;
    }

    /// Every flow in use that waits for no run is due now, as if its interval were over.
    pub(crate) async fn make_due(&mut self) {
        self.run(
            "with clock (now_us) as (select cast(unixepoch('subsec') * 1000 as integer) * 1000)
             update flow set next_due_at_us = now_us from clock
             where state = 'enabled' and scheduled_run is null and next_due_at_us > now_us",
        )
        .await;
    }

    /// How many flows are due or have a run that is not over.
    pub(crate) async fn unfinished(&mut self) -> i64 {
        self.number(
            "select count(*) from flow where state = 'enabled'
             and (scheduled_run is not null or next_due_at_us <= unixepoch('subsec') * 1000000)",
        )
        .await
    }

    /// A number that a query gives.
    pub(crate) async fn number(&mut self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql.into_sql_str()).fetch_one(&mut self.0).await.expect("a number")
    }

    async fn run(&mut self, sql: &'static str) {
        sqlx::query(sql.into_sql_str()).execute(&mut self.0).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}
