//! Target connections: where rows land (flow-service.md 15).

use headwaters_model::data_set::DataSet;
use headwaters_model::etag::Precondition;
use headwaters_model::id::DataSetId;
use headwaters_model::resource::{LastOperation, Resource, State};
use headwaters_model::spec::{DATA_LAKE, SpecRef};
use headwaters_model::target_connection::TargetConnection;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Control;
use crate::access::Caller;
use crate::change::{Changeable, Composed, TARGET_CONNECTION, Writable};
use crate::connections::{SpecInput, spec_ref};
use crate::error::{Cause, CommandError};
use crate::life_cycle::state_of_new;
use crate::specs::Specs;

/// Makes a target connection. What is not there is checked here, not by the caller.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateTargetConnection {
    /// Optional, unlike elsewhere.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Mandatory but in a draft: schema and format.
    pub data: Option<Map<String, Value>>,
    /// Mandatory; must be the data lake's.
    pub connection_spec: Option<SpecInput>,
    /// `dataSetId`.
    pub params: Option<Map<String, Value>>,
    /// Whether it is asked for as a draft.
    pub draft: bool,
}

impl Control {
    /// Makes a target connection (flow-service.md 15).
    ///
    /// Causes: `MissingField`, `UnknownSpec`, `NotSupported`, `WrongTargetSpec`, `NoDataSet`, `InvalidValue`,
    /// `NoDraft`.
    pub async fn create_target_connection(
        &self,
        caller: &Caller,
        command: CreateTargetConnection,
    ) -> Result<Resource<TargetConnection>, CommandError> {
        self.create(caller, command).await
    }

    /// Deletes a target connection that no flow uses. Causes: `Missing`, `Stale`, `InUse`.
    pub async fn delete_target_connection(
        &self,
        caller: &Caller,
        id: &str,
        expected: Precondition,
    ) -> Result<(), CommandError> {
        self.delete::<TargetConnection>(caller, id, &expected).await
    }

    /// The data set that a target names; one that is not known is made where the settings say so.
    async fn target_data_set(&self, caller: &Caller, id: &str) -> Result<Resource<DataSet>, CommandError> {
        let pointer = "/params/dataSetId";
        let known = self.referenced::<DataSet>(caller, id, pointer).await;
        match (known, id.parse::<DataSetId>()) {
            (Err(CommandError::Invalid { .. }), Ok(id)) if self.settings.create_unknown_data_sets => {
                self.create_data_set_as(caller, id, pointer).await
            }
            (known, _) => known,
        }
    }
}

impl Changeable for TargetConnection {
    type Command = CreateTargetConnection;
    const WRITABLE: &'static [Writable] = TARGET_CONNECTION;

    async fn compose(
        control: &Control,
        caller: &Caller,
        command: CreateTargetConnection,
        _: Option<&Resource<Self>>,
    ) -> Result<Composed<Self>, CommandError> {
        let Decided { spec, state, data_set } = decide(&control.specs_of(caller).await?, &command)?;
        if let Some(id) = &data_set {
            control.target_data_set(caller, id).await?;
        }
        let body = Self {
            name: command.name,
            description: command.description,
            data: command.data.unwrap_or_default(),
            connection_spec: spec,
            params: command.params.unwrap_or_default(),
            inherited_attributes: Map::new(),
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
    spec: SpecRef,
    state: State,
    data_set: Option<String>,
}

/// The rules of a target connection that need no store.
fn decide(specs: &Specs, command: &CreateTargetConnection) -> Result<Decided, CommandError> {
    if command.data.is_none() && !command.draft {
        return Err(CommandError::missing_field("/data"));
    }
    let (id, version) = spec_ref(command.connection_spec.as_ref(), "/connectionSpec")?;
    let known = specs.connection(id, "/connectionSpec/id")?;
    if id != DATA_LAKE {
        let reason = format!("a target must have the connection spec {DATA_LAKE} (data lake)");
        return Err(CommandError::invalid(Cause::WrongTargetSpec, "/connectionSpec/id", reason));
    }
    let state = state_of_new(command.draft, known.spec.supports_drafts(), known.spec.label())?;
    let data_set = match command.params.iter().find_map(|params| params.get("dataSetId")) {
        Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
        None | Some(Value::Null | Value::String(_)) if command.draft => None,
        None | Some(Value::Null | Value::String(_)) => {
            let reason = "is mandatory: name the data set that the rows land in";
            return Err(CommandError::invalid(Cause::NoDataSet, "/params/dataSetId", reason));
        }
        Some(_) => return Err(CommandError::invalid(Cause::InvalidValue, "/params/dataSetId", "must be a text")),
    };
    Ok(Decided { spec: SpecRef { id, version }, state, data_set })
}

#[cfg(test)]
mod tests {
    use headwaters_model::spec::MYSQL;
    use serde_json::json;

    use super::*;
    use crate::specs::fixture::specs;

    fn command() -> CreateTargetConnection {
        CreateTargetConnection {
            data: Some(Map::new()),
            connection_spec: Some(SpecInput { id: Some(DATA_LAKE.to_string()), version: None }),
            params: json!({ "dataSetId": "5c8c3c555033b814b69f947f" }).as_object().cloned(),
            ..CreateTargetConnection::default()
        }
    }

    fn cause(change: impl FnOnce(&mut CreateTargetConnection)) -> Cause {
        let mut command = command();
        change(&mut command);
        decide(&specs(), &command).unwrap_err().cause()
    }

    #[test]
    fn a_target_needs_no_name() {
        let decided = decide(&specs(), &command()).unwrap();
        assert_eq!(decided.data_set.as_deref(), Some("5c8c3c555033b814b69f947f"));
    }

    #[test]
    fn every_rule_has_its_cause() {
        assert_eq!(cause(|c| c.data = None), Cause::MissingField);
        assert_eq!(cause(|c| c.connection_spec = None), Cause::MissingField);
        let spec = |id: String| Some(SpecInput { id: Some(id), version: None });
        assert_eq!(cause(|c| c.connection_spec = spec(MYSQL.to_string())), Cause::WrongTargetSpec);
        assert_eq!(cause(|c| c.connection_spec = spec("lake".into())), Cause::UnknownSpec);
        assert_eq!(cause(|c| c.params = None), Cause::NoDataSet);
        assert_eq!(cause(|c| c.params = json!({ "dataSetId": 7 }).as_object().cloned()), Cause::InvalidValue);
    }
}
