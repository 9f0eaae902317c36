//! `headwaters check`: proves a set-up before it is used.

use std::time::Duration;

use headwaters_control::Surveyed;
use headwaters_model::explore::ServerInfo;
use headwaters_model::source_error::SourceError;
use headwaters_store::Store;

use super::source_argument::SourceArgument;
use crate::cli::Check;
use crate::config::Config;
use crate::exit::{CliError, Kind};
use crate::place::{self, Directory, with_causes};
use crate::wire;

/// How long a source may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Checks one source, or the whole set-up.
pub(crate) async fn run(arguments: Check, config: &Config) -> Result<(), CliError> {
    match &arguments.source {
        Some(source) => {
            let source = SourceArgument::open(source)?;
            let found = source.source.probe(&source.access, PATIENCE).await?;
            super::print(&described("source", &found))
        }
        None => set_up(arguments, config).await,
    }
}

/// Prints a line per part as it is proved. The first part that the others need ends the check when it fails; sources
/// are all tried.
async fn set_up(arguments: Check, config: &Config) -> Result<(), CliError> {
    super::print("configuration: ok")?;
    let directory = Directory::existing(arguments.place.data, config)?;
    let keys = directory.key_ring()?;
    super::print("key ring: ok")?;

    let lake = directory.lake(arguments.stores.lake, config)?;
    let signing_key = keys.signing_key().to_vec();
    let store = directory.open_store(arguments.stores.store, config, keys).await?;
    let outcome = stores_and_sources(store.clone(), lake, &signing_key, config).await;
    store.close().await;
    outcome
}

async fn stores_and_sources(store: Store, lake: String, signing_key: &[u8], config: &Config) -> Result<(), CliError> {
    store
        .ping()
        .await
        .map_err(|error| CliError::other(format!("the store does not answer: {}", with_causes(&error))))?;
    super::print("store: ok")?;
    wire::engine(config, 1)?.probe(&lake).await?;
    super::print(&format!("lake: ok, {lake}"))?;

    let control = place::control(store, lake, signing_key, config, tokio::runtime::Handle::current())?;
    let mut broken = 0_usize;
    let mut printed = Ok(());
    let surveyed = control.survey_connections(|Surveyed { title, outcome }| {
        let title = format!("connection {title}");
        broken += usize::from(outcome.is_err());
        let line = outcome.map_or_else(|error| refused(&title, &error), |found| described(&title, &found));
        printed = std::mem::replace(&mut printed, Ok(())).and_then(|()| super::print(&line));
    });
    surveyed.await.map_err(|error| CliError::other(with_causes(&error)))?;
    printed?;
    match broken {
        0 => Ok(()),
        count => Err(CliError::new(Kind::Source, format!("{count} base connections can not be used"))),
    }
}

fn described(title: &str, found: &ServerInfo) -> String {
    let mut text = format!("{title}: {} {}, account {}, tls {}", found.server, found.version, found.account, found.tls);
    for note in &found.notes {
        text.push_str(&format!("\n  note: {note}"));
    }
    text
}

fn refused(title: &str, error: &SourceError) -> String {
    let hint = error.fault().hint.as_ref().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
    format!("{title}: {error}{hint}")
}
