//! Calls beyond `GET` and `POST`, and calls spelled byte for byte, as no library would let us spell them.

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ANSWER_SECONDS_MAX, Answer, FLOW_SERVICE, World, read};

impl World {
    /// `PATCH` with a JSON body under `If-Match`.
    ///
    /// # Errors
    /// No answer.
    pub async fn patch(&self, path: &str, etag: &str, body: &Value) -> Result<Answer> {
        read(self.request(Method::PATCH, path).header("if-match", etag).json(body)).await
    }

    /// `POST` with neither body nor length nor content type, as clients send actions.
    ///
    /// # Errors
    /// No answer.
    pub async fn act(&self, path: &str) -> Result<Answer> {
        self.spell("POST", path, &[], None).await
    }

    /// The document of a resource, as a single `GET` shows it.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn document(&self, collection: &str, id: &str) -> Result<Value> {
        let mut answer = self.get(&format!("{FLOW_SERVICE}/{collection}/{id}")).await?;
        let items = answer.body["items"].as_array().is_some_and(|items| items.len() == 1);
        if answer.status != 200 || !items {
            bail!("GET {collection}/{id} answered {} {}", answer.status, answer.body);
        }
        Ok(answer.body["items"][0].take())
    }

    /// Sends a request exactly as it is spelled here: the target is not encoded, and nothing but `Host`, `Connection`,
    /// the tutorial's four headers, the length of a body and the headers given is sent along.
    ///
    /// # Errors
    /// No answer, or one that is no HTTP.
    pub async fn spell(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer> {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
        let ours = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in ours.chain(headers.iter().copied()) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
        let exchange = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        };
        let limit = std::time::Duration::from_secs(ANSWER_SECONDS_MAX);
        let text = timeout(limit, exchange).await.context("waiting for an answer")?;
        parsed(&text.with_context(|| format!("sending {method} {target}"))?)
    }
}

/// An answer off the wire whose body is not cut into chunks.
fn parsed(text: &str) -> Result<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no end of the headers: {text}"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status: {head}"))?;
    let mut location = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match name.to_ascii_lowercase().as_str() {
            "location" => location = Some(value.trim().to_owned()),
            "transfer-encoding" => bail!("an answer in chunks can't be read here: {head}"),
            _ => {}
        }
    }
    Ok(Answer { status, location, body: Answer::body_of(body) })
}
