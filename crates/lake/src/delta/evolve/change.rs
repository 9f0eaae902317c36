//! What is different between the columns of a source and those of a table, and how a person is told.

use deltalake_core::kernel::DataType as DeltaType;
use headwaters_model::job::WriteMode;

use crate::contract::LakeError;

/// One difference. Columns of the table have their lake names, types are spelt as in the Delta log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// The table lacks a column of the source.
    Added { column: String },
    /// A column of the table is not read from the source.
    Unread { column: String },
    /// Of the two above there is one each, of one type at one place.
    LikelyRenamed { from: String, to: String },
    /// A column of the source may be null, and that of the table may not.
    Nullable { column: String },
    /// The table's type is the wider one.
    Narrower { column: String, source: String, table: String },
    /// The table needs a wider type before it can take the source's values.
    Widened { column: String, source: String, table: String, to: String },
    /// No type holds the values of both.
    Retyped { column: String, source: String, table: String },
}

impl Change {
    /// What a run notes when the table follows.
    pub(crate) fn note(&self) -> String {
        match self {
            Self::Added { column } => format!("column {column} was added to the table"),
            Self::Unread { column } => {
                format!("column {column} of the table is not read from the source and stays empty")
            }
            Self::LikelyRenamed { from, to } => format!(
                "column {to} is likely column {from} under a new name: values that came before are in {from}, new ones \
                 are in {to}"
            ),
            Self::Nullable { column } => {
                format!("column {column} of the table may now be null, as in the source")
            }
            Self::Narrower { column, source, table } => {
                format!("column {column} is {source} in the source and stays {table} in the table")
            }
            Self::Widened { column, table, to, .. } => format!("column {column} was widened from {table} to {to}"),
            Self::Retyped { .. } => self.difference(),
        }
    }

    /// How a run says it that refuses to go on.
    pub(crate) fn difference(&self) -> String {
        match self {
            Self::Added { column } => format!("column {column} is not in the table"),
            Self::Unread { column } => format!("column {column} of the table is not read from the source"),
            Self::LikelyRenamed { from, to } => format!("column {to} is likely column {from} under a new name"),
            Self::Nullable { column } => format!("column {column} may be null in the source but not in the table"),
            Self::Narrower { column, source, table }
            | Self::Widened { column, source, table, .. }
            | Self::Retyped { column, source, table } => {
                format!("column {column} is {source} in the source but {table} in the table")
            }
        }
    }
}

/// The refusal of a flow that lets no column change (`options.schemaChange: "fail"`); none where nothing has changed.
pub(super) fn refused(location: &str, changes: &[Change]) -> Option<LakeError> {
    let message = format!("the columns of the source are not those of the table at {location}: {}", listed(changes)?);
    Some(LakeError::definite(message).with_hint(
        "the table is unchanged; set options.schemaChange of the flow to \"evolve\" to let the table follow, or change \
         the source or the table back",
    ))
}

/// The refusal of changes that no table can follow, and of those that this mode does not.
pub(super) fn conflict(location: &str, changes: &[Change], mode: WriteMode) -> Option<LakeError> {
    let keeps_types = mode == WriteMode::Overwrite;
    let stands = |change: &&Change| match change {
        Change::Retyped { .. } => true,
        Change::Widened { .. } => keeps_types,
        _ => false,
    };
    let conflicts: Vec<Change> = changes.iter().filter(stands).cloned().collect();
    let message = format!("{} at {location}", listed(&conflicts)?);
    let columns: Vec<&str> = conflicts.iter().filter_map(Change::column).collect();
    let columns = columns.join(", ");
    let retyped = conflicts.iter().any(|change| matches!(change, Change::Retyped { .. }));
    let hint = if retyped {
        format!(
            "no type holds the values of both: land into another data set or location, leave {columns} out, or read a \
             view that converts to the type of the table"
        )
    } else {
        format!(
            "an overwrite replaces the rows and keeps the types: append, which widens {columns}, choose another location, \
             or read a view that converts to the type of the table"
        )
    };
    Some(LakeError::definite(message).with_hint(hint))
}

impl Change {
    /// Whether the table's schema must change before it can take the rows. (Of a column that is not read any more, only
    /// its nulls may have to.)
    pub(crate) fn alters_table(&self) -> bool {
        matches!(self, Self::Added { .. } | Self::Nullable { .. } | Self::Widened { .. })
    }

    fn column(&self) -> Option<&str> {
        match self {
            Self::Added { column }
            | Self::Unread { column }
            | Self::Nullable { column }
            | Self::Narrower { column, .. }
            | Self::Widened { column, .. }
            | Self::Retyped { column, .. } => Some(column),
            Self::LikelyRenamed { .. } => None,
        }
    }
}

fn listed(changes: &[Change]) -> Option<String> {
    let listed: Vec<String> = changes.iter().map(Change::difference).collect();
    (!listed.is_empty()).then(|| listed.join("; "))
}

/// A type as the Delta log spells it.
pub(super) fn spelt(delta: &DeltaType) -> String {
    match delta {
        DeltaType::Array(array) => format!("array<{}>", spelt(array.element_type())),
        other => serde_json::to_string(other).unwrap_or_default().trim_matches('"').to_owned(),
    }
}
