//! Tells webhooks what was written down for them.
//!
//! Each webhook has a task of its own, so that one that is slow or dead delays no other, and no run. What a webhook does
//! not take is tried again: that notification after a pause that doubles, and the webhook itself rests after each failure
//! too, so that a dead one is asked now and then and not once for everything that waits. Both pauses have full jitter.

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::{join, join_all};
use headwaters_model::id::RunId;
use headwaters_model::run::{Run, RunStatus};
use headwaters_model::sandbox::Scope;
use headwaters_store::{Notification, NotificationEnd, NotificationTerms, StoreError};
use metrics::{counter, gauge, histogram};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use super::{Fact, Known};
use crate::Control;
use crate::attempt::jitter;
use crate::ports::{Delivery, NotTaken, Webhooks};
use crate::worker::millis;

/// After which time a run takes long (flow-service.md 18).
const LATE_AFTER: Duration = Duration::from_secs(150 * 60);
/// How many runs are told to be late in one go.
const LATE_RUNS_MAX: u32 = 100;
/// How long a webhook may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How many notifications are on their way to one webhook at a time.
const AT_ONCE: u32 = 4;
/// For how long one that was taken is left alone by others: longer than a try takes.
const LEASE: Duration = Duration::from_secs(15);
const _: () = assert!(LEASE.as_secs() > ANSWER_MAX.as_secs());
/// The ceiling of the first pause of a notification, and of the first rest of a webhook.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The ceiling of every pause of a notification.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// The ceiling of every rest of a webhook.
const REST_MAX: Duration = Duration::from_secs(60);
/// How often a notification is tried.
const TRIES_MAX: u32 = 300;
/// For how long it is tried.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How often the notifications are counted that wait, and those forgotten that have waited for too long.
const CARE_EVERY: Duration = Duration::from_secs(15);

impl Control {
    /// Tells what there is to tell until it is dropped.
    pub(crate) async fn keep_telling(self) {
        let Some(post) = self.notifier.post.clone() else { return };
        let told = self.notifier.webhooks.iter().map(|known| self.keep_telling_one(known, &*post));
        join(join_all(told), self.keep_watch()).await;
    }

    async fn keep_telling_one(&self, known: &Known, post: &dyn Webhooks) {
        let (mut failures, mut rests_until_ms) = (0_u32, i64::MIN);
        loop {
            let now_ms = self.clock.now_ms();
            // A clock that was put back must not make a rest of it that has no end.
            if now_ms < rests_until_ms && rests_until_ms - now_ms <= millis(REST_MAX) {
                sleep(self.settings.poll).await;
                continue;
            }
            match self.tell_some(known, post).await {
                Ok(Told::Nothing) => sleep(self.settings.poll).await,
                Ok(Told::All) => failures = 0,
                Ok(Told::NotAll) => {
                    failures = failures.saturating_add(1);
                    rests_until_ms = self.clock.now_ms().saturating_add(pause_ms(failures, REST_MAX, jitter()));
                }
                Err(error) => {
                    could_not_look(known, &error);
                    sleep(PAUSE_FIRST).await;
                }
            }
        }
    }

    /// Tries what is due for a webhook, [`AT_ONCE`] at most.
    async fn tell_some(&self, known: &Known, post: &dyn Webhooks) -> Result<Told, StoreError> {
        let now_ms = self.clock.now_ms();
        let terms =
            NotificationTerms { lease_ms: millis(LEASE), pause_ms_max: millis(PAUSE_MAX.max(LEASE)), limit: AT_ONCE };
        let taken = self.store.take_notifications(&known.key, now_ms, &terms).await?;
        if taken.is_empty() {
            return Ok(Told::Nothing);
        }
        let answers = join_all(taken.iter().map(|notification| deliver(known, post, notification))).await;
        let mut told = Told::All;
        let mut ended = Vec::with_capacity(taken.len());
        for (notification, answer) in taken.into_iter().zip(answers) {
            let end = match answer {
                Ok(()) => {
                    counter!("headwaters_notifications_total", "outcome" => "delivered").increment(1);
                    debug!(webhook = known.number, run = %notification.run, delivery = notification.id, "a webhook was told");
                    NotificationEnd::Over
                }
                Err(refused) => {
                    told = Told::NotAll;
                    self.after_failure(known, &notification, &refused)
                }
            };
            ended.push((notification, end));
        }
        self.store.end_notifications(&ended).await?;
        Ok(told)
    }

    /// When a notification is tried again that was not taken, if it is.
    fn after_failure(
        &self,
        known: &Known,
        Notification { id, run, tries, created_at_ms, .. }: &Notification,
        NotTaken { reason }: &NotTaken,
    ) -> NotificationEnd {
        let webhook = known.number;
        let now_ms = self.clock.now_ms();
        if *tries >= TRIES_MAX || now_ms.saturating_sub(*created_at_ms) >= millis(AGE_MAX) {
            counter!("headwaters_notifications_total", "outcome" => "given_up").increment(1);
            error!(webhook, %run, delivery = id, tries, reason, "a notification is given up");
            return NotificationEnd::Over;
        }
        counter!("headwaters_notifications_total", "outcome" => "failed").increment(1);
        let pause_ms = pause_ms(*tries, PAUSE_MAX, jitter());
        info!(webhook, %run, delivery = id, tries, pause_ms, reason, "a webhook did not take a notification");
        NotificationEnd::Again(now_ms.saturating_add(pause_ms))
    }

    /// Looks for runs that take long, counts what waits, and forgets what has waited for too long.
    async fn keep_watch(&self) {
        let mut cared: Option<Instant> = None;
        let is_heard = !self.notifier.webhooks.is_empty();
        let look_every = if is_heard { self.settings.poll } else { CARE_EVERY };
        loop {
            if is_heard && let Err(error) = self.tell_of_late_runs().await {
                warn!(error = &error as &dyn std::error::Error, "could not look for runs that take long");
            }
            if cared.is_none_or(|cared| cared.elapsed() >= CARE_EVERY) {
                if let Err(error) = self.care_for_notifications().await {
                    warn!(error = &error as &dyn std::error::Error, "could not look after the notifications");
                }
                cared = Some(Instant::now());
            }
            sleep(look_every).await;
        }
    }

    async fn tell_of_late_runs(&self) -> Result<(), StoreError> {
        let begun_before_ms = self.clock.now_ms().saturating_sub(millis(LATE_AFTER));
        for (scope, run) in self.store.late_runs(begun_before_ms, LATE_RUNS_MAX).await? {
            // One that can not be told must not be in the way of the others.
            if let Err(error) = self.tell_of_late_run(&scope, run).await {
                warn!(%run, error = &error as &dyn std::error::Error, "could not tell that a run takes long");
            }
        }
        Ok(())
    }

    async fn tell_of_late_run(&self, scope: &Scope, id: RunId) -> Result<(), StoreError> {
        let mut tx = self.store.write(scope).await?;
        if !tx.tell_late(id, self.clock.now_ms()).await? {
            return Ok(());
        }
        if let Some(mut run) = tx.get::<Run>(&id).await?
            && run.body.status() == RunStatus::InProgress
        {
            self.show_live(id, &mut run.body);
            warn!(run = %id, flow = %run.body.flow_id, "the run takes long");
            self.tell(&mut tx, Fact::Late, &run).await?;
        }
        tx.commit().await
    }

    async fn care_for_notifications(&self) -> Result<(), StoreError> {
        let before_ms = self.clock.now_ms().saturating_sub(millis(AGE_MAX));
        let forgotten = self.store.forget_notifications(before_ms).await?;
        if forgotten > 0 {
            counter!("headwaters_notifications_total", "outcome" => "given_up").increment(forgotten);
            error!(forgotten, "notifications are given up that have waited for a day");
        }
        for known in self.notifier.webhooks.iter() {
            let waiting = self.store.notifications_waiting(&known.key).await?;
            #[expect(clippy::cast_precision_loss, reason = "it is never near 2^53")]
            gauge!("headwaters_notifications_waiting", "webhook" => known.number.to_string()).set(waiting as f64);
        }
        Ok(())
    }
}

/// What became of what was due for a webhook.
enum Told {
    /// Nothing was.
    Nothing,
    /// The webhook took everything.
    All,
    /// Something was not taken.
    NotAll,
}

/// One try.
async fn deliver(known: &Known, post: &dyn Webhooks, notification: &Notification) -> Result<(), NotTaken> {
    let Notification { id, event_code, payload, .. } = notification;
    let key = hmac::Key::new(hmac::HMAC_SHA256, known.webhook.secret.expose().as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, payload.as_bytes()));
    let delivery = Delivery { id, event_code, signature: &signature, body: payload };
    let begun = Instant::now();
    let answer = timeout(ANSWER_MAX, post.post(&known.webhook.url, &delivery)).await;
    histogram!("headwaters_notification_seconds").record(begun.elapsed());
    answer.unwrap_or_else(|_| Err(NotTaken { reason: format!("no answer within {} s", ANSWER_MAX.as_secs()) }))
}

fn could_not_look(known: &Known, error: &StoreError) {
    let error = error as &dyn std::error::Error;
    warn!(webhook = known.number, error, "could not see what is to be told to a webhook");
}

/// A pause with full jitter below a ceiling that doubles with each failure, in milliseconds.
fn pause_ms(failures: u32, max: Duration, jitter: f64) -> i64 {
    let ceiling = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(max);
    millis(ceiling.mul_f64(jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_ceiling() {
        let ceilings: Vec<i64> = [1, 2, 3, 10, 11, 300].map(|tries| pause_ms(tries, PAUSE_MAX, 1.0)).to_vec();
        assert_eq!(ceilings, [1_000, 2_000, 4_000, 512_000, 600_000, 600_000]);
        assert_eq!(pause_ms(300, REST_MAX, 0.5), 30_000);
        assert_eq!(pause_ms(1, REST_MAX, 0.0), 0);
    }
}
