//! What a `Cargo.toml` must say. A line reader is enough for the two forms that we write.

use super::Finding;

/// Whether the manifest opens a workspace of its own (`fuzz/` does).
pub(super) fn is_workspace_root(manifest: &str) -> bool {
    manifest.lines().any(|line| line.trim() == "[workspace]")
}

/// Every crate takes the lints of the workspace.
pub(super) fn lints(path: &str, manifest: &str) -> Option<Finding> {
    let taken = section(manifest, "lints").any(|line| line == "workspace = true");
    (!taken).then(|| format!("{path} lacks `[lints]` with `workspace = true`"))
}

/// Versions and features stand in the workspace manifest and nowhere else (docs/dependencies.md, ground rule 3).
pub(super) fn features(path: &str, manifest: &str) -> Vec<Finding> {
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let lines = sections.into_iter().flat_map(|name| section(manifest, name));
    let bad = lines.filter(|line| !line.starts_with('#') && !is_inherited(line));
    bad.map(|line| format!("{path}: `{line}` must be `….workspace = true`; versions and features go to /Cargo.toml"))
        .collect()
}

fn is_inherited(line: &str) -> bool {
    let Some((name, value)) = line.split_once('=') else { return false };
    let dotted = name.trim().ends_with(".workspace") && value.trim() == "true";
    let table = value.contains("workspace = true") && !value.contains("features") && !value.contains("version");
    dotted || table
}

/// Every dependency of the workspace has a line in docs/dependencies.md that says what it is for.
pub(super) fn undocumented(manifest: &str, document: &str) -> Vec<Finding> {
    let names = section(manifest, "workspace.dependencies")
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim());
    let foreign = names.filter(|name| !name.starts_with('#') && !name.starts_with("headwaters-"));
    let missing = foreign.filter(|name| !mentions(document, name));
    missing
        .map(|name| format!("docs/dependencies.md says nothing of {name}: what is it for, and what else was there?"))
        .collect()
}

/// Every dependency of a crate is used somewhere in its code; `code` is all of it, comments and literals blanked.
pub(super) fn unused(path: &str, manifest: &str, code: &str) -> Vec<Finding> {
    let sections = ["dependencies", "dev-dependencies"];
    let lines = sections.into_iter().flat_map(|name| section(manifest, name)).filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split(['.', '=', ' ']).next());
    let idle = names.filter(|name| !uses(code, &name.replace('-', "_")));
    idle.map(|name| format!("{path}: nothing in the crate uses {name}: remove it")).collect()
}

/// Whether the code takes something of the crate: `name::…` or `use name`. A module of ours of the same name stands
/// behind its parent, as in `crate::name::…`.
fn uses(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let starts = !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':'));
        let imported = before.ends_with("use ") && after.starts_with([';', ' ']);
        starts && (after.starts_with("::") || imported)
    })
}

/// Every dependency of the workspace is taken by a crate; `crates` are the manifests of all.
pub(super) fn untaken(manifest: &str, crates: &[String]) -> Vec<Finding> {
    let names = section(manifest, "workspace.dependencies")
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim());
    let takes = |taker: &String, name: &str| {
        taker.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '='])))
    };
    let idle = names.filter(|name| !name.starts_with('#') && !crates.iter().any(|taker| takes(taker, name)));
    idle.map(|name| format!("Cargo.toml: no crate takes {name}: remove it")).collect()
}

/// Whether the document has the name as a word, also as part of a list such as `arrow-{array,schema}`.
fn mentions(document: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    document.match_indices(name).any(|(at, _)| {
        let before = document[..at].chars().next_back();
        let after = document[at + name.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

/// The lines of one section, trimmed, without empty ones.
fn section<'a>(manifest: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let heading = format!("[{name}]");
    let lines = manifest.lines().map(str::trim).skip_while(move |line| *line != heading).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_the_lints_is_found() {
        assert!(lints("a", "[lints]\nworkspace = true\n").is_none());
        assert!(lints("a", "[lints]\n\n[dependencies]\nworkspace = true\n").is_some());
    }

    #[test]
    fn a_feature_or_version_in_a_crate_is_found() {
        assert!(
            features("a", "[dependencies]\nserde.workspace = true\nclap = { workspace = true, optional = true }")
                .is_empty()
        );
        assert_eq!(features("a", "[dependencies]\nserde = \"1\"").len(), 1);
        assert_eq!(features("a", "[dev-dependencies]\nserde = { workspace = true, features = [\"rc\"] }").len(), 1);
    }

    #[test]
    fn a_dependency_that_no_code_names_is_found() {
        let manifest = "[dependencies]\nserde_json.workspace = true\nhttp-body.workspace = true\n";
        assert!(unused("a", manifest, "use serde_json::Value; http_body::Body").is_empty());
        assert_eq!(unused("a", manifest, "use serde_json::Value; http::Body").len(), 1);
    }

    #[test]
    fn a_name_that_is_no_path_into_the_crate_does_not_use_it() {
        let manifest = "[dependencies]\nbytes.workspace = true\n";
        for used in ["bytes::Bytes", "use bytes;", "use bytes as b;", "#[bytes::main]"] {
            assert!(unused("a", manifest, used).is_empty(), "{used}");
        }
        for idle in ["let bytes = 1;", "crate::bytes::read()", "use super::bytes;", "row_bytes::X", "mod bytes;"] {
            assert_eq!(unused("a", manifest, idle).len(), 1, "{idle}");
        }
    }

    #[test]
    fn a_dependency_that_no_crate_takes_is_found() {
        let manifest = "[workspace.dependencies]\nhttp = \"1\"\n";
        assert!(untaken(manifest, &["[dependencies]\nhttp.workspace = true".to_owned()]).is_empty());
        assert_eq!(untaken(manifest, &["[dependencies]\nhttp-body.workspace = true".to_owned()]).len(), 1);
    }

    #[test]
    fn a_dependency_that_the_document_lacks_is_found() {
        let manifest =
            "[workspace.dependencies]\nheadwaters-model = { path = \"x\" }\nhttp = \"1\"\nhttp-body = \"1\"\n";
        assert_eq!(undocumented(manifest, "we use `http-body` and http 1").len(), 0);
        assert_eq!(undocumented(manifest, "we use http-body").len(), 1);
    }
}
