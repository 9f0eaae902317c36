//! Source connections: what is read (flow-service.md 14).
//!
//! Table and columns are not looked up here but when a flow is made, so that drafts and sources that are off-line for
//! the moment can be described; the row filter is checked for its structure.

use headwaters_model::connection::Connection;
use headwaters_model::etag::Precondition;
use headwaters_model::id::SpecId;
use headwaters_model::resource::{LastOperation, Resource, State};
use headwaters_model::row_filter::{FilterCause, RowFilter};
use headwaters_model::source_connection::{FORMAT_TABULAR, SourceConnection, SourceData};
use headwaters_model::spec::SpecRef;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Control;
use crate::access::Caller;
use crate::change::{Changeable, Composed, SOURCE_CONNECTION, Writable};
use crate::connections::{SpecInput, spec_ref};
use crate::error::{Cause, CommandError};
use crate::life_cycle::{comes_into_use, in_use, state_of_new, text_of};
use crate::specs::{KnownConnection, Specs};

/// Makes a source connection. What is not there is checked here, not by the caller.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateSourceConnection {
    /// Mandatory and not empty.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Mandatory but in a draft.
    pub base_connection_id: Option<String>,
    /// Mandatory but in a draft; `{}` means tabular.
    pub data: Option<Map<String, Value>>,
    /// Mandatory; must be the base connection's.
    pub connection_spec: Option<SpecInput>,
    /// `tableName`, `columns`, `filters`, `cdcEnabled`.
    pub params: Option<Map<String, Value>>,
    /// Whether it is asked for as a draft.
    pub draft: bool,
}

impl Control {
    /// Makes a source connection (flow-service.md 14.1).
    ///
    /// Causes: `MissingField`, `UnknownSpec`, `NotSupported`, `InvalidValue`, `Format`, `NoDraft`, `NotApplicable`,
    /// those of row filters.
    pub async fn create_source_connection(
        &self,
        caller: &Caller,
        command: CreateSourceConnection,
    ) -> Result<Resource<SourceConnection>, CommandError> {
        self.create(caller, command).await
    }

    /// Deletes a source connection that no flow uses (flow-service.md 14.2). Causes: `Missing`, `Stale`, `InUse`.
    pub async fn delete_source_connection(
        &self,
        caller: &Caller,
        id: &str,
        expected: Precondition,
    ) -> Result<(), CommandError> {
        self.delete::<SourceConnection>(caller, id, &expected).await
    }
}

impl Changeable for SourceConnection {
    type Command = CreateSourceConnection;
    const WRITABLE: &'static [Writable] = SOURCE_CONNECTION;

    async fn compose(
        control: &Control,
        caller: &Caller,
        command: CreateSourceConnection,
        before: Option<&Resource<Self>>,
    ) -> Result<Composed<Self>, CommandError> {
        let Decided { name, spec, state, data } = decide(&control.specs_of(caller).await?, &command)?;
        let base = match &command.base_connection_id {
            Some(id) => Some(control.referenced::<Connection>(caller, id, "/baseConnectionId").await?),
            None => None,
        };
        if let Some(base) = &base {
            check_base(base, spec.id, comes_into_use(before, command.draft))?;
        }
        let body = Self {
            name,
            description: command.description,
            base_connection_id: base.map(|base| base.id),
            data,
            connection_spec: spec,
            params: command.params.unwrap_or_default(),
            inherited_attributes: None,
            last_operation: LastOperation::create(state, control.clock.now_ms()),
        };
        Ok(Composed { state, body, secrets: None })
    }

    fn last_operation(&mut self) -> &mut LastOperation {
        &mut self.last_operation
    }
}

/// What a command amounts to once the rules are satisfied.
#[derive(Debug)]
struct Decided {
    name: String,
    spec: SpecRef,
    state: State,
    data: SourceData,
}

/// The rules of a source connection that need no store.
fn decide(specs: &Specs, command: &CreateSourceConnection) -> Result<Decided, CommandError> {
    let name = text_of(command.name.as_deref(), "/name")?;
    let data = decide_data(command)?;
    let (id, version) = spec_ref(command.connection_spec.as_ref(), "/connectionSpec")?;
    let known = specs.connection(id, "/connectionSpec/id")?;
    let Some(schema) = &known.source else {
        let reason = format!("{} is no source", known.spec.label());
        return Err(CommandError::invalid(Cause::NotSupported, "/connectionSpec/id", reason));
    };
    let state = state_of_new(command.draft, known.spec.supports_drafts(), known.spec.label())?;
    if command.base_connection_id.is_none() && !command.draft {
        return Err(CommandError::missing_field("/baseConnectionId"));
    }
    match &command.params {
        Some(params) => {
            if !command.draft {
                schema.check(params, "/params")?;
            }
            check_params(params, known)?;
        }
        None if command.draft => {}
        None => return Err(CommandError::missing_field("/params/tableName")),
    }
    Ok(Decided { name, spec: SpecRef { id, version }, state, data })
}

fn decide_data(command: &CreateSourceConnection) -> Result<SourceData, CommandError> {
    let data = match &command.data {
        Some(data) => data,
        None if command.draft => return Ok(SourceData::default()),
        None => return Err(CommandError::missing_field("/data")),
    };
    match data.get("format").filter(|format| !format.is_null()) {
        None => {}
        Some(Value::String(format)) if format == FORMAT_TABULAR => {}
        Some(_) => {
            let reason = "tables can only be read in the format: tabular";
            return Err(CommandError::invalid(Cause::Format, "/data/format", reason));
        }
    }
    let sent = |key: &str| data.get(key).filter(|value| !value.is_null()).cloned();
    Ok(SourceData { format: FORMAT_TABULAR.to_owned(), schema: sent("schema"), properties: sent("properties") })
}

/// The rules of `params` that a JSON Schema can not say, or that a draft must keep too.
fn check_params(params: &Map<String, Value>, known: &KnownConnection) -> Result<(), CommandError> {
    let invalid = |pointer: String, reason: &str| Err(CommandError::invalid(Cause::InvalidValue, pointer, reason));
    match params.get("tableName") {
        None => {}
        Some(Value::String(path)) if !path.trim().is_empty() => {}
        Some(_) => return invalid("/params/tableName".into(), "must name a table, e.g. `database.table`"),
    }
    match params.get("columns") {
        None | Some(Value::Null) => {}
        Some(Value::Array(columns)) => {
            let nameless = |column: &Value| column["name"].as_str().is_none_or(str::is_empty);
            if let Some(at) = columns.iter().position(nameless) {
                return invalid(format!("/params/columns/{at}/name"), "every column needs a name");
            }
        }
        Some(_) => return invalid("/params/columns".into(), "must be a list of columns, each with a name"),
    }
    if let Some(filters) = params.get("filters").filter(|filters| !filters.is_null()) {
        check_filter(known, filters, "/params/filters")?;
    }
    match params.get("cdcEnabled") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(()),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(()),
        Some(_) => {
            let reason =
                format!("change data capture is not offered for {}: leave it out or send false", known.spec.label());
            invalid("/params/cdcEnabled".into(), &reason)
        }
    }
}

/// Checks that a source filters rows, and the structure of the row filter that stands at `pointer` (flow-service.md
/// 12.1, 14.3).
pub(crate) fn check_filter(known: &KnownConnection, document: &Value, pointer: &str) -> Result<(), CommandError> {
    if !known.spec.filters_at_source() {
        let reason = format!("{} does not filter rows: leave the filter out", known.spec.label());
        return Err(CommandError::invalid(Cause::FilterUnsupported, pointer, reason));
    }
    let refused = match RowFilter::parse(document) {
        Ok(_) => return Ok(()),
        Err(refused) => refused,
    };
    let cause = match refused.cause {
        FilterCause::Invalid => Cause::Filter,
        FilterCause::NoOperator => Cause::FilterOperatorMissing,
        FilterCause::UnsupportedOperator => Cause::FilterOperator,
        FilterCause::NoNativeForm => Cause::FilterNoNativeForm,
        FilterCause::Language => Cause::FilterLanguage,
        FilterCause::Type => Cause::FilterTypeName,
        FilterCause::Format => Cause::FilterFormat,
        FilterCause::NoValue => Cause::FilterValueMissing,
        FilterCause::NullLiteral => Cause::FilterNull,
        FilterCause::NotWithSeveral => Cause::FilterNot,
    };
    Err(CommandError::invalid(cause, format!("{pointer}{}", refused.pointer), refused.reason))
}

/// A source connection reads the same kind of source as its base connection, and comes into use after it
/// (flow-service.md 11). One that is in use already does not mind when its base is written to another state.
fn check_base(base: &Resource<Connection>, spec: SpecId, comes_into_use: bool) -> Result<(), CommandError> {
    if base.body.connection_spec.id != spec {
        let reason = format!("the base connection has the connection spec {}", base.body.connection_spec.id);
        return Err(CommandError::invalid(Cause::UnknownSpec, "/connectionSpec/id", reason));
    }
    if comes_into_use {
        in_use(base, "/baseConnectionId")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use headwaters_model::id::ConnectionId;
    use headwaters_model::spec::{DATA_LAKE, MYSQL};
    use serde_json::json;

    use super::*;
    use crate::specs::fixture::specs;

    fn command() -> CreateSourceConnection {
        CreateSourceConnection {
            name: Some("orders".into()),
            base_connection_id: Some(ConnectionId::mint().to_string()),
            data: Some(Map::new()),
            connection_spec: Some(SpecInput { id: Some(MYSQL.to_string()), version: None }),
            params: json!({ "tableName": "shop.orders" }).as_object().cloned(),
            ..CreateSourceConnection::default()
        }
    }

    fn cause(change: impl FnOnce(&mut CreateSourceConnection)) -> Cause {
        let mut command = command();
        change(&mut command);
        decide(&specs(), &command).unwrap_err().cause()
    }

    #[test]
    fn empty_data_means_tabular() {
        let decided = decide(&specs(), &command()).unwrap();
        assert_eq!((decided.data, decided.state), (SourceData::default(), State::Enabled));
    }

    #[test]
    fn every_rule_has_its_cause() {
        assert_eq!(cause(|c| c.name = None), Cause::MissingField);
        assert_eq!(cause(|c| c.data = None), Cause::MissingField);
        assert_eq!(cause(|c| c.data = json!({ "format": "json" }).as_object().cloned()), Cause::Format);
        assert_eq!(cause(|c| c.connection_spec = None), Cause::MissingField);
        let lake = SpecInput { id: Some(DATA_LAKE.to_string()), version: None };
        assert_eq!(cause(|c| c.connection_spec = Some(lake)), Cause::NotSupported);
        assert_eq!(cause(|c| c.base_connection_id = None), Cause::MissingField);
        assert_eq!(cause(|c| c.params = None), Cause::MissingField);
    }

    #[test]
    fn every_rule_of_the_parameters_has_its_cause() {
        let with = |params: Value| cause(|c| c.params = params.as_object().cloned());
        assert_eq!(with(json!({})), Cause::MissingField);
        assert_eq!(with(json!({ "tableName": "" })), Cause::InvalidValue);
        assert_eq!(with(json!({ "tableName": "t", "columns": "id" })), Cause::InvalidValue);
        assert_eq!(with(json!({ "tableName": "t", "columns": [{ "type": "string" }] })), Cause::InvalidValue);
        assert_eq!(with(json!({ "tableName": "t", "cdcEnabled": true })), Cause::InvalidValue);
        assert_eq!(with(json!({ "tableName": "t", "filters": { "type": "SQL" } })), Cause::FilterLanguage);
        assert_eq!(with(json!({ "tableName": "t", "filters": { "type": "sieve" } })), Cause::FilterTypeName);
        assert_eq!(with(json!({ "tableName": "t", "filters": { "type": "PQL", "format": "x" } })), Cause::FilterFormat);
    }

    #[test]
    fn a_source_that_does_not_filter_takes_no_filter() {
        let specs = specs();
        let known = specs.connection(DATA_LAKE, "").unwrap();
        assert_eq!(check_filter(known, &json!({}), "").unwrap_err().cause(), Cause::FilterUnsupported);
    }

    #[test]
    fn operators_are_told_apart_by_whether_the_language_knows_them() {
        let specs = specs();
        let known = specs.connection(MYSQL, "").unwrap();
        let cause = |operator: &str| {
            let value = json!({ "nodeType": "fnApply", "fnName": operator, "params": [] });
            let filter = json!({ "type": "PQL", "format": "pql/json", "value": value });
            check_filter(known, &filter, "").unwrap_err().cause()
        };
        assert_eq!((cause("startsWith"), cause("sideways")), (Cause::FilterNoNativeForm, Cause::FilterOperator));
    }

    #[test]
    fn a_draft_may_lack_what_is_read_but_not_get_it_wrong() {
        let draft = |params: Value| CreateSourceConnection {
            base_connection_id: None,
            data: None,
            params: params.as_object().cloned(),
            draft: true,
            ..command()
        };
        assert_eq!(decide(&specs(), &draft(json!({}))).unwrap().state, State::Draft);
        let wrong = draft(json!({ "filters": [] }));
        assert!(decide(&specs(), &wrong).is_err());
    }
}
