//! Writes the reference documentation that the program itself knows best: `docs/reference/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::environment::{root, target};
use crate::shell::{self, output};

/// The commands whose `--help` is written down.
const COMMANDS: [&str; 6] = ["serve", "copy", "explore", "env", "token", "check"];
/// The width at which help is wrapped, in columns.
const COLUMNS: &str = "100";

/// Writes the documents, or with `check` compares them with what is there.
pub(crate) fn run(check: bool) -> Result<()> {
    let binary = build()?;
    let documents = [("command-line.md", command_line(&binary)?), ("openapi.json", open_api(&binary)?)];
    let folder = root().join("docs/reference");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for (name, text) in documents {
        let path = folder.join(name);
        if !check {
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            println!("    wrote docs/reference/{name}");
        } else if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            bail!("docs/reference/{name} is not what the program says: run `cargo xtask generate` and commit it");
        }
    }
    Ok(())
}

fn build() -> Result<PathBuf> {
    let target = target()?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", &target);
    shell::run(cargo.args(["build", "--quiet", "--locked", "--package", "headwaters-server"]))?;
    Ok(target.join("debug/headwaters"))
}

/// The help of every command as one page.
fn command_line(binary: &Path) -> Result<String> {
    let mut page =
        String::from("# Command line\n\nWritten by `cargo xtask generate` from what `headwaters --help` says.\n");
    for command in std::iter::once("").chain(COMMANDS) {
        let arguments: &[&str] = if command.is_empty() { &["--help"] } else { &[command, "--help"] };
        let help = output(plain(Command::new(binary).args(arguments)))?;
        let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        page += &format!(
            "\n## headwaters{}{command}\n\n```text\n{}\n```\n",
            if command.is_empty() { "" } else { " " },
            lines.join("\n")
        );
    }
    Ok(page)
}

/// The OpenAPI document, as a server of our own serves it.
fn open_api(binary: &Path) -> Result<String> {
    let dir = std::env::temp_dir().join(format!("headwaters-generate-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let document = crate::demo::open_api(binary, &dir)?;
    Ok(format!("{document:#}\n"))
}

/// A command that prints the same on every machine.
fn plain(command: &mut Command) -> &mut Command {
    let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("HEADWATERS_"));
    for name in ours {
        command.env_remove(name);
    }
    command.env("COLUMNS", COLUMNS).env("NO_COLOR", "1")
}
