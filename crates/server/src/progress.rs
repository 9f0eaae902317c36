//! How a copy shows that it is alive: a bar on a terminal, a JSON line per second, or nothing.

use std::fmt;
use std::io::IsTerminal;
use std::time::Instant;

use headwaters_model::job::{RunEvent, Totals};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};
use serde_json::json;

use crate::cli::Progress;

/// The bar where the number of rows is known: rows, bytes, rate, time left.
const KNOWN: &str = "{bar:30} {percent}% {human_pos}/~{human_len} rows, {msg}, {rate}, {eta} left";
/// The line where it is not.
const UNKNOWN: &str = "{spinner} {human_pos} rows, {msg}, {rate}, {elapsed}";

/// Takes the events of a run and shows them.
pub(crate) struct Display {
    totals: Totals,
    started: Instant,
    form: Form,
}

enum Form {
    Bar(ProgressBar),
    Json,
    None,
}

impl Display {
    /// A bar where a person looks, else nothing.
    pub(crate) fn default_progress() -> Progress {
        if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() { Progress::Bar } else { Progress::None }
    }

    pub(crate) fn start(progress: Progress) -> Self {
        let form = match progress {
            Progress::Bar => Form::Bar(styled(ProgressBar::no_length(), UNKNOWN)),
            Progress::Json => Form::Json,
            Progress::None => Form::None,
        };
        Self { totals: Totals::default(), started: Instant::now(), form }
    }

    /// Takes one event.
    pub(crate) fn take(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Planned { rows_estimate: Some(rows), .. } => {
                if let Form::Bar(bar) = &mut self.form {
                    bar.set_length(*rows);
                    *bar = styled(bar.clone(), KNOWN);
                }
            }
            RunEvent::Progress(totals) => {
                self.totals = *totals;
                if let Form::Bar(bar) = &self.form {
                    // An estimate may be too low: the bar's length follows the rows.
                    if bar.length().is_some_and(|length| length < totals.rows_out) {
                        bar.set_length(totals.rows_out);
                    }
                    bar.set_position(totals.rows_out);
                    bar.set_message(HumanBytes(totals.bytes_in).to_string());
                }
            }
            RunEvent::Reached { .. }
            | RunEvent::Bounded { .. }
            | RunEvent::Planned { .. }
            | RunEvent::SplitLanded(_) => {}
        }
    }

    /// Once a second.
    pub(crate) fn beat(&mut self) {
        match &self.form {
            Form::Bar(bar) => bar.tick(),
            Form::None => {}
            Form::Json => {
                let line = json!({
                    "rows": self.totals.rows_out,
                    "bytes_in": self.totals.bytes_in,
                    "bytes_out": self.totals.bytes_out,
                    "seconds": (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
                });
                // A reader that went away is noticed at the last line.
                let _gone = crate::commands::print(&line.to_string());
            }
        }
    }

    /// Removes what is only for waiting.
    pub(crate) fn finish(self) {
        if let Form::Bar(bar) = self.form {
            bar.finish_and_clear();
        }
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.with_key("rate", rate)),
        Err(_) => bar,
    }
}

/// Whole rows per second; nobody reads the fraction.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    let shown = write!(out, "{} rows/s", HumanCount(state.per_sec() as u64));
    // Formatting into a string can't fail, and a progress bar is no place to make a fuss.
    debug_assert!(shown.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_are_valid() {
        for template in [KNOWN, UNKNOWN] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
