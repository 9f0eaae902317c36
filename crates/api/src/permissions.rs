//! The one table from an operation to what its caller needs (flow-service.md 20).
//!
//! Reading, searching, testing and exploring need the role `view`; creating, changing, deleting and acting need
//! `manage`. A route that has no line here is never entered: the coverage test finds it, and at run time it answers 500.

use headwaters_model::account::Role;
use http::Method;

/// What an operation asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nobody needs to say who they are: health, documentation, and the endpoint that tells callers apart.
    Open,
    /// A caller with at least this role.
    Caller(Role),
}

use Need::{Caller, Open};

const VIEW: Need = Caller(Role::View);
const MANAGE: Need = Caller(Role::Manage);

/// Method, route and need of every operation, in the order of architecture.md section 5.
pub(crate) const PERMISSIONS: &[(Method, &str, Need)] = &[
    (Method::GET, "/data/foundation/flowservice/connections", VIEW),
    (Method::POST, "/data/foundation/flowservice/connections", MANAGE),
    (Method::GET, "/data/foundation/flowservice/connections/{connection_id}", VIEW),
    (Method::DELETE, "/data/foundation/flowservice/connections/{connection_id}", MANAGE),
    (Method::GET, "/data/foundation/flowservice/connections/{connection_id}/test", VIEW),
    (Method::GET, "/data/foundation/flowservice/connections/{connection_id}/explore", VIEW),
    (Method::GET, "/data/foundation/flowservice/connectionSpecs", VIEW),
    (Method::GET, "/data/foundation/flowservice/connectionSpecs/{spec_id}", VIEW),
    (Method::GET, "/data/foundation/flowservice/flowSpecs", VIEW),
    (Method::GET, "/data/foundation/flowservice/flowSpecs/{spec_id}", VIEW),
    (Method::GET, "/data/foundation/flowservice/sourceConnections", VIEW),
    (Method::POST, "/data/foundation/flowservice/sourceConnections", MANAGE),
    (Method::GET, "/data/foundation/flowservice/sourceConnections/{source_connection_id}", VIEW),
    (Method::DELETE, "/data/foundation/flowservice/sourceConnections/{source_connection_id}", MANAGE),
    (Method::GET, "/data/foundation/flowservice/targetConnections", VIEW),
    (Method::POST, "/data/foundation/flowservice/targetConnections", MANAGE),
    (Method::GET, "/data/foundation/flowservice/targetConnections/{target_connection_id}", VIEW),
    (Method::DELETE, "/data/foundation/flowservice/targetConnections/{target_connection_id}", MANAGE),
    (Method::GET, "/data/foundation/flowservice/flows", VIEW),
    (Method::POST, "/data/foundation/flowservice/flows", MANAGE),
    (Method::GET, "/data/foundation/flowservice/flows/{flow_id}", VIEW),
    (Method::DELETE, "/data/foundation/flowservice/flows/{flow_id}", MANAGE),
    (Method::GET, "/data/foundation/flowservice/runs", VIEW),
    (Method::GET, "/data/foundation/flowservice/runs/{run_id}", VIEW),
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
    (Method::GET, "/ui", Open),
];

/// What the operation needs; `None` for one that nobody thought of. `HEAD` is `GET` without the body.
pub(crate) fn needed(method: &Method, route: &str) -> Option<Need> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    PERMISSIONS.iter().find(|(known, path, _)| known == method && *path == route).map(|(_, _, need)| *need)
}
