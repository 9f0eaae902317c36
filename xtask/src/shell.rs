//! Running programs, and saying so.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs one step under a heading, and says how long it took.
pub(crate) fn step<T>(heading: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n==> {heading}");
    let start = Instant::now();
    let outcome = work();
    let seconds = start.elapsed().as_secs_f64();
    match &outcome {
        Ok(_) => println!("    done in {seconds:.1} s"),
        Err(_) => println!("    failed after {seconds:.1} s"),
    }
    outcome.with_context(|| format!("step \"{heading}\""))
}

/// Runs a program whose output the person sees.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("starting {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a program and returns its standard output; its errors become part of ours.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}: {}", shown(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed something that is not UTF-8", shown(command)))
}

/// Waits a moment.
#[expect(clippy::disallowed_methods, reason = "xtask has no runtime whose threads it could block")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Whether a program is on the path.
pub(crate) fn exists(program: &str) -> bool {
    let found = |dir: &str| std::path::Path::new(dir).join(program).is_file();
    crate::environment::variable("PATH").is_some_and(|path| path.split(':').any(found))
}

/// A command as one would type it, without the many options in the middle of a long one.
fn shown(command: &Command) -> String {
    const ARGUMENTS_MAX: usize = 8;
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().take(ARGUMENTS_MAX).map(|argument| argument.to_string_lossy().into_owned()));
    if command.get_args().len() > ARGUMENTS_MAX {
        words.push("…".to_owned());
    }
    words.join(" ")
}
