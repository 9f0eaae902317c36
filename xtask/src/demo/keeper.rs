//! Ends the demonstration's processes when it ends, however it ends.
//!
//! A shell in a process group of its own waits for the end of a pipe that only we hold open; the kernel closes it when we
//! are gone: done, failed, Ctrl-C, killed. Then it ends the processes and removes the folder.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// `$1` the folder; `$1/*.pid` name the processes, which get two seconds to end by themselves.
const SCRIPT: &str = r#"
read -r _
for file in "$1"/*.pid; do [ -s "$file" ] && kill "$(cat "$file")" 2>/dev/null; done
sleep 2
for file in "$1"/*.pid; do [ -s "$file" ] && kill -9 "$(cat "$file")" 2>/dev/null; done
rm -rf "$1"
"#;

/// Watches over the processes that are noted in its folder.
pub(crate) struct Keeper {
    shell: Child,
}

impl Keeper {
    /// Starts watching.
    pub(crate) fn over(dir: &Path) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "headwaters-demo-keeper"])
            .arg(dir)
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .context("starting the demonstration's keeper (sh)")?;
        Ok(Self { shell })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}

/// Starts a process in a group of its own, so that Ctrl-C reaches only us, and notes it for the keeper.
pub(crate) fn start(command: &mut Command, dir: &Path, name: &str) -> Result<Child> {
    let log = std::fs::File::create(dir.join(format!("{name}.log")))?;
    let child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    std::fs::write(dir.join(format!("{name}.pid")), child.id().to_string())?;
    Ok(child)
}

/// What a process has logged, for an error message.
pub(crate) fn log(dir: &Path, name: &str) -> String {
    const LINES_MAX: usize = 20;
    let text = std::fs::read_to_string(dir.join(format!("{name}.log"))).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}
