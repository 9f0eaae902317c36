//! Reading by a delta column, against real servers: what each window holds, and that all of them together hold each row
//! once.

mod columns;
mod cost;
mod counters;
mod late;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use headwaters_model::job::{ReadRequest, SourceAccess, Splits};
use headwaters_model::metrics::Window;
use headwaters_model::watermark::{Delta, FirstRead, Since, Span, Watermark};
use headwaters_model::window::DeltaColumn;
use headwaters_source::contract::ReadPlan;
use headwaters_source::mysql::MySqlSource;
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use serde_json::Value;

use crate::reading::{access_with, limits, read, request};

pub(crate) const FLAVOURS: [Flavour; 2] = [Flavour::MariaDb, Flavour::MySql];
/// Long after every test: a run's instant that bounds nothing.
pub(crate) const FAR_MS: i64 = 4_000_000_000_000;

/// The table `t` of a schema of its own; its rows are told apart by `id`.
pub(crate) struct Table<'a> {
    pub(crate) server: &'a DatabaseServer,
    pub(crate) schema: String,
}

impl<'a> Table<'a> {
    /// `columns` follow `id int primary key`.
    pub(crate) async fn make(flavour: Flavour, columns: &str) -> Result<Self> {
        Self::make_on(DatabaseServer::shared(flavour).await?, columns).await
    }

    pub(crate) async fn make_on(server: &'a DatabaseServer, columns: &str) -> Result<Self> {
        let schema = server.fresh_schema("increment").await?;
        let table = Self { server, schema };
        table.execute(&format!("create table t (id int primary key, {columns})")).await?;
        Ok(table)
    }

    /// Runs a statement in which the table is `t`, in a session of its own.
    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        use mysql_async::prelude::Queryable;
        let mut session = self.session().await?;
        session.query_drop(sql).await.with_context(|| sql.to_owned())?;
        Ok(session.disconnect().await?)
    }

    /// A session in the schema, under UTC and a mode that lets zero dates in.
    pub(crate) async fn session(&self) -> Result<mysql_async::Conn> {
        use mysql_async::prelude::Queryable;
        let mut session = self.server.connect().await?;
        session.query_drop(format!("use `{}`", self.schema)).await?;
        session.query_drop("set sql_mode = 'allow_invalid_dates', time_zone = '+00:00'").await?;
        Ok(session)
    }

    pub(crate) fn access(&self, account: &str, more: &str) -> SourceAccess {
        let server = self.server.connection_string(account);
        access_with(&format!("{server};Database={};{more}", self.schema))
    }

    /// A flow that reads the table by a column, from its beginning and without a lag.
    pub(crate) fn flow(&self, column: &str) -> Flow {
        Flow {
            access: self.access("admin", ""),
            column: delta(column, None, None),
            filter: None,
            first: FirstRead::Everything,
            lag_ms: 0,
            splits: Splits::Auto,
            watermark: None,
        }
    }
}

/// A server on which nobody else writes, so that all that is committed can be read at once.
pub(crate) async fn own_server(flavour: Flavour) -> Result<DatabaseServer> {
    ServerOptions::new(flavour).start().await
}

pub(crate) fn delta(name: &str, format: Option<&str>, zone: Option<&str>) -> DeltaColumn {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    DeltaColumn { name: name.to_owned(), date_format: owned(format), timezone: owned(zone) }
}

/// A recurring flow, as far as its source sees it.
#[derive(Clone)]
pub(crate) struct Flow {
    pub(crate) access: SourceAccess,
    pub(crate) column: DeltaColumn,
    pub(crate) filter: Option<Value>,
    pub(crate) first: FirstRead,
    pub(crate) lag_ms: i64,
    pub(crate) splits: Splits,
    pub(crate) watermark: Option<Watermark>,
}

/// What a run has read.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Sorted.
    pub(crate) ids: Vec<i32>,
    pub(crate) plan: ReadPlan,
}

impl Ran {
    pub(crate) fn has_note(&self, part: &str) -> bool {
        self.plan.notes.iter().any(|note| note.contains(part))
    }
}

impl Flow {
    pub(crate) fn since(&self, instant_ms: i64) -> Span {
        let Self { first, lag_ms, .. } = *self;
        Span::Since(Since { watermark: self.watermark.clone(), first, instant_ms, lag_ms })
    }

    pub(crate) fn request(&self, span: Span) -> ReadRequest {
        let delta = Some(Delta { column: self.column.clone(), span });
        ReadRequest { filter: self.filter.clone(), delta, ..request("t", self.splits) }
    }

    /// The run of an instant; it moves the watermark.
    pub(crate) async fn run_at(&mut self, instant_ms: i64) -> Result<Ran> {
        let ran = self.read(self.since(instant_ms)).await?;
        self.watermark = ran.plan.reached.clone().or(self.watermark.take());
        Ok(ran)
    }

    pub(crate) async fn run(&mut self) -> Result<Ran> {
        self.run_at(FAR_MS).await
    }

    /// The rows of a window that somebody asks for.
    pub(crate) async fn asked(&self, start_ms: i64, end_ms: i64) -> Result<Vec<i32>> {
        Ok(self.read(Span::Asked(Window { start_ms, end_ms })).await?.ids)
    }

    pub(crate) async fn read(&self, span: Span) -> Result<Ran> {
        let landed = read(MySqlSource::default(), &self.access, &self.request(span), limits(2)).await?;
        let ids = landed.batches.iter().flat_map(|batch| {
            let ids = batch.column_by_name("id").map(|column| column.as_primitive::<Int32Type>().values().to_vec());
            ids.unwrap_or_default()
        });
        let mut ids: Vec<i32> = ids.collect();
        ids.sort_unstable();
        Ok(Ran { ids, plan: landed.plan })
    }
}

/// A moment in UTC as milliseconds since 1970.
pub(crate) fn ms(text: &str) -> i64 {
    let (date, time) = text.split_once(' ').unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, between: char| -> Vec<i64> {
        text.split(between).map(|part| part.parse().unwrap_or_default()).collect()
    };
    let (date, time) = (numbers(date, '-'), numbers(time, ':'));
    days(date[0], date[1], date[2]) * 86_400_000 + (time[0] * 3_600 + time[1] * 60 + time[2]) * 1_000
}

/// Days since 1970.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}
