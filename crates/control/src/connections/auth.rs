//! How to log in: checked, tried out, and taken apart into what may be shown and what goes into the vault.

use headwaters_model::connection::{Auth, Connection, MASK};
use headwaters_model::job::SourceAccess;
use headwaters_model::resource::Resource;
use headwaters_model::secret::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Control;
use crate::access::Caller;
use crate::error::CommandError;
use crate::life_cycle::find;
use crate::specs::KnownConnection;

/// How to log in, as a body says it.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthInput {
    /// The name of the auth spec.
    pub spec_name: Option<String>,
    /// The parameters in clear.
    pub params: Option<Map<String, Value>>,
}

impl std::fmt::Debug for AuthInput {
    /// Parameters may hold secrets: only their names are shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.params.iter().flatten().map(|(key, _)| key).collect();
        f.debug_struct("AuthInput").field("spec_name", &self.spec_name).field("params", &keys).finish()
    }
}

impl AuthInput {
    /// Whether it is just what a connection shows, masks included: nobody wants to log in another way.
    pub(super) fn is_shown_by(&self, connection: &Resource<Connection>) -> bool {
        let shown = |auth: &Auth| {
            self.spec_name.as_ref() == Some(&auth.spec_name) && self.params.as_ref() == Some(&auth.params)
        };
        connection.body.auth.as_ref().is_some_and(shown)
    }
}

impl Control {
    /// Checks how to log in, and tries it out where the settings say so and it is no draft's. Where a caller echoes a
    /// mask of the connection as it was `before`, the stored secret stays (flow-service.md 9).
    pub(super) async fn compose_auth(
        &self,
        caller: &Caller,
        known: &KnownConnection,
        auth: &AuthInput,
        before: Option<&Resource<Connection>>,
        draft: bool,
    ) -> Result<(Auth, Vec<(String, Secret)>), CommandError> {
        let mut auth = auth.clone();
        if let (Some(sent), Some(before)) = (&auth.params, before.filter(|before| before.body.auth.is_some())) {
            let (current, stored) = self.stored_access(before).await?;
            if current.etag != before.etag {
                // The masks that the caller saw stood for other secrets.
                return Err(CommandError::Stale { resource: current.reference(), current: current.etag });
            }
            auth.params = Some(self.ports.sources.restored(sent, &stored));
        }
        let (mut access, sent) = decide_auth(known, &auth)?;
        self.ports.sources.check(&access).map_err(CommandError::Connect)?;
        let params = self.hide_secrets(&mut access, sent);
        if self.settings.verify_on_create && !draft {
            let _turn = self.turn_at_sources(caller).await?;
            self.try_out(&access).await?;
        }
        Ok((Auth { spec_name: access.auth_spec, params }, access.secrets))
    }

    /// How the source of a stored connection is reached, secrets in clear. Drafts without auth can not be reached.
    pub(crate) async fn access(&self, connection: &Resource<Connection>) -> Result<SourceAccess, CommandError> {
        self.stored_access(connection).await.map(|(_, access)| access)
    }

    /// The same, with the connection as it stands now. Both are read at once: the password of one version never goes to
    /// the server of another.
    async fn stored_access(
        &self,
        connection: &Resource<Connection>,
    ) -> Result<(Resource<Connection>, SourceAccess), CommandError> {
        let id = connection.id.to_string();
        let mut tx = self.store.read(&connection.scope).await?;
        let current = find::<Connection>(&mut tx, &id).await?;
        let secrets = tx.secrets(&id).await?;
        drop(tx);
        let Some(auth) = &current.body.auth else {
            return Err(CommandError::missing_field("/auth"));
        };
        let known = self.specs.connection(current.body.connection_spec.id, "/connectionSpec/id")?;
        let mut params = known.auth(&auth.spec_name)?.as_text(&auth.params);
        params.retain(|key, _| secrets.iter().all(|(secret, _)| secret != key));
        let access = SourceAccess { spec: known.spec.id(), auth_spec: auth.spec_name.clone(), params, secrets };
        Ok((current, access))
    }

    /// Moves everything that the source would mask out of the clear parameters, and returns the parameters as they may
    /// be shown: those that are no secrets as they were sent.
    fn hide_secrets(&self, access: &mut SourceAccess, sent: Map<String, Value>) -> Map<String, Value> {
        let masked = self.ports.sources.masked(access);
        let hidden: Vec<String> = access
            .params
            .iter()
            .filter(|(key, value)| masked.get(*key).is_some_and(|shown| shown != *value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in hidden {
            if let Some(value) = access.params.remove(&key) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                access.secrets.push((key, Secret::new(text)));
            }
        }
        let is_secret = |key: &String| access.secrets.iter().any(|(secret, _)| secret == key);
        let shown = |key: String, value: Value| {
            let value = if is_secret(&key) { masked.get(&key).cloned().unwrap_or_else(|| MASK.into()) } else { value };
            (key, value)
        };
        sent.into_iter().map(|(key, value)| shown(key, value)).collect()
    }
}

/// Checks how to log in against the auth spec, and takes the secrets out of it.
fn decide_auth(known: &KnownConnection, auth: &AuthInput) -> Result<(SourceAccess, Map<String, Value>), CommandError> {
    let name = auth.spec_name.as_deref().ok_or_else(|| CommandError::missing_field("/auth/specName"))?;
    let schema = known.auth(name)?;
    let sent = auth.params.clone().ok_or_else(|| CommandError::missing_field("/auth/params"))?;
    schema.check(&sent, "/auth/params")?;
    let mut params = schema.as_text(&sent);
    let mut secrets = Vec::new();
    for key in schema.secrets() {
        if let Some(Value::String(text)) = params.remove(key) {
            secrets.push((key.clone(), Secret::new(text)));
        }
    }
    Ok((SourceAccess { spec: known.spec.id(), auth_spec: name.to_owned(), params, secrets }, sent))
}

#[cfg(test)]
mod tests {
    use headwaters_model::spec::MYSQL;
    use serde_json::json;

    use super::*;
    use crate::error::Cause;
    use crate::specs::fixture::specs;

    fn decide(name: Option<&str>, params: Value) -> Result<(SourceAccess, Map<String, Value>), CommandError> {
        let specs = specs();
        let auth = AuthInput { spec_name: name.map(Into::into), params: params.as_object().cloned() };
        decide_auth(specs.connection(MYSQL, "").unwrap(), &auth)
    }

    #[test]
    fn a_secret_is_taken_out_of_the_parameters() {
        let params = json!({ "server": "db", "port": 3306, "password": "hunter2", "note": "kept" });
        let (access, sent) = decide(Some("Basic Authentication"), params).unwrap();
        assert_eq!(Value::Object(access.params), json!({ "server": "db", "port": "3306", "note": "kept" }));
        let [(key, secret)] = &access.secrets[..] else { panic!("one secret") };
        assert_eq!((key.as_str(), secret.expose()), ("password", "hunter2"));
        assert_eq!(sent["port"], 3306, "what was sent is echoed as it was sent");
    }

    #[test]
    fn every_rule_has_its_cause() {
        let cause = |name, params| decide(name, params).unwrap_err().cause();
        assert_eq!(cause(None, json!({})), Cause::MissingField);
        assert_eq!(cause(Some("Basic Authentication"), json!(null)), Cause::MissingField);
        assert_eq!(cause(Some("OAuth"), json!({})), Cause::UnknownAuthSpec);
        assert_eq!(cause(Some("Basic Authentication"), json!({})), Cause::MissingField);
        let wrong = json!({ "server": [], "password": "x" });
        assert_eq!(cause(Some("Basic Authentication"), wrong), Cause::InvalidValue);
    }
}
