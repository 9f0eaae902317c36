//! How much of what takes long a client may have under way at a time.
//!
//! **Questions to sources** (trying out a connection, looking into it, checking what a flow or a run reads) may take as
//! long as a source that does not answer: up to a minute each, holding memory and a connection to somebody's database.
//! They have slots of their own, by client, so that neither cheap requests nor another client's questions stand behind
//! them. A turn is taken when all else about a request is known and right: who sends a body slowly, or asks for nothing
//! of a source, holds none and waits for none. The worker's runs take none; they have their own number.
//!
//! A burst waits a moment for its turn, because a script that makes thirty connections at once is no abuse; after that
//! moment the slots are held by something slow, and the caller is told instead of being kept.
//!
//! **Lists that may read every row** of a collection take seconds where a collection is large, and the store lets few of
//! them be at work at a time. Of one client one is: the others of its kind wait behind it, not behind those of a client
//! that asks for many.
//!
//! **Invariant.** A request takes one turn of a kind at most, and holds no transaction while it waits.

use std::fmt;
use std::time::Duration;

use headwaters_model::id::ClientId;

use crate::Control;
use crate::access::Caller;
use crate::error::CommandError;
use crate::shares::{Share, Shares};

/// Questions to sources at a time.
const SOURCES_MAX: usize = 32;
/// Questions of one client to sources at a time.
const SOURCES_PER_CLIENT_MAX: usize = 8;
/// How long such a question waits for its turn.
const SOURCES_WAIT_SECONDS_MAX: u64 = 5;

/// Lists of one client at a time that may read every row; how many of all clients may is the store's business.
const SCANS_PER_CLIENT_MAX: usize = 1;
/// How long such a list waits for its turn.
const SCANS_WAIT_SECONDS_MAX: u64 = 5;

/// How much may be under way at a time, and how long it is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnLimits {
    /// Questions to sources.
    pub sources_max: usize,
    /// Questions of one client to sources.
    pub sources_per_client_max: usize,
    /// How long a question to a source waits.
    pub sources_wait: Duration,
    /// Lists of one client that may read every row.
    pub scans_per_client_max: usize,
    /// How long such a list waits.
    pub scans_wait: Duration,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            sources_max: SOURCES_MAX,
            sources_per_client_max: SOURCES_PER_CLIENT_MAX,
            sources_wait: Duration::from_secs(SOURCES_WAIT_SECONDS_MAX),
            scans_per_client_max: SCANS_PER_CLIENT_MAX,
            scans_wait: Duration::from_secs(SCANS_WAIT_SECONDS_MAX),
        }
    }
}

/// What turns are taken at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// Asking sources.
    Sources,
    /// Lists that may read every row.
    Scans,
}

impl Turns {
    /// The name, as numbers are labelled with it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sources => "source_calls",
            Self::Scans => "scans",
        }
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sources => "too many operations at sources",
            Self::Scans => "too many lists that read every row, filter and sort by fields that have an index",
        })
    }
}

/// All turns of this process.
#[derive(Debug)]
pub(crate) struct AllTurns {
    sources: Shares<ClientId>,
    scans: Shares<ClientId>,
}

impl AllTurns {
    /// So many as the limits say.
    pub(crate) fn new(limits: &TurnLimits) -> Self {
        Self {
            sources: Shares::new(limits.sources_max, limits.sources_per_client_max),
            scans: Shares::new(usize::MAX, limits.scans_per_client_max),
        }
    }
}

impl Control {
    /// The caller's turn at the sources, to be held while one is asked. Causes: `NoTurn`.
    pub(crate) async fn turn_at_sources(&self, caller: &Caller) -> Result<Share<ClientId>, CommandError> {
        let turn = self.turns.sources.take_within(&caller.actor.client, self.settings.turns.sources_wait).await;
        turn.map_err(|full| CommandError::NoTurn { what: Turns::Sources, full })
    }

    /// The caller's turn at lists that may read every row, if this is one, to be held until it is read. Causes: `NoTurn`.
    pub(crate) async fn turn_at_scans(
        &self,
        caller: &Caller,
        is_scan: bool,
    ) -> Result<Option<Share<ClientId>>, CommandError> {
        if !is_scan {
            return Ok(None);
        }
        let turn = self.turns.scans.take_within(&caller.actor.client, self.settings.turns.scans_wait).await;
        turn.map(Some).map_err(|full| CommandError::NoTurn { what: Turns::Scans, full })
    }
}
