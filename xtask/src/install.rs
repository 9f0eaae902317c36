//! Installs what building and testing need and the machine lacks.
//!
//! Three kinds of things, each only if it is missing:
//!
//! - Debian packages, by `apt-get` as root, or with `sudo` after saying so
//! - a MySQL server and a newer MariaDB, which Debian stable lacks: packages of Debian unstable, fetched and checked by
//!   apt against the archive's signature, then *unpacked* into the cache folder, not installed. The test kit runs them with
//!   their own C library (`crates/testkit/src/flavour.rs`). So this part needs no root, and changes nothing of the system
//! - Python programs, in virtual environments in the cache folder: readers of Delta tables, for tests and the
//!   demonstration, and a client of the API that tries whatever its description allows; with all that they bring along,
//!   in the versions that `xtask/python/` names
//!
//! Each is built beside its final place and renamed when it is whole, so an interrupted installation starts over.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::environment::cache;
use crate::shell::{exists, output, run, step};

/// A program that must be on the machine, and the Debian package that brings it.
const PROGRAMS: [[&str; 2]; 6] = [
    ["cc", "build-essential"],
    ["mariadb", "mariadb-client"],
    ["mariadbd", "mariadb-server"],
    ["curl", "curl"],
    ["flock", "util-linux"],
    ["jq", "jq"],
];
const PYTHON_PACKAGES: [&str; 2] = ["python3", "python3-venv"];

/// Python programs in an environment of their own, below the cache folder.
struct Python {
    /// The folder.
    name: &'static str,
    /// What is installed.
    packages: &'static [&'static str],
    /// The version of each package and of all that they bring along, as `pip freeze` prints them, so that a test fails
    /// because of us and not of a release of theirs. Made anew from an environment without constraints.
    constraints: &'static str,
}

/// Independent readers of what we write.
///
/// Polars reads Parquet by itself, and Delta tables through deltalake; zones of timestamps come from tzdata, because a
/// small Debian has none of its own.
const READERS: Python = Python {
    name: "readers",
    packages: &["deltalake", "polars", "tzdata"],
    constraints: include_str!("../python/readers.txt"),
};
/// A client that reads the description of the API and tries whatever it allows, and what it does not. What it generates
/// comes from hypothesis.
const SCHEMATHESIS: Python = Python {
    name: "schemathesis",
    packages: &["schemathesis", "hypothesis"],
    constraints: include_str!("../python/schemathesis.txt"),
};

/// Raised with each change of what is unpacked, so that older caches are made anew.
const SERVERS_RECIPE: &str = "1";

/// The archive that is used when the machine's own sources name none.
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";
const ARCHIVE_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What tests need.
pub(crate) fn everything() -> Result<()> {
    let _alone = lock()?;
    programs()?;
    servers()?;
    READERS.install()?;
    SCHEMATHESIS.install()
}

/// What the demonstration and the README need: all but the servers that Debian stable lacks.
pub(crate) fn for_demo() -> Result<()> {
    let _alone = lock()?;
    programs()?;
    READERS.install()
}

/// Lets one process at a time install; the lock goes with the returned file.
fn lock() -> Result<File> {
    let cache = cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let file = File::create(cache.join("install.lock")).context("making the lock of the installation")?;
    file.lock().context("waiting for another installation")?;
    Ok(file)
}

/// Debian packages.
fn programs() -> Result<()> {
    // Servers live in sbin, which a plain user's path may lack.
    let there = |program: &str| exists(program) || Path::new("/usr/sbin").join(program).is_file();
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|[program, _]| !there(program)).map(|[_, package]| *package).collect();
    if !python_can_make_environments() {
        missing.extend(PYTHON_PACKAGES);
    }
    if missing.is_empty() {
        return Ok(());
    }
    step(&format!("installing Debian packages: {}", missing.join(" ")), || {
        let root = output(Command::new("id").arg("-u"))?.trim() == "0";
        if !root {
            if !exists("sudo") {
                bail!("neither root nor sudo: ask somebody who may to run `apt-get install {}`", missing.join(" "));
            }
            println!("    with sudo, which may ask for your password");
        }
        apt_get(root, &["update"])?;
        apt_get(root, &[&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat())
    })
}

fn apt_get(root: bool, arguments: &[&str]) -> Result<()> {
    let mut command = if root { Command::new("env") } else { Command::new("sudo") };
    run(command.arg("DEBIAN_FRONTEND=noninteractive").arg("apt-get").arg("-qq").args(arguments))
}

fn python_can_make_environments() -> bool {
    output(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_ok()
}

/// MySQL and a newer MariaDB, from Debian unstable.
fn servers() -> Result<()> {
    let servers = cache()?.join("servers");
    if is_current(&servers, SERVERS_RECIPE) {
        return Ok(());
    }
    step("fetching MySQL and a newer MariaDB from Debian unstable (75 MB, once)", || {
        let partial = fresh(&servers.with_extension("partial"))?;
        let apt = Unstable::prepare(&partial.join("apt"))?;
        // The two conflict as packages, not as files in folders of their own: hence two installations on paper.
        apt.download("mysql-server-core")?;
        apt.download("mariadb-server-core")?;
        apt.download_only("mariadb-server")?; // the authentication plugins, without a hundred dependencies
        for package in apt.packages()? {
            let name = package.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let place = match name {
                _ if name.starts_with("mysql-server-core") => "mysql",
                _ if name.starts_with("mariadb-server") => "mariadb",
                _ => "libraries",
            };
            run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(partial.join(place)))?;
        }
        fs::remove_dir_all(&apt.dir).context("removing the fetched packages")?;
        finish(&partial, &servers, SERVERS_RECIPE)
    })
}

/// An apt that knows Debian unstable and nothing of this system: own lists, own cache, no package installed.
struct Unstable {
    dir: PathBuf,
}

impl Unstable {
    fn prepare(dir: &Path) -> Result<Self> {
        for folder in ["lists/partial", "archives/partial", "parts"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        fs::write(dir.join("status"), "")?;
        let source = format!("deb [signed-by={ARCHIVE_KEYS}] {} unstable main\n", mirror(&apt_sources()));
        fs::write(dir.join("sources.list"), source)?;
        let apt = Self { dir: dir.to_owned() };
        run(apt.command("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.dir.join(name).display().to_string();
        for option in [
            format!("Dir::State={}", self.dir.display()),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::State::status={}", at("status")),
            format!("Dir::Cache={}", self.dir.display()),
            format!("Dir::Cache::archives={}", at("archives")),
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            format!("Dir::Etc::sourceparts={}", at("parts")),
            format!("Dir::Etc::preferencesparts={}", at("parts")),
            format!("Dir::Etc::preferences={}", at("no-preferences")),
            "APT::Install-Recommends=false".to_owned(),
            "APT::Sandbox::User=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            // A mirror may be some days behind; the signature is checked all the same.
            "Acquire::Check-Valid-Until=false".to_owned(),
            // Locks are for the system's package database, which this is not.
            "Debug::NoLocking=true".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.current_dir(self.dir.join("archives"));
        command
    }

    /// Fetches a package with all that it depends on.
    fn download(&self, package: &str) -> Result<()> {
        run(self.command("apt-get").args(["-qq", "install", "--yes", "--download-only", package]))
    }

    /// Fetches a package alone.
    fn download_only(&self, package: &str) -> Result<()> {
        run(self.command("apt-get").args(["-qq", "download", package]))
    }

    fn packages(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.dir.join("archives")).context("listing the fetched packages")?;
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
    }
}

/// All lines of the machine's own apt sources.
fn apt_sources() -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect::<Vec<_>>().join("\n")
}

/// The Debian mirror that the machine's own sources name: the first address whose path is `/debian`.
fn mirror(sources: &str) -> &str {
    let lines = sources.lines().map(str::trim).filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let mut words = lines.flat_map(str::split_whitespace).map(|word| word.trim_end_matches('/'));
    words.find(|word| word.starts_with("http") && word.ends_with("/debian")).unwrap_or(DEFAULT_MIRROR)
}

impl Python {
    fn install(&self) -> Result<()> {
        let dir = cache()?.join(self.name);
        let recipe = self.recipe();
        if is_current(&dir, &recipe) {
            return Ok(());
        }
        step(&format!("making a Python environment with {}", self.packages.join(", ")), || {
            // An environment holds its own path, so it can't be moved when it is whole; the stamp alone says that it is.
            let dir = fresh(&dir)?;
            run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
            let constraints = dir.join("constraints.txt");
            fs::write(&constraints, self.constraints).with_context(|| format!("writing {}", constraints.display()))?;
            let mut pip = Command::new(dir.join("bin/pip"));
            run(pip.args(["install", "--quiet", "--constraint"]).arg(&constraints).args(self.packages))?;
            stamp(&dir, &recipe)
        })
    }

    /// All that decides what is installed: a change of it makes the environment anew.
    fn recipe(&self) -> String {
        format!("{}\n{}", self.packages.join(" "), self.constraints)
    }
}

fn is_current(dir: &Path, recipe: &str) -> bool {
    fs::read_to_string(dir.join("recipe")).is_ok_and(|text| text == recipe)
}

fn stamp(dir: &Path, recipe: &str) -> Result<()> {
    fs::write(dir.join("recipe"), recipe).with_context(|| format!("stamping {}", dir.display()))
}

/// An empty folder.
fn fresh(dir: &Path) -> Result<PathBuf> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir.to_owned())
}

/// Moves a folder that is whole to its place.
fn finish(partial: &Path, dir: &Path, recipe: &str) -> Result<()> {
    stamp(partial, recipe)?;
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    fs::rename(partial, dir).with_context(|| format!("moving {} to {}", partial.display(), dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_machines_own() {
        assert_eq!(mirror("deb http://mirror.example/debian/ bookworm main"), "http://mirror.example/debian");
        assert_eq!(
            mirror("Types: deb\nURIs: https://mirror.example/debian\nSuites: bookworm"),
            "https://mirror.example/debian"
        );
    }

    #[test]
    fn other_archives_and_comments_are_not_taken_for_the_mirror() {
        let sources = "# deb http://old.example/debian x\ndeb http://tools.example/apt x main\nURIs: http://x.example/debian-security";
        assert_eq!(mirror(sources), DEFAULT_MIRROR);
    }

    #[test]
    fn every_python_package_and_all_that_it_brings_along_has_one_version() {
        for python in [READERS, SCHEMATHESIS] {
            let pins: Vec<_> = python.constraints.lines().map(|line| line.split_once("==")).collect();
            assert!(pins.iter().all(Option::is_some), "{}: a line is no name==version", python.name);
            let pinned = |name: &&str| pins.iter().flatten().any(|(pinned, _)| pinned == name);
            assert!(python.packages.iter().all(pinned), "{}: a package has no version", python.name);
            assert!(pins.len() > python.packages.len(), "{}: what packages bring along has none", python.name);
        }
    }

    #[test]
    fn another_version_of_anything_makes_the_environment_anew() {
        let newer = Python { constraints: "deltalake==99.0.0\n", ..READERS };
        let more = Python { packages: &["deltalake", "polars", "tzdata", "duckdb"], ..READERS };
        assert!(newer.recipe() != READERS.recipe() && more.recipe() != READERS.recipe());
    }
}
