//! Data directories with system tables, accounts and certificates, made once per machine and copied for each server.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::accounts;
use crate::cache::{cache_dir, run_dir};
use crate::certificates;
use crate::flavour::Flavour;
use crate::keeper;
use crate::options::ServerOptions;

/// Raised with each change of what a template holds: accounts, certificates, arguments of the first start.
const RECIPE: u32 = 1;

/// The data directory inside a server's folder.
pub(crate) const DATA: &str = "data";
/// The certificates inside a server's folder.
pub(crate) const TLS: &str = "tls";

/// The folder of the template for this flavour; makes it if this machine has none yet.
pub(crate) async fn template(flavour: Flavour) -> Result<PathBuf> {
    let version = flavour.installation()?.version()?;
    let templates = cache_dir()?.join("templates");
    std::fs::create_dir_all(&templates).with_context(|| format!("making {}", templates.display()))?;
    let template = templates.join(format!("{}-{version}-{RECIPE}", flavour.name()));
    if template.exists() {
        return Ok(template);
    }
    let lock = keeper::lease(&templates.join(format!("{}.lock", flavour.name())))?;
    lock.lock().context("waiting for another process that makes the same template")?;
    if !template.exists() {
        make(flavour, &template).await.with_context(|| format!("making the template of {flavour}"))?;
    }
    Ok(template)
}

/// Makes a template beside its final place and moves it there as a whole.
async fn make(flavour: Flavour, template: &Path) -> Result<()> {
    let server = run_dir()?.join(format!("template-{}-{}", flavour.name(), std::process::id()));
    if server.exists() {
        std::fs::remove_dir_all(&server)?;
    }
    std::fs::create_dir_all(server.join(DATA))?;
    certificates::make(&server.join(TLS))?;
    ServerOptions::new(flavour).initialise(&server)?;

    let mut running = ServerOptions::new(flavour).start_in(server.clone()).await?;
    for statement in accounts::statements(flavour) {
        running.execute(&statement).await.with_context(|| format!("running: {statement}"))?;
    }
    running.stop().await?;

    let partial = template.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    std::fs::create_dir(&partial)?;
    copy(&server.join(DATA), &partial.join(DATA))?;
    copy(&server.join(TLS), &partial.join(TLS))?;
    // Servers that are copied from one template must not share an identity.
    let identity = partial.join(DATA).join("auto.cnf");
    if identity.exists() {
        std::fs::remove_file(identity)?;
    }
    std::fs::rename(&partial, template).with_context(|| format!("moving the template to {}", template.display()))
}

/// Copies a folder; `cp` keeps holes and shares blocks where the file system can.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let output = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).output().context("running cp")?;
    if !output.status.success() {
        bail!("copying {} failed: {}", from.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
