//! The description of the API, generated from the routes themselves.
//!
//! A route describes what is its own: parameters, body, answer. What all operations of the platform's services share
//! (headers, the errors that any of them may answer) is added here, once.

use axum::body::Bytes;
use http::Method;
use utoipa::openapi::path::{Operation as PathOperation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem, Ref, RefOr, Required,
    ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use crate::error::{EdgeBody, NeighbourBody, ProblemBody};
use crate::permissions::{Need, needed};
use crate::router::described_routes;
use crate::service::{CATALOG, FLOW_SERVICE};

/// The name of the bearer token among the security schemes.
const TOKEN: &str = "token";

/// The finished document as text; a clone shares it.
#[derive(Clone)]
pub(crate) struct Document(Bytes);

impl Document {
    /// Completes and writes a collected document.
    pub(crate) fn of(collected: OpenApi) -> Self {
        Self(written(&complete(collected)).into())
    }

    /// The document as JSON text.
    pub(crate) fn text(&self) -> Bytes {
        self.0.clone()
    }
}

/// The description of every operation, as `GET /openapi.json` answers it.
#[must_use]
pub fn openapi_json() -> String {
    written(&complete(described_routes().into_openapi()))
}

/// One operation of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path, with `{names}` for ids.
    pub path: String,
    /// What it asks of its caller; none is a line that lacks in the table of permissions.
    pub needs: Option<Need>,
}

/// Every operation of this server, in the order of their paths.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let document = described_routes().into_openapi();
    let of_path = |(path, item): (&String, &PathItem)| {
        let operation = |method| Operation { needs: needed(&method, path), method, path: path.clone() };
        methods_of(item).into_iter().map(operation).collect::<Vec<_>>()
    };
    document.paths.paths.iter().flat_map(of_path).collect()
}

fn methods_of(item: &PathItem) -> Vec<Method> {
    let all = [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    all.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method).collect()
}

/// The document before any route is described in it.
pub(crate) fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Headwaters")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A self-hosted Flow Service: brings MySQL and MariaDB tables into Delta Lake."))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let tag = |name: &str, description: &str| TagBuilder::new().name(name).description(Some(description)).build();
    let tags = [
        tag("connections", "base connections: how a source is reached"),
        tag("specs", "what can be connected, and how it flows; read-only"),
        tag("sourceConnections", "what is read"),
        tag("targetConnections", "where it lands"),
        tag("flows", "from which source into which target, when, and how"),
        tag("runs", "what flows have done"),
        tag("catalog", "data sets and the batches that landed in them"),
        tag("tokens", "access tokens for technical accounts"),
        tag("operations", "health, numbers and this description"),
    ];
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components()))
        .security(Some([SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])]))
        .tags(Some(tags))
        .build()
}

fn components() -> Components {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("from `POST /ims/token/v3`, `headwaters env` or `headwaters token`"))
        .build();
    let mut components = Components::new();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer));
    let mut add = |name: &str, description: &str, bodies: &[&str]| {
        let one_of = bodies.iter().fold(OneOfBuilder::new(), |one_of, body| one_of.item(Ref::from_schema_name(*body)));
        let content = ContentBuilder::new().schema(Some(Schema::OneOf(one_of.build()))).build();
        let response = ResponseBuilder::new().description(description).content("application/json", content).build();
        components.responses.insert(name.to_owned(), RefOr::T(response));
    };
    let (edge, problem, neighbour) = (&*EdgeBody::name(), &*ProblemBody::name(), &*NeighbourBody::name());
    let denied = "the token, the client id, the organisation or the role of the account does not let the request pass";
    add("Problem", "the request was not carried out; `type` ends in the documented code", &[problem]);
    add("ProblemDenied", denied, &[edge, problem]);
    add("NeighbourProblem", "the request was not carried out", &[neighbour]);
    add("NeighbourProblemDenied", denied, &[edge, neighbour]);
    for (name, schema, parts) in [schema_of::<EdgeBody>(), schema_of::<ProblemBody>(), schema_of::<NeighbourBody>()] {
        components.schemas.insert(name, schema);
        components.schemas.extend(parts);
    }
    components.parameters.extend(headers().map(|header| (header.name.clone(), RefOr::T(header))));
    components
}

type NamedSchema = (String, RefOr<Schema>);

fn schema_of<T: ToSchema + PartialSchema>() -> (String, RefOr<Schema>, Vec<NamedSchema>) {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    (T::name().into_owned(), T::schema(), parts)
}

/// Adds to every operation of the platform's services what they share.
fn complete(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        let problem = if path.starts_with(FLOW_SERVICE) {
            "Problem"
        } else if path.starts_with(CATALOG) {
            "NeighbourProblem"
        } else {
            continue;
        };
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            share(operation, problem);
        }
    }
    document
}

fn share(operation: &mut PathOperation, problem: &str) {
    let shared = headers().map(|header| RefOr::Ref(Ref::new(format!("#/components/parameters/{}", header.name))));
    operation.parameters.get_or_insert_default().extend(shared);
    let responses = &mut operation.responses.responses;
    let denied = format!("{problem}Denied");
    for status in ["400", "401", "403", "404", "500", "503"] {
        let name = if matches!(status, "401" | "403") { &denied } else { problem };
        responses.entry(status.to_owned()).or_insert_with(|| RefOr::Ref(Ref::from_response_name(name)));
    }
}

/// The headers that every operation of the platform's services takes (flow-service.md 2.1); the token is a security
/// scheme.
fn headers() -> [Parameter; 3] {
    let header = |name: &str, required: Required, description: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(required)
            .description(Some(description))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
            .build()
    };
    [
        header("x-api-key", Required::True, "the client id that the token was given to"),
        header("x-gw-ims-org-id", Required::True, "the organisation, e.g. `0123456789ABCDEF01234567@AdobeOrg`"),
        header("x-sandbox-name", Required::False, "the sandbox; `prod` when absent"),
    ]
}

fn written(document: &OpenApi) -> String {
    let mut text = document.to_pretty_json().unwrap_or_else(|error| {
        // Maps with text keys and strings: there is nothing in it that JSON can't say.
        unreachable!("the description is made of texts: {error}")
    });
    text.push('\n');
    text
}
