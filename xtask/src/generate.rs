//! Writes the reference documentation that the program itself knows best: `docs/reference/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::demo;
use crate::environment::root;
use crate::shell::output;

/// The commands whose `--help` is written down.
const COMMANDS: [&str; 8] = ["serve", "copy", "explore", "env", "token", "check", "audit", "verify"];
/// The width at which help is wrapped, in columns.
const COLUMNS: &str = "100";

/// Builds the program, then as [`run`].
pub(crate) fn build_and_run(check: bool) -> Result<()> {
    run(&demo::build()?, check)
}

/// Writes the documents, or with `check` compares them with what is there.
pub(crate) fn run(binary: &Path, check: bool) -> Result<()> {
    let documents = [("command-line.md", command_line(binary)?), ("openapi.json", open_api(binary)?)];
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
    let document = demo::open_api(binary)?;
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
