//! Which host is tried when, and for how long.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwaters_model::source_error::{SourceError, SourceErrorKind};

use super::options::{ConnectOptions, Endpoint, LoadBalance};

/// The hosts in the order in which they are tried, each once.
pub(super) fn in_order(options: &ConnectOptions) -> impl Iterator<Item = &Endpoint> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let first = match options.load_balance {
        LoadBalance::FailOver => 0,
        LoadBalance::RoundRobin => TURN.fetch_add(1, Ordering::Relaxed),
        // A map's hasher is seeded anew each time: dice enough.
        LoadBalance::Random => RandomState::new().hash_one(0) as usize,
    };
    let count = options.hosts.len();
    options.hosts.iter().cycle().skip(first.checked_rem(count).unwrap_or(0)).take(count)
}

/// There is nowhere to connect to.
pub(super) fn no_host() -> SourceError {
    let kind = SourceErrorKind::MissingParameter { key: "server".to_owned() };
    SourceError::definite(kind, "the connection names no host")
}

/// Waits at most so long.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, SourceError>>,
    overdue: impl FnOnce(Duration) -> SourceError,
) -> Result<T, SourceError> {
    match limit {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(overdue(limit))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_tried_once_in_the_order_that_was_chosen() {
        let host = |port| Endpoint::Tcp { host: "db".to_owned(), port };
        let hosts = vec![host(1), host(2), host(3)];
        let order = |load_balance| {
            let options = ConnectOptions { hosts: hosts.clone(), load_balance, ..ConnectOptions::default() };
            in_order(&options).cloned().collect::<Vec<_>>()
        };
        assert_eq!(order(LoadBalance::FailOver), hosts);
        let firsts: Vec<_> = (0..3).map(|_| order(LoadBalance::RoundRobin).remove(0)).collect();
        assert!(hosts.iter().all(|host| firsts.contains(host)), "each host is first in its turn: {firsts:?}");
        for _ in 0..10 {
            let order = order(LoadBalance::Random);
            assert!(order.len() == 3 && hosts.iter().all(|host| order.contains(host)));
        }
    }

    #[test]
    fn no_hosts_are_tried_in_no_time() {
        let options = ConnectOptions { hosts: Vec::new(), ..ConnectOptions::default() };
        assert_eq!(in_order(&options).count(), 0);
    }
}
