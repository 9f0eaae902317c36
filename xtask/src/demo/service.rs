//! The demonstration's server, and calls to it that are shown as they are made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{database, keeper};
use crate::http::{self, percent_encoded};
use crate::shell;

/// How long the server may take to be ready, in tenths of a second.
const START_TENTHS_MAX: u32 = 300;
/// How many lines of an answer are shown.
const LINES_SHOWN_MAX: usize = 30;
/// The longest line that is shown whole, in characters.
const LINE_SHOWN_MAX: usize = 150;

/// A running server and what its clients send with each call.
pub(crate) struct Service {
    process: Child,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    headers: Vec<(&'static str, String)>,
}

impl Service {
    /// Starts the server in `dir` and waits until it is ready.
    pub(crate) fn start(binary: &Path, dir: &Path) -> Result<Self> {
        let port = database::free_port()?;
        let data = dir.join("headwaters-data");
        let mut command = Command::new(binary);
        command.arg("serve").arg("--data").arg(&data).arg("--listen").arg(format!("127.0.0.1:{port}"));
        let process = keeper::start(command.current_dir(dir), dir, "headwaters")?;
        let mut service = Self { process, data, port, headers: Vec::new() };
        service.wait(dir)?;
        Ok(service)
    }

    fn wait(&mut self, dir: &Path) -> Result<()> {
        for _ in 0..START_TENTHS_MAX {
            if http::send(self.port, "GET", "/readyz", &[], "").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the server ended with {status}:\n{}", keeper::log(dir, "headwaters"));
            }
            shell::pause(Duration::from_millis(100));
        }
        bail!("the server is not ready:\n{}", keeper::log(dir, "headwaters"))
    }

    /// Fetches a token as a client would, and sends it with each call from now on.
    pub(crate) fn log_in(&mut self) -> Result<()> {
        let path = self.data.join("credentials.json");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let credentials: Value = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let field =
            |name: &str| credentials[name].as_str().with_context(|| format!("{} has no {name}", path.display()));
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            percent_encoded(field("client_id")?),
            percent_encoded(field("client_secret")?)
        );
        println!("    POST /ims/token/v3   (grant_type=client_credentials, client_id=…, client_secret=…)");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = http::send(self.port, "POST", "/ims/token/v3", &headers, &form)?;
        let token = answer.json()?["access_token"].as_str().map(str::to_owned);
        let token = token.with_context(|| format!("no token: {} {}", answer.status, answer.body))?;
        println!("    {} with a token of {} characters", answer.status, token.len());
        self.headers = vec![
            ("authorization", format!("Bearer {token}")),
            ("x-api-key", field("client_id")?.to_owned()),
            ("x-gw-ims-org-id", field("org_id")?.to_owned()),
            ("x-sandbox-name", field("sandbox")?.to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        Ok(())
    }

    /// Makes one call and shows it with its answer; another status than the tutorial's is an error.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>, expected: u16) -> Result<Value> {
        self.call_for(method, path, body, expected, "")
    }

    /// As [`Self::call`], and of the answer only the part that the pointer names is shown.
    pub(crate) fn call_for(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        expected: u16,
        part: &str,
    ) -> Result<Value> {
        println!("\n    {method} {path}");
        if let Some(body) = body {
            show(body);
        }
        let answer = self.send(method, path, body)?;
        println!("    {}", answer.status);
        let json = answer.json()?;
        if let Some(shown) = json.pointer(part).filter(|shown| !shown.is_null()) {
            if !part.is_empty() {
                println!("      (of the answer, {part})");
            }
            show(shown);
        }
        if answer.status != expected {
            bail!("{method} {path} answered {}, and the tutorial says {expected}: {}", answer.status, answer.body);
        }
        Ok(json)
    }

    /// Makes one call without showing it.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<http::Answer> {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        http::send(self.port, method, path, &headers, &body.map(Value::to_string).unwrap_or_default())
    }

    /// Stops the server by SIGTERM, as an operator would, and checks that it ends with 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        shell::run(Command::new("kill").arg("-TERM").arg(self.process.id().to_string()))?;
        let status = self.process.wait().context("waiting for the server to stop")?;
        if !status.success() {
            bail!("the server ended with {status} after SIGTERM");
        }
        Ok(())
    }

    /// The number of its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until somebody else ends the server.
    pub(crate) fn wait_for_end(mut self) -> Result<()> {
        self.process.wait().map(drop).context("waiting for the server")
    }
}

/// Shows a JSON document, shortened.
fn show(value: &Value) {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let lines = text.lines().count();
    for line in text.lines().take(LINES_SHOWN_MAX) {
        let short: String = line.chars().take(LINE_SHOWN_MAX).collect();
        println!("      {short}{}", if short.len() < line.len() { "…" } else { "" });
    }
    if lines > LINES_SHOWN_MAX {
        println!("      … {} more lines", lines - LINES_SHOWN_MAX);
    }
}
