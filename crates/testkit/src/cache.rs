//! Where things are kept between test runs: the cache folder and the servers that `cargo xtask test` puts into it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

/// The folder for everything that is dear to make: `HEADWATERS_CACHE`, else `~/.cache/headwaters`.
///
/// # Errors
/// Neither `HEADWATERS_CACHE` nor `HOME` is set.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = variable("HEADWATERS_CACHE") {
        return Ok(PathBuf::from(dir));
    }
    let home =
        variable("HOME").context("set HOME or HEADWATERS_CACHE: one of them says where test servers are kept")?;
    Ok(PathBuf::from(home).join(".cache/headwaters"))
}

/// The folder of the unpacked servers that Debian stable lacks (`xtask/src/install.rs` makes it).
pub(crate) fn servers_dir() -> Result<PathBuf> {
    Ok(cache_dir()?.join("servers"))
}

/// A scratch folder of this user for running servers. Its path is short, because a Unix socket's may have 107 bytes.
pub(crate) fn run_dir() -> Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("headwaters-testkit-{}", user_id()?));
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

/// The numeric id of the user who runs the tests.
pub(crate) fn user_id() -> Result<u32> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata("/proc/self").context("asking for our own user id")?.uid())
}

/// A name that nothing else of this machine has at the moment: process id and a number.
pub(crate) fn unique_name() -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    format!("{}_{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed))
}

#[expect(clippy::disallowed_methods, reason = "the test kit's own two settings; it has no configuration file")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
