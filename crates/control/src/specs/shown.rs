//! Showing specs: the built-in ones and those of the caller's organisation as one catalogue (flow-service.md 12.3).

use headwaters_model::filter::Filter;
use headwaters_model::page::{ListQuery, Page};
use headwaters_model::resource::{Collection, ResourceRef};
use serde_json::Value;

use crate::Control;
use crate::access::Caller;
use crate::error::{Cause, CommandError};

impl Control {
    /// The documents of the connection specs that pass every filter (flow-service.md 7.2, 12): the built-in ones, then
    /// those of the organisation.
    pub async fn connection_specs(&self, caller: &Caller, filters: &[Filter]) -> Result<Vec<Value>, CommandError> {
        self.spec_documents(caller, Collection::ConnectionSpecs, filters).await
    }

    /// The documents of the flow specs that pass every filter (flow-service.md 7.2, 12), in the same order.
    pub async fn flow_specs(&self, caller: &Caller, filters: &[Filter]) -> Result<Vec<Value>, CommandError> {
        self.spec_documents(caller, Collection::FlowSpecs, filters).await
    }

    /// A page of flow specs in the order that was asked for (flow-service.md 8).
    pub async fn flow_spec_page(&self, caller: &Caller, query: &ListQuery) -> Result<Page<Value>, CommandError> {
        Ok(page_of(self.flow_specs(caller, &query.filters).await?, query))
    }

    /// The document of one connection spec. Causes: `Missing`.
    pub async fn connection_spec(&self, caller: &Caller, id: &str) -> Result<Value, CommandError> {
        self.spec_document(caller, Collection::ConnectionSpecs, id).await
    }

    /// The document of one flow spec. Causes: `Missing`.
    pub async fn flow_spec(&self, caller: &Caller, id: &str) -> Result<Value, CommandError> {
        self.spec_document(caller, Collection::FlowSpecs, id).await
    }

    /// Explores by a spec alone, which none of the sources here can: there is nothing to see without credentials
    /// (flow-service.md 12.3). Causes: `Missing`, else always `ExploreBySpec`.
    pub async fn explore_by_spec(&self, caller: &Caller, id: &str) -> Result<Vec<Value>, CommandError> {
        let spec = self.connection_spec(caller, id).await?;
        let name = spec["name"].as_str().unwrap_or_default();
        let reason = format!("{name} can not be explored by its connection spec: explore a base connection of it");
        Err(CommandError::invalid(Cause::ExploreBySpec, "", reason))
    }

    async fn spec_documents(
        &self,
        caller: &Caller,
        of: Collection,
        filters: &[Filter],
    ) -> Result<Vec<Value>, CommandError> {
        let written = self.store.read(&caller.scope).await?.specs(of).await?;
        let all = self.specs.documents(of).into_iter().chain(&written);
        Ok(all.filter(|document| filters.iter().all(|filter| filter.matches(document))).cloned().collect())
    }

    pub(super) async fn spec_document(&self, caller: &Caller, of: Collection, id: &str) -> Result<Value, CommandError> {
        let missing = || CommandError::Missing(ResourceRef::new(of, id));
        let known = id.parse().map_err(|_| missing())?;
        if let Some(document) = self.specs.built_in(of, known) {
            return Ok(document.clone());
        }
        self.store.read(&caller.scope).await?.spec(of, known).await?.ok_or_else(missing)
    }
}

/// The page of documents that a query asks for; they have passed its filters.
fn page_of(documents: Vec<Value>, query: &ListQuery) -> Page<Value> {
    let order = &query.order;
    let mut keyed: Vec<_> = documents.into_iter().map(|document| (order.values_of(&document), document)).collect();
    keyed.sort_by(|(left, _), (right, _)| order.compare(left, right));
    if let Some(after) = &query.after {
        keyed.retain(|(values, _)| order.compare(values, after).is_gt());
    }
    let limit = query.limit as usize;
    let next =
        if keyed.len() > limit { keyed.get(limit.saturating_sub(1)).map(|(values, _)| values.clone()) } else { None };
    Page { items: keyed.into_iter().take(limit).map(|(_, document)| document).collect(), next }
}

#[cfg(test)]
mod tests {
    use headwaters_model::page::Order;
    use serde_json::json;

    use super::*;

    #[test]
    fn pages_of_documents_follow_each_other_without_gap_or_repetition() {
        let documents: Vec<_> = (0..7).map(|n| json!({ "id": n.to_string(), "name": (n % 3).to_string() })).collect();
        let order = Order::parse("-name", Collection::FlowSpecs).unwrap();
        let mut query = ListQuery { order, limit: 2, ..ListQuery::all() };
        let mut seen = Vec::new();
        loop {
            let page = page_of(documents.clone(), &query);
            seen.extend(page.items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match page.next {
                Some(after) => query.after = Some(after),
                None => break,
            }
        }
        assert_eq!(seen, ["5", "2", "4", "1", "6", "3", "0"]);
    }
}
