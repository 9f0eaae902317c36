//! Lands rows shaped like TPC-H lineitem and prints what it cost.
//!
//! ```text
//! land_lineitem FOLDER [ROWS] [WRITERS]      0 writers: only make the rows, to know what that costs
//! ```
//! Run it once with 0 writers and take the difference: rows are made while others are written, so that memory shows what
//! landing needs.

use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use headwaters_lake::contract::WriteLimits;
use headwaters_lake::registry;
use headwaters_model::flow::SchemaChange;
use headwaters_model::job::{Landed, WriteMode};
use headwaters_model::offset::{CommitMark, Ordinal};

const BATCH_ROWS: usize = 16_384;
const WORDS: [&str; 12] = [
    "carefully",
    "final",
    "deposits",
    "sleep",
    "quickly",
    "bold",
    "requests",
    "haggle",
    "ironic",
    "packages",
    "use",
    "the",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: land_lineitem FOLDER [ROWS] [WRITERS]")?;
    let rows: usize = arguments.next().map_or(Ok(6_001_215), |text| text.parse())?;
    let writers: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(run(folder, rows, writers))
}

async fn run(folder: String, rows: usize, writers: usize) -> Result<(), Box<dyn std::error::Error>> {
    let location = format!("file://{folder}");
    let lake = registry::delta(WriteLimits::default());
    let schema: SchemaRef = Arc::new(schema());
    let start = Instant::now();
    let table = lake.open(&location, &schema, WriteMode::Overwrite, SchemaChange::Evolve).await?;
    let per_writer = rows / writers.max(1);
    let mut tasks = Vec::new();
    for index in 0..writers.max(1) {
        let mut writer = table.writer()?;
        let schema = schema.clone();
        tasks.push(tokio::spawn(async move {
            let mut random = Random(index as u64 + 1);
            let mut key = (index * per_writer) as i64;
            for first in (0..per_writer).step_by(BATCH_ROWS) {
                let batch = batch(&schema, BATCH_ROWS.min(per_writer - first), &mut key, &mut random);
                if writers > 0 {
                    writer.write(batch).await?;
                }
            }
            writer.finish().await
        }));
    }
    let mut files = Vec::new();
    for task in tasks {
        files.extend(task.await??);
    }
    let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
    let count = files.len();
    let landed = Landed { files, schema: table.schema(), ..Landed::default() };
    let mark = CommitMark { app_id: uuid::Uuid::new_v4().to_string(), base: None, ordinal: Ordinal::FIRST };
    lake.commit(&location, &landed, &mark, WriteMode::Overwrite, &[]).await?;
    let (cpu_seconds, memory) = cost()?;
    let wall = start.elapsed().as_secs_f64();
    report(&format!(
        "{count} files, {:.1} MB, {wall:.2} s wall, {cpu_seconds:.2} s user+sys, {memory} at most",
        bytes as f64 / 1e6
    ));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of the program")]
fn report(line: &str) {
    println!("{line}");
}

/// Processor time and greatest resident memory of this process so far.
fn cost() -> Result<(f64, String), Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim().to_owned();
    Ok((ticks as f64 / 100.0, peak))
}

fn schema() -> Schema {
    let money = DataType::Decimal128(15, 2);
    let columns = [
        ("l_orderkey", DataType::Int64),
        ("l_partkey", DataType::Int64),
        ("l_suppkey", DataType::Int64),
        ("l_linenumber", DataType::Int64),
        ("l_quantity", money.clone()),
        ("l_extendedprice", money.clone()),
        ("l_discount", money.clone()),
        ("l_tax", money),
        ("l_returnflag", DataType::Utf8),
        ("l_linestatus", DataType::Utf8),
        ("l_shipdate", DataType::Date32),
        ("l_commitdate", DataType::Date32),
        ("l_receiptdate", DataType::Date32),
        ("l_shipinstruct", DataType::Utf8),
        ("l_shipmode", DataType::Utf8),
        ("l_comment", DataType::Utf8),
    ];
    Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec())
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

fn batch(schema: &SchemaRef, rows: usize, key: &mut i64, random: &mut Random) -> RecordBatch {
    let mut keys = Vec::with_capacity(rows);
    let mut lines: Vec<i64> = Vec::with_capacity(rows);
    while keys.len() < rows {
        *key += 1;
        for line in 0..=random.below(7) {
            keys.push(*key);
            lines.push(line as i64 + 1);
        }
    }
    keys.truncate(rows);
    lines.truncate(rows);
    let mut longs = |end: u64| Int64Array::from_iter_values((0..rows).map(|_| random.below(end) as i64 + 1));
    let (parts, suppliers) = (longs(200_000), longs(10_000));
    let mut money = |end: u64, step: u64| {
        let values = Decimal128Array::from_iter_values((0..rows).map(|_| i128::from(random.below(end) * step)));
        Arc::new(values.with_precision_and_scale(15, 2).unwrap_or_else(|_| unreachable!("15 digits"))) as ArrayRef
    };
    let (quantity, price, discount, tax) = (money(50, 100), money(10_000_000, 1), money(11, 1), money(9, 1));
    let ships: Vec<i32> = (0..rows).map(|_| 8_036 + random.below(2_526) as i32).collect();
    let mut dates =
        |days: u64| Date32Array::from_iter_values(ships.iter().map(|ship| ship + random.below(days) as i32));
    let (commits, receipts) = (dates(90), dates(30));
    let mut words = |from: &[&'static str]| {
        Arc::new(StringArray::from_iter_values((0..rows).map(|_| from[random.below(from.len() as u64) as usize])))
            as ArrayRef
    };
    let flags = words(&["A", "N", "R"]);
    let status = words(&["F", "O"]);
    let instructions = words(&["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]);
    let modes = words(&["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"]);
    let mut comments = arrow_array::builder::StringBuilder::with_capacity(rows, rows * 30);
    let mut text = String::new();
    for _ in 0..rows {
        text.clear();
        let length = 10 + random.below(34) as usize;
        while text.len() < length {
            text.push_str(WORDS[random.below(12) as usize]);
            text.push(' ');
        }
        comments.append_value(&text[..length]);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(keys)),
        Arc::new(parts),
        Arc::new(suppliers),
        Arc::new(Int64Array::from(lines)),
        quantity,
        price,
        discount,
        tax,
        flags,
        status,
        Arc::new(Date32Array::from(ships.clone())),
        Arc::new(commits),
        Arc::new(receipts),
        instructions,
        modes,
        Arc::new(comments.finish()),
    ];
    let columns = columns.into_iter().map(|column| column.slice(0, rows)).collect();
    RecordBatch::try_new(schema.clone(), columns).unwrap_or_else(|error| unreachable!("the schema is ours: {error}"))
}
