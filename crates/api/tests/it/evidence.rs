//! What a test proves, read from its source and from the snapshots that it compares with.
//!
//! A snapshot counts when the test asserts it: its name is what [`assert_answer`] or [`assert_refusals`] is called with,
//! or a function of the same file that calls one of them with that argument. What stands in a comment does not count, nor
//! a test that is not run.
//!
//! [`assert_answer`]: crate::answer::assert_answer
//! [`assert_refusals`]: crate::answer::assert_refusals

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// The functions that compare with a snapshot.
const ASSERTIONS: [&str; 2] = ["assert_answer", "assert_refusals"];

/// The folder of these tests.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it")
}

/// All snapshots by their names; those that are not of one operation are left out.
pub(crate) fn snapshots() -> BTreeMap<String, Value> {
    let files = fs::read_dir(folder().join("snapshots")).unwrap().map(|entry| entry.unwrap().path());
    let read = files.filter(|path| path.extension().is_some_and(|extension| extension == "snap")).filter_map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let shown: Value = serde_json::from_str(text.splitn(3, "---\n").nth(2)?).ok()?;
        shown["request"].is_string().then(|| (path.file_stem().unwrap().to_string_lossy().into_owned(), shown))
    });
    read.collect()
}

/// The snapshots that a test asserts, by `module::name`; none when the binary has no such test, or does not run it.
pub(crate) fn asserted_by(test: &str) -> BTreeSet<String> {
    let asserted = || {
        let (module, name) = test.split_once("::")?;
        let modules = fs::read_to_string(folder().join("main.rs")).ok()?;
        let source = fs::read_to_string(folder().join(format!("{module}.rs"))).ok()?;
        let code = without_comments(&source);
        let body = modules.contains(&format!("\nmod {module};\n")).then(|| body_of(&code, name))??;
        Some(asserted_in(body, &asserting(&code)))
    };
    asserted().unwrap_or_default()
}

/// The snapshots that any test of the binary asserts.
pub(crate) fn asserted_anywhere() -> BTreeSet<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let sources = files.filter_map(|path| fs::read_to_string(path).ok());
    sources
        .flat_map(|source| {
            let code = without_comments(&source);
            asserted_in(&code, &asserting(&code))
        })
        .collect()
}

/// A source without its lines of comments and what stands behind code; there are no block comments in this house.
fn without_comments(source: &str) -> String {
    let lines = source.lines().map(|line| match line.find("//") {
        // One within a text belongs to an address.
        Some(at) if at == 0 || line[..at].ends_with(char::is_whitespace) => line[..at].trim_end(),
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The body of a test that is run: one with another attribute beside `#[tokio::test]` is none.
fn body_of<'a>(code: &'a str, test: &str) -> Option<&'a str> {
    let (before, rest) = code.split_once(&format!("#[tokio::test]\nasync fn {test}() {{\n"))?;
    let has_more = before.lines().next_back().is_some_and(|line| line.trim_start().starts_with("#["));
    let (body, _) = rest.split_once("\n}\n")?;
    (!has_more).then_some(body)
}

/// The functions that assert a snapshot whose name is their argument: those of the answers, and those of a source that
/// hand it on.
fn asserting(code: &str) -> BTreeSet<&str> {
    let own = code.split("fn ").skip(1).filter_map(|function| {
        let (name, rest) = function.split_once('(')?;
        let body: String = rest.split("\n    }\n").next()?.split_whitespace().collect();
        let hands_on = ASSERTIONS.iter().any(|assertion| body.contains(&format!("{assertion}(name,")));
        hands_on.then_some(name)
    });
    own.chain(ASSERTIONS).collect()
}

/// The texts that these functions are called with first.
fn asserted_in(code: &str, asserting: &BTreeSet<&str>) -> BTreeSet<String> {
    let code: String = code.split_whitespace().collect();
    let calls = code.match_indices("(\"").filter_map(|(at, _)| {
        let called = code[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        let (name, _) = code[at + 2..].split_once('"')?;
        asserting.contains(called).then(|| name.to_owned())
    });
    calls.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
/// Asserts "never".
async fn hand_on(name: &str) {
    assert_refusals(
        name,
        &[],
    );
    }

#[tokio::test]
async fn run() {
    // assert_answer("in_a_comment", &answer);
    assert_answer("asserted", &answer); // assert_answer("behind_code", &answer);
    hand_on("handed_on").await;
    let mentioned = world.get("mentioned");
    assert_refusals(
        "on_a_line_of_its_own", &[("https://ns.example/x", answer)]);
}

#[ignore]
#[tokio::test]
async fn ignored() {
    assert_answer("ignored", &answer);
}

#[tokio::test]
#[ignore = "slow"]
async fn ignored_too() {
    assert_answer("ignored_too", &answer);
}
"#;

    #[test]
    fn only_what_a_test_asserts_counts() {
        let code = without_comments(SOURCE);
        let asserted = asserted_in(body_of(&code, "run").unwrap(), &asserting(&code));
        assert_eq!(asserted.iter().collect::<Vec<_>>(), ["asserted", "handed_on", "on_a_line_of_its_own"]);
    }

    #[test]
    fn a_test_that_is_not_there_or_is_not_run_proves_nothing() {
        let code = without_comments(SOURCE);
        for test in ["ignored", "ignored_too", "ru", "hand_on"] {
            assert_eq!(body_of(&code, test), None, "{test}");
        }
        assert!(!asserted_by("connections::a_base_connection_goes_its_way_from_draft_to_deletion").is_empty());
        assert!(asserted_by("connections::a_base_connection_goes_its_way").is_empty());
        assert!(asserted_by("rivers::a_base_connection_goes_its_way_from_draft_to_deletion").is_empty());
    }
}
