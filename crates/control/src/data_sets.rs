//! Data sets of the Catalog: each is one table in the lake (platform-services.md 2.3, product.md "In the lake").

use headwaters_model::data_set::{DataSet, table_name};
use headwaters_model::id::DataSetId;
use headwaters_model::resource::{Resource, State};
use headwaters_store::StoreError;
use serde_json::{Map, Value};

use crate::Control;
use crate::access::Caller;
use crate::error::{Cause, CommandError};

/// How often a name for the table is looked for when others take it away.
const TABLE_NAME_TRIES_MAX: u32 = 10;

/// How many bytes of JSON a data set may have: lists show many of them whole, and offset paging can't make their pages
/// shorter.
const DATA_SET_BYTES_MAX: usize = 64 << 10;

/// Makes a data set. What is not there is checked here, not by the caller.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreateDataSet {
    /// Mandatory and not empty; need not be unique.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The schema, as sent.
    pub schema_ref: Option<Value>,
    /// Tags, each a list of texts.
    pub tags: Option<Map<String, Value>>,
    /// Whether details of rejected rows are kept.
    pub enable_error_diagnostics: Option<bool>,
    /// The other fields that are stored and shown as sent: `fileDescription`, `unifiedTags`, `dataSourceId`, …
    pub as_sent: Map<String, Value>,
}

impl Control {
    /// Makes a data set with a place in the lake; the table itself is made by the first run.
    ///
    /// Causes: `MissingField`, `InvalidValue`.
    pub async fn create_data_set(
        &self,
        caller: &Caller,
        command: CreateDataSet,
    ) -> Result<Resource<DataSet>, CommandError> {
        let name = command.name.filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(|| CommandError::missing_field("/name"))?;
        let tags = command.tags.unwrap_or_default();
        if let Some((key, _)) = tags.iter().find(|(_, values)| !is_list_of_texts(values)) {
            return Err(CommandError::invalid(Cause::InvalidValue, format!("/tags/{key}"), "must be a list of texts"));
        }
        let body = DataSet {
            description: command.description,
            schema_ref: command.schema_ref.filter(|schema| !schema.is_null()),
            tags,
            enable_error_diagnostics: command.enable_error_diagnostics,
            as_sent: command.as_sent,
            ..empty(name)
        };
        self.insert_data_set(caller, DataSetId::mint(), body).await
    }

    /// Makes a data set that a body names at `pointer` and that nobody has made (setting
    /// `catalog.create_unknown_data_sets`).
    ///
    /// When the id is taken all the same, either somebody was faster, and that is as good, or it is one of another
    /// sandbox: then the answer is the one to an id that nobody has.
    pub(crate) async fn create_data_set_as(
        &self,
        caller: &Caller,
        id: DataSetId,
        pointer: &str,
    ) -> Result<Resource<DataSet>, CommandError> {
        let body = empty(format!("dataset {id}"));
        match self.insert_data_set(caller, id.clone(), body).await {
            Err(CommandError::Store(StoreError::Duplicate { what })) if what.contains("data_set.id") => {
                self.referenced(caller, id.as_str(), pointer).await
            }
            made => made,
        }
    }

    async fn insert_data_set(
        &self,
        caller: &Caller,
        id: DataSetId,
        mut body: DataSet,
    ) -> Result<Resource<DataSet>, CommandError> {
        body.location = self.ports.lakes.location(caller.scope.org.folder(), &caller.scope.sandbox_name, id.as_str());
        let made = Resource::new(caller.scope.clone(), State::Enabled, body, &caller.actor, self.clock.now_ms());
        let bytes = Value::Object(made.body_json()).to_string().len();
        if bytes > DATA_SET_BYTES_MAX {
            let reason =
                format!("a data set has at most {DATA_SET_BYTES_MAX} bytes of JSON, this one would have {bytes}");
            return Err(CommandError::invalid(Cause::InvalidValue, "", reason));
        }
        let mut data_set = Resource { id, ..made };
        for _ in 0..TABLE_NAME_TRIES_MAX {
            let plain = table_name(&data_set.body.name);
            let table = self.store.read(&caller.scope).await?.free_table_name(&plain).await?;
            data_set.body.tag(&table);
            match self.insert(caller, &mut data_set, &[]).await {
                // Somebody took the name between our look and our write.
                Err(CommandError::Store(StoreError::Duplicate { what })) if what.contains("table_name") => {}
                Ok(()) => return Ok(data_set),
                Err(error) => return Err(error),
            }
        }
        let reason = "too many data sets of this name are made at the same time";
        Err(CommandError::invalid(Cause::InvalidValue, "/name", reason))
    }
}

fn empty(name: String) -> DataSet {
    DataSet {
        name,
        description: None,
        location: String::new(),
        schema_ref: None,
        tags: Map::new(),
        enable_error_diagnostics: None,
        as_sent: Map::new(),
        changes: 0,
        last_batch: None,
        last_successful_batch: None,
        last_failed_batch: None,
    }
}

fn is_list_of_texts(values: &Value) -> bool {
    values.as_array().is_some_and(|values| values.iter().all(Value::is_string))
}
