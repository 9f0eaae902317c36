//! What all collections share: one envelope, one life cycle, one document that is stored, filtered and shown.
//!
//! **Invariant.** What a client may filter and sort by is the document of [`Resource::document`], and nothing else: the
//! store compiles the same paths to SQL, and must select what [`crate::filter::Filter::matches`] selects on it.

mod collection;
mod document;
mod state;

use std::fmt;
use std::hash::Hash;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::account::Actor;
use crate::etag::Etag;
use crate::sandbox::Scope;

pub use collection::{Collection, ResourceRef};
pub use document::Document;
pub use state::{Action, ActionError, IllegalMove, State};

/// A word that is not in the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown name: {0}")]
pub struct UnknownName(pub String);

/// What was last done to a resource (flow-service.md 9, 13.2, 16.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastOperation {
    /// When it began, milliseconds since 1970.
    pub started: i64,
    /// When it ended, milliseconds since 1970; 0 after a create.
    pub updated: i64,
    /// 100 once an update is done, absent after a create.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub percent_completed: Option<f64>,
    /// How it ended, absent after a create.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<Value>,
    /// The instructions of an update, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ops: Option<Value>,
    /// `create`, `draft_create`, `update`, or the name of an action.
    pub operation: String,
}

impl LastOperation {
    /// The operation that made the resource.
    #[must_use]
    pub fn create(state: State, now_ms: i64) -> Self {
        let operation = if state == State::Draft { "draft_create" } else { "create" };
        Self {
            started: now_ms,
            updated: 0,
            percent_completed: None,
            status: None,
            ops: None,
            operation: operation.into(),
        }
    }

    /// An update or an action that is done. `ops` are the instructions of an update, secrets masked.
    #[must_use]
    pub fn completed(operation: &str, ops: Option<Value>, started_ms: i64, updated_ms: i64) -> Self {
        Self {
            started: started_ms,
            updated: updated_ms,
            percent_completed: Some(100.0),
            status: Some(json!({ "value": "completed", "errors": [] })),
            ops,
            operation: operation.into(),
        }
    }
}

/// When something was done, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The user and the client.
    pub by: Actor,
}

/// What one collection's resources are made of beside the envelope.
///
/// The body serialises to the fields of the wire document; it never holds a secret.
pub trait Kind: Serialize + DeserializeOwned + Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// How its resources are named.
    type Id: Clone + Eq + Hash + fmt::Display + fmt::Debug + FromStr + Send + Sync + 'static;
    /// Where it belongs.
    const COLLECTION: Collection;
    /// Mints the id of a new resource.
    fn mint() -> Self::Id;

    /// A field of the document that follows from the id and is stored nowhere: shown, but neither filtered nor sorted by.
    fn derived(_id: &Self::Id) -> Option<(&'static str, String)> {
        None
    }
}

/// A resource: the envelope that all share, and the body of its kind, or the text of one that was not read.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource<K: Kind, B = K> {
    /// Its id, made by the server.
    pub id: K::Id,
    /// Where it lives.
    pub scope: Scope,
    /// When and by whom it was made.
    pub created: Stamp,
    /// When and by whom it was last changed.
    pub updated: Stamp,
    /// Its version.
    pub etag: Etag,
    /// Its state; what has none is always enabled.
    pub state: State,
    /// What only its kind has.
    pub body: B,
}

impl<K: Kind> Resource<K> {
    /// A new resource with a fresh id and its first version.
    #[must_use]
    pub fn new(scope: Scope, state: State, body: K, by: &Actor, now_ms: i64) -> Self {
        let stamp = Stamp { at_ms: now_ms, by: by.clone() };
        Self { id: K::mint(), scope, created: stamp.clone(), updated: stamp, etag: Etag::first(now_ms), state, body }
    }

    /// Notes that the resource was written: new version, new author. Returns the version before, which the write
    /// must find in the store.
    pub fn touch(&mut self, by: &Actor, now_ms: i64) -> Etag {
        self.updated = Stamp { at_ms: now_ms, by: by.clone() };
        let next = self.etag.next(now_ms);
        std::mem::replace(&mut self.etag, next)
    }

    /// The body as it is stored: a JSON object.
    #[must_use]
    pub fn body_json(&self) -> Map<String, Value> {
        match serde_json::to_value(&self.body) {
            Ok(Value::Object(body)) => body,
            // Bodies are structs of serialisable parts with text keys; the test of each kind walks through here.
            other => unreachable!("a body of {} is a JSON object, not {other:?}", K::COLLECTION),
        }
    }

    /// The whole document in the Flow Service's form (flow-service.md 5): what is filtered and sorted.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut document = self.envelope_json();
        document.extend(self.body_json());
        Value::Object(document)
    }

    /// The document with what follows from the id: what is shown.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut document = self.document();
        if let Some((name, value)) = K::derived(&self.id) {
            document[name] = value.into();
        }
        document
    }
}

impl<K: Kind, B> Resource<K, B> {
    /// Names it in an error.
    #[must_use]
    pub fn reference(&self) -> ResourceRef {
        ResourceRef::new(K::COLLECTION, &self.id)
    }

    /// The same resource with another form of its body.
    #[must_use]
    pub fn with_body<C>(self, body: C) -> Resource<K, C> {
        let Self { id, scope, created, updated, etag, state, .. } = self;
        Resource { id, scope, created, updated, etag, state, body }
    }
}
