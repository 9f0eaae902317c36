//! The argument `SOURCE`: which source it means and how to reach it.

use std::io::IsTerminal;
use std::sync::Arc;

use headwaters_model::job::SourceAccess;
use headwaters_model::secret::Secret;
use headwaters_source::contract::Source;
use headwaters_source::registry;

use crate::config::from_environment;
use crate::exit::{CliError, Kind};

/// Where a password comes from that must not show in `ps`.
const PASSWORD_VARIABLE: &str = "HEADWATERS_SOURCE_PASSWORD";

/// A source that is named on the command line.
pub(crate) struct SourceArgument {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) access: SourceAccess,
}

impl SourceArgument {
    /// Reads the text; a password that is not in it comes from the environment or, on a terminal, from a prompt.
    pub(crate) fn open(text: &str) -> Result<Self, CliError> {
        let password = match from_environment(PASSWORD_VARIABLE) {
            Some(password) => Some(Secret::new(password)),
            None if !registry::holds_password(text)? && std::io::stdin().is_terminal() => Some(prompt()?),
            None => None,
        };
        let (access, notes) = registry::access_from_text(text, password)?;
        for note in notes {
            super::warn(&note);
        }
        let source = registry::sources()
            .into_iter()
            .find(|source| source.serves(access.spec))
            .ok_or_else(|| CliError::new(Kind::Usage, "no source of this build reads this kind of address"))?;
        source.check(&access)?;
        Ok(Self { source, access })
    }
}

fn prompt() -> Result<Secret, CliError> {
    rpassword::prompt_password("password of the source (empty for none): ")
        .map(Secret::new)
        .map_err(|error| CliError::usage(format!("could not read the password: {error}")))
}
