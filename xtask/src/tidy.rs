//! Rules of the house that no compiler checks: borders between crates, manifests, names, lengths, words.
//!
//! A rule is a function from what it looks at to the findings; each has a test that shows it fails on a bad sample.

mod borders;
mod code;
mod manifests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::environment::root;

/// One breach of a rule: where, what, and what to do.
type Finding = String;

/// Looks at the whole checkout; an error lists all findings.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let mut findings = borders::check(&borders::metadata(root)?)?;

    let workspace = read(&root.join("Cargo.toml"))?;
    findings.extend(manifests::undocumented(&workspace, &read(&root.join("docs/dependencies.md"))?));
    let mut sources = Vec::new();
    for source in files(root, "rs")? {
        sources.push((relative(root, &source), read(&source)?));
    }
    let mut crates = Vec::new();
    for manifest in files(root, "toml")?.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = read(manifest)?;
        if manifests::is_workspace_root(&text) {
            continue;
        }
        let name = relative(root, manifest);
        let folder = name.trim_end_matches("Cargo.toml");
        let own = sources.iter().filter(|(path, _)| path.starts_with(folder)).map(|(_, text)| code::code_only(text));
        findings.extend(manifests::lints(&name, &text));
        findings.extend(manifests::features(&name, &text));
        findings.extend(manifests::unused(&name, &text, &own.collect::<Vec<_>>().concat()));
        crates.push(text);
    }
    findings.extend(manifests::untaken(&workspace, &crates));
    let test_files: Vec<String> = sources.iter().flat_map(|(path, text)| code::test_modules(path, text)).collect();
    for (path, text) in &sources {
        findings.extend(code::check(path, text, &test_files));
    }
    if !findings.is_empty() {
        bail!("{} findings:\n  {}", findings.len(), findings.join("\n  "));
    }
    println!("    no findings");
    Ok(())
}

/// All files with this extension below `dir`, without hidden folders and build output, sorted.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "headwaters-data" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
