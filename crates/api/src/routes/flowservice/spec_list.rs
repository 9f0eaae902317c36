//! What the two catalogues of specs share: their lists, filtered, and neither paged nor ordered (flow-service.md 6, 7.1).

use headwaters_model::filter::Filter;
use headwaters_model::page::{LIMIT_MAX, parse_limit};
use headwaters_model::resource::Collection;
use serde::Serialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::collection::Listed;
use crate::error::Refusal;
use crate::extract::list::{Fields, PARAMETERS, is_count, properties};
use crate::extract::query::Query;

/// The query of a list of specs; for the description of the API.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameter; `SpecsAsked` reads it")]
pub(crate) struct SpecsParams {
    /// A filter, e.g. `name==mysql`; repeated ones all hold.
    #[param(example = "name==mysql")]
    property: Option<Vec<String>>,
    /// Whether only the number of matches is wanted; not together with `limit`.
    count: Option<bool>,
}

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
    /// Whether only their number is wanted.
    count: bool,
}

impl SpecsAsked {
    /// Reads the query of a list of specs.
    ///
    /// Clients send the parameters of all lists here too. All specs are in one page in the order of the catalogue, so a
    /// `limit` is only held against its rule, and `orderby` and `continuationToken` say nothing.
    pub(crate) fn read(query: &Query, collection: Collection) -> Result<Self, Refusal> {
        query.only(&PARAMETERS)?;
        let count = is_count(query)?;
        query.last("limit").map(|limit| parse_limit(limit, LIMIT_MAX)).transpose()?;
        let (filters, fields) = properties(query.all("property"), collection)?;
        Ok(Self { filters, fields, count })
    }

    /// The answer that shows these documents, or says how many they are.
    pub(crate) fn answer(&self, found: Vec<Value>) -> Listed {
        if self.count { Listed::number(found.len() as u64) } else { Listed::only(found, &self.fields) }
    }
}
