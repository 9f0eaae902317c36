//! Trying out a base connection, and looking around in its source (flow-service.md 13.1, 13.4, 13.5).
//!
//! Nothing here holds a transaction: the connection is read, then the source is asked.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use headwaters_model::connection::Connection;
use headwaters_model::explore::{ExploredTable, ListedTable, PREVIEW_ROWS_MAX, ServerInfo};
use headwaters_model::job::SourceAccess;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use serde_json::Value;
use tokio::time::timeout;

use crate::Control;
use crate::access::Caller;
use crate::error::{Cause, CommandError, clipped};
use crate::source_connections::check_filter;
use crate::specs::KnownConnection;

/// How long a try of a connection may take; the source takes the connection's own time-out where that is shorter.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);
/// How long an exploration may take.
const EXPLORE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a row filter in a query parameter may be, characters of base64.
const FILTERS_CHARS_MAX: usize = 64 * 1024;

/// What `GET /connections/{id}/test` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestOutcome {
    /// The source was reached.
    Passed(ServerInfo),
    /// It was not, or refused us.
    Failed {
        /// One sentence: what was tried, on what, why it failed.
        message: String,
        /// What to do, where that is known.
        hint: Option<String>,
    },
}

/// What `GET /connections/{id}/explore` asks, parameters as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExploreRequest {
    /// `objectType`: root or table, in any case.
    pub object_type: Option<String>,
    /// `object`: the path of a table.
    pub object: Option<String>,
    /// `preview`: whether rows are wanted.
    pub preview: bool,
    /// `filters`: the row filter of a preview, base64.
    pub filters: Option<String>,
}

/// What exploring shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Explored {
    /// The tables and views, ordered by path.
    Root(Vec<ListedTable>),
    /// One table.
    Table(ExploredTable),
}

impl Control {
    /// Opens a connection with the stored credentials (flow-service.md 13.4).
    ///
    /// A source that can not be reached is an outcome, not an error. Causes: `Missing`, `NoTurn`.
    pub async fn test_connection(&self, caller: &Caller, id: &str) -> Result<TestOutcome, CommandError> {
        let connection = self.get::<Connection>(caller, id).await?;
        let access = self.access(&connection).await?;
        let _turn = self.turn_at_sources(caller).await?;
        Ok(match self.probe(&access).await {
            Ok(server) => TestOutcome::Passed(server),
            Err(error) => {
                let fault = error.fault();
                TestOutcome::Failed { message: fault.message.clone(), hint: fault.hint.clone() }
            }
        })
    }

    /// Lists the tables of a source, or shows one (flow-service.md 13.5).
    ///
    /// Causes: `Missing`, `NotExplorable`, `ParameterMissing`, `ObjectType`, `ObjectMissing`, `FilterEncoding`, the
    /// filter's own, `NoTurn`, `Driver`, `NoColumns`.
    pub async fn explore(&self, caller: &Caller, id: &str, request: ExploreRequest) -> Result<Explored, CommandError> {
        let connection = self.get::<Connection>(caller, id).await?;
        let known = self.specs.connection(connection.body.connection_spec.id, "")?;
        let question = Question::read(&request, known)?;
        if !known.spec.is_source() {
            let reason = format!("{} holds no tables to explore", known.spec.label());
            return Err(CommandError::invalid(Cause::NotExplorable, "", reason));
        }
        let access = self.access(&connection).await?;
        let _turn = self.turn_at_sources(caller).await?;
        let sources = &self.ports.sources;
        let answer = async {
            match &question {
                Question::Root => sources.list(&access).await.map(Explored::Root).map_err(CommandError::Connect),
                Question::Table { path, preview_rows, filter } => {
                    let table = sources.describe(&access, path, *preview_rows, filter.clone()).await;
                    table.map(Explored::Table).map_err(CommandError::Source)
                }
            }
        };
        timeout(EXPLORE_PATIENCE, answer).await.unwrap_or_else(|_| Err(CommandError::Connect(slow(EXPLORE_PATIENCE))))
    }

    /// Tries out how a new connection reaches its source.
    pub(super) async fn try_out(&self, access: &SourceAccess) -> Result<(), CommandError> {
        self.probe(access).await.map(drop).map_err(CommandError::Connect)
    }

    pub(super) async fn probe(&self, access: &SourceAccess) -> Result<ServerInfo, SourceError> {
        let probe = self.ports.sources.probe(access, PROBE_PATIENCE);
        // The source keeps the time itself; this is for one that does not.
        timeout(PROBE_PATIENCE + Duration::from_secs(1), probe).await.unwrap_or_else(|_| Err(slow(PROBE_PATIENCE)))
    }
}

/// A source that did not answer in time.
pub(crate) fn slow(patience: Duration) -> SourceError {
    let message = format!("the source did not answer within {} s", patience.as_secs());
    SourceError::transient(SourceErrorKind::Unreachable, message).with_hint("check that the server is not overloaded")
}

/// What is asked of the source once the parameters are understood.
#[derive(Debug, PartialEq)]
enum Question {
    Root,
    Table { path: String, preview_rows: Option<u32>, filter: Option<Value> },
}

impl Question {
    fn read(request: &ExploreRequest, known: &KnownConnection) -> Result<Self, CommandError> {
        let missing = |name: &str| format!("the query parameter `{name}` is missing");
        let Some(object_type) = request.object_type.as_deref().filter(|kind| !kind.is_empty()) else {
            return Err(CommandError::invalid(Cause::ParameterMissing, "", missing("objectType")));
        };
        match object_type.to_ascii_lowercase().as_str() {
            "root" => Ok(Self::Root),
            "table" => {
                let object = request.object.clone().filter(|path| !path.is_empty());
                let reason = || format!("{}, which objectType=table needs: name a table", missing("object"));
                let path = object.ok_or_else(|| CommandError::invalid(Cause::ObjectMissing, "", reason()))?;
                let filter =
                    request.filters.as_deref().filter(|text| !text.is_empty()).map(decode_filters).transpose()?;
                if let Some(filter) = &filter {
                    check_filter(known, filter, "filters")?;
                }
                Ok(Self::Table { path, preview_rows: request.preview.then_some(PREVIEW_ROWS_MAX), filter })
            }
            _ => {
                let reason = format!("objectType can be root or table for a database, not: {}", clipped(object_type));
                Err(CommandError::invalid(Cause::ObjectType, "", reason))
            }
        }
    }
}

/// Reads a row filter out of a query parameter: base64 in the standard or the URL-safe alphabet, with or without
/// padding; a blank is a `+` that was not escaped (flow-service.md 13.5).
fn decode_filters(text: &str) -> Result<Value, CommandError> {
    const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let invalid = |reason: &str| CommandError::invalid(Cause::FilterEncoding, "filters", reason);
    if text.len() > FILTERS_CHARS_MAX {
        return Err(invalid("is too long"));
    }
    let standard = text.trim_end().replace([' ', '-'], "+").replace('_', "/");
    let bytes = ANY_PADDING.decode(standard).map_err(|_| invalid("is not base64"))?;
    serde_json::from_slice(&bytes).map_err(|_| invalid("is not base64 of a JSON document"))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use headwaters_model::spec::MYSQL;
    use serde_json::json;

    use super::*;
    use crate::specs::fixture::specs;

    #[test]
    fn filters_are_read_in_every_alphabet() {
        // `?>` and `~~` make the characters in which the alphabets differ.
        let document = json!({ "type": "PQL", "note": "?>?>~~~~ÿ" });
        let text = document.to_string();
        let forms = [
            STANDARD.encode(&text),
            STANDARD_NO_PAD.encode(&text),
            URL_SAFE.encode(&text),
            URL_SAFE_NO_PAD.encode(&text),
            STANDARD.encode(&text).replace('+', " "),
        ];
        for form in forms {
            assert_eq!(decode_filters(&form).unwrap(), document, "{form}");
        }
    }

    #[test]
    fn filters_that_are_no_base64_of_json_are_refused() {
        for text in ["%%%", "bm8ganNvbg==", &"A".repeat(FILTERS_CHARS_MAX + 1)] {
            assert_eq!(decode_filters(text).unwrap_err().cause(), Cause::FilterEncoding);
        }
    }

    #[test]
    fn what_is_asked_depends_on_the_object_type() {
        let specs = specs();
        let known = specs.connection(MYSQL, "").unwrap();
        let ask = |object_type: &str, object: Option<&str>, preview| {
            let request = ExploreRequest {
                object_type: Some(object_type.into()),
                object: object.map(Into::into),
                preview,
                filters: None,
            };
            Question::read(&request, known)
        };
        assert_eq!(ask("ROOT", None, false).unwrap(), Question::Root);
        let table = |preview_rows| Question::Table { path: "shop.orders".into(), preview_rows, filter: None };
        assert_eq!(ask("table", Some("shop.orders"), false).unwrap(), table(None));
        assert_eq!(ask("TABLE", Some("shop.orders"), true).unwrap(), table(Some(PREVIEW_ROWS_MAX)));
        assert_eq!(ask("table", None, false).unwrap_err().cause(), Cause::ObjectMissing);
        assert_eq!(ask("folder", None, false).unwrap_err().cause(), Cause::ObjectType);
        assert_eq!(Question::read(&ExploreRequest::default(), known).unwrap_err().cause(), Cause::ParameterMissing);
    }
}
