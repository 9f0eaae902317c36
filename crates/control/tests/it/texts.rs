//! What people read of this crate: its messages and hints, as they stand in the code.

use std::fs;
use std::path::Path;

#[test]
fn no_text_of_the_crate_holds_two_blanks_in_a_row() {
    let mut wrong = Vec::new();
    look_into(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut wrong);
    assert!(wrong.is_empty(), "a continued line was lost?\n{}", wrong.join("\n"));
}

/// Code that is formatted holds two blanks nowhere but at the beginning of a line and within a text.
fn look_into(folder: &Path, wrong: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look_into(&path, wrong);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).unwrap();
            let code = code.split("#[cfg(test)]").next().unwrap_or_default();
            let suspects = code.lines().map(str::trim).filter(|line| line.contains("  ") && !line.starts_with("//"));
            wrong.extend(suspects.map(|line| format!("{}: {line}", path.display())));
        }
    }
}
