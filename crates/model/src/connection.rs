//! Base connections: how a source is reached (flow-service.md 13).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::ConnectionId;
use crate::resource::{Collection, Kind, LastOperation};
use crate::spec::SpecRef;

/// What a client sees in the place of a secret (flow-service.md 13.2).
pub const MASK: &str = "*****";

/// The body of a base connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Its name; need not be unique.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// The kind of source.
    pub connection_spec: SpecRef,
    /// How to log in; absent only in a draft.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub auth: Option<Auth>,
    /// What was last done to it.
    pub last_operation: LastOperation,
}

/// How to log in: which auth spec, and its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// The name of the auth spec, e.g. `Basic Authentication`.
    pub spec_name: String,
    /// The parameters as sent; in the place of a secret one stands the form in which it may be shown. The secrets
    /// themselves are in the vault, under their keys.
    #[serde(default)]
    pub params: Map<String, Value>,
}

impl Kind for Connection {
    type Id = ConnectionId;
    const COLLECTION: Collection = Collection::Connections;

    fn mint() -> ConnectionId {
        ConnectionId::mint()
    }
}
