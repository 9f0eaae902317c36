//! The misfits of a batch, until it ends and the keys of their rows can be read from its columns.

use headwaters_model::diagnostic::{Diagnostics, Reason, SAMPLE_CHARS_MAX, SAMPLES_MAX};

/// A value that could not be kept as it was.
#[derive(Debug, PartialEq)]
pub(super) struct Misfit {
    pub(super) reason: Reason,
    /// What was done instead.
    pub(super) action: &'static str,
    /// The value as the server prints it.
    pub(super) raw: String,
}

/// The most bytes of a value that a sample can show.
pub(super) const SAMPLE_BYTES_MAX: usize = 4 * SAMPLE_CHARS_MAX;

/// What a sample can show of a value; a long one is not copied whole.
pub(super) fn clipped(value: &[u8]) -> &[u8] {
    value.get(..SAMPLE_BYTES_MAX).unwrap_or(value)
}

/// What was found in one column for one reason.
#[derive(Debug)]
struct Found {
    place: usize,
    reason: Reason,
    action: &'static str,
    count: u64,
    /// Rows of the batch, and what they held.
    samples: Vec<(usize, String)>,
}

/// All misfits of a batch.
#[derive(Debug, Default)]
pub(super) struct Misfits(Vec<Found>);

impl Misfits {
    /// Counts a misfit of the column at `place`, and keeps it while there is room for samples.
    #[cold]
    pub(super) fn add(&mut self, place: usize, row: usize, misfit: Misfit) {
        let Misfit { reason, action, raw } = misfit;
        let same = |found: &&mut Found| found.place == place && found.reason == reason;
        match self.0.iter_mut().find(same) {
            Some(found) => {
                found.count += 1;
                if found.samples.len() < SAMPLES_MAX {
                    found.samples.push((row, raw));
                }
            }
            None => self.0.push(Found { place, reason, action, count: 1, samples: vec![(row, raw)] }),
        }
    }

    /// Hands all misfits to the diagnostics and starts again; `name` and `key` tell of columns and rows.
    pub(super) fn settle<'a>(
        &mut self,
        diagnostics: &mut Diagnostics,
        name: impl Fn(usize) -> Option<&'a str>,
        key: impl Fn(usize) -> Option<String>,
    ) {
        for Found { place, reason, action, count, samples } in self.0.drain(..) {
            let Some(name) = name(place) else { continue };
            let unsampled = count.saturating_sub(samples.len() as u64);
            for (row, raw) in samples {
                let key = diagnostics.wants_sample(name, reason).then(|| key(row)).flatten();
                diagnostics.record(name, reason, action, key, &raw);
            }
            // There were samples enough before these.
            (0..unsampled).for_each(|_| diagnostics.record(name, reason, action, None, ""));
        }
    }
}
