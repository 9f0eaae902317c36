//! So many at a time, and so many of one: connections by address, questions to sources by client.
//!
//! **Invariant.** A [`Share`] is held as long as what it stands for goes on, and gives itself back when it is dropped,
//! whichever way that ends. Only holders are remembered, so that the memory is bounded by the limit itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Something of which there is so much for all, and so much for each.
#[derive(Debug)]
pub struct Shares<K> {
    inner: Arc<Inner<K>>,
}

#[derive(Debug)]
struct Inner<K> {
    all_max: usize,
    each_max: usize,
    taken: Mutex<Taken<K>>,
    given_back: Notify,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    each: HashMap<K, usize>,
}

/// One share, until it is dropped.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    of: Arc<Inner<K>>,
    /// Taken out only when it is dropped.
    holder: Option<K>,
}

/// What there is no share left of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All have so many together.
    #[error("all together have {0} under way, which is as many as may be")]
    All(usize),
    /// This one alone has so many.
    #[error("this one has {0} under way, which is as many as one may")]
    Each(usize),
}

impl<K> Clone for Shares<K> {
    /// The same shares.
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// So many for all, so many for each.
    pub fn new(all_max: usize, each_max: usize) -> Self {
        let taken = Mutex::new(Taken { all: 0, each: HashMap::new() });
        Self { inner: Arc::new(Inner { all_max, each_max, taken, given_back: Notify::new() }) }
    }

    /// A share, if there is one left for all and for this one.
    pub fn take(&self, holder: &K) -> Result<Share<K>, Full> {
        let mut taken = self.inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_holder = taken.each.get(holder).copied().unwrap_or_default();
        if of_holder >= self.inner.each_max {
            return Err(Full::Each(self.inner.each_max));
        }
        if taken.all >= self.inner.all_max {
            return Err(Full::All(self.inner.all_max));
        }
        taken.all += 1;
        taken.each.insert(holder.clone(), of_holder + 1);
        Ok(Share { of: Arc::clone(&self.inner), holder: Some(holder.clone()) })
    }

    /// A share, as soon as there is one, if that is soon enough.
    pub async fn take_within(&self, holder: &K, patience: Duration) -> Result<Share<K>, Full> {
        let wait = async {
            loop {
                // Listening before looking: what is given back in between is not missed.
                let given_back = self.inner.given_back.notified();
                tokio::pin!(given_back);
                given_back.as_mut().enable();
                if let Ok(share) = self.take(holder) {
                    return share;
                }
                given_back.await;
            }
        };
        tokio::time::timeout(patience, wait).await.or_else(|_| self.take(holder))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.inner.taken.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let Some(holder) = self.holder.take() else { return };
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        match taken.each.get_mut(&holder) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.each.remove(&holder)),
        }
        drop(taken);
        self.of.given_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_can_not_take_all() {
        let shares = Shares::new(3, 2);
        let (first, second) = (shares.take(&"a"), shares.take(&"a"));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(shares.take(&"a").unwrap_err(), Full::Each(2));
        let third = shares.take(&"b");
        assert!(third.is_ok());
        assert_eq!(shares.take(&"b").unwrap_err(), Full::All(3));
        drop(first);
        assert!(shares.take(&"b").is_ok());
    }

    #[test]
    fn nobody_is_remembered_who_holds_nothing() {
        let shares = Shares::new(10, 10);
        let held: Vec<_> = (0..10).map(|holder| shares.take(&holder)).collect();
        assert_eq!((shares.taken(), shares.inner.taken.lock().unwrap().each.len()), (10, 10));
        drop(held);
        assert_eq!((shares.taken(), shares.inner.taken.lock().unwrap().each.len()), (0, 0));
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back_and_not_for_ever() {
        let shares = Shares::new(1, 1);
        let held = shares.take(&"a").unwrap();
        assert_eq!(shares.take_within(&"a", Duration::from_millis(5)).await.unwrap_err(), Full::Each(1));
        let waiting = tokio::spawn({
            let shares = shares.clone();
            async move { shares.take_within(&"a", Duration::from_secs(20)).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(held);
        assert!(waiting.await.unwrap());
        assert_eq!(shares.taken(), 0);
    }
}
