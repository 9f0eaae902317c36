//! Bounds of text keys without walking the table.
//!
//! Texts are guessed, and for each the server finds the first key at or behind it: one dive into the index. The keys that
//! were found are listed by the server in its own order, and the optimizer says how many rows lie between neighbours. Where
//! too many do, longer texts are guessed. A guess decides only how even the ranges get, never their order.

use std::collections::BTreeSet;

use headwaters_model::source_error::SourceError;

use super::cut::{PIECES_PER_SPLIT, Piece, Prober};

/// What a guess ends with. Under most collations these are in order, under some several mean the same.
const ENDINGS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// How often guesses get longer.
const ROUNDS_MAX: u32 = 3;
/// How many texts are guessed in one round at most.
const GUESSES_MAX: usize = 512;
/// A range that holds so many times its share shows that guessing does not suit these keys.
const SHARES_MAX: u64 = 2;

/// Pieces in key order, the first open below; none if the keys are not like anything that was guessed.
pub(super) async fn sample(
    prober: &mut impl Prober,
    min: String,
    max: String,
    splits: u32,
) -> Result<Option<Vec<Piece>>, SourceError> {
    let mut prefixes = vec![common_prefix(&min, &max)];
    let mut found = BTreeSet::from([min, max]);
    let mut between = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let guesses = prefixes.iter().flat_map(|prefix| ENDINGS.chars().map(move |ending| format!("{prefix}{ending}")));
        for guess in guesses.take(GUESSES_MAX) {
            let key = prober.step(Some(&[guess]), 0).await?;
            found.extend(key.and_then(|key| key.into_iter().next()));
        }
        let ordered = prober.ordered(&found.iter().cloned().collect::<Vec<_>>()).await?;
        between = rows_between(prober, &ordered).await?;
        let piece_rows = share(&between, splits) / PIECES_PER_SPLIT;
        prefixes = between.iter().filter(|gap| gap.rows > piece_rows.max(1)).map(Gap::longer_prefix).collect();
        if prefixes.is_empty() {
            break;
        }
    }
    let suits = between.iter().all(|gap| gap.rows <= SHARES_MAX * share(&between, splits));
    let pieces = between.into_iter().map(|gap| Piece { lower: Some(vec![gap.lower]), rows: gap.rows });
    Ok(suits.then(|| pieces.collect()).filter(|pieces: &Vec<Piece>| pieces.len() > 1))
}

/// The rows from one key up to the next one that was found.
struct Gap {
    lower: String,
    upper: String,
    rows: u64,
}

impl Gap {
    /// What the keys in between begin with: most of them share one character more with the lower end than both ends share.
    fn longer_prefix(&self) -> String {
        let common = common_prefix(&self.lower, &self.upper).chars().count();
        self.lower.chars().take(common + 1).collect()
    }
}

fn share(gaps: &[Gap], splits: u32) -> u64 {
    let rows: u64 = gaps.iter().map(|gap| gap.rows).sum();
    (rows / u64::from(splits)).max(1)
}

async fn rows_between(prober: &mut impl Prober, ordered: &[String]) -> Result<Vec<Gap>, SourceError> {
    let mut gaps = Vec::with_capacity(ordered.len());
    for pair in ordered.windows(2) {
        let [lower, upper] = pair else { continue };
        let rows = prober.estimate(std::slice::from_ref(lower), std::slice::from_ref(upper)).await?;
        gaps.push(Gap { lower: lower.clone(), upper: upper.clone(), rows });
    }
    Ok(gaps)
}

fn common_prefix(a: &str, b: &str) -> String {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

#[cfg(test)]
mod tests {
    use super::super::key::Bound;
    use super::*;

    /// A table in memory with a text key; its order puts lower case before upper case, as no guess expects.
    struct Table {
        keys: Vec<String>,
        questions: u32,
    }

    fn rank(key: &str) -> String {
        key.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect()
    }

    impl Table {
        fn of(keys: impl IntoIterator<Item = String>) -> Self {
            let mut keys: Vec<String> = keys.into_iter().collect();
            keys.sort_by_key(|key| rank(key));
            Self { keys, questions: 0 }
        }

        fn place(&self, bound: &str) -> usize {
            self.keys.partition_point(|key| rank(key) < rank(bound))
        }
    }

    impl Prober for Table {
        async fn range(&mut self) -> Result<Option<(String, String)>, SourceError> {
            Ok(self.keys.first().cloned().zip(self.keys.last().cloned()))
        }

        async fn estimate(&mut self, lower: &[String], upper: &[String]) -> Result<u64, SourceError> {
            self.questions += 1;
            Ok((self.place(&upper[0]) - self.place(&lower[0])) as u64)
        }

        async fn step(&mut self, from: Option<&[String]>, rows: u64) -> Result<Option<Bound>, SourceError> {
            self.questions += 1;
            assert_eq!(rows, 0, "a sample is one dive");
            let place = from.map_or(0, |bound| self.place(&bound[0]));
            Ok(self.keys.get(place).map(|key| vec![key.clone()]))
        }

        async fn ordered(&mut self, values: &[String]) -> Result<Vec<String>, SourceError> {
            let mut values = values.to_vec();
            values.sort_by_key(|value| rank(value));
            Ok(values)
        }

        async fn count(&mut self, _: u64) -> Result<u64, SourceError> {
            unreachable!("a sample never counts")
        }
    }

    fn sampled(table: &mut Table, splits: u32) -> Option<Vec<usize>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pieces = runtime.block_on(async {
            let (min, max) = table.range().await.unwrap().unwrap();
            sample(table, min, max, splits).await.unwrap()
        })?;
        let lowers: Vec<usize> =
            pieces[1..].iter().map(|piece| table.place(&piece.lower.as_ref().unwrap()[0])).collect();
        assert!(lowers.is_sorted(), "bounds never cross");
        let ends = lowers.iter().copied().chain([table.keys.len()]);
        Some(ends.scan(0, |start, end| Some(end - std::mem::replace(start, end))).collect())
    }

    #[test]
    fn hexadecimal_keys_and_words_are_sampled_evenly() {
        let hex = |n: u64| format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let sizes = sampled(&mut Table::of((0..4000).map(hex)), 8).unwrap();
        assert!(sizes.iter().all(|rows| *rows <= 500), "{sizes:?}");
        let mut prefixed = Table::of((0..4000).map(|n| format!("customer-{n:05}")));
        let sizes = sampled(&mut prefixed, 8).unwrap();
        assert!(sizes.iter().all(|rows| *rows <= 1000), "{sizes:?}");
        assert!(prefixed.questions < 3000, "{} questions", prefixed.questions);
    }

    #[test]
    fn keys_like_no_guess_are_left_to_the_walk() {
        assert_eq!(sampled(&mut Table::of((0..500).map(|n| format!("日本{}", "語".repeat(n)))), 8), None);
    }
}
