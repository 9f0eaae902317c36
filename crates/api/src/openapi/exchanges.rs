//! What each operation takes and answers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::reference;
use super::schemas::Schemas;
use crate::documents::WrittenDocument;
use crate::documents::catalog::{Batches, DataSets};
use crate::documents::changes::{PatchDocument, StateActionDocument};
use crate::documents::connection::ConnectionDocument;
use crate::documents::explore::{ConfigsDocument, ExploreAnswer};
use crate::documents::flow::FlowDocument;
use crate::documents::flow_spec::FlowSpecDocument;
use crate::documents::run::{CreatedRunDocument, RunDocument, RunReport};
use crate::documents::source_connection::SourceConnectionDocument;
use crate::documents::spec::ConnectionSpecDocument;
use crate::documents::target_connection::TargetConnectionDocument;
use crate::service::{CATALOG, FLOW_SERVICE};

/// The header that names a version.
const VERSION: &[&str] = &["ETag"];
/// The headers of what was just made.
const MADE: &[&str] = &["Location", "ETag"];

/// What one operation takes and answers.
pub(super) struct Exchange {
    takes: Option<Body>,
    status: &'static str,
    answer: Value,
    headers: &'static [&'static str],
}

/// The body of a request.
struct Body {
    schema: Value,
    required: bool,
}

impl Exchange {
    fn answer(status: &'static str, answer: Value) -> Self {
        Self { takes: None, status, answer, headers: &[] }
    }

    fn with_headers(self, headers: &'static [&'static str]) -> Self {
        Self { headers, ..self }
    }

    fn taking(self, schema: Value, required: bool) -> Self {
        Self { takes: Some(Body { schema, required }), ..self }
    }

    /// Writes it into the description of its operation.
    pub(super) fn describe(&self, operation: &mut Map<String, Value>) {
        if let Some(Body { schema, required }) = &self.takes {
            let body = json!({ "content": { "application/json": { "schema": schema } }, "required": required });
            operation.insert("requestBody".to_owned(), body);
        }
        let Some(answer) = operation.get_mut("responses").and_then(|responses| responses.get_mut(self.status)) else {
            return;
        };
        answer["content"] = json!({ "application/json": { "schema": self.answer } });
        for name in self.headers {
            answer["headers"][*name] = reference("headers", name);
        }
    }
}

/// A path without the names of its ids.
pub(super) fn shape(path: &str) -> String {
    let plain = |segment| if str::starts_with(segment, '{') { "{}" } else { segment };
    path.split('/').map(plain).collect::<Vec<_>>().join("/")
}

/// All of them, by method and shape.
pub(super) fn all(schemas: &mut Schemas) -> BTreeMap<String, Exchange> {
    let mut table = Table { schemas, exchanges: BTreeMap::new() };
    table.changeable::<ConnectionDocument>("connections");
    table.changeable::<SourceConnectionDocument>("sourceConnections");
    table.changeable::<TargetConnectionDocument>("targetConnections");
    table.changeable::<FlowDocument>("flows");
    table.runs();
    table.specs::<ConnectionSpecDocument>("connectionSpecs");
    table.specs::<FlowSpecDocument>("flowSpecs");
    table.probes();
    table.catalog();
    table.exchanges
}

/// The table under construction.
struct Table<'a> {
    schemas: &'a mut Schemas,
    exchanges: BTreeMap<String, Exchange>,
}

impl Table<'_> {
    fn put(&mut self, operation: &str, exchange: Exchange) {
        let (method, path) = operation.split_once(' ').unwrap_or_default();
        self.exchanges.insert(format!("{method} {FLOW_SERVICE}/{path}"), exchange);
    }

    /// The collections whose resources are made, changed and acted upon.
    fn changeable<T: ToSchema + PartialSchema>(&mut self, collection: &str) {
        let document = self.schemas.stored::<T>();
        let (page, single) = (self.schemas.page(&document), self.schemas.single(&document));
        let written = self.schemas.plain::<WrittenDocument>();
        let (patch, action) = (self.schemas.plain::<PatchDocument>(), self.schemas.plain::<StateActionDocument>());
        self.put(&format!("GET {collection}"), Exchange::answer("200", page.clone()));
        self.put(&format!("POST {collection}/search"), Exchange::answer("200", page));
        self.put(&format!("GET {collection}/{{}}"), Exchange::answer("200", single).with_headers(VERSION));
        self.put(&format!("POST {collection}"), Exchange::answer("201", written.clone()).with_headers(MADE));
        let patched = Exchange::answer("200", written.clone()).with_headers(VERSION).taking(patch, true);
        self.put(&format!("PATCH {collection}/{{}}"), patched);
        let acted = Exchange::answer("200", written).with_headers(VERSION).taking(action, false);
        self.put(&format!("POST {collection}/{{}}/action"), acted);
    }

    fn runs(&mut self) {
        let document = self.schemas.stored::<RunDocument>();
        let (page, single) = (self.schemas.page(&document), self.schemas.single(&document));
        let created = self.schemas.plain::<CreatedRunDocument>();
        self.put("GET runs", Exchange::answer("200", page));
        self.put("GET runs/{}", Exchange::answer("200", single).with_headers(VERSION));
        self.put("POST runs", Exchange::answer("201", created).with_headers(MADE));
        let report = self.schemas.plain::<RunReport>();
        let reported = Exchange::answer("200", document.clone()).with_headers(MADE).taking(report, true);
        self.put("PUT runs/{}", reported);
        self.put("POST runs/{}/action", Exchange::answer("200", document).with_headers(MADE));
    }

    /// The catalogues of what can be connected and how it flows.
    fn specs<T: ToSchema + PartialSchema>(&mut self, collection: &str) {
        let document = self.schemas.plain::<T>();
        let (page, single) = (self.schemas.page(&document), self.schemas.single(&document));
        // Of a flow spec: published under this name where it is written, and under two others where it is shown.
        let renamed = [("transformationSpecs", "transformationSpecDTOS")];
        let new = self.schemas.written(&document, &["name", "providerId"], &renamed);
        self.put(&format!("GET {collection}"), Exchange::answer("200", page.clone()));
        self.put(&format!("POST {collection}/search"), Exchange::answer("200", page));
        self.put(&format!("GET {collection}/{{}}"), Exchange::answer("200", single));
        let created = Exchange::answer("201", document.clone()).with_headers(&["Location"]).taking(new.clone(), true);
        self.put(&format!("POST {collection}"), created);
        let replaced = Exchange::answer("200", document).with_headers(&["Location"]).taking(new, true);
        self.put(&format!("PUT {collection}/{{}}"), replaced);
    }

    /// What looks into a source.
    fn probes(&mut self) {
        let (explored, configs) = (self.schemas.plain::<ExploreAnswer>(), self.schemas.plain::<ConfigsDocument>());
        for collection in ["connections", "connectionSpecs"] {
            self.put(&format!("GET {collection}/{{}}/explore"), Exchange::answer("200", explored.clone()));
            self.put(&format!("GET {collection}/{{}}/configs"), Exchange::answer("200", configs.clone()));
        }
    }

    fn catalog(&mut self) {
        let (data_sets, batches) = (self.schemas.plain::<DataSets>(), self.schemas.plain::<Batches>());
        for (collection, schema) in [("dataSets", data_sets), ("batches", batches)] {
            for path in [format!("{CATALOG}/{collection}"), format!("{CATALOG}/{collection}/{{}}")] {
                self.exchanges.insert(format!("GET {path}"), Exchange::answer("200", schema.clone()));
            }
        }
    }
}
