//! Who may depend on whom (docs/architecture.md section 2).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::shell::output;

/// For each crate, the crates of ours that it may name. `server` plugs them together and may name all.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("headwaters-model", &[]),
    ("headwaters-store", &["headwaters-model"]),
    ("headwaters-control", &["headwaters-model", "headwaters-store"]),
    ("headwaters-api", &["headwaters-model", "headwaters-control"]),
    ("headwaters-source", &["headwaters-model"]),
    ("headwaters-lake", &["headwaters-model"]),
    ("headwaters-engine", &["headwaters-model", "headwaters-source", "headwaters-lake"]),
    ("headwaters-testkit", &[]),
];
/// Crates without a row above: the binary, and tools that nothing depends on.
const UNBOUND: [&str; 2] = ["headwaters-server", "xtask"];

/// The crates of the control plane, which must build in minutes.
const LIGHT: [&str; 3] = ["headwaters-api", "headwaters-control", "headwaters-store"];
/// What they must not reach, by the beginning of the name.
const HEAVY: [&str; 5] = ["arrow", "parquet", "datafusion", "deltalake", "ballista"];

/// The resolved graph, as far as the rules need it.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Name of each package of ours.
    members: BTreeSet<String>,
    /// Package id to name.
    names: BTreeMap<String, String>,
    /// Package id to the ids that it links to. Dependencies of tests don't count: they are in no product.
    links: BTreeMap<String, Vec<String>>,
}

/// Asks cargo for the graph.
pub(super) fn metadata(root: &Path) -> Result<Value> {
    let text = output(Command::new("cargo").current_dir(root).args(["metadata", "--format-version", "1", "--locked"]))?;
    serde_json::from_str(&text).context("reading what cargo metadata says")
}

/// All rules of this file.
pub(super) fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let graph = Graph::read(metadata)?;
    Ok([edges(&graph), weight(&graph)].concat())
}

impl Graph {
    fn read(metadata: &Value) -> Result<Self> {
        let mut graph = Self::default();
        let members: Vec<&str> = array(metadata, "/workspace_members")?.iter().filter_map(Value::as_str).collect();
        for package in array(metadata, "/packages")? {
            let (id, name) = (text(package, "/id")?, text(package, "/name")?);
            if members.contains(&id) {
                graph.members.insert(name.to_owned());
            }
            graph.names.insert(id.to_owned(), name.to_owned());
        }
        for node in array(metadata, "/resolve/nodes")? {
            let mut links = Vec::new();
            for dependency in array(node, "/deps")? {
                let kinds = array(dependency, "/dep_kinds")?;
                if kinds.iter().any(|kind| kind["kind"] != "dev") {
                    links.push(text(dependency, "/pkg")?.to_owned());
                }
            }
            graph.links.insert(text(node, "/id")?.to_owned(), links);
        }
        Ok(graph)
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }

    /// Each package of ours with the names that it links to directly.
    fn members(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let ours = self.links.iter().filter(|(id, _)| self.members.contains(self.name(id)));
        ours.map(|(id, links)| (self.name(id), links.iter().map(|link| self.name(link)).collect()))
    }

    /// Everything that a package of ours reaches.
    fn reachable(&self, member: &str) -> BTreeSet<&str> {
        let mut waiting: Vec<&String> = self.links.keys().filter(|id| self.name(id) == member).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if seen.insert(id.as_str()) {
                waiting.extend(self.links.get(id).into_iter().flatten());
            }
        }
        seen.into_iter().map(|id| self.name(id)).collect()
    }
}

/// A crate of ours names only what it may know.
fn edges(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (member, links) in graph.members() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == member) else {
            if !UNBOUND.contains(&member) {
                findings.push(format!("{member} has no row in xtask/src/tidy/borders.rs: say what it may know"));
            }
            continue;
        };
        for link in links.into_iter().filter(|link| graph.members.contains(*link) && !allowed.contains(link)) {
            findings.push(format!("{member} must not know {link} (docs/architecture.md section 2)"));
        }
    }
    findings
}

/// The control plane reaches nothing heavy.
fn weight(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in LIGHT {
        for name in graph.reachable(member) {
            if HEAVY.iter().any(|heavy| name.starts_with(heavy)) {
                findings.push(format!("{member} must not reach {name} (`cargo tree -p {member} -i {name}` shows how)"));
            }
        }
    }
    findings
}

fn array<'a>(value: &'a Value, pointer: &str) -> Result<&'a Vec<Value>> {
    value.pointer(pointer).and_then(Value::as_array).with_context(|| format!("cargo metadata has no list {pointer}"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("cargo metadata has no text {pointer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(links: &[(&str, &[&str])]) -> Graph {
        let mut graph = Graph::default();
        for (name, targets) in links {
            for name in targets.iter().chain([name]) {
                graph.names.insert((*name).to_owned(), (*name).to_owned());
                if name.starts_with("headwaters") {
                    graph.members.insert((*name).to_owned());
                }
            }
            graph.links.insert((*name).to_owned(), targets.iter().map(|name| (*name).to_owned()).collect());
        }
        graph
    }

    #[test]
    fn an_arrow_of_the_picture_is_allowed() {
        assert!(edges(&graph(&[("headwaters-store", &["headwaters-model", "sqlx"])])).is_empty());
    }

    #[test]
    fn an_arrow_that_the_picture_lacks_is_found() {
        assert_eq!(edges(&graph(&[("headwaters-control", &["headwaters-source"])])).len(), 1);
    }

    #[test]
    fn a_crate_that_nobody_thought_about_is_found() {
        assert_eq!(edges(&graph(&[("headwaters-surprise", &[])])).len(), 1);
    }

    #[test]
    fn a_heavy_crate_is_found_behind_others() {
        let graph = graph(&[("headwaters-api", &["innocent"]), ("innocent", &["arrow-schema"])]);
        assert_eq!(weight(&graph).len(), 1);
    }

    #[test]
    fn dependencies_of_tests_do_not_count() {
        let metadata = serde_json::json!({
            "workspace_members": ["a"],
            "packages": [{"id": "a", "name": "headwaters-api"}, {"id": "b", "name": "arrow"}],
            "resolve": {"nodes": [
                {"id": "a", "deps": [{"pkg": "b", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "b", "deps": []},
            ]},
        });
        assert_eq!(check(&metadata).unwrap(), Vec::<Finding>::new());
    }
}
