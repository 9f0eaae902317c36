//! Rules about Rust files: names, lengths, words.

use super::Finding;

/// How long a file may be, without its tests.
const LINES_MAX: usize = 400;

/// Longer files, each with the reason why it is not cut.
const LONG_FILES: [(&str, &str); 0] = [];

/// Drawers for leftovers: a file is named after its topic.
const DRAWERS: [&str; 6] = ["mod.rs", "util.rs", "utils.rs", "common.rs", "helpers.rs", "misc.rs"];

/// Words that no code has, and what to write instead.
const FORBIDDEN: [(&str, &str); 4] = [
    ("#[allow(", "use #[expect(lint, reason = \"…\")], which says when it is no longer needed"),
    ("todo!", "write it, or leave it out"),
    ("unimplemented!", "write it, or leave it out"),
    ("#[ignore", "a test that does not run proves nothing"),
];
/// Words that only tests have.
const FOR_TESTS: [(&str, &str); 1] = [(".unwrap()", "handle the error, or state the invariant in an #[expect]")];

/// All rules of this file on one file; `test_files` are those that [`test_modules`] found in others.
pub(super) fn check(path: &str, text: &str, test_files: &[String]) -> Vec<Finding> {
    let code = code_only(text);
    let is_test = path.contains("/tests/") || test_files.iter().any(|file| file == path);
    let (product, test_lines) = if is_test { Default::default() } else { without_tests(&code) };
    let mut findings = words(path, &code, &FORBIDDEN);
    findings.extend(words(path, &product, &FOR_TESTS));
    findings.extend(length(path, product.lines().count() - test_lines));
    findings.extend(drawer(path));
    findings
}

fn drawer(path: &str) -> Option<Finding> {
    let name = path.rsplit('/').next().unwrap_or(path);
    DRAWERS.contains(&name).then(|| format!("{path}: name the file after its topic"))
}

fn length(path: &str, lines: usize) -> Option<Finding> {
    let known = LONG_FILES.iter().any(|(file, _)| *file == path);
    (lines > LINES_MAX && !known).then(|| {
        format!("{path} has {lines} lines without its tests, more than {LINES_MAX}: cut it by topic, or give the reason in LONG_FILES")
    })
}

fn words(path: &str, code: &str, words: &[(&str, &str)]) -> Vec<Finding> {
    let lines = code.lines().zip(1..);
    let found = lines.flat_map(|(line, number)| {
        let hits = words.iter().filter(move |(word, _)| line.contains(word));
        hits.map(move |(word, advice)| format!("{path}:{number}: `{word}`: {advice}"))
    });
    found.collect()
}

/// The files of the modules that this file declares for tests only.
pub(super) fn test_modules(path: &str, text: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "lib" | "main")) => folder,
        _ => stem,
    };
    let code = code_only(text);
    modules_for_tests(&code).map(|name| format!("{folder}/{name}.rs")).collect()
}

/// The code without the items that only tests have, line by line the same, and how many lines those were.
fn without_tests(code: &str) -> (String, usize) {
    let mut product = String::with_capacity(code.len());
    let mut lines_removed = 0;
    let mut rest = code;
    while let Some(at) = rest.find(FOR_TESTS_ONLY) {
        let item = &rest[at..];
        product += &rest[..at];
        let end = item_end(item);
        let lines = item[..end].matches('\n').count();
        product += &"\n".repeat(lines);
        lines_removed += lines;
        rest = &item[end..];
    }
    (product + rest, lines_removed)
}

const FOR_TESTS_ONLY: &str = "#[cfg(test)]";

/// Where an item ends: behind its last brace, or behind its semicolon if that comes before any brace.
fn item_end(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

/// The names of the modules in files of their own that only tests have.
fn modules_for_tests(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices(FOR_TESTS_ONLY).filter_map(|(at, _)| {
        let item = &code[at + FOR_TESTS_ONLY.len()..];
        let (visibility, name) = item[..item_end(item)].split_once("mod ")?;
        let is_module = visibility.trim().is_empty() || visibility.trim().starts_with("pub");
        name.strip_suffix(';').filter(|_| is_module)
    })
}

/// The text with comments and the insides of literals blanked, line by line the same.
pub(super) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let blanked = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else {
            literal(rest, code.chars().next_back())
        };
        if blanked == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..blanked].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[blanked..];
        }
    }
    code
}

/// How many bytes at the beginning of `rest` are a string or character literal; 0 if there is none.
fn literal(rest: &str, before: Option<char>) -> usize {
    let in_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !in_name || before == Some('b')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = 1 + hashes + 1;
            return rest[open..].find(&end).map_or(rest.len(), |at| open + at + end.len());
        }
    }
    if rest.starts_with('"') {
        return closed(rest, '"');
    }
    // A lifetime has no second quote right behind its first character.
    let is_character = rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'');
    if rest.starts_with('\'') && is_character { closed(rest, '\'') } else { 0 }
}

/// The length of a literal with escapes, quotes included.
fn closed(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_forbidden_word_is_found_with_its_line() {
        for (word, _) in FORBIDDEN {
            let findings = check("crates/a/src/b.rs", &format!("\nfn f() {{ {word} }}\n"), &[]);
            assert_eq!(findings.len(), 1, "{word}");
            assert!(findings[0].contains("b.rs:2:"), "{findings:?}");
        }
    }

    #[test]
    fn words_in_comments_and_literals_are_no_code() {
        let text =
            "// todo!\n/* #[ignore */ let a = \"todo!\\\"todo!\"; let b = r#\"todo!\"#; let c = '\"'; // \" todo!\n";
        assert_eq!(check("crates/a/src/b.rs", text, &[]), Vec::<Finding>::new());
    }

    #[test]
    fn what_follows_a_lifetime_is_code() {
        assert_eq!(check("crates/a/src/b.rs", "fn f<'a>(x: &'a str) { todo!() }", &[]).len(), 1);
    }

    #[test]
    fn unwrap_is_found_in_the_product_and_allowed_in_tests() {
        assert_eq!(check("crates/a/src/b.rs", "fn f() { x.unwrap(); }", &[]).len(), 1);
        assert!(check("crates/a/tests/it/b.rs", "fn f() { x.unwrap(); }", &[]).is_empty());
        assert!(
            check("crates/a/src/b.rs", "fn f() {}\n#[cfg(test)]\nmod tests { fn f() { x.unwrap(); } }", &[]).is_empty()
        );
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let long = "fn f() {}\n".repeat(LINES_MAX + 1);
        assert_eq!(check("crates/a/src/b.rs", &long, &[]).len(), 1);
        assert!(check("crates/a/src/b.rs", &format!("#[cfg(test)]\nmod tests {{\n{long}}}\n"), &[]).is_empty());
    }

    #[test]
    fn a_drawer_is_found() {
        assert_eq!(check("crates/a/src/b/mod.rs", "", &[]).len(), 1);
        assert_eq!(check("crates/a/src/helpers.rs", "", &[]).len(), 1);
    }

    #[test]
    fn a_file_that_only_tests_declare_is_a_test() {
        let files = test_modules("crates/a/src/lib.rs", "#[cfg(test)]\npub(crate) mod sample;\n");
        assert_eq!(files, ["crates/a/src/sample.rs"]);
        assert!(check("crates/a/src/sample.rs", "fn f() { x.unwrap(); }", &files).is_empty());
        assert_eq!(test_modules("crates/a/src/b.rs", "#[cfg(test)]\nmod tests;\n"), ["crates/a/src/b/tests.rs"]);
    }

    #[test]
    fn what_follows_an_item_for_tests_is_product_again() {
        let text = "#[cfg(test)]\nfn a() { if x { y.unwrap(); } }\nfn b() { z.unwrap(); }\n";
        let findings = check("crates/a/src/b.rs", text, &[]);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("b.rs:3:"), "{findings:?}");
    }
}
