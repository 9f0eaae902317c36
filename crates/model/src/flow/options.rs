//! The options of a flow that decide how its runs read and land (product.md, "Additions to the wire").

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The keys of [`RunOptions`] on the wire.
pub const CONSISTENCY: &str = "consistency";
/// See [`RunOptions::commit_per_split`].
pub const COMMIT_PER_SPLIT: &str = "commitPerSplit";
/// See [`SchemaChange`].
pub const SCHEMA_CHANGE: &str = "schemaChange";
/// See [`RunOptions::verify`].
pub const VERIFY: &str = "verify";

/// How the runs of a flow read and land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunOptions {
    /// What a run promises to show.
    pub consistency: Consistency,
    /// Whether landed splits become visible while the run goes on; implies [`Consistency::Split`].
    pub commit_per_split: bool,
    /// What happens when the columns of the source and of the table differ.
    pub schema_change: SchemaChange,
    /// Whether counts and checksums of server and landed files are compared before the commit.
    pub verify: bool,
}

/// What a run promises to show (mysql-sources.md 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Consistency {
    /// The whole table as of one moment; an attempt that breaks starts over.
    #[default]
    Table,
    /// Each split as of one moment; another attempt goes on with the splits that are missing.
    Split,
}

/// What happens when the columns of a source have changed since the table was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SchemaChange {
    /// What loses nothing is done, and noted: new columns are added, columns that are gone stay empty, types are widened.
    /// Anything else fails the run.
    #[default]
    Evolve,
    /// Any change fails the run, and the table stays as it is.
    Fail,
}

impl RunOptions {
    /// Reads the options of a flow; what is not there, or is of another type (it was refused when it was written), has its
    /// default.
    #[must_use]
    pub fn of(options: Option<&Map<String, Value>>) -> Self {
        let sent = |key: &str| options.and_then(|options| options.get(key));
        let is_true = |key: &str| sent(key).and_then(Value::as_bool).unwrap_or_default();
        let commit_per_split = is_true(COMMIT_PER_SPLIT);
        let consistency = match sent(CONSISTENCY).and_then(Value::as_str) {
            Some("split") => Consistency::Split,
            _ if commit_per_split => Consistency::Split,
            _ => Consistency::Table,
        };
        let schema_change = match sent(SCHEMA_CHANGE).and_then(Value::as_str) {
            Some("fail") => SchemaChange::Fail,
            _ => SchemaChange::Evolve,
        };
        Self { consistency, commit_per_split, schema_change, verify: is_true(VERIFY) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_have_defaults_and_committing_per_split_implies_split() {
        assert_eq!(RunOptions::of(None), RunOptions::default());
        let options = json!({ "commitPerSplit": true, "schemaChange": "fail", "verify": true });
        let all = RunOptions {
            consistency: Consistency::Split,
            commit_per_split: true,
            schema_change: SchemaChange::Fail,
            verify: true,
        };
        assert_eq!(RunOptions::of(options.as_object()), all);
    }
}
