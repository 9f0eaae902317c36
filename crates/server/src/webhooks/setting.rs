//! The setting `webhooks`: a list of `{url, secret}`, tables in the file and JSON in the environment.
//!
//! No message shows a value: the URL of a webhook may be as secret as its secret.

use headwaters_control::{WEBHOOKS_MAX, Webhook};
use headwaters_model::secret::Secret;
use serde_json::Value;
use url::Url;

use crate::config::Config;
use crate::exit::CliError;

/// What an entry consists of.
const KEYS: [&str; 2] = ["url", "secret"];

/// The webhooks as the configuration names them.
pub(crate) fn webhooks(config: &Config) -> Result<Vec<Webhook>, CliError> {
    let entries = config.entries("webhooks").map_err(with_example)?;
    if entries.len() > WEBHOOKS_MAX {
        return Err(wrong(format!("there are {} webhooks, {WEBHOOKS_MAX} are the most", entries.len())));
    }
    let mut webhooks: Vec<Webhook> = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        let number = at + 1;
        let webhook = webhook(entry).map_err(|reason| wrong(format!("webhook {number} {reason}")))?;
        if let Some(same) = webhooks.iter().position(|other| other.url == webhook.url) {
            return Err(wrong(format!("webhook {number} has the url of webhook {}", same + 1)));
        }
        webhooks.push(webhook);
    }
    Ok(webhooks)
}

fn webhook(entry: &Value) -> Result<Webhook, String> {
    let fields = entry.as_object().ok_or("is not a table with url and secret")?;
    if let Some(unknown) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("has the unknown key `{unknown}`"));
    }
    let text = |key: &str| {
        let text = fields.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| format!("has no {key}"))
    };
    let url = Url::parse(text("url")?).map_err(|error| format!("has a url that is none: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("has a url that is neither http nor https".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password in its url, which is not sent: deliveries are signed instead".to_owned());
    }
    Ok(Webhook { url: url.into(), secret: Secret::new(text("secret")?) })
}

fn wrong(message: String) -> CliError {
    with_example(CliError::usage(message))
}

fn with_example(error: CliError) -> CliError {
    error.with_hint(
        "webhooks is a list of {url, secret}: a [[webhooks]] for each in headwaters.toml, or \
         HEADWATERS_WEBHOOKS='[{\"url\": \"https://example.com/runs\", \"secret\": \"…\"}]'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(text: &str) -> Result<Vec<Webhook>, CliError> {
        webhooks(&Config::parse(text, None, |_| None).unwrap())
    }

    fn in_environment(name: &str) -> Option<String> {
        let list = r#"[{"url": "http://127.0.0.1:9/a", "secret": "hunter2"}]"#;
        (name == "HEADWATERS_WEBHOOKS").then(|| list.to_owned())
    }

    fn refused(text: &str) -> String {
        of_file(text).unwrap_err().to_string()
    }

    #[test]
    fn webhooks_are_tables_of_the_file() {
        let text = "[[webhooks]]\nurl = \"http://127.0.0.1:9/a\"\nsecret = \"s\"\n\
                    [[webhooks]]\nurl = \"https://example.com\"\nsecret = \"t\"\n";
        let read = of_file(text).unwrap();
        let urls: Vec<&str> = read.iter().map(|webhook| webhook.url.as_str()).collect();
        assert_eq!(urls, ["http://127.0.0.1:9/a", "https://example.com/"]);
        assert_eq!(read[1].secret.expose(), "t");
        assert!(of_file("").unwrap().is_empty());
    }

    #[test]
    fn webhooks_of_the_environment_are_json() {
        let config = Config::parse("[[webhooks]]\nurl = \"http://b\"\nsecret = \"s\"\n", None, in_environment).unwrap();
        let read = webhooks(&config).unwrap();
        assert_eq!((read.len(), read[0].url.as_str()), (1, "http://127.0.0.1:9/a"), "the environment beats the file");
        let broken = Config::parse("", None, |name| (name == "HEADWATERS_WEBHOOKS").then(|| "{hunter2".to_owned()));
        let message = webhooks(&broken.unwrap()).unwrap_err().to_string();
        assert!(message.contains("HEADWATERS_WEBHOOKS") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_wrong_webhook_is_named_by_its_number_and_its_values_are_not_shown() {
        let entry = |url: &str, rest: &str| format!("[[webhooks]]\nurl = \"{url}\"\n{rest}\n");
        let secret = "secret = \"hunter2\"";
        for (text, said) in [
            (entry("http://127.0.0.1/hunter2", ""), "webhook 1 has no secret"),
            (entry("http://127.0.0.1", "secret = \"\""), "webhook 1 has no secret"),
            (entry("", secret), "webhook 1 has no url"),
            (entry("hunter2", secret), "webhook 1 has a url that is none"),
            (entry("ftp://hunter2", secret), "neither http nor https"),
            (entry("http://u:hunter2@host", secret), "a user or a password"),
            (entry("http://host", &format!("{secret}\ntoken = \"hunter2\"")), "unknown key `token`"),
            (entry("http://host", secret).repeat(2), "webhook 2 has the url of webhook 1"),
            ("webhooks = \"hunter2\"".to_owned(), "is not valid"),
            ("webhooks = [\"hunter2\"]".to_owned(), "webhook 1 is not a table"),
        ] {
            let message = refused(&text);
            assert!(message.contains(said), "{text}: {message}");
            assert!(!message.contains("hunter2") && message.contains("[[webhooks]]"), "{message}");
        }
    }
}
