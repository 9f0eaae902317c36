//! A database server of our own: private data directory, random port on 127.0.0.1, private socket, TLS.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{sleep, timeout};

use crate::accounts::{self, Account};
use crate::certificates::Certificates;
use crate::flavour::Flavour;
use crate::keeper::{self, Kept};
use crate::options::ServerOptions;
use crate::template::{DATA, TLS};

/// How long a server may take until it answers.
const START_SECONDS_MAX: u64 = 60;
/// How long a server may take to stop when asked.
const STOP_SECONDS_MAX: u64 = 60;
/// How often a start is tried again because somebody took the port in the meantime.
const START_TRIES_MAX: u32 = 3;
/// What both families of servers log in that case.
const PORT_TAKEN: &str = "Address already in use";
/// How much of a server's log an error message shows.
const LOG_LINES_MAX: usize = 20;

/// A running test server.
#[derive(Debug)]
pub struct DatabaseServer {
    pub(crate) options: ServerOptions,
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    pub(crate) process: Option<Child>,
    /// Of a private server: what ends it with us.
    pub(crate) kept: Option<Kept>,
    /// Of the shared server: our share of its lease, held until the process ends.
    pub(crate) share: Option<File>,
}

impl DatabaseServer {
    pub(crate) fn at(options: ServerOptions, dir: PathBuf) -> Self {
        Self { options, dir, port: 0, process: None, kept: None, share: None }
    }

    /// Starts the server again after [`Self::kill`] or [`Self::stop`]: same data, same port.
    ///
    /// # Errors
    /// The server doesn't come up; the message holds the end of its log.
    pub async fn start(&mut self) -> Result<()> {
        let fixed = self.port != 0;
        for attempt in 1.. {
            if !fixed {
                self.port = free_port()?;
            }
            self.spawn()?;
            match self.wait_until_ready().await {
                Ok(()) => break,
                Err(error) if attempt >= START_TRIES_MAX || !self.log_tail().contains(PORT_TAKEN) => return Err(error),
                Err(_) => self.end()?,
            }
        }
        Ok(())
    }

    fn spawn(&mut self) -> Result<()> {
        let log =
            File::options().create(true).append(true).open(self.log_path()).context("opening the server's log")?;
        let mut command = self.options.command(&self.dir)?;
        command.arg(format!("--port={}", self.port));
        if self.options.tls {
            let certificates = self.certificates();
            for (name, path) in [
                ("ca", certificates.ca()),
                ("cert", certificates.server_certificate()),
                ("key", certificates.server_key()),
            ] {
                command.arg(format!("--ssl-{name}={}", path.display()));
            }
        }
        command.args(&self.options.arguments);
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().with_context(|| format!("starting {}", self.flavour()))?;
        keeper::note(&self.dir, process.id())?;
        self.process = Some(process);
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let ready = async {
            loop {
                if self.connect().await.is_ok() {
                    return Ok(());
                }
                if let Some(status) = self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
                    bail!("it ended with {status}");
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let outcome = timeout(Duration::from_secs(START_SECONDS_MAX), ready).await.context("it did not answer in time");
        outcome
            .and_then(|ready| ready)
            .with_context(|| format!("starting {}; its log ends:\n{}", self.flavour(), self.log_tail()))
    }

    /// Kills the server as a power cut would (`kill -9`). Its data stay; [`Self::start`] brings it back.
    ///
    /// # Errors
    /// The process can't be waited for.
    ///
    /// # Panics
    /// On the shared server, which belongs to other tests as well.
    pub fn kill(&mut self) -> Result<()> {
        assert!(self.share.is_none(), "the shared test server must not be killed: start a private one");
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().context("killing the test server")?;
            process.wait().context("waiting for the killed test server")?;
        }
        keeper::forget(&self.dir);
        Ok(())
    }

    /// Stops the server in good order.
    ///
    /// # Errors
    /// It doesn't end in time.
    pub async fn stop(&mut self) -> Result<()> {
        self.execute("shutdown").await?;
        let ended = async {
            while let Some(process) = &mut self.process
                && process.try_wait()?.is_none()
            {
                sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        timeout(Duration::from_secs(STOP_SECONDS_MAX), ended)
            .await
            .context("the test server did not stop in time")??;
        self.end()
    }

    /// Stops the server's process where it stands (`SIGSTOP`): connections stay open and say nothing.
    ///
    /// # Errors
    /// The signal can't be sent.
    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// The signal can't be sent.
    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let process = self.process.as_ref().context("only a private server that runs takes signals")?;
        crate::crash::signal(process.id(), signal)
    }

    /// What kind of server this is.
    pub fn flavour(&self) -> Flavour {
        self.options.flavour
    }

    /// Its address; the server certificate is valid for it.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    /// Its error log.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// The certificates of this server and of its clients.
    pub fn certificates(&self) -> Certificates {
        Certificates::at(self.dir.join(TLS))
    }

    /// The RSA key for passwords over plain TCP (caching_sha2_password, sha256_password), where the server is MySQL.
    pub fn rsa_public_key(&self) -> PathBuf {
        self.data_dir().join("public_key.pem")
    }

    /// The account of that name ([`accounts::accounts`] tells which there are).
    ///
    /// # Panics
    /// If servers of this flavour have none of that name.
    pub fn account(&self, name: &str) -> Account {
        let found = accounts::accounts(self.flavour()).into_iter().find(|account| account.name == name);
        found.unwrap_or_else(|| panic!("{} has no test account {name}", self.flavour()))
    }

    /// A connection string in the Connector/NET form for that account, e.g. `Server=127.0.0.1;Port=…;UID=reader;PWD="…"`.
    ///
    /// # Panics
    /// If servers of this flavour have none of that name.
    pub fn connection_string(&self, account: &str) -> String {
        let Account { name, password, .. } = self.account(account);
        let quoted = password.replace('"', "\"\"");
        format!("Server={};Port={};UID={name};PWD=\"{quoted}\"", self.host(), self.port)
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        // The shared server belongs to others as well: its keeper ends it when the last user is gone.
        if self.kept.is_some() {
            drop(self.end());
        }
    }
}

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}
