//! Runs what the README shows as it stands, but for the address of the database and what builds the program.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::demo::{self, Shop};
use crate::environment::{cache, root, variable};
use crate::install;
use crate::shell::output;

/// The words by which the blocks are known: the first copy, the reading of it, the tutorial, changing a flow, one that recurs.
const MARKS: [&str; 5] =
    ["headwaters copy ", "polars.read_delta", "eval \"$(headwaters env)\"", "-X PATCH ", "\"deltaColumn\""];
/// Lines of a block that the caller of this task has done.
const DONE: [&str; 2] = ["cargo build ", "export PATH="];

/// Appended to the reading: the number of rows alone.
const COUNT: &str = r#"
python3 -c 'import polars; print("rows:", polars.read_delta("./lake/orders").height)'
"#;

/// Appended to a flow that was made: waits until its run has ended, and prints how.
const WAIT: &str = r#"
for _ in $(seq 300); do
  STATUS=$(flow GET "$FS/runs?property=flowId==$FLOW" | jq -r '.items[0].metrics.statusSummary.status')
  case "$STATUS" in success|failed) break;; esac
  sleep 0.1
done
echo "run: $STATUS"
"#;

/// Installs what that needs, builds the program, and does what the README says.
pub(crate) fn build_and_run() -> Result<()> {
    install::for_demo()?;
    run(&demo::build()?)
}

/// Starts a database and a server of this program, and does what the README says.
pub(crate) fn run(binary: &Path) -> Result<()> {
    let readme = std::fs::read_to_string(root().join("README.md")).context("reading README.md")?;
    demo::with_shop(binary, |shop| {
        let [copy, read, tutorial, change, recur] = MARKS.map(|mark| block(&readme, mark));
        // A database by URI, and its password.
        let (uri, password) = (format!("mysql://{}", shop.address), format!("PASSWORD={}", shop.password));
        let words = [("mysql://reader@db.example.com/shop", uri.as_str()), ("PASSWORD=…", &password)];
        shell(binary, shop, &meant(copy?, &words)?)?;
        expect(&shell(binary, shop, &(read?.to_owned() + COUNT))?, &format!("rows: {}\n", shop.orders))?;

        // The same as a connection string, and the source that it names.
        let example = "Server=db.example.com;Port=3306;Database=shop;UID=reader;PWD=…";
        let words = [(example, shop.connection_string.as_str()), ("name==%22mysql%22", "name==%22maria-db%22")];
        let all = [&meant(tutorial?, &words)?, WAIT, change?, "\n", recur?, WAIT].concat();
        let said = shell(binary, shop, &all)?;
        match said.matches("run: success\n").count() {
            2 => Ok(()),
            _ => bail!("of the flows that README.md makes, not both runs succeeded:\n{said}"),
        }
    })
}

/// Runs lines in the shop's folder, with the program and the Python readers on the path; returns what they print.
fn shell(binary: &Path, shop: &Shop, lines: &str) -> Result<String> {
    let programs = binary.parent().unwrap_or(Path::new("."));
    let path = variable("PATH").unwrap_or_default();
    let path = format!("{}:{}:{path}", programs.display(), cache()?.join("readers/bin").display());
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", lines]).current_dir(&shop.folder);
    output(bash.env("PATH", path).env("HEADWATERS_DATA", &shop.data))
}

fn expect(said: &str, end: &str) -> Result<()> {
    if said.ends_with(end) {
        return Ok(());
    }
    bail!("what README.md shows ends otherwise than with `{}`:\n{said}", end.trim_end())
}

/// The shell block of the README that has the mark.
fn block<'a>(readme: &'a str, mark: &str) -> Result<&'a str> {
    let mut blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.find(|block| block.contains(mark)).with_context(|| format!("README.md has no block with `{mark}`"))
}

/// The block for a database that exists; an error if the README no longer says what is replaced here.
fn meant(block: &str, words: &[(&str, &str)]) -> Result<String> {
    let lines = block.lines().filter(|line| !DONE.iter().any(|done| line.starts_with(done)));
    let mut script = lines.collect::<Vec<_>>().join("\n");
    for (said, meant) in words {
        if !script.contains(said) {
            bail!("README.md no longer says `{said}`: change xtask/src/readme.rs as well");
        }
        script = script.replace(said, meant);
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_found_among_others() {
        let readme = "```sh\na\n```\ntext\n```sh\neval \"$(headwaters env)\"\nb\n```\n";
        assert_eq!(block(readme, MARKS[2]).unwrap(), "eval \"$(headwaters env)\"\nb");
        assert!(block("```sh\na\n```\n", MARKS[2]).is_err());
    }

    #[test]
    fn an_example_that_is_no_longer_there_is_an_error() {
        assert_eq!(meant("cargo build x\nread here", &[("here", "there")]).unwrap(), "read there");
        assert!(meant("read", &[("database", "b")]).is_err());
    }
}
