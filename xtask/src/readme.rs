//! Runs the README's API tutorial as it stands, but for the address of the database.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::demo::{self, Shop};
use crate::environment::root;
use crate::shell::output;

/// The line by which the tutorial's block is known.
const MARK: &str = "eval \"$(headwaters env)\"";
/// What the README says in place of a database, and the source that it names.
const EXAMPLE: [&str; 2] = ["Server=db.example.com;Port=3306;Database=shop;UID=reader;PWD=…", "name==%22mysql%22"];

/// Appended to the tutorial: waits until its run has ended, and prints how.
const WAIT: &str = r#"
for _ in $(seq 300); do
  STATUS=$(flow GET "$FS/runs?property=flowId==$FLOW" | jq -r '.items[0].metrics.statusSummary.status')
  case "$STATUS" in success|failed) break;; esac
  sleep 0.1
done
echo "run: $STATUS"
"#;

/// Starts a database and a server, and does what the README says.
pub(crate) fn run() -> Result<()> {
    let readme = std::fs::read_to_string(root().join("README.md")).context("reading README.md")?;
    let block = block(&readme).context("README.md has no block with the API tutorial")?;
    demo::with_shop(|binary, shop| {
        let script = script(block, shop)?;
        let path = crate::environment::variable("PATH").unwrap_or_default();
        let folder = binary.parent().unwrap_or(Path::new("."));
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &script]);
        bash.env("PATH", format!("{}:{path}", folder.display())).env("HEADWATERS_DATA", &shop.data);
        let said = output(&mut bash)?;
        if !said.ends_with("run: success\n") {
            bail!("the README's calls end otherwise than it says:\n{said}");
        }
        Ok(())
    })
}

/// The shell block that holds the tutorial.
fn block(readme: &str) -> Option<&str> {
    let mut blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.find(|block| block.contains(MARK))
}

/// The block for a database that exists; an error if the README no longer says what is replaced here.
fn script(block: &str, shop: &Shop) -> Result<String> {
    let mut script = block.to_owned();
    for (said, meant) in EXAMPLE.into_iter().zip([shop.connection_string.as_str(), "name==%22maria-db%22"]) {
        if !script.contains(said) {
            bail!("README.md no longer says `{said}`: change xtask/src/readme.rs as well");
        }
        script = script.replace(said, meant);
    }
    Ok(script + WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_found_among_others() {
        let readme = "```sh\na\n```\ntext\n```sh\neval \"$(headwaters env)\"\nb\n```\n";
        assert_eq!(block(readme), Some("eval \"$(headwaters env)\"\nb"));
        assert_eq!(block("```sh\na\n```\n"), None);
    }
}
