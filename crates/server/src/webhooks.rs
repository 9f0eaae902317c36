//! The way to webhooks: the setting that names them, and a client that posts to them.
//!
//! The client goes straight to the host of the URL: no proxy, no redirect, and the certificate of `https` is checked
//! against the authorities that this machine trusts. What a webhook answers is not read beyond its status.

mod setting;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use headwaters_control::Webhook;
use headwaters_control::ports::{Delivery, NotTaken, Webhooks};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::Verifier;

pub(crate) use self::setting::webhooks;
use crate::exit::CliError;
use crate::place::with_causes;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// For how long a connection is kept that is not used.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How many of them are kept for one host.
const IDLE_CONNECTIONS_MAX: usize = 2;
/// What we call ourselves.
const USER_AGENT: &str = concat!("headwaters/", env!("CARGO_PKG_VERSION"));

/// A client that posts to webhooks.
pub(crate) struct WebhooksPort(Client);

impl WebhooksPort {
    /// A client for these. Fails when one of them needs authorities to trust and this machine has none.
    pub(crate) fn to(webhooks: &[Webhook]) -> Result<Self, CliError> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .no_proxy()
            .http1_only()
            .connect_timeout(CONNECT_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
        let client = match webhooks.iter().any(|webhook| webhook.url.starts_with("https:")) {
            true => client.use_preconfigured_tls(tls()?),
            // Never used, and must not ask this machine for authorities that it may not have.
            false => client.tls_built_in_root_certs(false),
        };
        let built = client.build();
        let failed = |error| CliError::other(format!("could not prepare for webhooks: {}", with_causes(&error)));
        Ok(Self(built.map_err(failed)?))
    }
}

impl Webhooks for WebhooksPort {
    fn post<'a>(&'a self, url: &'a str, delivery: &'a Delivery<'a>) -> BoxFuture<'a, Result<(), NotTaken>> {
        let request = self
            .0
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("x-adobe-delivery-id", delivery.id)
            .header("x-adobe-event-code", delivery.event_code)
            .header("x-adobe-signature", delivery.signature)
            .body(delivery.body.to_owned());
        Box::pin(async move {
            // The URL is no matter for logs: a part of it may be what keeps others out.
            let answer = request.send().await;
            let answer = answer.map_err(|error| NotTaken { reason: with_causes(&error.without_url()) })?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                status => Err(NotTaken { reason: format!("answered {}", status.as_u16()) }),
            }
        })
    }
}

fn tls() -> Result<ClientConfig, CliError> {
    let failed = |error: rustls::Error| {
        CliError::other(format!("could not prepare TLS for webhooks: {error}")).with_hint(
            "install this machine's certificates of authorities (ca-certificates), or name them in SSL_CERT_FILE",
        )
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(provider.clone()).map_err(failed)?;
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(failed)?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}
