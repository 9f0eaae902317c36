//! How large and how deep a document may be.
//!
//! **Invariant.** What is stored can be read back. Reading JSON stops at 127 levels, so nothing deeper than
//! [`DOCUMENT_DEPTH_MAX`] is stored, whoever writes it; the levels between are for what stands around a document in an
//! answer. A patch could build a document that is far deeper than any body, step by step: its instructions are held to
//! the same depth before they are carried out ([`crate::patch`]), because taking a very deep value apart uses up the stack.

use serde_json::Value;

/// How many levels of lists and objects a document may have.
pub const DOCUMENT_DEPTH_MAX: usize = 64;
/// How many bytes of JSON a client may let a document grow to. The largest that makes sense is a source connection that
/// names the 10,000 columns of the widest row (flow-service.md 19) with their types: 10,000 times a name of 64
/// characters and 80 bytes around it are 1.4 MB.
pub const DOCUMENT_BYTES_MAX: usize = 2 << 20;

/// Why a document is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// It is deeper than [`DOCUMENT_DEPTH_MAX`].
    #[error("the document is nested deeper than {DOCUMENT_DEPTH_MAX} levels")]
    Depth,
    /// It is longer than [`DOCUMENT_BYTES_MAX`].
    #[error("the document would have {bytes} bytes of JSON, {DOCUMENT_BYTES_MAX} are the most")]
    Bytes {
        /// Its length.
        bytes: usize,
    },
}

/// Checks the depth of a JSON text.
pub fn check_depth(json: &str) -> Result<(), LimitError> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DOCUMENT_DEPTH_MAX {
            return Err(LimitError::Depth);
        }
    }
    Ok(())
}

/// Checks the length of a JSON text that a client has made as long as it is.
pub fn check_bytes(json: &str) -> Result<(), LimitError> {
    if json.len() > DOCUMENT_BYTES_MAX { Err(LimitError::Bytes { bytes: json.len() }) } else { Ok(()) }
}

/// How many levels of lists and objects a value has: none for a text or a number. Needs no stack, however deep it is.
#[must_use]
pub fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut left = vec![(value, 0_usize)];
    while let Some((value, above)) = left.pop() {
        match value {
            Value::Array(entries) => {
                deepest = deepest.max(above + 1);
                left.extend(entries.iter().map(|entry| (entry, above + 1)));
            }
            Value::Object(fields) => {
                deepest = deepest.max(above + 1);
                left.extend(fields.values().map(|field| (field, above + 1)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A value of so many levels.
    fn nested(levels: usize) -> Value {
        (0..levels).fold(
            json!("[{\\\"["),
            |inner, level| {
                if level % 2 == 0 { json!([inner, 1]) } else { json!({ "a\"]}": inner }) }
            },
        )
    }

    #[test]
    fn a_document_may_be_so_deep_and_no_deeper() {
        for (levels, fits) in [(0, true), (DOCUMENT_DEPTH_MAX, true), (DOCUMENT_DEPTH_MAX + 1, false)] {
            let value = nested(levels);
            assert_eq!(depth(&value), levels);
            assert_eq!(check_depth(&value.to_string()).is_ok(), fits, "{levels}");
        }
    }

    #[test]
    fn a_document_may_be_so_long_and_no_longer() {
        assert_eq!(check_bytes(&"1".repeat(DOCUMENT_BYTES_MAX)), Ok(()));
        let bytes = DOCUMENT_BYTES_MAX + 1;
        assert_eq!(check_bytes(&"1".repeat(bytes)), Err(LimitError::Bytes { bytes }));
    }

    #[test]
    fn the_widest_source_connection_fits() {
        let column = |number: usize| {
            let name = format!("{number:0>64}");
            json!({ "name": name, "type": "string", "xdm": { "type": "string", "format": "date-time" } })
        };
        let columns: Value = (0..10_000).map(column).collect();
        let document = json!({ "name": "wide", "params": { "tableName": "shop.wide", "columns": columns } });
        assert_eq!(check_bytes(&document.to_string()), Ok(()));
    }

    proptest! {
        #[test]
        fn the_text_is_as_deep_as_the_value(keys in prop::collection::vec(any::<String>(), 0..DOCUMENT_DEPTH_MAX + 9)) {
            let value = keys.iter().fold(Value::Null, |inner, key| json!({ key: inner, "": key }));
            prop_assert_eq!(check_depth(&value.to_string()).is_ok(), depth(&value) <= DOCUMENT_DEPTH_MAX);
        }
    }
}
