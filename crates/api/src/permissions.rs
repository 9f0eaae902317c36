//! The one table from an operation to what its caller needs (flow-service.md 20).
//!
//! Reading, searching, testing and exploring need the role `view`; creating, changing and deleting need `manage`, and so
//! does acting, whose refusal has a code of its own. Writing specs and reporting on runs is for services alone; whoever
//! else tries is told so with the code of that, whatever its role (flow-service.md 12.4, 17.6).
//!
//! A route that has no line here is never entered: the coverage test finds it, and at run time it answers 500.

use headwaters_control::Caller as Identity;
use headwaters_model::account::Role;
use http::Method;

use crate::error::ApiError;

/// What an operation asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nobody needs to say who they are: health, documentation, and the endpoint that tells callers apart.
    Open,
    /// A caller with at least this role (2118 otherwise).
    Caller(Role),
    /// A caller who may manage sources, because something happens there (2121 otherwise).
    Acting,
    /// A service, because specs are written (1426 otherwise).
    WritingSpecs,
    /// A service, because it is told what a run has done (1427 otherwise).
    Reporting,
}

use Need::{Acting, Caller, Open, Reporting, WritingSpecs};

const VIEW: Need = Caller(Role::View);
const MANAGE: Need = Caller(Role::Manage);

/// Method, route and need of every operation, service by service.
pub(crate) const PERMISSIONS: &[(Method, &str, Need)] = &[
    (Method::GET, "/data/foundation/flowservice/connections", VIEW),
    (Method::POST, "/data/foundation/flowservice/connections", MANAGE),
    (Method::POST, "/data/foundation/flowservice/connections/search", VIEW),
    (Method::GET, "/data/foundation/flowservice/connections/{connection_id}", VIEW),
    (Method::PATCH, "/data/foundation/flowservice/connections/{connection_id}", MANAGE),
    (Method::DELETE, "/data/foundation/flowservice/connections/{connection_id}", MANAGE),
    (Method::GET, "/data/foundation/flowservice/connections/{connection_id}/test", VIEW),
    (Method::GET, "/data/foundation/flowservice/connections/{connection_id}/explore", VIEW),
    (Method::GET, "/data/foundation/flowservice/connections/{connection_id}/configs", VIEW),
    (Method::POST, "/data/foundation/flowservice/connections/{connection_id}/action", Acting),
    (Method::GET, "/data/foundation/flowservice/connectionSpecs", VIEW),
    (Method::POST, "/data/foundation/flowservice/connectionSpecs", WritingSpecs),
    (Method::GET, "/data/foundation/flowservice/connectionSpecs/{spec_id}", VIEW),
    (Method::PUT, "/data/foundation/flowservice/connectionSpecs/{spec_id}", WritingSpecs),
    (Method::GET, "/data/foundation/flowservice/connectionSpecs/{spec_id}/explore", VIEW),
    (Method::GET, "/data/foundation/flowservice/connectionSpecs/{spec_id}/configs", VIEW),
    (Method::GET, "/data/foundation/flowservice/flowSpecs", VIEW),
    (Method::POST, "/data/foundation/flowservice/flowSpecs", WritingSpecs),
    (Method::POST, "/data/foundation/flowservice/flowSpecs/search", VIEW),
    (Method::GET, "/data/foundation/flowservice/flowSpecs/{spec_id}", VIEW),
    (Method::PUT, "/data/foundation/flowservice/flowSpecs/{spec_id}", WritingSpecs),
    (Method::GET, "/data/foundation/flowservice/sourceConnections", VIEW),
    (Method::POST, "/data/foundation/flowservice/sourceConnections", MANAGE),
    (Method::GET, "/data/foundation/flowservice/sourceConnections/{source_connection_id}", VIEW),
    (Method::PATCH, "/data/foundation/flowservice/sourceConnections/{source_connection_id}", MANAGE),
    (Method::DELETE, "/data/foundation/flowservice/sourceConnections/{source_connection_id}", MANAGE),
    (Method::POST, "/data/foundation/flowservice/sourceConnections/{source_connection_id}/action", Acting),
    (Method::GET, "/data/foundation/flowservice/targetConnections", VIEW),
    (Method::POST, "/data/foundation/flowservice/targetConnections", MANAGE),
    (Method::GET, "/data/foundation/flowservice/targetConnections/{target_connection_id}", VIEW),
    (Method::PATCH, "/data/foundation/flowservice/targetConnections/{target_connection_id}", MANAGE),
    (Method::DELETE, "/data/foundation/flowservice/targetConnections/{target_connection_id}", MANAGE),
    (Method::POST, "/data/foundation/flowservice/targetConnections/{target_connection_id}/action", Acting),
    (Method::GET, "/data/foundation/flowservice/flows", VIEW),
    (Method::POST, "/data/foundation/flowservice/flows", MANAGE),
    (Method::POST, "/data/foundation/flowservice/flows/search", VIEW),
    (Method::GET, "/data/foundation/flowservice/flows/{flow_id}", VIEW),
    (Method::PATCH, "/data/foundation/flowservice/flows/{flow_id}", MANAGE),
    (Method::DELETE, "/data/foundation/flowservice/flows/{flow_id}", MANAGE),
    (Method::POST, "/data/foundation/flowservice/flows/{flow_id}/action", Acting),
    (Method::GET, "/data/foundation/flowservice/runs", VIEW),
    (Method::POST, "/data/foundation/flowservice/runs", MANAGE),
    (Method::GET, "/data/foundation/flowservice/runs/{run_id}", VIEW),
    (Method::PUT, "/data/foundation/flowservice/runs/{run_id}", Reporting),
    (Method::POST, "/data/foundation/flowservice/runs/{run_id}/action", Acting),
    (Method::GET, "/data/foundation/catalog/dataSets", VIEW),
    (Method::POST, "/data/foundation/catalog/dataSets", MANAGE),
    (Method::GET, "/data/foundation/catalog/dataSets/{data_set_ids}", VIEW),
    (Method::GET, "/data/foundation/catalog/batches", VIEW),
    (Method::GET, "/data/foundation/catalog/batches/{batch_ids}", VIEW),
    (Method::POST, "/ims/token/v1", Open),
    (Method::POST, "/ims/token/v2", Open),
    (Method::POST, "/ims/token/v3", Open),
    (Method::GET, "/healthz", Open),
    (Method::GET, "/readyz", Open),
    (Method::GET, "/metrics", Open),
    (Method::GET, "/openapi.json", Open),
    (Method::GET, "/docs", Open),
    (Method::GET, "/docs/{file}", Open),
    (Method::GET, "/ui", Open),
];

impl Need {
    /// Refuses a caller whose role does not include it.
    pub(crate) fn admit(self, caller: &Identity) -> Result<(), ApiError> {
        match self {
            Open => {}
            Caller(role) => caller.require(role)?,
            Acting => caller.require_managing()?,
            WritingSpecs => caller.require_writing_specs()?,
            Reporting => caller.require_reporting()?,
        }
        Ok(())
    }
}

/// What the operation needs; `None` for one that nobody thought of. `HEAD` is `GET` without the body.
pub(crate) fn needed(method: &Method, route: &str) -> Option<Need> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    PERMISSIONS.iter().find(|(known, path, _)| known == method && *path == route).map(|(_, _, need)| *need)
}
