//! As much of an HTTP client as walking through the API takes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// How long an answer may take.
const ANSWER_SECONDS_MAX: u64 = 60;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON; `null` if there is none.
    pub(crate) fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&self.body).with_context(|| format!("the answer is not JSON: {}", self.body))
    }
}

/// Sends one request to 127.0.0.1. It speaks HTTP/1.0, so that the answer is not chunked and ends with the connection.
pub(crate) fn send(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    let tried = || format!("{method} {path} on port {port}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).with_context(tried)?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    let mut request =
        format!("{method} {path} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    request += body;
    stream.write_all(request.as_bytes()).with_context(tried)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(tried)?;
    parse(&String::from_utf8_lossy(&answer)).with_context(tried)
}

fn parse(answer: &str) -> Result<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its headers")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the answer has no status")?;
    Ok(Answer { status, body: body.to_owned() })
}

/// A text as part of a query string.
pub(crate) fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_status_and_body() {
        let answer = parse("HTTP/1.0 201 Created\r\ncontent-type: application/json\r\n\r\n{\"id\":\"x\"}").unwrap();
        assert_eq!((answer.status, answer.json().unwrap()["id"].as_str()), (201, Some("x")));
    }

    #[test]
    fn an_answer_that_was_cut_is_an_error() {
        assert!(parse("HTTP/1.0 200 OK\r\ncontent-").is_err());
    }

    #[test]
    fn a_filter_survives_the_query_string() {
        assert_eq!(percent_encoded("name==\"mysql\""), "name%3D%3D%22mysql%22");
    }
}
