//! Notifications that wait to be delivered, and which runs have been told to be late.
//!
//! **Invariant.** A notification is written in the transaction of the fact that it tells: there is no fact without it and
//! none without its fact, whenever the process dies.
//!
//! **Invariant.** It is deleted only once it was delivered or given up. `due_at_us` is its lease too: whoever takes one
//! moves that ahead, so that of several workers one delivers it; if that one dies, it is due again when the lease ends.

use headwaters_model::id::RunId;
use headwaters_model::sandbox::Scope;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::db::Store;
use crate::error::StoreError;
use crate::rows;
use crate::tx::Tx;

/// A fact that is to be told to one webhook.
#[derive(Debug, Clone, Copy)]
pub struct NewNotification<'a> {
    /// To whom: a name that the webhook keeps over restarts, and that is no secret.
    pub webhook: &'a str,
    /// Of which run.
    pub run: RunId,
    /// The published code of the event.
    pub event_code: &'a str,
    /// What is sent, a JSON text.
    pub payload: &'a str,
    /// When it became true, milliseconds since 1970.
    pub at_ms: i64,
}

/// A notification that was taken to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its id, the same in every try.
    pub id: String,
    /// Of which run.
    pub run: RunId,
    /// The published code of the event.
    pub event_code: String,
    /// What is sent, a JSON text.
    pub payload: String,
    /// When it became true, milliseconds since 1970.
    pub created_at_ms: i64,
    /// How often it was taken, this time included.
    pub tries: u32,
}

/// What became of a notification that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationEnd {
    /// It was delivered, or is given up.
    Over,
    /// It is due again at this moment, milliseconds since 1970.
    Again(i64),
}

/// Up to when a notification may be put off, and for how long it is taken.
#[derive(Debug, Clone, Copy)]
pub struct NotificationTerms {
    /// For how long one that is taken is left alone, in milliseconds.
    pub lease_ms: i64,
    /// What is due later than this from now, in milliseconds, was put off by a clock that was ahead: it is due now.
    pub pause_ms_max: i64,
    /// How many are taken at once.
    pub limit: u32,
}

impl Tx {
    /// Writes down what is to be told. With more than `queue_max` that wait for the same webhook the oldest gives way;
    /// returns how many did.
    pub async fn put_notification(&mut self, new: &NewNotification<'_>, queue_max: u32) -> Result<u64, StoreError> {
        let query = sqlx::query(
            "insert into notification (id, webhook, org, sandbox, run_id, event_code, payload, created_at_us, due_at_us)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        );
        let query = query
            .bind(Uuid::now_v7().to_string())
            .bind(new.webhook)
            .bind(self.org())
            .bind(self.sandbox())
            .bind(new.run.to_string())
            .bind(new.event_code)
            .bind(new.payload)
            .bind(rows::us(new.at_ms));
        query.execute(self.connection()).await?;
        let query = sqlx::query(
            "delete from notification where id in
                 (select id from notification where webhook = $1 order by id desc limit 1 offset $2)",
        );
        let query = query.bind(new.webhook).bind(i64::from(queue_max));
        Ok(query.execute(self.connection()).await?.rows_affected())
    }

    /// Notes that a run is told to be late. False when it was told before, or is over.
    pub async fn tell_late(&mut self, run: RunId, now_ms: i64) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "update run set told_late_at_us = $1 where id = $2 and org = $3 and sandbox = $4
             and status = 'inProgress' and told_late_at_us is null",
        );
        let query = query.bind(rows::us(now_ms)).bind(run.to_string()).bind(self.org()).bind(self.sandbox());
        Ok(query.execute(self.connection()).await?.rows_affected() == 1)
    }
}

impl Store {
    /// The runs of all scopes that are at work since before this moment and were not told to be late, the oldest first.
    pub async fn late_runs(&self, started_before_ms: i64, limit: u32) -> Result<Vec<(Scope, RunId)>, StoreError> {
        let query = sqlx::query(
            "select r.id, r.org, r.sandbox, s.name as sandbox_name from run r join sandbox s on s.id = r.sandbox
             where r.status = 'inProgress' and r.told_late_at_us is null and r.started_at < $1 order by r.id limit $2",
        );
        let found = query.bind(started_before_ms).bind(i64::from(limit)).fetch_all(self.readers()).await?;
        let late = |row: &SqliteRow| Ok((rows::scope(row)?, rows::parsed(row, "id")?));
        Ok(found.iter().map(late).filter_map(rows::readable).collect())
    }

    /// Takes what is due for a webhook, the longest due first. When nothing is, nothing is written.
    pub async fn take_notifications(
        &self,
        webhook: &str,
        now_ms: i64,
        terms: &NotificationTerms,
    ) -> Result<Vec<Notification>, StoreError> {
        let NotificationTerms { lease_ms, pause_ms_max, limit } = *terms;
        let too_late = now_ms.saturating_add(pause_ms_max);
        let query = sqlx::query(
            "select 1 where exists (select 1 from notification where webhook = $1 and due_at_us <= $2)
             or exists (select 1 from notification where webhook = $1 and due_at_us > $3)",
        );
        let query = query.bind(webhook).bind(rows::us(now_ms)).bind(rows::us(too_late));
        if query.fetch_optional(self.readers()).await?.is_none() {
            return Ok(Vec::new());
        }
        let query = sqlx::query(
            "update notification set due_at_us = $4, tries = tries + 1 where id in
                 (select id from notification where webhook = $1 and (due_at_us <= $2 or due_at_us > $3)
                  order by due_at_us, id limit $5)
             returning id, run_id, event_code, payload, created_at_us, tries",
        );
        let query = query
            .bind(webhook)
            .bind(rows::us(now_ms))
            .bind(rows::us(too_late))
            .bind(rows::us(now_ms.saturating_add(lease_ms)))
            .bind(i64::from(limit));
        let found = query.fetch_all(self.writer()).await?;
        let taken = |row: &SqliteRow| {
            Ok(Notification {
                id: rows::value(row, "id")?,
                run: rows::parsed(row, "run_id")?,
                event_code: rows::value(row, "event_code")?,
                payload: rows::value(row, "payload")?,
                created_at_ms: rows::time_ms(row, "created_at_us")?,
                tries: rows::value::<i64>(row, "tries")?.try_into().unwrap_or(u32::MAX),
            })
        };
        found.iter().map(taken).collect()
    }

    /// Notes what became of notifications that were taken. One that somebody else has taken since is put off by nobody but
    /// that one.
    pub async fn end_notifications(&self, ended: &[(Notification, NotificationEnd)]) -> Result<(), StoreError> {
        let mut tx = self.writer().begin_with("begin immediate").await?;
        for (Notification { id, tries, .. }, end) in ended {
            let query = match end {
                NotificationEnd::Over => sqlx::query("delete from notification where id = $1").bind(id),
                NotificationEnd::Again(at_ms) => {
                    sqlx::query("update notification set due_at_us = $2 where id = $1 and tries = $3")
                        .bind(id)
                        .bind(rows::us(*at_ms))
                        .bind(i64::from(*tries))
                }
            };
            query.execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Forgets what has waited since before this moment, also for webhooks that nobody asks for any more; returns how
    /// many. When there are none, nothing is written.
    pub async fn forget_notifications(&self, before_ms: i64) -> Result<u64, StoreError> {
        let query = sqlx::query("select 1 from notification where created_at_us < $1 limit 1");
        if query.bind(rows::us(before_ms)).fetch_optional(self.readers()).await?.is_none() {
            return Ok(0);
        }
        let query = sqlx::query("delete from notification where created_at_us < $1").bind(rows::us(before_ms));
        Ok(query.execute(self.writer()).await?.rows_affected())
    }

    /// How many wait for a webhook.
    pub async fn notifications_waiting(&self, webhook: &str) -> Result<u64, StoreError> {
        let query = sqlx::query_scalar::<_, i64>("select count(*) from notification where webhook = $1");
        let count = query.bind(webhook).fetch_one(self.readers()).await?;
        Ok(count.try_into().unwrap_or_default())
    }

    /// How many runs wait although their time has come.
    pub async fn runs_waiting(&self, now_ms: i64) -> Result<u64, StoreError> {
        let query =
            sqlx::query_scalar::<_, i64>("select count(*) from run where status = 'scheduled' and due_at_us <= $1");
        let count = query.bind(rows::us(now_ms)).fetch_one(self.readers()).await?;
        Ok(count.try_into().unwrap_or_default())
    }
}
