//! Callers that were looked up a moment ago: their accounts and sandboxes.
//!
//! Nearly every request comes from somebody who has just made another one. Without this, two of the three queries of a
//! small read would only find out again who asks and where.
//!
//! **Invariant.** What was read is believed for [`KNOWN_MS_MAX`], counted from before it was read: an account that is
//! deleted or gets another role, and a sandbox that is closed, by this process or by another one, is noticed after that
//! time at the latest. Tokens are checked on every request, and secrets are never kept here.
//!
//! **Invariant.** Only what can be used is remembered. An account or a sandbox that is not there, or not active, is looked
//! up each time: it can be used as soon as it is made. Only the holder of a token can cause such a look-up.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headwaters_model::account::Account;
use headwaters_model::id::{ClientId, OrgId};
use headwaters_model::sandbox::{Sandbox, Scope};
use headwaters_store::{Store, StoreError};

use super::is_active;

/// How long what was read is believed, in milliseconds.
const KNOWN_MS_MAX: u64 = 1_000;
/// How many accounts, and how many sandboxes, are remembered; beyond that each request looks up its own.
const KNOWN_MAX: usize = 1_024;

/// The accounts and sandboxes of those who called lately.
#[derive(Default)]
pub(crate) struct KnownCallers {
    accounts: Known<ClientId, Arc<Account>>,
    /// By organisation and name.
    scopes: Known<(OrgId, String), Scope>,
}

impl KnownCallers {
    /// The account of a client id.
    pub(super) async fn account(&self, store: &Store, client: &ClientId) -> Result<Option<Arc<Account>>, StoreError> {
        let read = async { Ok(store.account(client).await?.map(Arc::new)) };
        self.accounts.get_or_read(client.clone(), read).await
    }

    /// The scope of an active sandbox of this name.
    pub(super) async fn scope(&self, store: &Store, org: &OrgId, name: &str) -> Result<Option<Scope>, StoreError> {
        let read = async { Ok(store.sandbox(org, name).await?.filter(is_active).as_ref().map(Sandbox::scope)) };
        self.scopes.get_or_read((org.clone(), name.to_owned()), read).await
    }
}

/// Values that were read lately.
struct Known<K, V>(Mutex<HashMap<K, Entry<V>>>);

struct Entry<V> {
    value: V,
    /// Just before it was read.
    at: Instant,
}

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V> Entry<V> {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < Duration::from_millis(KNOWN_MS_MAX)
    }
}

impl<K: Eq + Hash, V: Clone> Known<K, V> {
    async fn get_or_read<E>(&self, key: K, read: impl Future<Output = Result<Option<V>, E>>) -> Result<Option<V>, E> {
        let now = Instant::now();
        if let Some(value) = self.get(&key, now) {
            return Ok(Some(value));
        }
        let found = read.await?;
        if let Some(value) = &found {
            self.put(key, value.clone(), now);
        }
        Ok(found)
    }

    fn get(&self, key: &K, now: Instant) -> Option<V> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|entry| entry.is_fresh(now)).map(|entry| entry.value.clone())
    }

    fn put(&self, key: K, value: V, at: Instant) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= KNOWN_MAX {
            entries.retain(|_, entry| entry.is_fresh(at));
        }
        if entries.len() < KNOWN_MAX || entries.contains_key(&key) {
            entries.insert(key, Entry { value, at });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const LIFE: Duration = Duration::from_millis(KNOWN_MS_MAX);

    async fn read(known: &Known<u32, &'static str>, stored: Option<&'static str>) -> Option<&'static str> {
        known.get_or_read(1, async { Ok::<_, Infallible>(stored) }).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_found_is_not_read_again_and_what_was_not_found_is() {
        let known = Known::default();
        assert_eq!(read(&known, None).await, None);
        assert_eq!(read(&known, Some("made meanwhile")).await, Some("made meanwhile"));
        assert_eq!(read(&known, Some("changed meanwhile")).await, Some("made meanwhile"));
    }

    #[test]
    fn nothing_is_believed_for_longer_than_its_life() {
        let (known, start) = (Known::default(), Instant::now());
        known.put(1, "role view", start);
        assert_eq!(known.get(&1, start + LIFE - Duration::from_millis(1)), Some("role view"));
        assert_eq!(known.get(&1, start + LIFE), None);
    }

    #[test]
    fn a_late_answer_to_an_early_question_is_as_old_as_the_question() {
        let (known, start) = (Known::default(), Instant::now());
        known.put(1, "asked last", start + LIFE / 2);
        known.put(1, "asked first", start);
        assert_eq!(known.get(&1, start + LIFE), None);
    }

    #[test]
    fn there_are_never_more_than_the_limit_and_old_ones_make_room() {
        let (known, start) = (Known::default(), Instant::now());
        (0..2 * KNOWN_MAX).for_each(|key| known.put(key, (), start));
        assert_eq!(known.0.lock().unwrap().len(), KNOWN_MAX);
        assert_eq!(known.get(&KNOWN_MAX, start), None);
        known.put(KNOWN_MAX, (), start + LIFE);
        assert_eq!(known.get(&KNOWN_MAX, start + LIFE), Some(()));
        assert_eq!(known.0.lock().unwrap().len(), 1);
    }
}
