//! The sources of this build.

use std::sync::Arc;

use crate::contract::Sources;
use crate::mysql::MySqlSource;
/// How the command line reads its SOURCE. Every form that there is today is MySQL's; with a second source the scheme of
/// the text decides.
pub use crate::mysql::dsn::{access_from_text, holds_password};

/// Every source; a new one takes one line here (docs/architecture.md, section 7).
#[must_use]
pub fn sources() -> Sources {
    vec![Arc::new(MySqlSource::default())]
}
