//! A file system of a few megabytes that can be filled, emptied, enlarged and made read-only.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::{run_dir, unique_name};

/// How much is written at a time to fill a disk to its last page.
const PIECE_BYTES: usize = 4096;
/// What takes the room.
const FILLER: &str = "filler";

/// A small file system in memory, mounted below the folder of test runs; it goes with the value.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of that size.
    ///
    /// # Errors
    /// This account may not mount (it takes root), or the machine has no `mount`.
    pub fn mount(bytes: u64) -> Result<Self> {
        let folder = run_dir()?.join(format!("disk_{}", unique_name()));
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let disk = Self(folder);
        let size = format!("size={bytes}");
        mount(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&disk.0))?;
        Ok(disk)
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all the room that is left.
    ///
    /// # Errors
    /// Writing fails for another reason than that.
    pub fn fill(&self) -> Result<()> {
        let mut filler = File::options().create(true).append(true).open(self.0.join(FILLER))?;
        loop {
            match filler.write_all(&[0; PIECE_BYTES]) {
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                written => written.context("filling a small disk")?,
            }
        }
    }

    /// Gives back what [`Self::fill`] took.
    ///
    /// # Errors
    /// It was not filled.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.0.join(FILLER)).context("freeing a small disk")
    }

    /// Makes it so large.
    ///
    /// # Errors
    /// This account may not mount.
    pub fn enlarge(&self, bytes: u64) -> Result<()> {
        self.remount(&format!("remount,size={bytes}"))
    }

    /// Takes no writes any more, not even from root.
    ///
    /// # Errors
    /// Somebody has a file open for writing.
    pub fn make_read_only(&self) -> Result<()> {
        self.remount("remount,ro")
    }

    fn remount(&self, option: &str) -> Result<()> {
        mount(Command::new("mount").args(["-o", option]).arg(&self.0))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is still about to go may have files open.
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
        drop(fs::remove_dir(&self.0));
    }
}

fn mount(command: &mut Command) -> Result<()> {
    let output = command.output().context("running mount")?;
    if !output.status.success() {
        bail!("mounting a small disk, which takes root: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
