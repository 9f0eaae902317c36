//! Where a value comes from: command line beats environment beats file beats default (product.md, "Fixed names").
//!
//! The options of the command line and their environment variables are clap's; this module adds the file to them. The
//! settings without an option (`api.strict`, …) are all listed in [`SETTINGS`], which is also what the reference
//! documentation is made from.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value as Json;
use toml::{Table, Value};

use crate::exit::CliError;

/// The file that is read when no other is named.
const DEFAULT_FILE: &str = "headwaters.toml";

/// Options of the command line that may stand in the file under their own names.
const OPTIONS: [&str; 19] = [
    "data",
    "listen",
    "store",
    "lake",
    "source",
    "table",
    "to",
    "columns",
    "splits",
    "mode",
    "progress",
    "preview",
    "output",
    "format",
    "log",
    "log_format",
    "since",
    "resource",
    "limit",
];

/// One setting that has no option of its own.
pub(crate) struct Setting {
    /// Its key in the file; in the environment `HEADWATERS_` and the key in upper case, `.` as `_`.
    pub(crate) key: &'static str,
    /// Its default, as it would stand in the file.
    pub(crate) default: &'static str,
    /// What it means, for the reference.
    pub(crate) meaning: &'static str,
}

/// Every setting without an option.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        key: "api.strict",
        default: "[]",
        meaning: "rules that are strict instead of lenient: any of sandbox, if_match, content_type, run_body, \
                  transformations, or all",
    },
    Setting {
        key: "api.rate_limit_per_second",
        default: "off",
        meaning: "requests that one client may send in a second; beyond it 429 with Retry-After. Token requests and \
                  requests that fail authentication count by address",
    },
    Setting {
        key: "connections.verify_on_create",
        default: "true",
        meaning: "creating a base connection connects to the source first",
    },
    Setting {
        key: "catalog.create_unknown_data_sets",
        default: "false",
        meaning: "a target connection to an unknown data set creates it",
    },
    Setting {
        key: "flows.start_grace_seconds",
        default: "300",
        meaning: "how far in the past a flow's startTime may be",
    },
    Setting {
        key: "flows.interval_minutes_min",
        default: "15",
        meaning: "the smallest interval of flows that recur every so many minutes",
    },
    Setting {
        key: "flows.window_lag_seconds",
        default: "60",
        meaning: "how far a recurring run stays behind the source's clock, so that rows committed late are not missed",
    },
    Setting {
        key: "flows.failed_window",
        default: "reread",
        meaning: "what becomes of what a failed scheduled run should have read: the next one reads it (reread), or only \
                  a re-trigger does (skip)",
    },
    Setting {
        key: "runs.on_demand_for_recurring",
        default: "false",
        meaning: "runs on demand of flows that recur, not only of those that run once",
    },
    Setting {
        key: "runs.allow_without_params",
        default: "false",
        meaning: "a run on demand without a window reads the whole table, instead of being refused",
    },
    Setting {
        key: "webhooks",
        default: "[]",
        meaning: "who is told of runs, a list of {url, secret}: a [[webhooks]] for each in the file, a JSON list in the \
                  environment",
    },
    Setting { key: "runs.concurrent_max", default: "2", meaning: "runs that are carried out at a time" },
    Setting {
        key: "runs.drain_seconds",
        default: "10",
        meaning: "how long a stopping server lets its runs go on before it cancels them",
    },
    Setting {
        key: "lake.care_minutes",
        default: "60",
        meaning: "how often each table is looked after: small files put together, files that no version needs deleted; 0 \
                  for never",
    },
    Setting {
        key: "lake.vacuum_hours",
        default: "168",
        meaning: "how long a file is kept that no version of its table needs any more",
    },
    Setting {
        key: "lake.compact_files_min",
        default: "16",
        meaning: "small files are put together once a table has so many",
    },
    Setting {
        key: "engine.memory_bytes",
        default: "134217728",
        meaning: "memory for rows on their way, shared by all runs that go on at a time",
    },
    Setting {
        key: "engine.readers_max",
        default: "4",
        meaning: "connections that read one table; fewer where cores or memory are fewer, never more than 8",
    },
];

/// All settings, for `headwaters serve --help`.
pub(crate) fn settings_help() -> String {
    let lines = SETTINGS.iter().map(|setting| {
        let Setting { key, default, meaning } = setting;
        format!("  {key} [default: {default}]\n      {meaning}")
    });
    let lines: Vec<String> = lines.collect();
    format!(
        "Settings without an option, in headwaters.toml, or in the environment as HEADWATERS_ and the key in upper case \
         with _ for the dot:\n{}",
        lines.join("\n")
    )
}

/// The configuration file, and the environment for what has no option.
pub(crate) struct Config {
    file: Table,
    path: Option<PathBuf>,
    environment: fn(&str) -> Option<String>,
}

impl Config {
    /// Reads the named file, or `headwaters.toml` in the working directory if there is one.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, CliError> {
        let path = match named {
            Some(path) => Some(path.to_owned()),
            None => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.is_file()),
        };
        let Some(path) = path else { return Self::parse("", None, from_environment) };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| CliError::usage(format!("could not read {}: {error}", path.display())))?;
        Self::parse(&text, Some(path), from_environment)
    }

    pub(crate) fn parse(
        text: &str,
        path: Option<PathBuf>,
        environment: fn(&str) -> Option<String>,
    ) -> Result<Self, CliError> {
        let name = path.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
        // The parser's message may quote the line, and a line may hold a password: only the place is shown.
        let file: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            CliError::usage(format!("{name} is not valid TOML near line {line}"))
        })?;
        let config = Self { file, path, environment };
        match config.unknown_key() {
            None => Ok(config),
            Some(key) => Err(CliError::usage(format!("unknown key `{key}` in {name}"))
                .with_hint("`headwaters serve --help` lists all settings; options stand under their own names")),
        }
    }

    /// The option as given on the command line or in the environment, else as it stands in the file.
    pub(crate) fn option<T>(&self, given: Option<T>, key: &'static str) -> Result<Option<T>, CliError>
    where
        T: FromStr,
    {
        debug_assert!(OPTIONS.contains(&key), "{key} is not listed as an option");
        match (given, self.file.get(key)) {
            (Some(given), _) => Ok(Some(given)),
            (None, None) => Ok(None),
            (None, Some(value)) => text_of(value).parse().map(Some).map_err(|_| self.invalid(key)),
        }
    }

    /// A setting by its key: environment, else file, else default.
    pub(crate) fn setting<T: FromStr<Err: Display>>(&self, key: &'static str) -> Result<T, CliError> {
        self.setting_text(key)?.parse().map_err(|error| self.invalid_because(key, error))
    }

    /// A setting that is a list of tables: an array in the file, JSON in the environment.
    pub(crate) fn entries(&self, key: &'static str) -> Result<Vec<Json>, CliError> {
        let listed = match (self.environment)(&variable(key)) {
            Some(text) if text.trim().is_empty() => return Ok(Vec::new()),
            Some(text) => serde_json::from_str(&text),
            None => match self.file.get(key) {
                Some(value) => serde_json::to_value(value),
                None => return Ok(Vec::new()),
            },
        };
        match listed {
            Ok(Json::Array(entries)) => Ok(entries),
            Ok(_) | Err(_) => Err(self.invalid_because(key, "it must be a list")),
        }
    }

    /// A setting that is a list: an array in the file, comma-separated in the environment.
    pub(crate) fn list(&self, key: &'static str) -> Result<Vec<String>, CliError> {
        let text = self.setting_text(key)?;
        let items = text.trim_start_matches('[').trim_end_matches(']').split(',');
        Ok(items.map(|item| item.trim().trim_matches('"').to_owned()).filter(|item| !item.is_empty()).collect())
    }

    /// The error for a key whose value makes no sense; the value is not shown.
    pub(crate) fn invalid(&self, key: &str) -> CliError {
        let place = self.path.as_deref().map_or(String::new(), |path| format!(" (or `{key}` in {})", path.display()));
        CliError::usage(format!("the value of {}{place} is not valid", variable(key)))
    }

    /// The same with what the value should be; the reason must not quote it.
    fn invalid_because(&self, key: &str, reason: impl Display) -> CliError {
        let CliError { message, .. } = self.invalid(key);
        CliError::usage(format!("{message}: {reason}"))
    }

    fn setting_text(&self, key: &'static str) -> Result<String, CliError> {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        let Some(setting) = setting else { return Err(CliError::other(format!("no setting is called `{key}`"))) };
        if let Some(text) = (self.environment)(&variable(key)) {
            return Ok(text);
        }
        let mut place = Some(&self.file);
        let mut found = None;
        for part in key.split('.') {
            found = place.and_then(|table| table.get(part));
            place = found.and_then(Value::as_table);
        }
        Ok(found.map_or_else(|| setting.default.to_owned(), text_of))
    }

    fn unknown_key(&self) -> Option<String> {
        let known = |key: &str| OPTIONS.contains(&key) || SETTINGS.iter().any(|setting| setting.key == key);
        let paths = self.file.iter().flat_map(|(key, value)| match value {
            Value::Table(table) => table.keys().map(|inner| format!("{key}.{inner}")).collect(),
            _ => vec![key.clone()],
        });
        paths.into_iter().find(|path| !known(path))
    }
}

fn variable(key: &str) -> String {
    format!("HEADWATERS_{}", key.to_uppercase().replace('.', "_"))
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, None, |_| None).unwrap()
    }

    #[test]
    fn the_command_line_beats_the_file_beats_the_default() {
        let config = config("data = \"/srv/a\"\n[flows]\nstart_grace_seconds = 5\n");
        assert_eq!(config.option(Some("/srv/b".to_owned()), "data").unwrap().as_deref(), Some("/srv/b"));
        assert_eq!(config.option::<String>(None, "data").unwrap().as_deref(), Some("/srv/a"));
        assert_eq!(config.setting::<u64>("flows.start_grace_seconds").unwrap(), 5);
        assert!(config.setting::<bool>("connections.verify_on_create").unwrap());
    }

    #[test]
    fn the_environment_beats_the_file() {
        let text = "[api]\nstrict = [\"sandbox\"]\n";
        let config = Config::parse(text, None, |name| (name == "HEADWATERS_API_STRICT").then(|| "if_match,all".into()));
        assert_eq!(config.unwrap().list("api.strict").unwrap(), ["if_match", "all"]);
        let file_only = Config::parse(text, None, |_| None).unwrap();
        assert_eq!(file_only.list("api.strict").unwrap(), ["sandbox"]);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = Config::parse("[flows]\nstart_grace = 5\n", None, |_| None).err().unwrap();
        assert!(error.message.contains("flows.start_grace"), "{}", error.message);
    }

    #[test]
    fn a_broken_file_is_not_quoted() {
        let error = Config::parse("source = \"mysql://u:hunter2@h\n", None, |_| None).err().unwrap();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn every_setting_has_a_default_that_parses() {
        let config = config("");
        for setting in SETTINGS {
            assert!(config.setting::<String>(setting.key).is_ok(), "{}", setting.key);
        }
    }
}
