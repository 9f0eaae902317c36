//! Access tokens: signed, checked without the store, good for a day (platform-services.md 6).
//!
//! The payload is the published one: `created_at` and `expires_in` are milliseconds written as strings, and there is no
//! organisation inside. Tokens are signed with HMAC-SHA-256 under a key of the key ring, so that `headwaters token` can
//! sign without a server.

use headwaters_model::id::{ClientId, RunId, UserId};
use headwaters_model::secret::Secret;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

/// How long a token is good, milliseconds.
pub const TOKEN_LIFETIME_MS: i64 = 86_400_000;
/// How far a token's making may lie ahead of our clock, milliseconds: `headwaters token` may run on another machine.
const CLOCK_SKEW_MS_MAX: i64 = 300_000;
/// A longer text is no token of ours.
const TOKEN_BYTES_MAX: usize = 4096;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Tells tokens apart.
    pub id: String,
    /// Always `access_token`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose token it is.
    pub client_id: ClientId,
    /// The account's user id.
    pub user_id: UserId,
    /// Who issued it.
    #[serde(rename = "as")]
    pub issuer: String,
    /// When it was made: milliseconds since 1970, as a string.
    pub created_at: String,
    /// How long it is good: milliseconds, as a string.
    pub expires_in: String,
    /// Its scopes, comma-separated.
    pub scope: String,
}

/// Why a text is not a token that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of ours: another form, another key, another type.
    #[error("the token is not one of this server")]
    Foreign,
    /// It was ours, but its time is over.
    #[error("the token has expired")]
    Expired,
}

/// Signs and checks tokens with one key.
pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl Tokens {
    /// Takes the signing key of the key ring (any 32 random bytes).
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The payload has no `exp` and no `aud`: its own fields are checked in `verify`.
        validation.set_required_spec_claims::<&str>(&[]);
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self { signing: EncodingKey::from_secret(key), checking: DecodingKey::from_secret(key), validation }
    }

    /// Makes a token for an account.
    pub fn issue(&self, whose: &TokenSubject<'_>, now_ms: i64) -> Result<Secret, jsonwebtoken::errors::Error> {
        let claims = Claims {
            // Any time-ordered id tells tokens apart.
            id: format!("{now_ms}_{}", RunId::mint()),
            kind: "access_token".to_owned(),
            client_id: whose.client_id.clone(),
            user_id: whose.user_id.clone(),
            issuer: "headwaters".to_owned(),
            created_at: now_ms.to_string(),
            expires_in: TOKEN_LIFETIME_MS.to_string(),
            scope: whose.scopes.join(","),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing).map(Secret::new)
    }

    /// Reads a token and checks signature, type and time.
    pub fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Foreign);
        }
        let read = decode::<Claims>(token, &self.checking, &self.validation).map_err(|_| TokenError::Foreign)?;
        let claims = read.claims;
        let (Ok(created), Ok(lifetime)) = (claims.created_at.parse::<i64>(), claims.expires_in.parse::<i64>()) else {
            return Err(TokenError::Foreign);
        };
        if claims.kind != "access_token" || created > now_ms.saturating_add(CLOCK_SKEW_MS_MAX) {
            return Err(TokenError::Foreign);
        }
        if created.saturating_add(lifetime.min(TOKEN_LIFETIME_MS)) <= now_ms {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

/// For whom a token is made.
pub struct TokenSubject<'a> {
    /// The account's client id.
    pub client_id: &'a ClientId,
    /// The account's user id.
    pub user_id: &'a UserId,
    /// The scopes that the token carries.
    pub scopes: &'a [String],
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn issue(tokens: &Tokens) -> String {
        let (client_id, user_id) = (ClientId::mint(), UserId::mint());
        let scopes = ["openid".to_owned(), "AdobeID".to_owned()];
        let subject = TokenSubject { client_id: &client_id, user_id: &user_id, scopes: &scopes };
        tokens.issue(&subject, NOW).unwrap().expose().to_owned()
    }

    #[test]
    fn a_token_carries_the_published_payload() {
        let tokens = Tokens::new(&[7; 32]);
        let token = issue(&tokens);
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(payload["type"], "access_token");
        assert_eq!(payload["created_at"], "1700000000000");
        assert_eq!(payload["expires_in"], "86400000");
        assert_eq!(payload["scope"], "openid,AdobeID");
        assert_eq!(tokens.verify(&token, NOW).unwrap().scope, "openid,AdobeID");
    }

    #[test]
    fn a_token_is_good_for_a_day() {
        let tokens = Tokens::new(&[7; 32]);
        let token = issue(&tokens);
        assert!(tokens.verify(&token, NOW + TOKEN_LIFETIME_MS - 1).is_ok());
        assert_eq!(tokens.verify(&token, NOW + TOKEN_LIFETIME_MS), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_of_another_key_or_a_changed_one_is_foreign() {
        let token = issue(&Tokens::new(&[7; 32]));
        assert_eq!(Tokens::new(&[8; 32]).verify(&token, NOW), Err(TokenError::Foreign));
        let mut parts: Vec<&str> = token.split('.').collect();
        let longer = URL_SAFE_NO_PAD.encode(r#"{"id":"x"}"#);
        parts[1] = &longer;
        assert_eq!(Tokens::new(&[7; 32]).verify(&parts.join("."), NOW), Err(TokenError::Foreign));
        assert_eq!(Tokens::new(&[7; 32]).verify("abc", NOW), Err(TokenError::Foreign));
    }

    #[test]
    fn an_unsigned_token_is_foreign() {
        let token = issue(&Tokens::new(&[7; 32]));
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let payload = token.split('.').nth(1).unwrap();
        assert_eq!(Tokens::new(&[7; 32]).verify(&format!("{header}.{payload}."), NOW), Err(TokenError::Foreign));
    }
}
