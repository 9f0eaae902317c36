//! The data directory: credentials, key ring, store and lake (product.md, "Command line").

use std::num::{NonZeroU32, NonZeroUsize};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use headwaters_api::{Limits, RatePerSecond};
use headwaters_control::{CareSettings, Control, Ports, Settings, Strict};
use headwaters_store::{KeyRing, Store, StoreOptions};

use crate::config::Config;
use crate::exit::{CliError, Kind};
use crate::webhooks::{WebhooksPort, webhooks};
use crate::wire;

/// The data directory when none is named.
const DEFAULT: &str = "./headwaters-data";
/// The key ring in it.
const KEY_RING: &str = "keyring.json";
/// The store in it, if it is nowhere else.
const STORE: &str = "headwaters.db";
/// The lake in it, if it is nowhere else.
const LAKE: &str = "lake";

/// A data directory.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Makes it if it is not there.
    pub(crate) fn make(&self) -> Result<(), CliError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|error| CliError::other(format!("could not make {}: {error}", self.0.display())))
    }

    /// The named directory, which must be there.
    pub(crate) fn existing(named: Option<PathBuf>, config: &Config) -> Result<Self, CliError> {
        let directory = Self::named(named, config)?;
        if directory.0.is_dir() {
            return Ok(directory);
        }
        Err(CliError::usage(format!("there is no data directory {}", directory.0.display()))
            .with_hint("the first `headwaters serve` makes it; name it with --data"))
    }

    /// The named directory, whether it is there or not.
    pub(crate) fn named(named: Option<PathBuf>, config: &Config) -> Result<Self, CliError> {
        let path = config.option(named, "data")?.unwrap_or_else(|| PathBuf::from(DEFAULT));
        let path = std::path::absolute(&path)
            .map_err(|error| CliError::usage(format!("could not make {} absolute: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Its key ring, made if there is none yet.
    pub(crate) fn made_key_ring(&self) -> Result<KeyRing, CliError> {
        KeyRing::open_or_create(&self.0.join(KEY_RING)).map_err(|error| CliError::other(error.to_string()))
    }

    /// Its key ring, which must be there.
    pub(crate) fn key_ring(&self) -> Result<KeyRing, CliError> {
        KeyRing::open(&self.0.join(KEY_RING)).map_err(|error| CliError::other(error.to_string()))
    }

    /// Opens the metadata store, makes it where there is none, and brings it up to date.
    pub(crate) async fn open_store(
        &self,
        named: Option<String>,
        config: &Config,
        keys: KeyRing,
    ) -> Result<Store, CliError> {
        self.open_with(named, config, keys, StoreOptions::default()).await
    }

    /// Opens the metadata store for a command that only reads: it makes none, and brings none up to date.
    pub(crate) async fn read_store(&self, config: &Config, keys: KeyRing) -> Result<Store, CliError> {
        self.open_with(None, config, keys, StoreOptions { upgrade: false, ..StoreOptions::default() }).await
    }

    async fn open_with(
        &self,
        named: Option<String>,
        config: &Config,
        keys: KeyRing,
        options: StoreOptions,
    ) -> Result<Store, CliError> {
        let inside = || self.0.join(STORE).display().to_string();
        let location = config.option(named, "store")?.unwrap_or_else(inside);
        Store::open_with(&location, keys, options).await.map_err(|error| {
            let failed = CliError::other(with_causes(&error));
            match error.hint() {
                Some(hint) => failed.with_hint(hint),
                None => failed,
            }
        })
    }

    /// The absolute URI of the folder of all tables, without a slash at its end.
    pub(crate) fn lake(&self, named: Option<String>, config: &Config) -> Result<String, CliError> {
        let inside = || self.0.join(LAKE).display().to_string();
        wire::table_location(&config.option(named, "lake")?.unwrap_or_else(inside))
    }
}

/// The control plane over this store and this lake, its data work on the given runtime.
pub(crate) fn control(
    store: Store,
    lake: String,
    signing_key: &[u8],
    config: &Config,
    work: tokio::runtime::Handle,
) -> Result<Control, CliError> {
    let settings = settings(config)?;
    let engine = Arc::new(wire::engine(config, settings.runs_at_once)?);
    let ports = Ports {
        sources: Arc::new(wire::SourcesPort(headwaters_source::registry::sources())),
        executor: Arc::new(wire::ExecutorPort { engine: Arc::clone(&engine), work: work.clone() }),
        lakes: Arc::new(wire::LakesPort { engine, root: lake, work }),
    };
    let control = Control::new(store, ports, Arc::new(wire::SystemClock), signing_key, settings)
        .map_err(|error| CliError::other(with_causes(&error)))?;
    let webhooks = webhooks(config)?;
    let post = WebhooksPort::to(&webhooks)?;
    Ok(control.telling(webhooks, Arc::new(post)))
}

/// Refuses settings that [`control`] and [`limits`] would refuse, before anything is made.
pub(crate) fn refuse_wrong_settings(config: &Config) -> Result<(), CliError> {
    let settings = settings(config)?;
    wire::engine(config, settings.runs_at_once)?;
    limits(config)?;
    webhooks(config).map(drop)
}

/// The limits of serving as the configuration wants them.
pub(crate) fn limits(config: &Config) -> Result<Limits, CliError> {
    let RatePerSecond(rate_per_second) = config.setting("api.rate_limit_per_second")?;
    Ok(Limits { rate_per_second, ..Limits::default() })
}

/// The settings of control as the configuration wants them.
fn settings(config: &Config) -> Result<Settings, CliError> {
    let names = config.list("api.strict")?;
    let strict = Strict::of(names.iter().map(String::as_str));
    let seconds = |key| config.setting::<u64>(key).map(Duration::from_secs);
    Ok(Settings {
        strict: strict.map_err(|error| CliError::new(Kind::Usage, error.to_string()))?,
        verify_on_create: config.setting("connections.verify_on_create")?,
        create_unknown_data_sets: config.setting("catalog.create_unknown_data_sets")?,
        start_grace: seconds("flows.start_grace_seconds")?,
        interval_minutes_min: config.setting::<NonZeroU32>("flows.interval_minutes_min")?.get().into(),
        window_lag: seconds("flows.window_lag_seconds")?,
        failed_window: config.setting("flows.failed_window")?,
        on_demand_for_recurring: config.setting("runs.on_demand_for_recurring")?,
        allow_without_params: config.setting("runs.allow_without_params")?,
        care: care(config)?,
        runs_at_once: config.setting::<NonZeroUsize>("runs.concurrent_max")?.get(),
        drain: seconds("runs.drain_seconds")?,
        ..Settings::default()
    })
}

fn care(config: &Config) -> Result<CareSettings, CliError> {
    let minutes: u32 = config.setting("lake.care_minutes")?;
    let hours: NonZeroU32 = config.setting("lake.vacuum_hours")?;
    let small_files_min: NonZeroU32 = config.setting("lake.compact_files_min")?;
    Ok(CareSettings {
        every: (minutes > 0).then(|| Duration::from_secs(60 * u64::from(minutes))),
        kept: Duration::from_secs(3600 * u64::from(hours.get())),
        small_files_min: small_files_min.get() as usize,
    })
}

/// An error with all that is behind it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text.push_str(&format!(": {deeper}"));
        cause = deeper.source();
    }
    text
}
