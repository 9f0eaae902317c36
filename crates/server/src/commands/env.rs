//! `headwaters env`: what a client needs, in the form that it reads.

use serde_json::{Value, json};

use super::credentials::CredentialsFile;
use super::token;
use crate::cli::{Env, Format};
use crate::config::Config;
use crate::exit::CliError;
use crate::place::Directory;

/// Prints it.
pub(crate) async fn run(arguments: Env, config: &Config) -> Result<(), CliError> {
    let format = match arguments.format {
        Some(format) => format,
        None => super::parsed::<Format>(config, "format")?.unwrap_or(Format::Shell),
    };
    let directory = Directory::existing(arguments.place.data, config)?;
    let credentials = CredentialsFile::require(directory.path())?;
    let token = token::fresh(&directory, &credentials, config).await?;
    super::print(&shown(format, &credentials, &token))
}

fn shown(format: Format, credentials: &CredentialsFile, token: &str) -> String {
    match format {
        Format::Shell => shell(&variables(credentials, token)),
        Format::Json => {
            pretty(&variables(credentials, token).into_iter().map(|(key, value)| (key, Value::from(value))).collect())
        }
        Format::Aepp => pretty(&aepp(credentials, token)),
        Format::Postman => pretty(&postman(credentials, token)),
    }
}

/// The names that the tutorial's calls use.
fn variables(credentials: &CredentialsFile, token: &str) -> [(&'static str, String); 5] {
    [
        ("PLATFORM_URL", credentials.base_url.clone()),
        ("ACCESS_TOKEN", token.to_owned()),
        ("API_KEY", credentials.client_id.clone()),
        ("ORG_ID", credentials.org_id.clone()),
        ("SANDBOX_NAME", credentials.sandbox.clone()),
    ]
}

fn shell(variables: &[(&str, String)]) -> String {
    let lines: Vec<String> =
        variables.iter().map(|(name, value)| format!("export {name}='{}'", value.replace('\'', r"'\''"))).collect();
    lines.join("\n")
}

/// The arguments of `aepp.configure(**…)`: only its environment `support` takes an endpoint and a token of ours.
fn aepp(credentials: &CredentialsFile, token: &str) -> Value {
    json!({
        "org_id": credentials.org_id,
        "client_id": credentials.client_id,
        "secret": credentials.client_secret,
        "scopes": credentials.scopes.join(","),
        "sandbox": credentials.sandbox,
        "environment": "support",
        "endpoint": credentials.base_url,
        "accesstoken": token,
    })
}

fn postman(credentials: &CredentialsFile, token: &str) -> Value {
    let values: Vec<Value> = [
        ("PLATFORM_GATEWAY", credentials.base_url.as_str()),
        ("IMS", credentials.base_url.as_str()),
        ("ACCESS_TOKEN", token),
        ("API_KEY", &credentials.client_id),
        ("CLIENT_SECRET", &credentials.client_secret),
        ("IMS_ORG", &credentials.org_id),
        ("SANDBOX_NAME", &credentials.sandbox),
    ]
    .map(|(key, value)| json!({ "key": key, "value": value, "enabled": true }))
    .into();
    json!({ "name": "Headwaters", "values": values })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> CredentialsFile {
        CredentialsFile {
            base_url: "http://127.0.0.1:8480".into(),
            org_id: "0123456789ABCDEF01234567@AdobeOrg".into(),
            client_id: "0123456789abcdef0123456789abcdef".into(),
            client_secret: "s3cret".into(),
            scopes: vec!["openid".into(), "session".into()],
            sandbox: "it's".into(),
        }
    }

    #[test]
    fn the_shell_form_can_be_evaluated_whatever_the_values_hold() {
        insta::assert_snapshot!(shown(Format::Shell, &credentials(), "token"), @r"
        export PLATFORM_URL='http://127.0.0.1:8480'
        export ACCESS_TOKEN='token'
        export API_KEY='0123456789abcdef0123456789abcdef'
        export ORG_ID='0123456789ABCDEF01234567@AdobeOrg'
        export SANDBOX_NAME='it'\''s'
        ");
    }

    #[test]
    fn the_other_forms_are_json() {
        for format in [Format::Json, Format::Aepp, Format::Postman] {
            let text = shown(format, &credentials(), "token");
            assert!(serde_json::from_str::<Value>(&text).unwrap().is_object(), "{text}");
        }
    }

    #[test]
    fn the_client_secret_is_only_where_a_client_fetches_its_own_tokens() {
        for format in [Format::Shell, Format::Json] {
            assert!(!shown(format, &credentials(), "token").contains("s3cret"));
        }
    }
}
