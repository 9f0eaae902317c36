//! Where things are on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The folder for what is dear to make: `HEADWATERS_CACHE`, else `~/.cache/headwaters` (the same rule as the test kit's).
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(dir) = variable("HEADWATERS_CACHE") {
        return Ok(PathBuf::from(dir));
    }
    let home = variable("HOME").context("set HOME or HEADWATERS_CACHE: one of them says where caches go")?;
    Ok(PathBuf::from(home).join(".cache/headwaters"))
}

/// Where cargo puts what `test` and `demo` build: outside the checkout, so that a fresh clone finds it again.
pub(crate) fn target() -> Result<PathBuf> {
    match variable("CARGO_TARGET_DIR") {
        Some(dir) => Ok(PathBuf::from(dir)),
        None => Ok(cache()?.join("target")),
    }
}

/// An environment variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "xtask has no configuration but these variables")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
