//! How often one client may ask (setting `api.rate_limit_per_second`).
//!
//! Each client has a bucket that holds the requests of one second and fills evenly; a request takes one out, and finds
//! the bucket empty when the client asks faster than it fills. Who can't be told by a client id (the token endpoint, a
//! request that fails authentication) has the bucket of its address.
//!
//! A bucket is one instant: the moment at which it will be full again. One that is full again needs no memory, and when
//! there are [`KEYS_MAX`] that are not, all others share one.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use headwaters_model::id::ClientId;

use crate::error::Refusal;
use crate::limits::Peer;

/// How many buckets are remembered.
const KEYS_MAX: usize = 10_000;
/// How often those that are full again are looked for, when there is no room for another one.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Whose bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum RateKey {
    /// A client that has proved who it is.
    Client(ClientId),
    /// An address.
    Peer(Peer),
    /// All for whom there is no room.
    Rest,
}

/// The buckets; none where the rate is not limited.
#[derive(Debug)]
pub(crate) struct RateLimit {
    per_second: Option<NonZeroU32>,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    full_at: HashMap<RateKey, Instant>,
    swept_at: Option<Instant>,
}

impl RateLimit {
    /// So many requests in a second.
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self { per_second, buckets: Mutex::new(Buckets { full_at: HashMap::new(), swept_at: None }) }
    }

    /// Takes one request out of a bucket, or says when there will be one.
    pub(crate) fn admit(&self, key: RateKey) -> Result<(), Refusal> {
        self.admit_at(key, Instant::now()).map_err(|wait| {
            metrics::counter!("headwaters_http_refused_total", "reason" => "rate").increment(1);
            Refusal::TooManyRequests { retry_after_s: wait.as_secs() + u64::from(wait.subsec_nanos() > 0) }
        })
    }

    fn admit_at(&self, key: RateKey, now: Instant) -> Result<(), Duration> {
        let Some(per_second) = self.per_second else { return Ok(()) };
        let one = Duration::from_secs(1) / per_second.get();
        // When the bucket has room for its last request only, the next one must wait.
        let empty = one * (per_second.get() - 1);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = buckets.place_of(key, now);
        let full_at = buckets.full_at.get(&key).copied().unwrap_or(now).max(now);
        let wait = full_at.duration_since(now).saturating_sub(empty);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        buckets.full_at.insert(key, full_at + one);
        Ok(())
    }
}

impl Buckets {
    fn place_of(&mut self, key: RateKey, now: Instant) -> RateKey {
        if self.full_at.len() < KEYS_MAX || self.full_at.contains_key(&key) {
            return key;
        }
        if self.swept_at.is_none_or(|then| now.duration_since(then) >= SWEEP_EVERY) {
            self.swept_at = Some(now);
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() < KEYS_MAX { key } else { RateKey::Rest }
    }
}

/// The setting `api.rate_limit_per_second`: a number from 1, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePerSecond(pub Option<NonZeroU32>);

/// A rate that is neither a number from 1 nor `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a number from 1, or off")]
pub struct InvalidRate;

impl FromStr for RatePerSecond {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        match text {
            "off" => Ok(Self(None)),
            number => number.parse().map(|rate| Self(Some(rate))).map_err(|_| InvalidRate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: u32) -> RateLimit {
        RateLimit::new(NonZeroU32::new(per_second))
    }

    fn address(number: u32) -> RateKey {
        RateKey::Peer(Peer::at(std::net::Ipv4Addr::from_bits(number).into()))
    }

    #[test]
    fn a_second_s_requests_may_come_at_once_and_the_next_one_waits_for_its_moment() {
        let (limit, now) = (limit(4), Instant::now());
        for _ in 0..4 {
            assert_eq!(limit.admit_at(address(1), now), Ok(()));
        }
        assert_eq!(limit.admit_at(address(1), now), Err(Duration::from_millis(250)));
        assert_eq!(limit.admit_at(address(2), now), Ok(()), "another one is not held up");
        let later = now + Duration::from_millis(250);
        assert_eq!(limit.admit_at(address(1), later), Ok(()));
        assert_eq!(limit.admit_at(address(1), later), Err(Duration::from_millis(250)));
    }

    #[test]
    fn being_refused_costs_nothing() {
        let (limit, now) = (limit(1), Instant::now());
        assert!(limit.admit_at(address(1), now).is_ok());
        for _ in 0..100 {
            assert!(limit.admit_at(address(1), now).is_err());
        }
        assert!(limit.admit_at(address(1), now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn without_a_rate_nothing_is_counted() {
        let (limit, now) = (RateLimit::new(None), Instant::now());
        assert!((0..1000).all(|_| limit.admit_at(address(1), now).is_ok()));
        assert!(limit.buckets.lock().unwrap().full_at.is_empty());
    }

    #[test]
    fn no_crowd_of_addresses_makes_the_memory_grow() {
        let (limit, now) = (limit(1), Instant::now());
        let known = || limit.buckets.lock().unwrap().full_at.len();
        let crowd = 0..u32::try_from(2 * KEYS_MAX).unwrap();
        let admitted = crowd.filter(|number| limit.admit_at(address(*number), now).is_ok()).count();
        assert_eq!((admitted, known()), (KEYS_MAX + 1, KEYS_MAX + 1), "those without room share one bucket");
        let later = now + Duration::from_secs(2);
        assert!(limit.admit_at(address(u32::MAX), later).is_ok());
        assert_eq!(known(), 1, "full buckets are forgotten");
    }

    #[test]
    fn a_rate_is_a_number_or_off() {
        assert_eq!("off".parse(), Ok(RatePerSecond(None)));
        assert_eq!("20".parse(), Ok(RatePerSecond(NonZeroU32::new(20))));
        for wrong in ["0", "-1", "fast", ""] {
            assert_eq!(wrong.parse::<RatePerSecond>(), Err(InvalidRate), "{wrong}");
        }
    }
}
