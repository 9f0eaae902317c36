//! Cutting a key into ranges of about equal rows.
//!
//! Never equal widths: gaps would give empty ranges and crowds giant ones. Keys that are numbers are halved until the
//! optimizer's estimates are even; texts are sampled; other keys are walked by the server in steps of rows. Every bound is
//! a number in the server's order, or a key in the order in which the server listed it, so bounds do not cross; that they
//! do not is proven by the server before they are used (`SplitPlan::is_proven`).

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};
use std::future::Future;

use headwaters_model::source_error::SourceError;

use super::key::{Bound, KeyKind, SplitKey};
use super::sample;

/// How many ranges a table is cut into at most.
pub(super) const SPLITS_MAX: u32 = 4096;
/// How many questions the planner asks the server at most.
pub(super) const PROBES_MAX: u32 = 4 * SPLITS_MAX;
/// How many pieces make a range: the more, the more even ranges get, and the more questions are asked.
pub(super) const PIECES_PER_SPLIT: u64 = 4;
/// Below so many estimated rows they are counted instead.
const COUNT_ROWS_MAX: u64 = 100_000;
/// How many rows one step passes over at most, so that no question takes long.
const STEP_ROWS_MAX: u64 = 1_000_000;

/// What the planner asks the server.
pub(super) trait Prober: Send {
    /// The smallest and the largest value of the key's first column; none if there are no rows.
    fn range(&mut self) -> impl Future<Output = Result<Option<(String, String)>, SourceError>> + Send;
    /// The optimizer's estimate of the rows in `[lower, upper)`; without an upper bound, of all rows from `lower` on.
    fn estimate(
        &mut self,
        lower: &[String],
        upper: Option<&[String]>,
    ) -> impl Future<Output = Result<u64, SourceError>> + Send;
    /// The key that stands so many rows behind a bound, or behind the first row; none beyond the last.
    fn step(
        &mut self,
        from: Option<&[String]>,
        rows: u64,
    ) -> impl Future<Output = Result<Option<Bound>, SourceError>> + Send;
    /// Those values of the first column that are there, each once and in the server's order.
    fn ordered(&mut self, values: &[String]) -> impl Future<Output = Result<Vec<String>, SourceError>> + Send;
    /// Counts the rows, at most so many.
    fn count(&mut self, rows_max: u64) -> impl Future<Output = Result<u64, SourceError>> + Send;
}

/// A piece of a table: from a bound, or from the start, up to the next piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) lower: Option<Bound>,
    pub(super) rows: u64,
}

/// Cuts a table into `splits` ranges if the key allows, in key order; the first is open below.
pub(super) async fn cut(
    prober: &mut impl Prober,
    key: &SplitKey,
    splits: u32,
    rows_estimate: u64,
) -> Result<Vec<Piece>, SourceError> {
    let whole = vec![Piece { lower: None, rows: rows_estimate }];
    let splits = splits.min(SPLITS_MAX);
    let Some(first) = key.first().filter(|_| splits > 1) else { return Ok(whole) };
    let Some((min, max)) = prober.range().await? else { return Ok(whole) };
    let ends = first.kind.ordinal(&min).zip(first.kind.ordinal(&max));
    let Some((min, max)) = ends else {
        let is_text = matches!(first.kind, KeyKind::Text { .. });
        if is_text
            && rows_estimate >= COUNT_ROWS_MAX
            && let Some(pieces) = sample::sample(prober, &first.kind, min, max, splits).await?
        {
            return Ok(pack(pieces, splits));
        }
        return walk(prober, splits, rows_estimate).await;
    };
    let mut halving = Halving { kind: &first.kind, probes: PROBES_MAX, granule: 1 };
    let mut pieces = halving.halve(prober, min, max, splits).await?;
    if key.columns.len() > 1 {
        pieces = walk_crowds(prober, &first.kind, pieces, halving.granule).await?;
    }
    Ok(pack(pieces.into_iter().map(|(lower, rows)| Piece { lower: Some(lower), rows }).collect(), splits))
}

/// A range of ordinals, `[lower, upper)`, and its estimated rows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    rows: u64,
    lower: i128,
    upper: i128,
}

impl Ord for Span {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.rows, other.lower).cmp(&(other.rows, self.lower))
    }
}

impl PartialOrd for Span {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Halves ranges of ordinals, the one with most rows first.
struct Halving<'a> {
    kind: &'a KeyKind,
    probes: u32,
    granule: u64,
}

impl Halving<'_> {
    async fn halve(
        &mut self,
        prober: &mut impl Prober,
        min: i128,
        max: i128,
        splits: u32,
    ) -> Result<Vec<(Bound, u64)>, SourceError> {
        let mut spans = BinaryHeap::new();
        let rows = self.estimate(prober, min, max.saturating_add(1)).await?;
        self.granule = (rows / (u64::from(splits) * PIECES_PER_SPLIT)).max(1);
        spans.push(Span { rows, lower: min, upper: max.saturating_add(1) });
        let mut done = Vec::new();
        while let Some(span) = spans.pop() {
            let middle = span.lower.midpoint(span.upper);
            if span.rows <= self.granule || middle == span.lower || self.probes < 2 {
                done.push(span);
                continue;
            }
            self.probes -= 2;
            for (lower, upper) in [(span.lower, middle), (middle, span.upper)] {
                let rows = self.estimate(prober, lower, upper).await?;
                spans.push(Span { rows, lower, upper });
            }
        }
        done.sort_unstable_by_key(|span| span.lower);
        let bounds = done.into_iter().filter_map(|span| Some((vec![self.kind.value(span.lower)?], span.rows)));
        Ok(bounds.collect())
    }

    /// A lower bound that the server cannot name leaves the range undivided: it counts as empty. An upper one (behind
    /// the last date) has nothing behind it.
    async fn estimate(&self, prober: &mut impl Prober, lower: i128, upper: i128) -> Result<u64, SourceError> {
        let Some(lower) = self.kind.value(lower) else { return Ok(0) };
        let upper: Option<Bound> = self.kind.value(upper).map(|upper| vec![upper]);
        prober.estimate(&[lower], upper.as_deref()).await
    }
}

/// A single value of the first column that holds more than a piece should is cut along the whole key.
async fn walk_crowds(
    prober: &mut impl Prober,
    kind: &KeyKind,
    pieces: Vec<(Bound, u64)>,
    granule: u64,
) -> Result<Vec<(Bound, u64)>, SourceError> {
    let mut out = Vec::with_capacity(pieces.len());
    for (lower, rows) in pieces {
        let start = lower.clone();
        out.push((lower, rows.min(granule)));
        let mut from = start.clone();
        let mut left = rows.saturating_sub(granule);
        while left > granule {
            let Some(next) = prober.step(Some(&from), granule).await? else { break };
            if next == from || next.first().and_then(|v| kind.ordinal(v)) != start.first().and_then(|v| kind.ordinal(v))
            {
                break;
            }
            left = left.saturating_sub(granule);
            out.push((next.clone(), granule));
            from = next;
        }
        if let Some(last) = out.last_mut() {
            last.1 += left;
        }
    }
    Ok(out)
}

/// Lets the server step along the key, so many rows at a time.
async fn walk(prober: &mut impl Prober, splits: u32, rows_estimate: u64) -> Result<Vec<Piece>, SourceError> {
    // An estimate may be stale or missing; a small table is counted, which takes milliseconds.
    let counted = if rows_estimate < COUNT_ROWS_MAX { prober.count(COUNT_ROWS_MAX).await? } else { rows_estimate };
    let step = counted.div_ceil(u64::from(splits)).clamp(1, STEP_ROWS_MAX);
    let mut pieces = vec![Piece { lower: None, rows: step }];
    let mut seen = HashSet::new();
    for _ in 0..PROBES_MAX {
        let from = pieces.last().and_then(|piece| piece.lower.clone());
        let Some(next) = prober.step(from.as_deref(), step).await? else { break };
        // A step that leads back would go round in circles.
        if !seen.insert(next.clone()) {
            break;
        }
        pieces.push(Piece { lower: Some(next), rows: step });
    }
    let before = step * (pieces.len() as u64 - 1);
    if let Some(last) = pieces.last_mut() {
        last.rows = last.rows.min(counted.saturating_sub(before));
    }
    Ok(pack(pieces, splits))
}

/// Joins neighbours until there are at most `splits` ranges of about equal rows. The first is opened below: what was
/// inserted since the smallest key was asked for belongs to it.
fn pack(pieces: Vec<Piece>, splits: u32) -> Vec<Piece> {
    let total: u64 = pieces.iter().map(|piece| piece.rows).sum();
    let mut out: Vec<Piece> = Vec::new();
    let mut before = 0_u64;
    for piece in pieces {
        let full = out.len() >= splits as usize;
        let reached = u128::from(before) * u128::from(splits) >= u128::from(total) * out.len() as u128;
        before += piece.rows;
        match out.last_mut() {
            Some(last) if full || !reached || last.rows == 0 => last.rows += piece.rows,
            Some(_) => out.push(piece),
            None => out.push(Piece { lower: None, rows: piece.rows }),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::key::KeyColumn;
    use super::*;

    /// A table in memory whose first key column is a number.
    #[derive(Default)]
    struct Table {
        rows: BTreeMap<(i128, i128), ()>,
        questions: u32,
    }

    impl Table {
        fn of(keys: impl IntoIterator<Item = i128>) -> Self {
            Self { rows: keys.into_iter().map(|key| ((key, 0), ())).collect(), questions: 0 }
        }

        fn crowd(first: i128, rows: i128) -> Self {
            Self { rows: (0..rows).map(|second| ((first, second), ())).collect(), questions: 0 }
        }

        fn number(bound: &[String], place: usize) -> i128 {
            bound.get(place).map_or(i128::MIN, |value| value.parse().unwrap())
        }

        fn rows_of(&self, lower: Option<&Bound>, upper: Option<&Bound>) -> usize {
            let lower = lower.map_or((i128::MIN, i128::MIN), |b| (Self::number(b, 0), Self::number(b, 1)));
            let upper = upper.map(|b| (Self::number(b, 0), Self::number(b, 1)));
            self.rows.range(lower..).filter(|(key, ())| upper.is_none_or(|upper| **key < upper)).count()
        }
    }

    impl Prober for Table {
        async fn range(&mut self) -> Result<Option<(String, String)>, SourceError> {
            self.questions += 1;
            let ends = self.rows.first_key_value().zip(self.rows.last_key_value());
            Ok(ends.map(|(first, last)| (first.0.0.to_string(), last.0.0.to_string())))
        }

        async fn estimate(&mut self, lower: &[String], upper: Option<&[String]>) -> Result<u64, SourceError> {
            self.questions += 1;
            let upper = upper.map(<[String]>::to_vec);
            Ok(self.rows_of(Some(&lower.to_vec()), upper.as_ref()) as u64)
        }

        async fn step(&mut self, from: Option<&[String]>, rows: u64) -> Result<Option<Bound>, SourceError> {
            self.questions += 1;
            let from = from.map_or((i128::MIN, i128::MIN), |b| (Self::number(b, 0), Self::number(b, 1)));
            let found = self.rows.range(from..).nth(usize::try_from(rows).unwrap());
            Ok(found.map(|((a, b), ())| vec![a.to_string(), b.to_string()]))
        }

        async fn ordered(&mut self, values: &[String]) -> Result<Vec<String>, SourceError> {
            unreachable!("numbers are not sampled: {values:?}")
        }

        async fn count(&mut self, rows_max: u64) -> Result<u64, SourceError> {
            self.questions += 1;
            Ok(rows_max.min(self.rows.len() as u64))
        }
    }

    fn key(kinds: &[KeyKind]) -> SplitKey {
        let columns = kinds.iter().map(|kind| KeyColumn { name: "k".to_owned(), kind: kind.clone() }).collect();
        SplitKey { table: "t".to_owned(), index: "PRIMARY".to_owned(), columns }
    }

    fn cut_of(table: &mut Table, key: &SplitKey, splits: u32) -> Vec<Piece> {
        let estimate = table.rows.len() as u64;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pieces = runtime.block_on(cut(table, key, splits, estimate)).unwrap();
        assert_eq!(pieces[0].lower, None, "the first range is open below");
        pieces
    }

    /// The rows of each range; together they are the table.
    fn sizes(table: &Table, pieces: &[Piece]) -> Vec<usize> {
        let uppers = pieces[1..].iter().map(|piece| piece.lower.as_ref()).chain([None]);
        let sizes: Vec<usize> =
            pieces.iter().zip(uppers).map(|(piece, upper)| table.rows_of(piece.lower.as_ref(), upper)).collect();
        assert_eq!(sizes.iter().sum::<usize>(), table.rows.len(), "every row lies in one range");
        sizes
    }

    #[test]
    fn gaps_and_the_ends_of_the_numbers_do_not_skew_the_ranges() {
        let min = i128::from(i64::MIN);
        let mut table = Table::of((0..1000).map(|n| min + n).chain((0..1000).map(|n| i128::from(u64::MAX) - n)));
        let pieces = cut_of(&mut table, &key(&[KeyKind::Integer]), 8);
        let sizes = sizes(&table, &pieces);
        assert_eq!(sizes.len(), 8);
        assert!(sizes.iter().all(|rows| (150..=350).contains(rows)), "{sizes:?}");
        assert!(table.questions < 500, "{} questions", table.questions);
    }

    #[test]
    fn a_crowd_on_one_value_is_cut_along_the_whole_key() {
        let mut table = Table::crowd(7, 1000);
        table.rows.insert((1, 1), ());
        table.rows.insert((9, 1), ());
        let pieces = cut_of(&mut table, &key(&[KeyKind::Integer, KeyKind::Integer]), 4);
        let sizes = sizes(&table, &pieces);
        assert_eq!(sizes.len(), 4);
        assert!(sizes.iter().all(|rows| (150..=400).contains(rows)), "{sizes:?}");
    }

    #[test]
    fn keys_without_numbers_are_walked_by_the_server() {
        let mut table = Table::of(0..103);
        let pieces = cut_of(&mut table, &key(&[KeyKind::Printed]), 5);
        assert_eq!(sizes(&table, &pieces), [21, 21, 21, 21, 19]);
    }

    #[test]
    fn small_tables_give_what_they_have() {
        let integers = key(&[KeyKind::Integer]);
        assert_eq!(cut_of(&mut Table::of([]), &integers, 4).len(), 1);
        assert_eq!(cut_of(&mut Table::of([0]), &integers, 4).len(), 1);
        let mut nine = Table::of([-9, -1, 0, 1, 2, 3, 1_000_000, 8_000_000, 9_000_000]);
        let pieces = cut_of(&mut nine, &integers, 3);
        assert_eq!(sizes(&nine, &pieces), [3, 3, 3]);
        assert_eq!(cut_of(&mut Table::of(0..100), &integers, 1).len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_row_lies_in_exactly_one_range(
            keys in proptest::collection::btree_set(any::<i64>(), 0..200),
            splits in 1_u32..20,
            integer: bool,
        ) {
            let mut table = Table::of(keys.into_iter().map(i128::from));
            let kind = if integer { KeyKind::Integer } else { KeyKind::Printed };
            let pieces = cut_of(&mut table, &key(&[kind]), splits);
            sizes(&table, &pieces);
            prop_assert!(pieces.len() <= splits as usize);
        }
    }
}
