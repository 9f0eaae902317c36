//! What the two catalogues of specs share: their lists, filtered and never paged (flow-service.md 6, 7.1).

use headwaters_model::filter::Filter;
use headwaters_model::resource::Collection;
use serde::Serialize;
use serde_json::Value;
use utoipa::IntoParams;

use crate::error::Refusal;
use crate::extract::list::{Fields, properties};
use crate::extract::query::Query;

/// What clients send on every list; `limit`, `count=false` and the like change nothing on a list of one page.
const PARAMETERS: [&str; 5] = ["property", "limit", "orderby", "continuationToken", "count"];

/// The query of a list of specs; for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter; `SpecsAsked` reads it")]
pub(crate) struct SpecsParams {
    /// A filter, e.g. `name==mysql`; repeated ones all hold.
    #[param(example = "name==mysql")]
    property: Option<Vec<String>>,
}

/// All specs that match.
#[derive(Debug, Serialize)]
pub(crate) struct SpecsBody {
    /// Whole documents.
    items: Vec<Value>,
    /// Always empty: there is one page only.
    #[serde(rename = "_links")]
    links: NoLinks,
}

/// The links of the only page.
#[derive(Debug, Serialize)]
struct NoLinks {}

/// The configurations of a connection or a spec (flow-service.md 12.3).
#[derive(Debug, Default, Serialize)]
pub(crate) struct ConfigsBody {
    /// Always empty: databases have none.
    items: [(); 0],
}

/// What a list of specs is asked for.
#[derive(Debug)]
pub(crate) struct SpecsAsked {
    /// Which documents.
    pub(crate) filters: Vec<Filter>,
    fields: Fields,
}

impl SpecsAsked {
    /// Reads the query of a list of specs.
    pub(crate) fn read(query: &Query, collection: Collection) -> Result<Self, Refusal> {
        query.only(&PARAMETERS)?;
        let (filters, fields) = properties(query.all("property"), collection)?;
        Ok(Self { filters, fields })
    }

    /// The answer that shows these documents.
    pub(crate) fn body(&self, documents: Vec<Value>) -> SpecsBody {
        let items = documents.into_iter().map(|document| self.fields.of(document)).collect();
        SpecsBody { items, links: NoLinks {} }
    }
}
