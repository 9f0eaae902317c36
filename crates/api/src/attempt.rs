//! What a request tries to do, for the record of attempts that were refused (flow-service.md 20).
//!
//! It is read from method, route and path alone: the body of a refused request is never looked at.

use headwaters_control::Caller;
use headwaters_model::resource::{Action, ActionError, Collection, ResourceRef};
use http::Method;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::extract::query::{Query, shown};
use crate::service::{CATALOG, FLOW_SERVICE};
use crate::state::ApiState;

/// The collections that a path may name.
const COLLECTIONS: [Collection; 9] = [
    Collection::Connections,
    Collection::SourceConnections,
    Collection::TargetConnections,
    Collection::Flows,
    Collection::Runs,
    Collection::ConnectionSpecs,
    Collection::FlowSpecs,
    Collection::DataSets,
    Collection::Batches,
];

/// What a caller tries to do to what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    action: &'static str,
    /// With an empty id where the path has none; none for what belongs to no collection.
    resource: Option<ResourceRef>,
}

impl Attempt {
    /// The attempt that a request makes.
    pub(crate) fn of(request: &Parts, route: &str) -> Self {
        let inside = |path: &str| {
            let rest = path.strip_prefix(FLOW_SERVICE).or_else(|| path.strip_prefix(CATALOG));
            rest.map(|rest| rest.trim_start_matches('/').to_owned())
        };
        let (route, path) = (inside(route).unwrap_or_default(), inside(request.uri.path()).unwrap_or_default());
        let (mut route, mut path) = (route.split('/'), path.split('/'));
        let collection = route.next().and_then(|name| COLLECTIONS.into_iter().find(|known| known.name() == name));
        path.next();
        let id = route.next().zip(path.next()).filter(|(segment, _)| segment.starts_with('{'));
        // As the route reads it: who looks for what was done to a resource finds it by its id.
        let id = id.map(|(_, id)| shown(&percent_decode_str(id).decode_utf8_lossy()));
        let resource = collection.map(|collection| ResourceRef::new(collection, id.unwrap_or_default()));
        let action = match route.next() {
            Some("action") => action_asked(collection, request),
            _ => action_of(&request.method),
        };
        Self { action, resource }
    }

    /// Records that it was refused.
    pub(crate) async fn record_refusal(self, state: &ApiState, caller: &Caller) {
        if let Some(resource) = self.resource {
            state.control().record_refusal(caller, self.action, resource).await;
        }
    }
}

/// The action that a query asks for, if there is one of that name.
fn action_asked(collection: Option<Collection>, request: &Parts) -> &'static str {
    let query = Query::of(request).unwrap_or_default();
    match collection.map(|collection| Action::read(collection, query.last("op"), None)) {
        Some(Ok(action)) => action.name(),
        Some(Err(ActionError::Finalize)) => "finalize",
        _ => "action",
    }
}

fn action_of(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT | Method::PATCH => "update",
        Method::DELETE => "delete",
        _ => "read",
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn attempt(method: Method, route: &str, target: &str) -> (&'static str, Option<String>) {
        let (parts, ()) = Request::builder().method(method).uri(target).body(()).unwrap().into_parts();
        let Attempt { action, resource } = Attempt::of(&parts, route);
        (action, resource.map(|resource| format!("{} {}", resource.collection, resource.id)))
    }

    #[test]
    fn an_attempt_is_named_by_method_and_path() {
        let flow = format!("{FLOW_SERVICE}/flows/{{flow_id}}");
        let cases = [
            (Method::POST, format!("{FLOW_SERVICE}/flows"), format!("{FLOW_SERVICE}/flows"), "create", "flows "),
            (Method::DELETE, flow.clone(), format!("{FLOW_SERVICE}/flows/a1"), "delete", "flows a1"),
            (Method::PATCH, flow.clone(), format!("{FLOW_SERVICE}/flows/a1"), "update", "flows a1"),
            (
                Method::POST,
                format!("{flow}/action"),
                format!("{FLOW_SERVICE}/flows/a1/action?op=enable"),
                "enable",
                "flows a1",
            ),
            (
                Method::POST,
                format!("{flow}/action"),
                format!("{FLOW_SERVICE}/flows/a1/action?op=x"),
                "action",
                "flows a1",
            ),
            (Method::GET, flow.clone(), format!("{FLOW_SERVICE}/flows/%61%2F1"), "read", "flows a/1"),
            (Method::POST, format!("{CATALOG}/dataSets"), format!("{CATALOG}/dataSets"), "create", "dataSets "),
        ];
        for (method, route, target, action, resource) in cases {
            assert_eq!(attempt(method, &route, &target), (action, Some(resource.to_owned())), "{target}");
        }
        assert_eq!(attempt(Method::GET, "/healthz", "/healthz"), ("read", None));
    }
}
