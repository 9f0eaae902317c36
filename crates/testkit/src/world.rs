//! A running `headwaters` with a data directory of its own, and a client that speaks to it as the tutorials do.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use headwaters_testkit::world::World;
//!
//! // In a test of the package that builds the binary: env!("CARGO_BIN_EXE_headwaters")
//! let mut world = World::options("target/debug/headwaters").start().await?;
//! let specs = world.get("/data/foundation/flowservice/connectionSpecs").await?;
//! assert_eq!(specs.status, 200);
//! world.kill().await?;
//! world.restart().await?;
//! # Ok(())
//! # }
//! ```

mod calls;
mod flows;
mod recurring;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::cache::{run_dir, unique_name};
use crate::crash::{CRASH_POINT, signal};
use crate::keeper::{self, Kept};
use crate::server::free_port;

pub use self::flows::{CopyOnce, now_s};
pub use self::recurring::{PERIOD_S, Recurring, quick_recurring};

/// Base path of the Flow Service.
pub const FLOW_SERVICE: &str = "/data/foundation/flowservice";
/// Base path of the Catalog.
pub const CATALOG: &str = "/data/foundation/catalog";

/// How long the server may take to be ready.
const READY_SECONDS_MAX: u64 = 30;
/// How long the server may take to end after SIGTERM.
const END_SECONDS_MAX: u64 = 60;
/// How long one answer may take.
const ANSWER_SECONDS_MAX: u64 = 60;

/// What a server is started with.
#[derive(Debug)]
pub struct WorldOptions {
    binary: PathBuf,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    configuration: Option<String>,
    data: Option<PathBuf>,
}

/// An answer: status and JSON body (`null` if there is none, a string if it is no JSON).
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header `Location`.
    pub location: Option<String>,
    /// The body.
    pub body: Value,
}

/// A running server.
#[derive(Debug)]
pub struct World {
    options: WorldOptions,
    dir: PathBuf,
    /// Ends the server with us, also when our process is killed.
    _kept: Kept,
    port: u16,
    process: Option<Child>,
    client: Client,
    headers: Vec<(String, String)>,
}

impl Answer {
    fn body_of(text: &str) -> Value {
        match text {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        }
    }
}

impl WorldOptions {
    /// A variable of the server's environment, e.g. a setting: `HEADWATERS_API_STRICT`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more argument of `headwaters serve`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A data directory that is somewhere else: on a disk of the test's own, or that of another world, which then are two
    /// processes over one store and one lake. It stays when the server goes.
    #[must_use]
    pub fn data(mut self, directory: &Path) -> Self {
        self.data = Some(directory.to_owned());
        self
    }

    /// The content of `headwaters.toml` in the server's working directory.
    #[must_use]
    pub fn configuration(mut self, toml: &str) -> Self {
        self.configuration = Some(toml.to_owned());
        self
    }

    /// Arms a crash point (`headwaters-model`, `crash.rs`): the server dies when it passes there. [`World::restart`]
    /// starts it without.
    #[must_use]
    pub fn crash_at(self, point: &str) -> Self {
        self.env(CRASH_POINT, point)
    }

    /// Starts the server, waits until it is ready, and fetches a token.
    ///
    /// # Errors
    /// It does not become ready; the message holds the end of its log.
    pub async fn start(self) -> Result<World> {
        let dir = run_dir()?.join(format!("world_{}", unique_name()));
        std::fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        let kept = Kept::take(&dir)?;
        if let Some(toml) = &self.configuration {
            std::fs::write(dir.join("headwaters.toml"), toml).context("writing headwaters.toml")?;
        }
        let client = Client::builder().timeout(Duration::from_secs(ANSWER_SECONDS_MAX)).no_proxy().build()?;
        let mut world =
            World { options: self, dir, _kept: kept, port: free_port()?, process: None, client, headers: Vec::new() };
        world.restart().await?;
        Ok(world)
    }
}

impl World {
    /// Options for a server of this binary.
    pub fn options(binary: impl AsRef<Path>) -> WorldOptions {
        WorldOptions {
            binary: binary.as_ref().to_owned(),
            environment: Vec::new(),
            arguments: Vec::new(),
            configuration: None,
            data: None,
        }
    }

    /// Starts the server again after [`Self::kill`], [`Self::terminate`] or a crash: same data, same port, no crash point.
    ///
    /// # Errors
    /// It does not become ready; the message holds the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        let log =
            File::options().create(true).append(true).open(self.log_path()).context("opening the server's log")?;
        let mut command = Command::new(&self.options.binary);
        command.arg("serve").arg("--data").arg(self.data_dir()).arg("--listen").arg(format!("127.0.0.1:{}", self.port));
        command.args(&self.options.arguments).envs(self.options.environment.iter().cloned());
        command.current_dir(&self.dir).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().with_context(|| format!("starting {}", self.options.binary.display()))?;
        if let Some(id) = process.id() {
            keeper::note(&self.dir, id)?;
        }
        self.process = Some(process);
        self.options.environment.retain(|(name, _)| name != CRASH_POINT);
        self.wait_until_ready()
            .await
            .with_context(|| format!("starting the server; its log ends:\n{}", self.log_tail()))?;
        self.log_in().await
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            if let Ok(answer) = self.client.get(self.url("/readyz")).send().await
                && answer.status() == 200
            {
                return Ok(());
            }
            if let Some(status) = self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("it ended with {status}");
            }
            if start.elapsed() > Duration::from_secs(READY_SECONDS_MAX) {
                bail!("it was not ready after {READY_SECONDS_MAX} s");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Fetches a token with the credentials of the data directory, and sends it with each call from now on.
    async fn log_in(&mut self) -> Result<()> {
        let credentials = self.credentials()?;
        let field = |name: &str| {
            let value = credentials[name].as_str().map(str::to_owned);
            value.with_context(|| format!("credentials.json has no {name}"))
        };
        let form = [
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", field("client_id")?),
            ("client_secret", field("client_secret")?),
        ];
        let answer = read(self.client.post(self.url("/ims/token/v3")).form(&form)).await?;
        let token = answer.body["access_token"].as_str();
        let token = token.with_context(|| format!("no token: {} {}", answer.status, answer.body))?;
        self.headers = vec![
            ("authorization".to_owned(), format!("Bearer {token}")),
            ("x-api-key".to_owned(), field("client_id")?),
            ("x-gw-ims-org-id".to_owned(), field("org_id")?),
            ("x-sandbox-name".to_owned(), field("sandbox")?),
        ];
        Ok(())
    }

    /// Kills the server as a power cut would (`kill -9`).
    ///
    /// # Errors
    /// The process can't be waited for.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await.context("killing the server")?;
            keeper::forget(&self.dir);
        }
        Ok(())
    }

    /// Asks the server to end (SIGTERM), and waits for it.
    ///
    /// # Errors
    /// It doesn't end in time.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.ended().await
    }

    /// Sends the server a signal (`TERM`, `STOP`, `CONT`, …) and does not wait for what it does.
    ///
    /// # Errors
    /// The server does not run.
    pub fn signal(&self, name: &str) -> Result<()> {
        let id = self.process.as_ref().and_then(Child::id).context("the server does not run")?;
        signal(id, name)
    }

    /// Waits until the server ends by itself, e.g. at a crash point.
    ///
    /// # Errors
    /// It doesn't end in time.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the server does not run")?;
        let ended = timeout(Duration::from_secs(END_SECONDS_MAX), process.wait()).await;
        let status = ended.context("the server did not end in time")??;
        keeper::forget(&self.dir);
        Ok(status)
    }

    /// Waits until the server dies at the crash point that [`WorldOptions::crash_at`] armed.
    ///
    /// # Errors
    /// It doesn't end in time, or ends in another way.
    pub async fn crashed(&mut self) -> Result<()> {
        let status = self.ended().await?;
        if status.signal().is_none() {
            bail!("the server ended with {status}, not at its crash point; its log ends:\n{}", self.log_tail());
        }
        Ok(())
    }

    /// The absolute URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The port that the server listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.dir.join("headwaters-data"))
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("headwaters.log")
    }

    fn log_tail(&self) -> String {
        const LINES_MAX: usize = 20;
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
    }

    /// The server's `credentials.json`.
    ///
    /// # Errors
    /// It can't be read.
    pub fn credentials(&self) -> Result<Value> {
        let path = self.data_dir().join("credentials.json");
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// The value of one of the tutorial's headers, e.g. `authorization`, for a client other than ours.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A request with the tutorial's headers, to be changed before it is sent by [`read`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.url(path));
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// A request without any header of ours.
    pub fn bare_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// `GET`.
    ///
    /// # Errors
    /// No answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        read(self.request(Method::GET, path)).await
    }

    /// `POST` with a JSON body.
    ///
    /// # Errors
    /// No answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        read(self.request(Method::POST, path).json(body)).await
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// No answer.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        read(self.request(Method::DELETE, path)).await
    }

    /// `POST` that must answer 201 with an `id`; returns it.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn create(&self, path: &str, body: &Value) -> Result<String> {
        let answer = self.post(path, body).await?;
        let id = answer.body["id"].as_str().filter(|_| answer.status == 201);
        Ok(id.with_context(|| format!("POST {path} answered {} {}", answer.status, answer.body))?.to_owned())
    }

    /// The `items` of a list of the Flow Service that is filtered by one property, e.g. `name=="mysql"`.
    ///
    /// # Errors
    /// No answer, or another one.
    pub async fn items(&self, collection: &str, property: &str) -> Result<Vec<Value>> {
        let request = self.request(Method::GET, &format!("{FLOW_SERVICE}/{collection}"));
        let answer = read(request.query(&[("property", property)])).await?;
        let items = answer.body["items"].as_array().filter(|_| answer.status == 200);
        Ok(items.with_context(|| format!("GET {collection} answered {} {}", answer.status, answer.body))?.clone())
    }
}

/// Sends a request and reads the answer.
///
/// # Errors
/// No answer.
pub async fn read(request: RequestBuilder) -> Result<Answer> {
    let answer = request.send().await.context("sending a request to the server")?;
    let status = answer.status().as_u16();
    let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = answer.text().await.context("reading an answer of the server")?;
    Ok(Answer { status, location, body: Answer::body_of(&text) })
}
