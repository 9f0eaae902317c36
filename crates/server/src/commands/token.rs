//! `headwaters token`: a fresh access token, signed with the key ring of the data directory.

use headwaters_control::ports::Clock;
use headwaters_control::{TokenSubject, Tokens};

use super::credentials::CredentialsFile;
use crate::cli::Token;
use crate::config::Config;
use crate::exit::CliError;
use crate::place::Directory;
use crate::wire::SystemClock;

/// Prints the token.
pub(crate) async fn run(arguments: Token, config: &Config) -> Result<(), CliError> {
    let directory = Directory::existing(arguments.place.data, config)?;
    let credentials = CredentialsFile::require(directory.path())?;
    super::print(&fresh(&directory, &credentials, config).await?)
}

/// Signs a token for the account of the credentials file; no server need be running.
pub(crate) async fn fresh(
    directory: &Directory,
    credentials: &CredentialsFile,
    config: &Config,
) -> Result<String, CliError> {
    let keys = directory.key_ring()?;
    let key = keys.signing_key().to_vec();
    let gone = || {
        let path = CredentialsFile::path(directory.path());
        CliError::other(format!("the account of {} is not in the store", path.display()))
            .with_hint("it may have been deleted, or the file belongs to another data directory")
    };
    let client_id = credentials.client_id.parse().map_err(|_| gone())?;
    let store = directory.read_store(config, keys).await?;
    let account = store.account(&client_id).await.map_err(|error| CliError::other(error.to_string()));
    store.close().await;
    let account = account?.ok_or_else(gone)?;

    let subject = TokenSubject { client_id: &client_id, user_id: &account.user_id, scopes: &account.scopes };
    let token = Tokens::new(&key).issue(&subject, SystemClock.now_ms());
    Ok(token.map_err(|_| CliError::other("could not sign the token"))?.expose().to_owned())
}
