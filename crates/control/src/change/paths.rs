//! Which parts of a document a patch may change: the table of flow-service.md 9.

use headwaters_model::patch::{Instruction, Patch};
use headwaters_model::resource::{Collection, State};

use crate::error::{Cause, CommandError, clipped};

/// When a part may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every state that allows changes.
    Always,
    /// As long as it is a draft.
    Draft,
}

use When::{Always, Draft};

/// A line of the table: a path, `*` in it for any one segment, `**` at its end for this place and everything below.
pub(crate) type Writable = (&'static str, When);

/// Of connections; `/state` takes three values only.
pub(crate) const CONNECTION: &[Writable] = &[
    ("/name", Always),
    ("/description", Always),
    ("/auth", Always),
    ("/auth/specName", Always),
    ("/auth/params", Always),
    ("/auth/params/*", Always),
    ("/state", Always),
];

/// Of source connections.
pub(crate) const SOURCE_CONNECTION: &[Writable] = &[
    ("/name", Always),
    ("/description", Always),
    ("/params", Always),
    ("/params/tableName", Always),
    ("/params/columns/**", Always),
    ("/params/filters/**", Always),
    ("/params/cdcEnabled", Always),
    ("/data/**", Draft),
    ("/baseConnectionId", Draft),
];

/// Of target connections.
pub(crate) const TARGET_CONNECTION: &[Writable] = &[
    ("/name", Always),
    ("/description", Always),
    ("/params", Always),
    ("/params/dataSetId", Always),
    ("/data", Always),
    ("/data/schema/**", Always),
];

/// Of flows.
pub(crate) const FLOW: &[Writable] = &[
    ("/name", Always),
    ("/description", Always),
    ("/scheduleParams", Always),
    ("/scheduleParams/startTime", Always),
    ("/scheduleParams/frequency", Always),
    ("/scheduleParams/interval", Always),
    ("/scheduleParams/backfill", Always),
    ("/transformations", Always),
    ("/transformations/*", Always),
    ("/transformations/*/params/**", Always),
    ("/options", Always),
    ("/options/*", Always),
    ("/labels/**", Always),
    ("/policy/**", Always),
    ("/recordTypes/**", Always),
    ("/sourceConnectionIds/**", Draft),
    ("/targetConnectionIds/**", Draft),
];

/// Refuses a patch that touches what is not in the table: `PatchPath`, or `SpecChange` for the connection spec of a
/// connection.
pub(super) fn check(
    collection: Collection,
    table: &[Writable],
    state: State,
    patch: &Patch,
) -> Result<(), CommandError> {
    patch.instructions().iter().try_for_each(|instruction| {
        let segments: Vec<String> = instruction.segments().collect();
        let found = table.iter().find(|(path, _)| matches(path, &segments));
        match found {
            Some((_, Always)) => Ok(()),
            Some((_, Draft)) if state == State::Draft => Ok(()),
            found => Err(refused(collection, state, instruction, found.is_some())),
        }
    })
}

fn refused(collection: Collection, state: State, instruction: &Instruction, in_drafts: bool) -> CommandError {
    let root = instruction.root();
    let (cause, reason) = match (collection, root.as_str()) {
        (Collection::Connections, "connectionSpec") => {
            (Cause::SpecChange, "the connection spec of a connection can not change: make a new connection")
        }
        (Collection::Flows, "state") => {
            (Cause::PatchPath, "a flow changes its state by the actions enable, disable and publish")
        }
        (_, "state") if state == State::Draft => (Cause::PatchPath, "a draft changes its state by the action publish"),
        (_, "state") => (Cause::PatchPath, "its state can not be changed once it is published"),
        _ if in_drafts => (Cause::PatchPath, "can only be changed in a draft: make a new one instead"),
        _ => (Cause::PatchPath, "can not be changed by a patch"),
    };
    CommandError::invalid(cause, clipped(&instruction.path), reason)
}

fn matches(path: &str, segments: &[String]) -> bool {
    let mut wanted = path.split('/').skip(1);
    let mut given = segments.iter();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) | (Some("**"), _) => return true,
            (Some("*"), Some(_)) => {}
            (Some(name), Some(segment)) if name == segment => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cause(collection: Collection, state: State, path: &str) -> Option<Cause> {
        let table = match collection {
            Collection::Connections => CONNECTION,
            Collection::SourceConnections => SOURCE_CONNECTION,
            Collection::TargetConnections => TARGET_CONNECTION,
            _ => FLOW,
        };
        let patch = Patch::parse(json!({ "op": "add", "path": path, "value": 1 })).unwrap();
        check(collection, table, state, &patch).err().map(|error| error.cause())
    }

    #[test]
    fn what_the_table_names_can_be_changed() {
        let paths = [
            (Collection::Connections, "/auth/params/password"),
            (Collection::Connections, "/state"),
            (Collection::SourceConnections, "/params/columns/0"),
            (Collection::SourceConnections, "/params/filters"),
            (Collection::TargetConnections, "/data/schema"),
            (Collection::Flows, "/transformations/-"),
            (Collection::Flows, "/transformations/0/params"),
            (Collection::Flows, "/transformations/0/params/deltaColumn/name"),
            (Collection::Flows, "/labels/0"),
            (Collection::Flows, "/options/partialIngestionPercent"),
        ];
        for (collection, path) in paths {
            assert_eq!(cause(collection, State::Enabled, path), None, "{path}");
        }
    }

    #[test]
    fn what_belongs_to_the_server_can_not_be_changed() {
        let collections =
            [Collection::Connections, Collection::SourceConnections, Collection::TargetConnections, Collection::Flows];
        let roots = [
            "id",
            "createdAt",
            "updatedBy",
            "version",
            "etag",
            "sandboxName",
            "imsOrgId",
            "inheritedAttributes",
            "lastOperation",
            "lastRunDetails",
            "runs",
            "draft",
        ];
        for collection in collections {
            for root in roots {
                let (whole, part) = (format!("/{root}"), format!("/{root}/x"));
                for state in [State::Enabled, State::Draft] {
                    assert_eq!(cause(collection, state, &whole), Some(Cause::PatchPath), "{collection} {whole}");
                    assert_eq!(cause(collection, state, &part), Some(Cause::PatchPath), "{collection} {part}");
                }
            }
        }
    }

    #[test]
    fn deeper_or_other_paths_than_those_of_the_table_are_refused() {
        let paths = [
            (Collection::Connections, "/auth/params/a/b"),
            (Collection::Connections, "/auth/other"),
            (Collection::Connections, "/name/first"),
            (Collection::SourceConnections, "/params/other"),
            (Collection::SourceConnections, "/state"),
            (Collection::TargetConnections, "/data/format"),
            (Collection::Flows, "/state"),
            (Collection::Flows, "/flowSpec"),
            (Collection::Flows, "/scheduleParams/endTime"),
            (Collection::Flows, "/transformations/0/name"),
        ];
        for (collection, path) in paths {
            assert_eq!(cause(collection, State::Draft, path), Some(Cause::PatchPath), "{path}");
        }
    }

    #[test]
    fn what_a_thing_is_made_of_can_only_be_changed_in_a_draft() {
        let paths = [
            (Collection::SourceConnections, "/data"),
            (Collection::SourceConnections, "/baseConnectionId"),
            (Collection::Flows, "/sourceConnectionIds"),
            (Collection::Flows, "/targetConnectionIds/0"),
        ];
        for (collection, path) in paths {
            assert_eq!(cause(collection, State::Draft, path), None, "{path}");
            for state in [State::Enabled, State::Disabled] {
                assert_eq!(cause(collection, state, path), Some(Cause::PatchPath), "{path}");
            }
        }
    }

    #[test]
    fn only_a_draft_is_told_of_the_action_publish() {
        let patch = Patch::parse(json!({ "op": "replace", "path": "/state", "value": "disabled" })).unwrap();
        for (state, publish) in [(State::Draft, true), (State::Enabled, false)] {
            let refused = check(Collection::SourceConnections, SOURCE_CONNECTION, state, &patch).unwrap_err();
            assert_eq!(refused.to_string().contains("action publish"), publish, "{refused}");
        }
    }

    #[test]
    fn the_connection_spec_of_a_connection_has_a_code_of_its_own() {
        for path in ["/connectionSpec", "/connectionSpec/id", "/connectionSpec/version"] {
            assert_eq!(cause(Collection::Connections, State::Draft, path), Some(Cause::SpecChange));
            assert_eq!(cause(Collection::SourceConnections, State::Draft, path), Some(Cause::PatchPath));
        }
    }
}
