//! Reading takes no allocation per row, and no more memory for a giant row than the row.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use headwaters_model::diagnostic::Reason;
use headwaters_model::job::Splits;
use headwaters_source::contract::Source;
use headwaters_source::mysql::MySqlSource;
use headwaters_source::mysql::columns::{BatchLimits, Columns, RowLayout};
use headwaters_source::mysql::types::{Landing, ServerType, TypeRules};
use headwaters_source::mysql::wire::RowFormat;
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use tokio_util::sync::CancellationToken;

use crate::reading::{access, access_with, limits, read, read_split, request};

thread_local! {
    /// Allocations of this thread, so that tests beside this one do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes that this thread holds, and the most that it held.
    static HELD: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, counting.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn note(allocations: u64, bytes: i64) {
    // A thread that ends has no counters any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + allocations));
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

#[expect(unsafe_code, reason = "counting allocations takes an allocator")]
// SAFETY: every call goes to the system's allocator with the arguments it came with; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size().cast_signed() as i64);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, -(layout.size().cast_signed() as i64));
        // SAFETY: the caller keeps the promises of `dealloc`; the pointer came from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size.cast_signed() as i64 - layout.size().cast_signed() as i64);
        // SAFETY: the caller keeps the promises of `realloc`; the pointer came from the same allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// A row of the binary protocol: an INT, a DECIMAL, a DATETIME with fraction, a text and a null.
fn row(n: u32) -> Vec<u8> {
    let mut row = vec![0, 0b0100_0000];
    row.extend(n.to_le_bytes());
    let digits = format!("{}.25", n * 7919);
    row.push(u8::try_from(digits.len()).unwrap_or(0));
    row.extend(digits.as_bytes());
    row.extend([11, 0xE8, 0x07, 5, 6, 7, 8, 9]);
    row.extend(n.to_le_bytes());
    let text = format!("naïve café {n:09}");
    row.push(u8::try_from(text.len()).unwrap_or(0));
    row.extend(text.as_bytes());
    row
}

#[test]
fn a_row_costs_no_allocation_once_the_columns_have_grown() {
    const ROWS: u32 = 5_000;
    let landing = |name: &str, server| Landing::of(name, &server, true, &TypeRules::default());
    let layout = RowLayout::new(
        vec![
            landing("i", ServerType::Int { unsigned: false }),
            landing("d", ServerType::Decimal { precision: 18, scale: 2 }),
            landing("t", ServerType::DateTime { fraction_digits: 6 }),
            landing("s", ServerType::Text),
            landing("n", ServerType::BigInt { unsigned: false }),
        ],
        &["i".to_owned()],
    );
    let limits = BatchLimits { rows_max: ROWS as usize, bytes_max: usize::MAX };
    let mut columns = Columns::new(layout, RowFormat::Binary, limits);
    let rows: Vec<Vec<u8>> = (0..ROWS).map(row).collect();
    for round in 0..3 {
        let before = ALLOCATIONS.get();
        for row in &rows {
            columns.push(row).expect("a row");
        }
        let allocated = ALLOCATIONS.get() - before;
        assert!(columns.is_full());
        // The null bitmaps grow by doubling in every batch; nothing else does.
        assert!(round == 0 || allocated < 16, "{allocated} allocations in {ROWS} rows");
        let batch = columns.finish().expect("a batch");
        assert_eq!(batch.column(3).as_string::<i32>().value(17), "naïve café 000000017");
    }
}

#[tokio::test]
async fn a_large_table_is_read_in_the_memory_of_a_few_batches() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    let schema = server.fresh_schema("memory").await?;
    server.execute(&format!("create table `{schema}`.t (id int primary key auto_increment, v varchar(900))")).await?;
    server.execute(&format!("insert into `{schema}`.t (v) values (repeat('x', 900)), (repeat('y', 900))")).await?;
    for _ in 0..15 {
        server.execute(&format!("insert into `{schema}`.t (v) select v from `{schema}`.t")).await?;
    }
    // TLS allocates for each of its records, which is not ours to count.
    let access = access_with(&format!("{};Database={schema};SslMode=None", server.connection_string("reader")));
    let request = request("t", Splits::Exactly(1));
    let mut open = MySqlSource::default().open(&access, &request, limits(1), CancellationToken::new()).await?;
    let (before, allocations) = (HELD.get().0, ALLOCATIONS.get());
    HELD.set((before, before));
    let totals = read_split(&mut open, 0).await?;
    let (held, allocations) = (HELD.get().1 - before, ALLOCATIONS.get() - allocations);
    assert_eq!(totals.rows, 65_536);
    assert!(held < 32 * 1024 * 1024, "{held} bytes for a table of {}", totals.bytes_in);
    assert!(allocations < totals.rows / 100, "{allocations} allocations for {} rows", totals.rows);
    Ok(())
}

#[tokio::test]
async fn a_blob_of_64_megabytes_lands_and_one_above_the_row_limit_is_rejected() -> Result<()> {
    const BLOB_BYTES: usize = 64_000_000;
    let server = ServerOptions::new(Flavour::MariaDb)
        .argument("--max-allowed-packet=256M")
        .argument("--innodb-log-file-size=512M");
    let server = server.start().await?;
    let schema = server.fresh_schema("blob").await?;
    server.execute(&format!("create table `{schema}`.t (id int primary key, b longblob)")).await?;
    server.execute(&format!("insert into `{schema}`.t values (1, 'small'), (2, repeat('x', {BLOB_BYTES}))")).await?;
    server.execute(&format!("insert into `{schema}`.t values (3, repeat('y', 80000000)), (4, 'last')")).await?;
    let before = HELD.get().0;
    HELD.set((before, before));
    let access = access(&server, "reader", &schema);
    let landed = read(MySqlSource::default(), &access, &request("t", Splits::Exactly(1)), limits(1)).await?;
    let held = HELD.get().1 - before;
    assert_eq!((landed.rows(), landed.totals.rows_rejected), (3, 1));
    let entry = landed.totals.diagnostics.entries().first().context("a diagnostic")?;
    assert_eq!((entry.reason, entry.action.as_str(), entry.count), (Reason::RowTooLarge, "row rejected", 1));
    let told = entry.samples.first().context("a sample")?;
    assert!(told.raw.contains("68157440 bytes"), "{}", told.raw);
    let longest = landed.batches.iter().flat_map(|batch| batch.column(1).as_binary::<i32>().iter()).flatten();
    assert_eq!(longest.map(<[u8]>::len).max(), Some(BLOB_BYTES));
    assert!(held < 4 * i64::try_from(BLOB_BYTES)?, "{held} bytes held");
    Ok(())
}
