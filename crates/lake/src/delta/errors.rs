//! From failures of the crates below to whose turn it is.
//!
//! Those crates wrap the operating system's errors several times and don't always keep them as a source, so its error
//! number is read from the text, where `std::io::Error` always puts it.

use std::error::Error;

use deltalake_core::DeltaTableError;

use crate::contract::{LakeError, LakeFault};

/// How much of a foreign error's text is shown.
const TEXT_CHARS_MAX: usize = 400;

/// Error numbers of the operating system that say that there is no room, what they mean, and what to do.
const NO_ROOM: [(&str, &str, &str); 2] = [
    ("(os error 28)", "the disk is full", "free some space or move the lake to a larger disk"),
    ("(os error 122)", "the disk quota is used up", "raise the quota or free some space"),
];
/// An error number of the operating system, what it means for a lake, and what to do.
const DEFINITE: [(&str, &str, &str); 6] = [
    ("(os error 27)", "the file system or a limit of the process does not allow files this large", "raise the limit"),
    ("(os error 13)", "permission denied", "let the account that runs headwaters write there"),
    ("(os error 1)", "the operation is not permitted", "let the account that runs headwaters write there"),
    ("(os error 30)", "the file system is read-only", "mount it writable or choose another location"),
    ("(os error 20)", "a part of the path is a file, not a folder", "choose another location"),
    ("(os error 36)", "the path is too long", "choose a shorter location"),
];

/// A failure of the storage while `doing` something, e.g. `write a file of`, to the table at `location`.
pub(super) fn storage(doing: &str, location: &str, error: &(dyn Error + 'static)) -> LakeError {
    let text = chain(error);
    let fault = |meaning: &str, hint: &str| LakeFault {
        message: format!("could not {doing} {location}: {meaning}"),
        hint: Some(hint.to_owned()),
    };
    for (number, meaning, hint) in NO_ROOM {
        if text.contains(number) {
            return LakeError::NoRoom(fault(meaning, hint));
        }
    }
    for (number, meaning, hint) in DEFINITE {
        if text.contains(number) {
            return LakeError::Definite(fault(meaning, hint));
        }
    }
    LakeError::transient(format!("could not {doing} {location}: {text}"))
}

/// A failure of the Delta library; what is not the storage's fault lies in the log itself.
pub(super) fn delta(doing: &str, location: &str, error: &DeltaTableError) -> LakeError {
    match error {
        DeltaTableError::ObjectStore { .. } | DeltaTableError::Io { .. } => storage(doing, location, error),
        DeltaTableError::Transaction { source } => transaction(doing, location, source),
        other => match storage(doing, location, other) {
            LakeError::Transient(fault) if !is_io(&fault.message) => LakeError::Definite(fault).with_hint(
                "the log of the table (its folder _delta_log) is damaged or beyond this build; open it with another \
                 Delta reader to see what it says, or choose another location",
            ),
            known => known,
        },
    }
}

fn transaction(
    doing: &str,
    location: &str,
    error: &deltalake_core::kernel::transaction::TransactionError,
) -> LakeError {
    use deltalake_core::kernel::transaction::TransactionError as Kind;
    match error {
        Kind::UnsupportedTableFeatures(features) => LakeError::definite(format!(
            "could not {doing} {location}: the table uses features that this build can not write: {features:?}"
        ))
        .with_hint("choose another location, or remove the features with the engine that added them"),
        Kind::DeltaTableAppendOnly => {
            LakeError::definite(format!("could not {doing} {location}: the table is append-only"))
                .with_hint("append to it, or unset its property delta.appendOnly")
        }
        other => storage(doing, location, other),
    }
}

/// Whether a text speaks of an operating system or network error, which may pass.
fn is_io(text: &str) -> bool {
    ["(os error ", "error sending request", "timed out", "connection"].iter().any(|part| text.contains(part))
}

/// The error and its sources in one line, each said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        let said = said.lines().next().unwrap_or_default();
        if !text.contains(said) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(said);
        }
        next = error.source();
    }
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_hiccup_however_deep_it_lies() {
        let full = object_store::Error::Generic { store: "x", source: io::Error::from_raw_os_error(28).into() };
        let full = parquet::errors::ParquetError::External(Box::new(full));
        let LakeError::NoRoom(fault) = storage("write a file of", "file:///t", &full) else { panic!("no room") };
        assert_eq!(fault.message, "could not write a file of file:///t: the disk is full");
        assert!(fault.hint.is_some());

        let hiccup = object_store::Error::Generic { store: "x", source: io::Error::from_raw_os_error(110).into() };
        assert!(matches!(storage("write a file of", "s3://t", &hiccup), LakeError::Transient(_)));
    }

    #[test]
    fn a_number_that_only_starts_like_a_known_one_is_not_taken_for_it() {
        let error = io::Error::from_raw_os_error(104);
        assert!(matches!(storage("read", "file:///t", &error), LakeError::Transient(_)));
    }
}
