//! Which index a list walks.
//!
//! The database has no statistics of its own tables and would guess; here it is known which fields name few rows and which
//! have few values. The rule: what names few rows leads and the rest is checked row by row; a field of few values leads
//! when its index is in the order that was asked for; else the index of the order does, and rows that don't pass are
//! skipped. So a page costs about what it shows, or one walk along an index.
//!
//! How many rows lie in a range is not known here: it is asked of the range's own index, up to [`RANGE_ROWS_MAX`]. When
//! there are no more, that index leads and what it finds is sorted; else rows in the range are not far to seek.

use headwaters_model::filter::{Filter, Operator};
use headwaters_model::page::ListQuery;

use crate::resources::Table;

/// How many rows in a range are found first and sorted then, rather than met on a walk along the order.
pub(crate) const RANGE_ROWS_MAX: u64 = 1_000;

/// A field that lists find by an index. All indexes begin with the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Indexed {
    /// Its path in documents.
    pub(crate) path: &'static str,
    /// The column that holds its value.
    pub(crate) column: &'static str,
    /// What the column holds.
    pub(crate) holds: Holds,
    /// The index on it.
    pub(crate) index: &'static str,
    /// What follows in the index.
    pub(crate) then: Then,
    /// Whether it has so few values that one of them says little.
    pub(crate) few_values: bool,
    /// Another field with few values, and the index on both.
    pub(crate) beside: Option<(&'static str, &'static str)>,
}

/// What a generated column holds of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A text or nothing: the body has a type for it.
    Text,
    /// Whatever a caller sent, or a number.
    Scalar,
}

/// What follows a field in its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// `created_at_us, id`: rows with one value are in the default order.
    Age,
    /// `id`: rows are in the order of the field.
    Id,
}

const fn names_few(path: &'static str, column: &'static str, index: &'static str) -> Indexed {
    Indexed { path, column, holds: Holds::Text, index, then: Then::Age, few_values: false, beside: None }
}

const fn few_values(path: &'static str, column: &'static str, index: &'static str) -> Indexed {
    Indexed { few_values: true, ..names_few(path, column, index) }
}

const fn name(index: &'static str) -> Indexed {
    Indexed { then: Then::Id, ..names_few("name", "name", index) }
}

const fn time(path: &'static str, column: &'static str, index: &'static str) -> Indexed {
    Indexed { holds: Holds::Scalar, then: Then::Id, ..few_values(path, column, index) }
}

pub(crate) const CONNECTION: &[Indexed] = &[
    name("connection_by_name"),
    few_values("connectionSpec.id", "spec_id", "connection_by_spec"),
    few_values("state", "state", "connection_by_state"),
];
pub(crate) const SOURCE_CONNECTION: &[Indexed] = &[
    names_few("baseConnectionId", "base_connection_id", "source_connection_by_base"),
    name("source_connection_by_name"),
    Indexed { holds: Holds::Scalar, ..names_few("params.tableName", "table_name", "source_connection_by_table") },
    few_values("connectionSpec.id", "spec_id", "source_connection_by_spec"),
    few_values("state", "state", "source_connection_by_state"),
];
pub(crate) const TARGET_CONNECTION: &[Indexed] = &[
    name("target_connection_by_name"),
    few_values("connectionSpec.id", "spec_id", "target_connection_by_spec"),
    few_values("state", "state", "target_connection_by_state"),
];
/// A flow has at most one source and one target connection (flow-service.md 16.1): the first is any.
pub(crate) const FLOW: &[Indexed] = &[
    names_few("sourceConnectionIds[]", "source_connection_id", "flow_by_source"),
    names_few("targetConnectionIds[]", "target_connection_id", "flow_by_target"),
    name("flow_by_name"),
    names_few("inheritedAttributes.sourceConnections[].baseConnection.id", "base_connection_id", "flow_by_base"),
    few_values("inheritedAttributes.sourceConnections[].connectionSpec.id", "source_spec_id", "flow_by_source_spec"),
    few_values("lastRunDetails.state", "last_run_state", "flow_by_last_run_state"),
    few_values("state", "state", "flow_by_state"),
    few_values("flowSpec.id", "spec_id", "flow_by_spec"),
    time("lastRunDetails.startedAtUTC", "last_run_started_at", "flow_by_last_run"),
];
const STATUS: &str = "metrics.statusSummary.status";
pub(crate) const RUN: &[Indexed] = &[
    Indexed { beside: Some((STATUS, "run_by_flow_and_status")), ..names_few("flowId", "flow_id", "run_by_flow") },
    few_values(STATUS, "status", "run_by_status"),
    time("metrics.durationSummary.startedAtUTC", "started_at", "run_by_start"),
];
pub(crate) const DATA_SET: &[Indexed] = &[name("data_set_by_name")];
pub(crate) const BATCH: &[Indexed] = &[names_few("dataSetId", "data_set_id", "batch_by_data_set")];

/// How the rows of a list are found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// The index to walk; none where the database needs no advice.
    pub(crate) index: Option<String>,
    /// The filter whose values are looked up one after the other, each in the order of the list: which of them.
    pub(crate) value_by_value: Option<usize>,
}

/// A filter by a range that has an index of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// Which of the filters.
    pub(crate) filter: usize,
    /// The index.
    pub(crate) index: String,
}

impl Range {
    /// The range whose index might lead to a page quicker than what [`Way::of_page`] chooses.
    pub(crate) fn of_page(table: &Table, query: &ListQuery) -> Option<Self> {
        if Lead::of(table, &query.filters).is_some_and(|lead| lead.names_few()) {
            return None;
        }
        let walked = query.order.keys().first().and_then(|key| order_index(table, &key.path.to_string()));
        let of_range = |(place, filter): (usize, &Filter)| {
            let is_range = !matches!(filter.operator(), Operator::Equal | Operator::NotEqual);
            let index = order_index(table, &filter.path().to_string()).filter(|_| is_range)?;
            Some(Self { filter: place, index })
        };
        let range = query.filters.iter().enumerate().find_map(of_range)?;
        Some(range).filter(|range| walked.as_ref() != Some(&range.index))
    }
}

/// How far a list may have to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Along an index.
    Index,
    /// Into the body of every row, when few or none pass.
    Bodies,
}

impl Reach {
    /// Of a page.
    pub(crate) fn of_page(table: &Table, query: &ListQuery) -> Self {
        let sorted = query.order.keys().first().is_some_and(|key| order_index(table, &key.path.to_string()).is_some());
        match Self::of_count(table, &query.filters) {
            Self::Index if !sorted && !Lead::of(table, &query.filters).is_some_and(|lead| lead.names_few()) => {
                Self::Bodies
            }
            reach => reach,
        }
    }

    /// Of a count.
    pub(crate) fn of_count(table: &Table, filters: &[Filter]) -> Self {
        let indexed = |filter: &Filter| {
            let path = filter.path().to_string();
            in_envelope(&path) || table.indexed.iter().any(|indexed| indexed.path == path)
        };
        // Even a lead that names few values may lead to very many rows, the runs of one flow for instance.
        let one = matches!(Lead::of(table, filters), Some(Lead::Id));
        if one || filters.iter().all(indexed) { Self::Index } else { Self::Bodies }
    }
}

impl Way {
    /// How a page is found; `rare` is a range that few rows lie in.
    pub(crate) fn of_page(table: &Table, query: &ListQuery, rare: Option<Range>) -> Self {
        let keys = query.order.keys();
        let order = keys.first().map(|key| key.path.to_string()).unwrap_or_default();
        let by_age = order == "createdAt" && keys.len() == 2;
        let lead = match (Lead::of(table, &query.filters), rare) {
            (Some(Lead::Id), _) => return Self::default(),
            (_, Some(rare)) => return Self::by(Some(rare.index)),
            (Some(Lead::By(indexed, filter)), None) if by_age || !indexed.few_values => Some((indexed, filter)),
            (Some(Lead::By(..)) | None, None) => None,
        };
        let Some((indexed, filter)) = lead else { return Self::by(order_index(table, &order)) };
        let several = |filter: usize| query.filters.get(filter).is_some_and(|filter| filter.values().len() > 1);
        let beside = indexed.beside.and_then(|(path, index)| Some((equal_to(&query.filters, path)?, index)));
        let (filter, index) = match beside {
            Some((other, index)) if !several(filter) => (other, index),
            Some((_, index)) => (filter, index),
            None => (filter, indexed.index),
        };
        let sorted = by_age && indexed.then == Then::Age;
        Self { index: Some(index.to_owned()), value_by_value: Some(filter).filter(|filter| sorted && several(*filter)) }
    }

    /// How rows are counted, in no order.
    pub(crate) fn of_count(table: &Table, filters: &[Filter]) -> Self {
        match Lead::of(table, filters) {
            Some(Lead::By(indexed, _)) => Self::by(Some(indexed.index.to_owned())),
            Some(Lead::Id) | None => Self::default(),
        }
    }

    fn by(index: Option<String>) -> Self {
        Self { index, value_by_value: None }
    }
}

/// The filter that finds the fewest rows.
enum Lead<'a> {
    /// The primary key.
    Id,
    /// An index, and which filter.
    By(&'a Indexed, usize),
}

impl<'a> Lead<'a> {
    fn of(table: &'a Table, filters: &[Filter]) -> Option<Self> {
        if equal_to(filters, "id").is_some() {
            return Some(Self::Id);
        }
        table.indexed.iter().find_map(|indexed| Some(Self::By(indexed, equal_to(filters, indexed.path)?)))
    }

    fn names_few(&self) -> bool {
        match self {
            Self::Id => true,
            Self::By(indexed, _) => !indexed.few_values,
        }
    }
}

/// The first filter that asks for one of some values at a path.
fn equal_to(filters: &[Filter], path: &str) -> Option<usize> {
    filters.iter().position(|filter| filter.operator() == Operator::Equal && filter.path().to_string() == path)
}

/// The index whose rows are in the order of a path.
fn order_index(table: &Table, path: &str) -> Option<String> {
    match path {
        "createdAt" => Some(format!("{}_by_age", table.name)),
        "updatedAt" => Some(format!("{}_by_update", table.name)),
        _ => {
            let sorted = table.indexed.iter().find(|indexed| indexed.path == path && indexed.then == Then::Id);
            sorted.map(|indexed| indexed.index.to_owned())
        }
    }
}

/// Whether a path is a column of the envelope: every document has a value there.
pub(super) fn in_envelope(path: &str) -> bool {
    const ENVELOPE: [&str; 13] = [
        "id",
        "state",
        "etag",
        "version",
        "createdAt",
        "updatedAt",
        "createdBy",
        "updatedBy",
        "createdClient",
        "updatedClient",
        "sandboxId",
        "sandboxName",
        "imsOrgId",
    ];
    ENVELOPE.contains(&path)
}
