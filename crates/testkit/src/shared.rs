//! The instance that all tests of the moment share.
//!
//! **Invariant.** Whoever uses the shared server holds its lease (shared) from before the first look at it until the
//! process ends; the keeper ends the server only while it holds the lease exclusively. So no user can find a server that
//! is about to go. A second lock lets one process at a time look and start.

use anyhow::{Context, Result};
use tokio::sync::OnceCell;

use crate::cache::run_dir;
use crate::flavour::Flavour;
use crate::keeper;
use crate::options::ServerOptions;
use crate::server::DatabaseServer;
use crate::template::{self, template};

/// How long the shared server waits for the next test process before it goes.
const SHARED_LINGER_SECONDS: u32 = 10;

impl DatabaseServer {
    /// The instance that all tests of the moment share, across processes too; the first one to ask starts it.
    ///
    /// # Errors
    /// The server is not installed, or doesn't come up.
    pub async fn shared(flavour: Flavour) -> Result<&'static Self> {
        static SHARED: [OnceCell<DatabaseServer>; 3] = [const { OnceCell::const_new() }; 3];
        let cell = match flavour {
            Flavour::MariaDb => &SHARED[0],
            Flavour::MariaDbNewer => &SHARED[1],
            Flavour::MySql => &SHARED[2],
        };
        cell.get_or_try_init(|| Self::share(flavour)).await
    }

    /// Joins the shared server, or starts it. The lease is locked (shared) before anything is looked at, so that the
    /// keeper can't end the server between our look and our use; a second lock lets one process at a time start it.
    async fn share(flavour: Flavour) -> Result<Self> {
        let template = template(flavour).await?;
        let name = template.file_name().and_then(|name| name.to_str()).context("a template has a name")?.to_owned();
        let dir = run_dir()?.join(format!("shared-{name}"));
        let beside = |what: &str| run_dir().map(|run| run.join(format!("shared-{name}.{what}")));

        let lease_path = beside("lease")?;
        let lease = keeper::lease(&lease_path)?;
        lease.lock_shared().context("joining the shared test server")?;
        let starting = keeper::lease(&beside("starting")?)?;
        starting.lock().context("waiting for another process that starts the shared test server")?;

        let mut server = Self::at(ServerOptions::new(flavour), dir);
        server.share = Some(lease);
        let port_file = server.dir.join("port");
        if let Some(port) = std::fs::read_to_string(&port_file).ok().and_then(|text| text.parse().ok())
            && server.connect().await.is_ok()
        {
            server.port = port;
            return Ok(server);
        }
        if server.dir.exists() {
            std::fs::remove_dir_all(&server.dir).context("removing a shared test server that has died")?;
        }
        template::copy(&template, &server.dir)?;
        drop(keeper::keep(&lease_path, &server.dir, SHARED_LINGER_SECONDS)?);
        server.start().await?;
        server.process = None;
        std::fs::write(&port_file, server.port.to_string()).context("noting the port of the shared test server")?;
        Ok(server)
    }
}
