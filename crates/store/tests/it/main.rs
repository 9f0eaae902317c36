//! One binary of integration tests: the behaviours of `suite.rs` on every backend, and what only one of them has.

#![expect(clippy::unwrap_used, reason = "a test stops where something that it needs fails")]

mod care;
mod claims;
mod exactly_once;
mod landings;
mod limits;
mod notifications;
mod queries;
mod schema;
mod settlements;
mod sqlite;
mod suite;
mod world;

/// Makes a test of each behaviour on a backend.
macro_rules! run_suite {
    ($open:path: $($behaviour:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $behaviour() {
            let world = $open().await;
            crate::suite::$behaviour(&world).await;
        }
    )*};
}
pub(crate) use run_suite;
