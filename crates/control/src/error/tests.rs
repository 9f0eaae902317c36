//! Causes and sentences.

use super::*;

#[test]
fn the_same_failure_of_a_source_means_something_else_while_connecting() {
    let unknown = SourceErrorKind::UnknownTable;
    assert_eq!((connect_cause(&unknown), source_cause(&unknown)), (Cause::Driver, Cause::NoColumns));
    let bad = SourceErrorKind::InvalidParameter { key: "sslMode".into() };
    assert_eq!((connect_cause(&bad), source_cause(&bad)), (Cause::InvalidValue, Cause::InvalidValue));
}

#[test]
fn a_stale_write_is_told_as_such() {
    let resource = ResourceRef::new(Collection::Flows, "a");
    let outdated = Outdated::Stale { resource: resource.clone(), current: Etag::first(0) };
    assert_eq!(CommandError::from(StoreError::from(outdated)).cause(), Cause::Stale);
    let missing = CommandError::from(StoreError::from(Outdated::Missing(resource)));
    assert_eq!((missing.cause(), missing.to_string().as_str()), (Cause::Missing, "flow a was not found"));
}

#[test]
fn only_a_base_connection_in_use_has_a_code_of_its_own() {
    let in_use = |collection| CommandError::InUse {
        resource: ResourceRef::new(collection, "a"),
        users: ResourceRef::new(Collection::Flows, "b"),
    };
    assert_eq!(in_use(Collection::Connections).cause(), Cause::ConnectionInUse);
    assert_eq!(in_use(Collection::SourceConnections).cause(), Cause::InUse);
    assert_eq!(
        in_use(Collection::SourceConnections).to_string(),
        "source connection a is used by flow b, delete that first"
    );
}

#[test]
fn a_sentence_does_not_drown_in_what_the_caller_sent() {
    assert_eq!(clipped("nonsense"), "nonsense");
    assert_eq!(clipped(&"ü".repeat(1000)), format!("{}…", "ü".repeat(100)));
}

#[test]
fn a_pointer_stands_before_its_sentence() {
    assert_eq!(CommandError::missing_field("/name").to_string(), "/name: is mandatory and missing");
    assert_eq!(CommandError::invalid(Cause::NoDraft, "", "no drafts").to_string(), "no drafts");
}

#[test]
fn what_is_too_large_is_a_wrong_value_and_not_a_fault_of_the_store() {
    let limit = LimitError::Depth;
    let refused = CommandError::from(StoreError::Limit(limit));
    assert_eq!((refused.cause(), refused.to_string()), (Cause::InvalidValue, limit.to_string()));
    for error in [PatchError::TooDeep { at: 1 }, PatchError::TooManyMoves, PatchError::TooLong] {
        assert_eq!(CommandError::from(error).cause(), Cause::Unpatchable);
    }
}
