//! Ends a server (a database, or `headwaters`) when nobody needs it any more.
//!
//! **Invariant.** A server lives as long as some process holds a lock on its lease file, and not longer.
//!
//! Locks (`flock`) belong to open files, so the kernel releases them when a test process ends in whatever way: return,
//! panic, `kill -9`, time-out of the test runner. A small shell process per server, in a process group of its own, blocks
//! on the exclusive lock; it gets it when the last user is gone, and kills the server. The obvious way, a signal at the
//! parent's death, is none: that signal comes when the *thread* ends that started the server, and every test is a thread.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// `$1` lease file, `$2` folder of the server, `$3` seconds to linger for a next user.
const SCRIPT: &str = r#"
exec 9<"$1" || exit 1
while :; do
  flock 9
  if [ "$3" -gt 0 ]; then
    flock -u 9
    sleep "$3"
    flock -n 9 || continue
  fi
  [ -s "$2/pid" ] && kill -9 "$(cat "$2/pid")" 2>/dev/null
  rm -rf "$2" || { sleep 1; rm -rf "$2"; }
  exit 0
done
"#;

/// The file in a folder that names the process to end.
const PID: &str = "pid";

/// A folder that one process of ours uses alone: it goes, with the process that is noted in it, when this value is dropped
/// or our process ends.
#[derive(Debug)]
pub(crate) struct Kept {
    lease_path: PathBuf,
    lease: Option<File>,
    keeper: Child,
}

impl Kept {
    /// Takes care of `dir` from now on.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let lease_path = dir.with_extension("lease");
        let file = lease(&lease_path)?;
        file.lock().context("locking a new lease")?;
        let keeper = keep(&lease_path, dir, 0)?;
        Ok(Self { lease_path, lease: Some(file), keeper })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.lease.take());
        drop(self.keeper.wait());
        drop(std::fs::remove_file(&self.lease_path));
    }
}

/// Notes which process the keeper of `dir` has to end.
pub(crate) fn note(dir: &Path, process: u32) -> Result<()> {
    std::fs::write(dir.join(PID), process.to_string()).context("noting a process id for the keeper")
}

/// Takes the note back: the process has ended, and its number may soon be another's.
pub(crate) fn forget(dir: &Path) {
    drop(std::fs::remove_file(dir.join(PID)));
}

/// Opens a lease file, making it if needed. Locking it is the caller's part.
pub(crate) fn lease(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("opening the lease file {}", path.display()))
}

/// Starts the keeper of the server in `dir`. The caller must hold a lock on `lease` already.
pub(crate) fn keep(lease: &Path, dir: &Path, linger_seconds: u32) -> Result<Child> {
    Command::new("sh")
        .args(["-c", SCRIPT, "headwaters-testkit-keeper"])
        .arg(lease)
        .arg(dir)
        .arg(linger_seconds.to_string())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting the keeper of a test server (sh)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_and_its_folder_go_when_the_lease_is_released() {
        let dir = std::env::temp_dir().join(format!("headwaters-keeper-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let kept = Kept::take(&dir).unwrap();
        let mut process = Command::new("sleep").arg("600").spawn().unwrap();
        note(&dir, process.id()).unwrap();
        assert!(process.try_wait().unwrap().is_none());
        drop(kept);
        assert!(!process.wait().unwrap().success());
        assert!(!dir.exists());
    }
}
