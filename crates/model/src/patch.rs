//! JSON Patch as the API takes it (flow-service.md 9): instructions are read leniently and carried out strictly.
//!
//! **Invariant.** All or nothing: a document is changed by every instruction or by none.
//!
//! **Invariant.** No instruction makes a document deeper than [`DOCUMENT_DEPTH_MAX`]: the steps of its path and the levels
//! of its value are not more than that together, so that no sequence of them can do it either.

use std::{fmt, io};

use json_patch::PatchOperation;
use serde_json::{Map, Value};

use crate::limits::{DOCUMENT_DEPTH_MAX, depth};

/// How many instructions a patch may hold.
pub const INSTRUCTIONS_MAX: usize = 1_000;
/// How many bytes the path of an instruction may have.
pub const PATH_BYTES_MAX: usize = 1_024;
/// How many entries of lists all instructions of a patch together may move to another place: each that adds or removes
/// one at the front of a list moves all others.
pub const MOVES_MAX: usize = 5_000_000;
/// How many bytes of JSON the value of an instruction may have to be shown.
pub const SHOWN_VALUE_BYTES_MAX: usize = 16 << 10;
/// How many levels it may have.
pub const SHOWN_VALUE_DEPTH_MAX: usize = 32;
/// How many bytes of JSON the instructions that are shown of a patch may have; those that follow are left out.
pub const SHOWN_BYTES_MAX: usize = 64 << 10;
/// What is shown in the place of a value that is too large.
pub const NOT_SHOWN: &str = "(too large to be shown)";

/// What an instruction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchOp {
    /// Adds a value, or puts it in the place of one that is there.
    Add,
    /// Puts a value in the place of one that is there.
    Replace,
    /// Takes a value away.
    Remove,
}

/// One instruction.
#[derive(Clone, PartialEq)]
pub struct Instruction {
    /// What it does.
    pub op: PatchOp,
    /// Where: a JSON pointer that begins with a slash.
    pub path: String,
    /// With which value; null for one that takes away.
    pub value: Value,
}

/// A list of instructions, carried out in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch(Vec<Instruction>);

/// Why a patch can not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// No instructions (code 1405).
    #[error("the patch holds no instructions")]
    Empty,
    /// More than [`INSTRUCTIONS_MAX`] (code 1455).
    #[error("the patch holds more than {INSTRUCTIONS_MAX} instructions")]
    TooLong,
    /// An operation other than add, replace and remove (code 1434).
    #[error("instruction {at}: the operation can only be add, replace or remove")]
    Operation {
        /// The place in the list, from 0.
        at: usize,
    },
    /// A part of an instruction is missing or of another type (code 1455).
    #[error("instruction {at}: {reason}")]
    Malformed {
        /// The place in the list, from 0.
        at: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It makes the document deeper than [`DOCUMENT_DEPTH_MAX`] (code 1455).
    #[error("instruction {at}: path and value lead deeper than {DOCUMENT_DEPTH_MAX} levels")]
    TooDeep {
        /// The place in the list, from 0.
        at: usize,
    },
    /// The instructions move more than [`MOVES_MAX`] entries of lists (code 1455).
    #[error("the patch adds and removes too often in the front of long lists: replace the list as a whole")]
    TooManyMoves,
    /// What the path leads to is not there (code 1455).
    #[error("there is nothing at {path} that could be changed this way")]
    NotThere {
        /// Its path, cut where it is very long.
        path: String,
    },
}

impl PatchOp {
    /// The name on the wire, in the spelling of the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Remove => "remove",
        }
    }
}

impl fmt::Debug for Instruction {
    /// The value may be a secret: it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instruction").field("op", &self.op).field("path", &self.path).finish_non_exhaustive()
    }
}

impl Instruction {
    /// The first segment of the path, unescaped: the root field that the instruction is about.
    #[must_use]
    pub fn root(&self) -> String {
        self.segments().next().unwrap_or_default()
    }

    /// The segments of the path, unescaped.
    pub fn segments(&self) -> impl Iterator<Item = String> + '_ {
        self.path.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~"))
    }

    /// The instruction with another value, as a JSON object.
    fn with_value(&self, value: Value) -> Value {
        let mut shown = Map::new();
        shown.insert("op".to_owned(), self.op.name().into());
        shown.insert("path".to_owned(), self.path.as_str().into());
        if self.op != PatchOp::Remove {
            shown.insert("value".to_owned(), value);
        }
        Value::Object(shown)
    }

    fn read(at: usize, instruction: Value) -> Result<Self, PatchError> {
        let malformed = |reason| PatchError::Malformed { at, reason };
        let Value::Object(mut fields) = instruction else { return Err(malformed("must be an object")) };
        let op = match fields.get("op") {
            Some(Value::String(op)) if op.eq_ignore_ascii_case("add") => PatchOp::Add,
            Some(Value::String(op)) if op.eq_ignore_ascii_case("replace") => PatchOp::Replace,
            Some(Value::String(op)) if op.eq_ignore_ascii_case("remove") => PatchOp::Remove,
            None | Some(Value::Null) => return Err(malformed("op is missing")),
            Some(_) => return Err(PatchError::Operation { at }),
        };
        let path = match fields.remove("path") {
            Some(Value::String(path)) if path.len() > PATH_BYTES_MAX => {
                return Err(malformed("path is longer than 1024 bytes"));
            }
            Some(Value::String(path)) if path.len() > 1 && path.starts_with('/') => path,
            None | Some(Value::Null) => return Err(malformed("path is missing")),
            Some(_) => return Err(malformed("path must be a JSON pointer like /name")),
        };
        let value = match (op, fields.remove("value")) {
            // Clients send one; it means nothing.
            (PatchOp::Remove, _) => Value::Null,
            (_, Some(value)) => value,
            (_, None) => return Err(malformed("value is missing")),
        };
        let instruction = Self { op, path, value };
        if instruction.segments().count() + depth(&instruction.value) > DOCUMENT_DEPTH_MAX {
            return Err(PatchError::TooDeep { at });
        }
        Ok(instruction)
    }

    /// How many entries of a list move when it is carried out.
    fn moves(&self, document: &Value) -> usize {
        let Some((list, at)) = self.path.rsplit_once('/') else { return 0 };
        let Some(entries) = document.pointer(list).and_then(Value::as_array) else { return 0 };
        match self.op {
            PatchOp::Replace => 0,
            PatchOp::Add | PatchOp::Remove => at.parse::<usize>().map_or(0, |at| entries.len().saturating_sub(at)),
        }
    }

    /// `replace` of a root field that is not there adds it: clients can not see the difference (flow-service.md 9).
    fn operation(&self, document: &Value) -> Result<PatchOperation, PatchError> {
        let is_absent_root = self.path.matches('/').count() == 1 && document.get(self.root()).is_none();
        let op = if self.op == PatchOp::Replace && is_absent_root { PatchOp::Add } else { self.op };
        let mut instruction = self.with_value(self.value.clone());
        instruction["op"] = op.name().into();
        serde_json::from_value(instruction).map_err(|_| self.not_there())
    }

    fn not_there(&self) -> PatchError {
        const CHARS_MAX: usize = 100;
        PatchError::NotThere { path: self.path.chars().take(CHARS_MAX).collect() }
    }
}

impl Patch {
    /// Reads a patch: a list of instructions, or one instruction by itself.
    pub fn parse(body: Value) -> Result<Self, PatchError> {
        let instructions = match body {
            Value::Array(instructions) => instructions,
            one => vec![one],
        };
        if instructions.is_empty() {
            return Err(PatchError::Empty);
        }
        if instructions.len() > INSTRUCTIONS_MAX {
            return Err(PatchError::TooLong);
        }
        let read = instructions.into_iter().enumerate().map(|(at, instruction)| Instruction::read(at, instruction));
        Ok(Self(read.collect::<Result<_, _>>()?))
    }

    /// The instructions in their order.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// The instructions as far as they may be shown: a value that is large is not, and all of them have a limit too
    /// ([`SHOWN_BYTES_MAX`]). `value_of` gives the value of one of them without its secrets.
    #[must_use]
    pub fn shown<'a>(&'a self, value_of: impl Fn(&'a Instruction) -> &'a Value) -> Value {
        let mut bytes = 0;
        // Measured before it is copied: many instructions may show the same large value.
        let fits = |value: &Value| is_short(value) && depth(value) <= SHOWN_VALUE_DEPTH_MAX;
        let instructions = self.0.iter().map(|instruction| {
            let value = Some(value_of(instruction)).filter(|value| fits(value));
            instruction.with_value(value.cloned().unwrap_or_else(|| NOT_SHOWN.into()))
        });
        let within = |shown: &Value| {
            bytes += shown.to_string().len();
            bytes <= SHOWN_BYTES_MAX
        };
        instructions.take_while(within).collect()
    }

    /// The document after all instructions (RFC 6902).
    pub fn apply(&self, document: &Value) -> Result<Value, PatchError> {
        let mut patched = document.clone();
        let mut moves = 0;
        for instruction in &self.0 {
            moves += instruction.moves(&patched);
            if moves > MOVES_MAX {
                return Err(PatchError::TooManyMoves);
            }
            let operation = instruction.operation(&patched)?;
            json_patch::patch(&mut patched, &[operation]).map_err(|_| instruction.not_there())?;
        }
        Ok(patched)
    }
}

/// Whether a value has at most [`SHOWN_VALUE_BYTES_MAX`] bytes of JSON; looks at no more of it than that.
fn is_short(value: &Value) -> bool {
    struct Room(usize);

    impl io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    serde_json::to_writer(Room(SHOWN_VALUE_BYTES_MAX), value).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn apply(patch: Value) -> Result<Value, PatchError> {
        let document = json!({ "name": "a", "params": { "columns": [1, 2], "x/y": 0 } });
        Patch::parse(patch)?.apply(&document)
    }

    #[test]
    fn instructions_are_carried_out_in_their_order() {
        let patched = apply(json!([
            { "op": "replace", "path": "/name", "value": "b" },
            { "op": "ADD", "path": "/params/columns/-", "value": { "name": "c" } },
            { "op": "Remove", "path": "/params/columns/0", "value": "ignored" },
            { "op": "add", "path": "/params/x~1y", "value": null },
        ]));
        assert_eq!(patched, Ok(json!({ "name": "b", "params": { "columns": [2, { "name": "c" }], "x/y": null } })));
    }

    #[test]
    fn one_instruction_may_stand_by_itself() {
        assert_eq!(apply(json!({ "op": "replace", "path": "/name", "value": 1 })).unwrap()["name"], 1);
    }

    #[test]
    fn an_absent_root_field_can_be_replaced_and_nothing_else_that_is_absent() {
        assert_eq!(apply(json!([{ "op": "replace", "path": "/description", "value": 1 }])).unwrap()["description"], 1);
        for path in ["/params/z", "/params/columns/2", "/a/b", "/params/columns/x"] {
            let refused = apply(json!([{ "op": "replace", "path": path, "value": 1 }]));
            assert_eq!(refused, Err(PatchError::NotThere { path: path.into() }));
        }
        assert!(matches!(apply(json!([{ "op": "remove", "path": "/description" }])), Err(PatchError::NotThere { .. })));
    }

    #[test]
    fn each_mistake_is_told_apart() {
        assert_eq!(apply(json!([])), Err(PatchError::Empty));
        assert_eq!(apply(json!([{ "op": "move", "from": "/a", "path": "/b" }])), Err(PatchError::Operation { at: 0 }));
        let malformed = |patch| matches!(apply(patch), Err(PatchError::Malformed { at: 0, .. }));
        assert!(malformed(json!("text")));
        assert!(malformed(json!([{ "path": "/name", "value": 1 }])));
        assert!(malformed(json!([{ "op": "add", "value": 1 }])));
        assert!(malformed(json!([{ "op": "add", "path": "name", "value": 1 }])));
        assert!(malformed(json!([{ "op": "replace", "path": "/", "value": 1 }])));
        assert!(malformed(json!([{ "op": "replace", "path": "/name" }])));
        assert_eq!(apply(json!(vec![json!({}); INSTRUCTIONS_MAX + 1])), Err(PatchError::TooLong));
    }

    /// A value of so many levels.
    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn no_instruction_leads_deeper_than_a_document_may_be() {
        let add = |path: &str, levels| apply(json!([{ "op": "add", "path": path, "value": nested(levels) }]));
        assert!(add("/params/z", DOCUMENT_DEPTH_MAX - 2).is_ok());
        assert_eq!(add("/params/z", DOCUMENT_DEPTH_MAX - 1), Err(PatchError::TooDeep { at: 0 }));
        assert_eq!(add(&"/0".repeat(DOCUMENT_DEPTH_MAX + 1), 0), Err(PatchError::TooDeep { at: 0 }));
        let long = apply(json!([{ "op": "add", "path": format!("/{}", "x".repeat(PATH_BYTES_MAX)), "value": 1 }]));
        assert!(matches!(long, Err(PatchError::Malformed { at: 0, .. })));
    }

    #[test]
    fn instructions_one_after_the_other_can_not_build_a_deep_document() {
        // Each goes on where the one before has ended, as deep as one body may be.
        let step = |number: usize| {
            let path = format!("/params/z{}", "/0".repeat(number * 60));
            json!({ "op": "add", "path": path, "value": nested(60) })
        };
        let patch: Value = (0..300).map(step).collect();
        assert!(matches!(apply(patch), Err(PatchError::TooDeep { .. } | PatchError::Malformed { .. })));
        let patch = json!([
            { "op": "add", "path": "/params/z", "value": nested(60) },
            { "op": "add", "path": format!("/params/z{}", "/0".repeat(60)), "value": nested(3) },
        ]);
        assert_eq!(apply(patch), Err(PatchError::TooDeep { at: 1 }));
    }

    #[test]
    fn long_lists_are_not_moved_about_without_end() {
        let document = json!({ "labels": vec![1; MOVES_MAX / 900] });
        let patch = |path: &str| json!(vec![json!({ "op": "add", "path": path, "value": 1 }); INSTRUCTIONS_MAX]);
        let apply = |path| Patch::parse(patch(path)).unwrap().apply(&document);
        assert_eq!(apply("/labels/0"), Err(PatchError::TooManyMoves));
        assert!(apply("/labels/-").is_ok());
        assert!(apply(&format!("/labels/{}", MOVES_MAX / 900)).is_ok(), "few stand behind");
    }

    #[test]
    fn what_is_large_is_not_shown() {
        let shown = |patch: Value| Patch::parse(patch).unwrap().shown(|instruction| &instruction.value);
        let long = "x".repeat(SHOWN_VALUE_BYTES_MAX);
        let patch = json!([
            { "op": "add", "path": "/a", "value": long },
            { "op": "add", "path": "/b", "value": nested(SHOWN_VALUE_DEPTH_MAX + 1) },
            { "op": "add", "path": "/c", "value": nested(SHOWN_VALUE_DEPTH_MAX) },
        ]);
        let shown_of = shown(patch.clone());
        assert_eq!([&shown_of[0]["value"], &shown_of[1]["value"]], [NOT_SHOWN, NOT_SHOWN]);
        assert_eq!(shown_of[2], patch[2]);
        let many = vec![json!({ "op": "add", "path": "/a", "value": "x".repeat(1000) }); INSTRUCTIONS_MAX];
        let few = shown(json!(many));
        assert!(few.as_array().is_some_and(|few| few.len() > 50) && few.to_string().len() <= SHOWN_BYTES_MAX + 100);
    }

    #[test]
    fn a_patch_can_not_be_printed_with_its_values() {
        let patch = Patch::parse(json!({ "op": "add", "path": "/auth/params/password", "value": "hunter2" })).unwrap();
        let printed = format!("{patch:?}");
        assert!(printed.contains("password") && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn a_failure_in_the_middle_changes_nothing() {
        let document = json!({ "name": "a" });
        let patch = json!([
            { "op": "replace", "path": "/name", "value": "b" },
            { "op": "remove", "path": "/nothing" },
        ]);
        assert!(Patch::parse(patch).unwrap().apply(&document).is_err());
        assert_eq!(document, json!({ "name": "a" }));
    }

    #[test]
    fn a_large_value_that_many_instructions_show_is_not_copied_for_each() {
        let large = json!(vec![1; 100_000]);
        let patch = json!(vec![json!({ "op": "add", "path": "/auth/params/x", "value": 1 }); 900]);
        let shown = Patch::parse(patch).unwrap().shown(|_| &large);
        assert_eq!(shown[0]["value"], NOT_SHOWN);
        assert!(is_short(&json!("x".repeat(SHOWN_VALUE_BYTES_MAX - 2))));
        assert!(!is_short(&json!("x".repeat(SHOWN_VALUE_BYTES_MAX - 1))));
    }

    proptest! {
        #[test]
        fn no_path_makes_the_patch_panic(path: String, op in "add|replace|remove") {
            let patch = json!([{ "op": op, "path": format!("/{path}"), "value": 1 }]);
            if let Ok(patch) = Patch::parse(patch) {
                let _ = patch.apply(&json!({ "a": [1, { "b": 2 }], "": { "": 0 } }));
            }
        }
    }
}
