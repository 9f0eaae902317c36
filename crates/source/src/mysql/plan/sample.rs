//! Bounds of text keys without walking the table.
//!
//! Texts are guessed, and for each the server finds the first key at or behind it: one dive into the index. The keys that
//! were found are listed by the server in its own order, and the optimizer says how many rows lie between neighbours. Where
//! too many do, longer texts are guessed. A guess decides only how even the ranges get, never their order.
//!
//! Texts are the hexadecimal digits of their bytes, as in every [`super::key::Bound`]. Those of character sets whose
//! characters are not told apart without a table are not guessed.

use std::collections::BTreeSet;

use headwaters_model::source_error::SourceError;

use super::cut::{PIECES_PER_SPLIT, Piece, Prober};
use super::key::KeyKind;

/// What a guess ends with. Under most collations these are in order, under some several mean the same.
const ENDINGS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// How often guesses get longer.
const ROUNDS_MAX: u32 = 3;
/// How many texts are guessed in one round at most.
const GUESSES_MAX: usize = 512;
/// A range that holds so many times its share shows that guessing does not suit these keys.
const SHARES_MAX: u64 = 2;

/// Pieces in key order, the first open below; none if the keys are not like anything that was guessed.
pub(super) async fn sample(
    prober: &mut impl Prober,
    kind: &KeyKind,
    min: String,
    max: String,
    splits: u32,
) -> Result<Option<Vec<Piece>>, SourceError> {
    let Some(common) = prefix(kind, &min, &max, 0) else { return Ok(None) };
    let mut prefixes = vec![common];
    let mut found = BTreeSet::from([min, max]);
    let mut between = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let guesses = prefixes.iter().flat_map(|prefix| ENDINGS.iter().map(move |byte| format!("{prefix}{byte:02X}")));
        let guesses: Vec<String> = guesses.take(GUESSES_MAX).collect();
        for guess in guesses {
            let key = prober.step(Some(&[guess]), 0).await?;
            found.extend(key.and_then(|key| key.into_iter().next()));
        }
        let ordered = prober.ordered(&found.iter().cloned().collect::<Vec<_>>()).await?;
        between = rows_between(prober, &ordered).await?;
        let piece_rows = share(&between, splits) / PIECES_PER_SPLIT;
        let crowded = between.iter().filter(|gap| gap.rows > piece_rows.max(1));
        prefixes = crowded.filter_map(|gap| prefix(kind, &gap.lower, &gap.upper, 1)).collect();
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

fn share(gaps: &[Gap], splits: u32) -> u64 {
    let rows: u64 = gaps.iter().map(|gap| gap.rows).sum();
    (rows / u64::from(splits)).max(1)
}

async fn rows_between(prober: &mut impl Prober, ordered: &[String]) -> Result<Vec<Gap>, SourceError> {
    let mut gaps = Vec::with_capacity(ordered.len());
    for pair in ordered.windows(2) {
        let [lower, upper] = pair else { continue };
        let rows = prober.estimate(std::slice::from_ref(lower), Some(std::slice::from_ref(upper))).await?;
        gaps.push(Gap { lower: lower.clone(), upper: upper.clone(), rows });
    }
    Ok(gaps)
}

/// What both texts begin with, and so many characters of the first one more: most keys between two that were found
/// share one character more with the lower one than both share.
fn prefix(kind: &KeyKind, first: &str, second: &str, more: usize) -> Option<String> {
    let (first, second) = (kind.characters(first)?, kind.characters(second)?);
    let common = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
    Some(first.into_iter().take(common + more).collect())
}

#[cfg(test)]
mod tests {
    use super::super::key::Bound;
    use super::*;

    /// A table in memory with a text key, in digits as bounds are; its order puts lower case before upper case, as no guess expects.
    struct Table {
        keys: Vec<String>,
        questions: u32,
    }

    fn digits(text: &str) -> String {
        text.bytes().map(|byte| format!("{byte:02X}")).collect()
    }

    fn rank(digits: &str) -> String {
        let byte = |place| u8::from_str_radix(&digits[place..place + 2], 16).unwrap();
        let key = String::from_utf8((0..digits.len()).step_by(2).map(byte).collect()).unwrap();
        key.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect()
    }

    impl Table {
        fn of(keys: impl IntoIterator<Item = String>) -> Self {
            let mut keys: Vec<String> = keys.into_iter().map(|key| digits(&key)).collect();
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

        async fn estimate(&mut self, lower: &[String], upper: Option<&[String]>) -> Result<u64, SourceError> {
            self.questions += 1;
            let upper = upper.map_or(self.keys.len(), |upper| self.place(&upper[0]));
            Ok((upper - self.place(&lower[0])) as u64)
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
            let kind = KeyKind::Text { charset: "utf8mb4".to_owned(), collation: "utf8mb4_bin".to_owned() };
            sample(table, &kind, min, max, splits).await.unwrap()
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
