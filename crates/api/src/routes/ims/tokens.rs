//! `POST /ims/token/v1..v3`: client credentials, as a form or in the query (platform-services.md 6).

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use headwaters_control::{IssuedToken, TokenRequest};
use headwaters_model::secret::Secret;
use http::HeaderName;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ImsBody};
use crate::extract::body;
use crate::extract::query::Query;
use crate::frame::RequestId;
use crate::state::ApiState;

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(issue_v1)).routes(routes!(issue_v2)).routes(routes!(issue_v3))
}

/// The longest form. It is read from anybody; a client id, a secret and all scopes that there are take 1 KiB.
pub(crate) const FORM_BYTES_MAX: usize = 16 << 10;

/// What a token is asked for with; each field may stand in the form or in the query.
#[derive(ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the fields; `Ask` reads them, because they may stand in two places")]
struct TokenForm {
    /// Only this grant is offered.
    #[schema(example = "client_credentials")]
    #[param(required = false)]
    grant_type: String,
    /// The client id of the account.
    #[param(required = false)]
    client_id: String,
    /// The secret of the account.
    #[param(required = false)]
    #[schema(format = Password)]
    client_secret: String,
    /// Scopes, separated by commas; none means all that the account has.
    scope: Option<String>,
}

/// A token.
#[derive(Serialize, ToSchema)]
struct TokenAnswer {
    /// The text for the header `Authorization`, behind `Bearer `.
    access_token: String,
    /// How it is used.
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// How long it is good, in seconds.
    #[schema(example = 86399)]
    expires_in: i64,
}

/// A request for a token, read from the form and, for what is not there, from the query.
struct Ask(TokenRequest);

impl FromRequest<ApiState> for Ask {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.as_str().to_owned());
        // The body first: what is read of a stranger is not kept while it sends the rest.
        let form = body::read(Request::new(body), state, FORM_BYTES_MAX).await?;
        let (form, query) = (Query::parse(&form)?, Query::of(&parts)?);
        let field = |name| form.last(name).or_else(|| query.last(name)).filter(|value| !value.is_empty());
        Ok(Self(TokenRequest {
            grant_type: field("grant_type").map(str::to_owned),
            client_id: field("client_id").map(str::to_owned),
            client_secret: field("client_secret").map(Secret::new),
            scope: field("scope").map(str::to_owned),
            request_id,
        }))
    }
}

type Answer = ([(HeaderName, &'static str); 1], Json<TokenAnswer>);

macro_rules! token_routes {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {$(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "tokens", security(()), params(TokenForm),
            request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
            responses(
                (status = 200, description = "a token that is good for a day", body = TokenAnswer),
                (status = 400, description = "a field is missing or not offered", body = ImsBody),
                (status = 401, description = "client id or secret are wrong", body = ImsBody)))]
        async fn $name(State(state): State<ApiState>, Ask(request): Ask) -> Result<Answer, ApiError> {
            let token = state.control().issue_token(request).await?;
            Ok(shown(&token))
        }
    )*};
}

token_routes! {
    /// Gives a token; the oldest address.
    issue_v1 = "/v1";
    /// Gives a token; the address of the public request collections.
    issue_v2 = "/v2";
    /// Gives a token.
    issue_v3 = "/v3";
}

/// The one place where a token leaves the server.
fn shown(token: &IssuedToken) -> Answer {
    let answer = TokenAnswer {
        access_token: token.access_token.expose().to_owned(),
        token_type: "bearer",
        expires_in: token.expires_in_seconds,
    };
    ([(CACHE_CONTROL, "no-store")], Json(answer))
}
