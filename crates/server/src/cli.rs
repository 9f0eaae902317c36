//! The command line: what may be said, and the help that teaches it (product.md, "Command line").
//!
//! Every option has an environment variable `HEADWATERS_…` and may stand in the configuration file under its own name.
//! Command line beats environment beats file beats default: clap settles the first two, [`crate::config`] the rest.
//! Hence every option with a default is an `Option` here.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Headwaters: tables from MySQL and MariaDB into Delta Lake, through the Flow Service API or from the command line
#[derive(Debug, Parser)]
#[command(name = "headwaters", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "\
Start here:
  headwaters copy mysql://reader@db.example.com/shop --table shop.orders --to ./lake/orders
  headwaters serve                      then, in another shell: eval \"$(headwaters env)\"

Exit codes: 0 done, 2 wrong usage, 3 the source, 4 the lake, 5 the data, 130 interrupted, 1 anything else.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Configuration file; without it `headwaters.toml` in the working directory is read, if there is one
    #[arg(long, global = true, env = "HEADWATERS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
    Copy(Copy),
    Explore(Explore),
    Env(Env),
    Token(Token),
    Check(Check),
    Audit(Audit),
    Verify(Verify),
}

/// Answer the Flow Service API and carry out its flows
///
/// Works without options: data in ./headwaters-data, SQLite store and local lake inside it, listening on
/// 127.0.0.1:8480. The first start makes an organisation, the sandbox `prod` and one technical account, and writes
/// DIR/credentials.json; it prints where that file is, never the secret. Ready when GET /readyz answers 200. SIGTERM
/// drains and exits 0.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  headwaters serve
  headwaters serve --data /var/lib/headwaters --listen 0.0.0.0:8480 --lake /mnt/lake

{}", crate::config::settings_help()))]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Address and port to listen on [default: 127.0.0.1:8480]
    #[arg(long, env = "HEADWATERS_LISTEN", value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) stores: Stores,
}

/// Where the data directory is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Directory of credentials, key ring, store and lake [default: ./headwaters-data]
    #[arg(long, env = "HEADWATERS_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Where metadata and tables are, if not in the data directory.
#[derive(Debug, Args)]
pub(crate) struct Stores {
    /// Metadata store: a path or sqlite:// URL [default: DIR/headwaters.db]
    #[arg(long, env = "HEADWATERS_STORE", value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Folder of all tables: a path or file:// URL [default: DIR/lake]
    #[arg(long, env = "HEADWATERS_LAKE", value_name = "URL")]
    pub(crate) lake: Option<String>,
}

/// Copy one table into a Delta table, without a server
///
/// All readers see one moment of the table, and the rows become visible in one commit: an interrupted copy leaves the
/// table as it was. The last line says rows, bytes, files, seconds and the table's version, and which values could not
/// be kept as they were.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwaters copy mysql://reader@db.example.com/shop --table shop.orders --to ./lake/orders
  headwaters copy 'Server=db;Database=shop;UID=reader;SslMode=VerifyFull' --table orders --to ./lake/orders --columns id,total

A password that is not in SOURCE comes from HEADWATERS_SOURCE_PASSWORD or a prompt, so that it never shows in `ps`.")]
pub(crate) struct Copy {
    /// Connector/NET connection string, or a mysql://, mariadb:// or jdbc: URI
    #[arg(value_name = "SOURCE", env = "HEADWATERS_SOURCE", hide_env_values = true)]
    pub(crate) source: String,
    /// Table to copy, as `explore` lists it
    #[arg(long, env = "HEADWATERS_TABLE", value_name = "DB.TABLE")]
    pub(crate) table: String,
    /// Delta table to copy into: a path or a file:// URL (s3:// is refused until a build brings it)
    #[arg(long, env = "HEADWATERS_TO", value_name = "URL")]
    pub(crate) to: String,
    /// Columns to copy, in this order [default: all]
    #[arg(long, env = "HEADWATERS_COLUMNS", value_name = "A,B,…", value_delimiter = ',')]
    pub(crate) columns: Option<Vec<String>>,
    /// Key ranges that the table is cut into; 1 means one connection and one stream [default: auto]
    #[arg(long, env = "HEADWATERS_SPLITS", value_name = "N|auto")]
    pub(crate) splits: Option<SplitsArgument>,
    /// What happens to rows that are in the table already [default: overwrite]
    #[arg(long, env = "HEADWATERS_MODE", value_enum)]
    pub(crate) mode: Option<Mode>,
    /// How progress is shown [default: bar on a terminal, else none]
    #[arg(long, env = "HEADWATERS_PROGRESS", value_enum)]
    pub(crate) progress: Option<Progress>,
}

/// List the tables of a source, or show one
///
/// Shows what the API's explore shows, under the same rules.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwaters explore mysql://reader@db.example.com/shop
  headwaters explore mysql://reader@db.example.com/shop --table shop.orders --preview 5 --output json")]
pub(crate) struct Explore {
    /// Connector/NET connection string, or a mysql://, mariadb:// or jdbc: URI
    #[arg(value_name = "SOURCE", env = "HEADWATERS_SOURCE", hide_env_values = true)]
    pub(crate) source: String,
    /// Table to show instead of the list
    #[arg(long, env = "HEADWATERS_TABLE", value_name = "DB.TABLE")]
    pub(crate) table: Option<String>,
    /// Rows to show, at most 100
    #[arg(long, env = "HEADWATERS_PREVIEW", value_name = "N", requires = "table",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) preview: Option<u32>,
    /// Form of the output [default: table]
    #[arg(long, env = "HEADWATERS_OUTPUT", value_enum)]
    pub(crate) output: Option<Output>,
}

/// Print what a client needs, with a fresh token
///
/// Sets PLATFORM_URL, ACCESS_TOKEN, API_KEY, ORG_ID and SANDBOX_NAME. The token is signed with the key ring of the data
/// directory: no server need be running.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  eval \"$(headwaters env)\"
  headwaters env --format postman > headwaters.postman_environment.json")]
pub(crate) struct Env {
    #[command(flatten)]
    pub(crate) place: Place,
    /// For whom [default: shell]
    #[arg(long, env = "HEADWATERS_FORMAT", value_enum)]
    pub(crate) format: Option<Format>,
}

/// Print a fresh access token, good for 24 hours
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  curl -H \"Authorization: Bearer $(headwaters token)\" …")]
pub(crate) struct Token {
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Prove a set-up before it is used
///
/// Without SOURCE: configuration, store, key ring, a probe write to the lake, then every stored base connection. With
/// SOURCE only that source. For each source: server, version, account, what TLS negotiated, which privileges lack and
/// what that costs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwaters check
  headwaters check 'Server=db;Database=shop;UID=reader;SslMode=VerifyFull'")]
pub(crate) struct Check {
    /// Connector/NET connection string, or a mysql://, mariadb:// or jdbc: URI
    #[arg(value_name = "SOURCE", env = "HEADWATERS_SOURCE", hide_env_values = true)]
    pub(crate) source: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) stores: Stores,
}

/// Show who did what to which version of what
///
/// Reads the store of the data directory, whether a server runs on it or not. The newest record comes last. What is
/// done is recorded, and so are attempts that a caller may not make and logins with a wrong secret; records are kept
/// for 365 days. The store of an earlier version is refused, not changed: the server brings it up to date when it starts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwaters audit --since 24h
  headwaters audit --since 2026-01-31T00:00:00Z --output json
  headwaters audit --resource 7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01")]
pub(crate) struct Audit {
    /// Only what was done since then: RFC 3339, or back from now as in 90s, 15m, 24h, 7d [default: all that is kept]
    #[arg(long, env = "HEADWATERS_SINCE", value_name = "TIME")]
    pub(crate) since: Option<Since>,
    /// Only what was done to the resource of this id
    #[arg(long, env = "HEADWATERS_RESOURCE", value_name = "ID")]
    pub(crate) resource: Option<String>,
    /// Records to show, the newest [default: 1000]
    #[arg(long, env = "HEADWATERS_LIMIT", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(LIMIT_MAX)))]
    pub(crate) limit: Option<u32>,
    /// Form of the output [default: table]
    #[arg(long, env = "HEADWATERS_OUTPUT", value_enum)]
    pub(crate) output: Option<Output>,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Compare a table with what was landed of it
///
/// Counts rows and values, and compares checksums that the server computes with those of the files: per column, and over
/// whole rows. Where they differ, the table is cut by its key until the rows that differ are found, and these are shown:
/// missing in the lake, more than once in it, only in it, or with other values. Changes nothing. Exits with 0 when all
/// that was compared is equal, and with 5 when something differs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  headwaters verify mysql://reader@db.example.com/shop --table shop.orders --against ./lake/orders
  headwaters verify mysql://reader@db.example.com/shop --table shop.orders --against ./lake/orders --columns id,total --output json

The server reads the whole table once, and parts of it again where something differs. A table that recurring runs append
to holds every version of a row: it has more rows than its source, and keys more than once.")]
pub(crate) struct Verify {
    /// Connector/NET connection string, or a mysql://, mariadb:// or jdbc: URI
    #[arg(value_name = "SOURCE", env = "HEADWATERS_SOURCE", hide_env_values = true)]
    pub(crate) source: String,
    /// Table to compare, as `explore` lists it
    #[arg(long, env = "HEADWATERS_TABLE", value_name = "DB.TABLE")]
    pub(crate) table: String,
    /// Delta table to compare it with: a path or a file:// URL
    #[arg(long, env = "HEADWATERS_AGAINST", value_name = "URL")]
    pub(crate) against: String,
    /// Columns to compare [default: all that both sides have]
    #[arg(long, env = "HEADWATERS_COLUMNS", value_name = "A,B,…", value_delimiter = ',')]
    pub(crate) columns: Option<Vec<String>>,
    /// Rows that differ to show [default: 20]
    #[arg(long, env = "HEADWATERS_KEYS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(KEYS_MAX)))]
    pub(crate) keys: Option<u32>,
    /// Form of the output [default: table]
    #[arg(long, env = "HEADWATERS_OUTPUT", value_enum)]
    pub(crate) output: Option<Output>,
}

/// Rows that `verify` shows at most.
pub(crate) const KEYS_MAX: u32 = 1000;

/// Records that `audit` shows at most; they are all in memory at once.
pub(crate) const LIMIT_MAX: u32 = 100_000;

/// A moment, or how long ago it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// Milliseconds since 1970.
    At(i64),
    /// So many milliseconds before now.
    Back(i64),
}

impl Since {
    /// Milliseconds since 1970.
    pub(crate) fn at_ms(self, now_ms: i64) -> i64 {
        match self {
            Self::At(at_ms) => at_ms,
            Self::Back(back_ms) => now_ms.saturating_sub(back_ms),
        }
    }
}

impl std::str::FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected RFC 3339 as in 2026-01-31T00:00:00Z, or a time back as in 90s, 15m, 24h, 7d";
        let seconds = |unit| match unit {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(3600),
            'd' => Some(24 * 3600),
            _ => None,
        };
        let mut number = text.chars();
        if let Some(unit) = number.next_back().and_then(seconds)
            && let Ok(count) = number.as_str().parse::<u32>()
        {
            return Ok(Self::Back(i64::from(count) * unit * 1000));
        }
        let moment = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| EXPECTED)?;
        Ok(Self::At(moment.timestamp_millis()))
    }
}

/// `N` or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SplitsArgument(pub(crate) headwaters_model::job::Splits);

impl std::str::FromStr for SplitsArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use headwaters_model::job::Splits;
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self(Splits::Auto));
        }
        match text.parse::<u32>() {
            Ok(count) if count > 0 => Ok(Self(Splits::Exactly(count))),
            _ => Err("expected `auto` or a number from 1".to_owned()),
        }
    }
}

/// What a copy does to rows that are in the table already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Replace them; Delta keeps the older version
    Overwrite,
    /// Keep them
    Append,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A bar on standard error
    Bar,
    /// One JSON line per second on standard output, and the result as the last one
    Json,
    /// Only the last line
    None,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For reading
    Table,
    /// For programs
    Json,
}

/// For whom `env` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// export lines for sh, bash and zsh
    Shell,
    /// one JSON object
    Json,
    /// the arguments of the Python client: aepp.configure(**json.load(…))
    Aepp,
    /// a Postman environment
    Postman,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_moment_is_rfc_3339_or_a_time_back() {
        assert_eq!("1970-01-01T00:00:01.5Z".parse(), Ok(Since::At(1500)));
        assert_eq!("1970-01-01T02:00:00+02:00".parse(), Ok(Since::At(0)));
        assert_eq!("24h".parse(), Ok(Since::Back(86_400_000)));
        assert_eq!("7d".parse::<Since>().unwrap().at_ms(604_800_001), 1);
        for wrong in ["", "h", "-1h", "1w", "yesterday", "2026-01-31", "1.5h", "ü"] {
            assert!(wrong.parse::<Since>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn splits_are_a_number_or_auto() {
        use headwaters_model::job::Splits;
        assert_eq!("auto".parse(), Ok(SplitsArgument(Splits::Auto)));
        assert_eq!("4".parse(), Ok(SplitsArgument(Splits::Exactly(4))));
        assert!("0".parse::<SplitsArgument>().is_err());
        assert!("many".parse::<SplitsArgument>().is_err());
    }
}
