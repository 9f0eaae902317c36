//! Breaking things on purpose.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// The environment variable that arms a crash point in a child process (architecture.md section 4).
pub const CRASH_POINT: &str = "HEADWATERS_CRASH_POINT";

/// Sends a signal (`KILL`, `TERM`, `STOP`, …) to a process.
///
/// # Errors
/// There is no such process.
pub fn signal(process: u32, signal: &str) -> Result<()> {
    let output =
        Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).output().context("running kill")?;
    if !output.status.success() {
        bail!("sending {signal} to process {process}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
