//! Who may call: accounts, their secrets, their tokens and what each role may do (platform-services.md 6,
//! flow-service.md 2.2 and 20).

mod bootstrap;
mod known;
mod tokens;

use headwaters_model::account::{Account, Actor, Role};
use headwaters_model::id::OrgId;
use headwaters_model::sandbox::{DEFAULT_SANDBOX, Sandbox, SandboxState, Scope};
use headwaters_model::secret::Secret;
use headwaters_store::StoreError;

pub use self::bootstrap::Credentials;
pub(crate) use self::known::KnownCallers;
pub use self::tokens::{Claims, TOKEN_LIFETIME_MS, TokenError, TokenSubject, Tokens};
use crate::Control;

/// On whose behalf a command is carried out, and where.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The organisation and the sandbox that all it sees lies in.
    pub scope: Scope,
    /// The user and the client that resources name as their author.
    pub actor: Actor,
    /// What it may do.
    pub role: Role,
    /// The request that it makes, as it stands in errors and in the audit.
    pub request_id: String,
}

/// The headers that say who calls; absent ones are `None`, values are as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct AccessHeaders<'a> {
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// `x-api-key`.
    pub api_key: Option<&'a str>,
    /// `x-gw-ims-org-id`.
    pub org: Option<&'a str>,
    /// `x-sandbox-name`.
    pub sandbox_name: Option<&'a str>,
    /// `x-sandbox-id`.
    pub sandbox_id: Option<&'a str>,
}

/// Why a caller is turned away; the comment names the documented answer (flow-service.md 2.2).
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// 403 / 403010, edge body.
    #[error("Oauth token is missing.")]
    NoToken,
    /// 401 / 401013, edge body.
    #[error("Oauth token is not valid")]
    BadToken,
    /// 403 / 403000, edge body.
    #[error("Api Key is required")]
    NoApiKey,
    /// 403 / 403003, edge body.
    #[error("Api Key is invalid")]
    UnknownApiKey,
    /// 400 / 400003, edge body.
    #[error("Missing header")]
    NoOrg,
    /// 401 / FLOW-2001: the header is there, but empty.
    #[error("the header x-gw-ims-org-id is empty: send the id of your organisation")]
    EmptyOrg,
    /// 403 / 403025, edge body.
    #[error("Profile is not valid")]
    WrongOrg,
    /// 400 / FLOW-2105, only under the strict switch `sandbox`.
    #[error("the header x-sandbox-name is missing: name the sandbox, e.g. prod")]
    NoSandbox,
    /// 404 / FLOW-2100.
    #[error("there is no active sandbox of this name: {name}")]
    UnknownSandbox {
        /// What the caller named.
        name: String,
    },
    /// 404 / FLOW-2103.
    #[error("there is no sandbox of this name and id")]
    UnknownSandboxId,
    /// 404 / FLOW-2106.
    #[error("this organisation has no default sandbox: name one in x-sandbox-name")]
    NoDefaultSandbox,
    /// 400 / FLOW-2110.
    #[error("x-sandbox-id is not allowed with a user token: send x-sandbox-name")]
    SandboxIdByUser,
    /// 403 / FLOW-2111.
    #[error("x-sandbox-name can not be * with a user token: name one sandbox")]
    AllSandboxesByUser,
    /// 400 / FLOW-2113.
    #[error("x-sandbox-name can not be * for this request: name one sandbox")]
    AllSandboxes,
    /// 403 / FLOW-2118: the role of the account does not suffice.
    #[error("this account may not do that: it has the role {}, {} is needed", role_name(*.has), role_name(*.needs))]
    Denied {
        /// What the account has.
        has: Role,
        /// What it would need.
        needs: Role,
    },
    /// 403 / FLOW-2121: the account may not manage sources, so nothing happens at its word.
    #[error("this account may not manage sources: it has the role {}, manage is needed", role_name(*.has))]
    NotManaging {
        /// What the account has.
        has: Role,
    },
    /// 500 / FLOW-1400, or 503 when the store is busy.
    #[error("could not use the metadata store")]
    Store(#[from] StoreError),
}

/// A request for a token (platform-services.md 6).
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    /// Must be `client_credentials`.
    pub grant_type: Option<String>,
    /// Whose token.
    pub client_id: Option<String>,
    /// The secret of the account.
    pub client_secret: Option<Secret>,
    /// The scopes, comma- or blank-separated; none means all of the account's.
    pub scope: Option<String>,
    /// The request that asks, as it stands in the audit when it is refused.
    pub request_id: Option<String>,
}

/// A token and how long it is good.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The text for the `Authorization` header.
    pub access_token: Secret,
    /// Seconds.
    pub expires_in_seconds: i64,
}

/// Why no token is given; the display is the `error_description`.
#[derive(Debug, thiserror::Error)]
pub enum TokenDenied {
    /// 400 `invalid_request`.
    #[error("the field is missing: {0}")]
    FieldMissing(&'static str),
    /// 400 `unsupported_grant_type`.
    #[error("only the grant type client_credentials is supported")]
    GrantType,
    /// 400 `invalid_scope`.
    #[error("this account may not ask for the scope: {0}")]
    Scope(String),
    /// 401 `invalid_client`.
    #[error("client_id or client_secret is wrong")]
    Client,
    /// 500.
    #[error("could not use the metadata store")]
    Store(#[from] StoreError),
    /// 500: the key ring holds a key that can not sign.
    #[error("could not sign the token")]
    Signing,
}

impl AccessError {
    /// What to do, where the failure knows.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

impl TokenDenied {
    /// What to do, where the failure knows.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

impl Caller {
    /// Refuses what the caller's role does not include.
    pub fn require(&self, needs: Role) -> Result<(), AccessError> {
        if self.role >= needs { Ok(()) } else { Err(AccessError::Denied { has: self.role, needs }) }
    }

    /// Refuses a caller who may not make things happen: switch a flow, repeat a run.
    pub fn require_managing(&self) -> Result<(), AccessError> {
        self.require(Role::Manage).map_err(|_| AccessError::NotManaging { has: self.role })
    }
}

impl Control {
    /// Gives a token to an account that knows its secret.
    pub async fn issue_token(&self, request: TokenRequest) -> Result<IssuedToken, TokenDenied> {
        let grant_type = request.grant_type.ok_or(TokenDenied::FieldMissing("grant_type"))?;
        if grant_type != "client_credentials" {
            return Err(TokenDenied::GrantType);
        }
        let client_id = request.client_id.ok_or(TokenDenied::FieldMissing("client_id"))?;
        let secret = request.client_secret.ok_or(TokenDenied::FieldMissing("client_secret"))?;
        let client_id = client_id.parse().map_err(|_| TokenDenied::Client)?;
        let Some(account) = self.store.authenticate(&client_id, &secret).await? else {
            self.record_refused_login(&client_id, request.request_id).await?;
            return Err(TokenDenied::Client);
        };
        let scopes = granted(&account, request.scope.as_deref())?;
        let subject = TokenSubject { client_id: &account.client_id, user_id: &account.user_id, scopes: &scopes };
        let token = self.tokens.issue(&subject, self.clock.now_ms()).map_err(|_| TokenDenied::Signing)?;
        Ok(IssuedToken { access_token: token, expires_in_seconds: TOKEN_LIFETIME_MS / 1000 - 1 })
    }

    /// Finds out who calls, in the documented order: token, api key, organisation, sandbox (flow-service.md 2.2).
    pub async fn authenticate(&self, headers: AccessHeaders<'_>, request_id: String) -> Result<Caller, AccessError> {
        let token = bearer(headers.authorization).ok_or(AccessError::NoToken)?;
        let claims = self.tokens.verify(token, self.clock.now_ms()).map_err(|_| AccessError::BadToken)?;
        let account = self.callers.account(&self.store, &claims.client_id).await?.ok_or(AccessError::BadToken)?;

        let api_key = headers.api_key.filter(|key| !key.is_empty()).ok_or(AccessError::NoApiKey)?;
        if api_key != account.client_id.as_str() {
            return Err(AccessError::UnknownApiKey);
        }
        let org = headers.org.ok_or(AccessError::NoOrg)?.trim();
        if org.is_empty() {
            return Err(AccessError::EmptyOrg);
        }
        if org.parse::<OrgId>().ok().as_ref() != Some(&account.org) {
            return Err(AccessError::WrongOrg);
        }
        let scope = self.sandbox_scope(&account, headers).await?;
        Ok(Caller { scope, actor: account.actor(), role: account.role, request_id })
    }

    async fn sandbox_scope(&self, account: &Account, headers: AccessHeaders<'_>) -> Result<Scope, AccessError> {
        let service = account.role == Role::Service;
        let name = headers.sandbox_name.map(str::trim).filter(|name| !name.is_empty());
        if headers.sandbox_id.is_some() && !service {
            return Err(AccessError::SandboxIdByUser);
        }
        match name {
            Some("*") if service => return Err(AccessError::AllSandboxes),
            Some("*") => return Err(AccessError::AllSandboxesByUser),
            None if self.settings.strict.sandbox && headers.sandbox_id.is_none() => return Err(AccessError::NoSandbox),
            _ => {}
        }
        if let Some(id) = headers.sandbox_id {
            let sandboxes = self.store.sandboxes(&account.org).await?;
            let is_meant = |sandbox: &&Sandbox| {
                sandbox.id.to_string() == id && name.is_none_or(|name| name == sandbox.name) && is_active(sandbox)
            };
            return sandboxes.iter().find(is_meant).map(Sandbox::scope).ok_or(AccessError::UnknownSandboxId);
        }
        let found = self.callers.scope(&self.store, &account.org, name.unwrap_or(DEFAULT_SANDBOX)).await?;
        found.ok_or_else(|| match name {
            Some(name) => AccessError::UnknownSandbox { name: name.to_owned() },
            None => AccessError::NoDefaultSandbox,
        })
    }
}

fn is_active(sandbox: &Sandbox) -> bool {
    sandbox.state == SandboxState::Active
}

/// The token in an `Authorization` header; the scheme word may be written in any case (platform-services.md 0.3).
fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The scopes that a request gets: those it names, if the account has them all.
fn granted(account: &Account, asked: Option<&str>) -> Result<Vec<String>, TokenDenied> {
    let named = asked.into_iter().flat_map(|scopes| scopes.split([',', ' '])).filter(|scope| !scope.is_empty());
    let named: Vec<String> = named.map(str::to_owned).collect();
    if let Some(foreign) = named.iter().find(|scope| !account.scopes.contains(scope)) {
        return Err(TokenDenied::Scope(foreign.clone()));
    }
    Ok(if named.is_empty() { account.scopes.clone() } else { named })
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::View => "view",
        Role::Manage => "manage",
        Role::Service => "service",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_word_may_be_written_in_any_case() {
        assert_eq!(bearer(Some("Bearer abc")), Some("abc"));
        assert_eq!(bearer(Some("bearer  abc ")), Some("abc"));
        for header in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic abc")] {
            assert_eq!(bearer(header), None, "{header:?}");
        }
    }

    #[test]
    fn a_token_has_the_scopes_that_were_asked_for_and_no_others() {
        let account = Account::mint(OrgId::mint(), "a", Role::Manage, 0);
        assert_eq!(granted(&account, None).unwrap(), account.scopes);
        assert_eq!(granted(&account, Some("openid, AdobeID")).unwrap(), ["openid", "AdobeID"]);
        assert!(matches!(granted(&account, Some("openid,admin")), Err(TokenDenied::Scope(scope)) if scope == "admin"));
    }
}
