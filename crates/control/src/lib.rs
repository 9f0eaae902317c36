//! Commands, preconditions, the scheduler and the life cycle of runs.
//!
//! **Invariant.** Control knows neither HTTP nor SQL text nor Arrow nor which sources exist; it reaches them through
//! its [`ports`] (docs/architecture.md, section 2).
//!
//! **Invariant.** A handler calls [`Control`] once. Control holds at most one transaction at a time and never calls a
//! source, a lake or the network while it is open: what is learnt outside is checked again inside
//! (docs/architecture.md, section 3).

mod access;
mod assignment;
mod attempt;
mod audit;
mod care;
mod change;
mod connections;
mod crash;
mod data_sets;
mod document;
mod error;
mod flows;
mod life_cycle;
mod notify;
mod patience;
pub mod ports;
mod progress;
mod reconcile;
mod recover;
mod retry;
mod runs;
mod scheduler;
mod settings;
mod settle;
mod shares;
mod source_connections;
mod specs;
mod steps;
mod target_connections;
mod turns;
mod worker;

use std::sync::Arc;

use headwaters_store::Store;
pub use headwaters_store::Stored;

use self::access::KnownCallers;
pub use self::access::{
    AccessError, AccessHeaders, Caller, Claims, Credentials, IssuedToken, TOKEN_LIFETIME_MS, TokenDenied, TokenError,
    TokenRequest, TokenSubject, Tokens,
};
use self::audit::RefusalMeter;
pub use self::care::CareSettings;
pub use self::change::Changeable;
pub use self::connections::{AuthInput, CreateConnection, ExploreRequest, Explored, SpecInput, Surveyed, TestOutcome};
pub use self::data_sets::CreateDataSet;
pub use self::document::shaped;
pub use self::error::{Cause, CommandError, connect_cause, source_cause};
pub use self::flows::CreateFlow;
pub use self::life_cycle::{FLOWS_BROUGHT_ALONG_MAX, SOURCES_TAKEN_ALONG_MAX};
use self::notify::Notifier;
pub use self::notify::{NOTIFICATION_BYTES_MAX, NOTIFICATIONS_WAITING_MAX, WEBHOOKS_MAX, Webhook};
use self::ports::{Clock, Executor, Lakes, Sources};
use self::progress::LiveRuns;
pub use self::retry::ATTEMPTS_MAX;
pub use self::runs::{CreateRun, REPEATS_MAX, REPORT_BYTES_MAX, REPORT_ENTRIES_MAX, RUNS_WAITING_MAX, ReportRun};
pub use self::settings::{FailedWindow, Settings, Strict, UnknownFailedWindow, UnknownStrictRule};
pub use self::shares::{Full, Share, Shares};
pub use self::source_connections::CreateSourceConnection;
use self::specs::Specs;
pub use self::specs::{SPEC_BYTES_MAX, WRITTEN_SPECS_MAX};
pub use self::target_connections::CreateTargetConnection;
use self::turns::AllTurns;
pub use self::turns::{TurnLimits, Turns};
pub use self::worker::{Worker, WorkerExit};

/// The command side of every service: what handlers call, and what runs flows.
///
/// A clone is the same control; all its parts are shared.
#[derive(Clone)]
pub struct Control {
    store: Store,
    ports: Ports,
    clock: Arc<dyn Clock>,
    tokens: Arc<Tokens>,
    callers: Arc<KnownCallers>,
    specs: Specs,
    settings: Arc<Settings>,
    live: LiveRuns,
    notifier: Notifier,
    refusals: Arc<RefusalMeter>,
    turns: Arc<AllTurns>,
    /// Wakes the worker when there may be something to do at once.
    wake: Arc<tokio::sync::Notify>,
}

/// The data plane as control sees it.
#[derive(Clone)]
pub struct Ports {
    /// The sources of this build.
    pub sources: Arc<dyn Sources>,
    /// Carries out runs.
    pub executor: Arc<dyn Executor>,
    /// The lake's places.
    pub lakes: Arc<dyn Lakes>,
}

impl Control {
    /// Puts the parts together. Fails when a spec of this build is broken.
    ///
    /// `token_key` signs access tokens; it comes from the key ring.
    pub fn new(
        store: Store,
        ports: Ports,
        clock: Arc<dyn Clock>,
        token_key: &[u8],
        settings: Settings,
    ) -> Result<Self, CommandError> {
        let specs = Specs::load(&*ports.sources)?;
        Ok(Self {
            store,
            ports,
            clock,
            tokens: Arc::new(Tokens::new(token_key)),
            callers: Arc::default(),
            specs,
            turns: Arc::new(AllTurns::new(&settings.turns)),
            settings: Arc::new(settings),
            live: LiveRuns::default(),
            notifier: Notifier::default(),
            refusals: Arc::default(),
            wake: Arc::default(),
        })
    }

    /// The settings that it works under.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Proves that the store answers; for `/readyz`.
    pub async fn ready(&self) -> Result<(), CommandError> {
        Ok(self.store.ping().await?)
    }
}
