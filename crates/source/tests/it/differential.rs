//! Every cell of the fixtures, read by us and by another driver.

use anyhow::{Result, bail};
use arrow_schema::{DataType, Field};
use headwaters_model::job::Splits;
use headwaters_source::mysql::MySqlSource;
use headwaters_source::mysql::types::{FRACTION_DIGITS, SOURCE_TYPE};
use headwaters_testkit::{DatabaseServer, Flavour};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value as Cell};
use serde_json::{Value, json};

use crate::neutral::rows;
use crate::reading::{access, limits, read, request};

/// A cell of the other driver in the neutral form, under the rules of mysql-sources.md 8.
fn translated(cell: Cell, field: &Field) -> Result<Value> {
    Ok(match (field.data_type(), cell) {
        (_, Cell::NULL) => Value::Null,
        (DataType::Boolean, Cell::Int(number)) => json!(number != 0),
        (DataType::Boolean, Cell::Bytes(bits)) => json!(bits.iter().any(|byte| *byte != 0)),
        (DataType::Int64, Cell::Bytes(bits)) => json!(big_endian(&bits)),
        (DataType::Decimal128(20, 0), Cell::Bytes(bits)) if is_bit(field) => json!(big_endian(&bits).to_string()),
        (DataType::Decimal128(..), Cell::Bytes(digits)) => json!(normal(&String::from_utf8(digits)?)),
        (DataType::Decimal128(..), Cell::Int(number)) => json!(number.to_string()),
        (DataType::Decimal128(..), Cell::UInt(number)) => json!(number.to_string()),
        (_, Cell::Int(number)) => json!(number),
        (_, Cell::UInt(number)) => json!(number),
        (_, Cell::Float(number)) => json!(number),
        (_, Cell::Double(number)) => json!(number),
        (DataType::Date32, Cell::Date(year, month, day, ..)) if exists(year, month, day) => {
            json!(format!("{year:04}-{month:02}-{day:02}"))
        }
        (DataType::Timestamp(..), Cell::Date(year, month, day, hour, minute, second, micros))
            if exists(year, month, day) =>
        {
            json!(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"))
        }
        (_, Cell::Date(..)) => Value::Null,
        (_, Cell::Time(negative, days, hours, minutes, seconds, micros)) => {
            let sign = if negative { "-" } else { "" };
            let whole = format!("{sign}{:02}:{minutes:02}:{seconds:02}", days * 24 + u32::from(hours));
            let digits: usize = field.metadata().get(FRACTION_DIGITS).map_or(Ok(0), |digits| digits.parse())?;
            let fraction = format!("{micros:06}");
            json!(if digits == 0 { whole } else { format!("{whole}.{}", &fraction[..digits]) })
        }
        (DataType::Utf8, Cell::Bytes(text)) => json!(String::from_utf8(text)?),
        (DataType::Binary, Cell::Bytes(bytes)) if is_geometry(field) => json!(hex(&ewkb(&bytes))),
        (DataType::Binary, Cell::Bytes(bytes)) => json!(hex(&bytes)),
        (DataType::List(_), Cell::Bytes(bytes)) => {
            let floats = bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
            json!(floats.collect::<Vec<_>>())
        }
        (data_type, cell) => bail!("{cell:?} cannot be {data_type}"),
    })
}

fn is_bit(field: &Field) -> bool {
    field.metadata().get(SOURCE_TYPE).is_some_and(|kind| kind == "bit")
}

fn is_geometry(field: &Field) -> bool {
    field.metadata().get(SOURCE_TYPE).is_some_and(|kind| kind == "geometry")
}

fn big_endian(bits: &[u8]) -> u64 {
    bits.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A decimal without the zeros that ZEROFILL prints.
fn normal(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let kept = digits.trim_start_matches('0');
    let zero = if kept.is_empty() || kept.starts_with('.') { "0" } else { "" };
    format!("{sign}{zero}{kept}")
}

/// Asks another calendar than ours.
fn exists(year: u16, month: u8, day: u8) -> bool {
    year > 0 && chrono::NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), u32::from(day)).is_some()
}

fn ewkb(bytes: &[u8]) -> Vec<u8> {
    let (srid, wkb) = bytes.split_at(4);
    if srid == [0; 4] {
        return wkb.to_vec();
    }
    // All servers write little-endian: the flag is the highest byte of the type.
    let mut out = wkb[..5].to_vec();
    out[4] |= 0x20;
    [out, srid.to_vec(), wkb[5..].to_vec()].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn by_another_driver(connection: &mut Conn, schema: &str, table: &str, fields: &[&Field]) -> Result<Vec<String>> {
    let columns: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name().replace('`', "``"))).collect();
    let sql = format!("select {} from `{schema}`.`{}`", columns.join(", "), table.replace('`', "``"));
    let found: Vec<Row> = connection.exec(sql, ()).await?;
    let mut out = Vec::with_capacity(found.len());
    for row in found {
        let cells = row.unwrap().into_iter().zip(fields);
        let cells = cells.map(|(cell, field)| translated(cell, field)).collect::<Result<Vec<_>>>()?;
        out.push(Value::Array(cells).to_string());
    }
    out.sort();
    Ok(out)
}

/// Reads every table of a database with both drivers.
async fn both_drivers_agree(flavour: Flavour, source: MySqlSource, schema: &str) -> Result<()> {
    let server = DatabaseServer::shared(flavour).await?;
    let access = access(server, "reader", schema);
    let mut connection = server.connect().await?;
    connection.query_drop("set names utf8mb4, time_zone = '+00:00'").await?;
    let tables = format!(
        "select table_name from information_schema.tables where table_schema = '{schema}' and table_type <> 'SEQUENCE'"
    );
    let tables: Vec<String> = connection.query(tables).await?;
    assert!(tables.len() > 3, "{tables:?}");
    for table in tables {
        let request = request(&format!("{schema}.{table}"), Splits::Exactly(2));
        let landed = read(source, &access, &request, limits(1)).await?;
        let arrow = landed.plan.schema.clone();
        let fields: Vec<&Field> = arrow.fields().iter().map(AsRef::as_ref).collect();
        let mut ours = Vec::new();
        for batch in &landed.batches {
            let cells = |row: serde_json::Map<String, Value>| row.into_iter().map(|cell| cell.1).collect();
            ours.extend(rows(batch)?.into_iter().map(|row| Value::Array(cells(row)).to_string()));
        }
        ours.sort();
        let theirs = by_another_driver(&mut connection, schema, &table, &fields).await?;
        assert_eq!(ours, theirs, "{flavour}: {table}");
    }
    connection.disconnect().await?;
    Ok(())
}

async fn agree_on_types(flavour: Flavour, source: MySqlSource) -> Result<()> {
    DatabaseServer::shared(flavour).await?.load_types().await?;
    both_drivers_agree(flavour, source, "lake_types").await
}

#[tokio::test]
async fn another_driver_reads_the_same_cells_from_mariadb() -> Result<()> {
    agree_on_types(Flavour::MariaDb, MySqlSource::default()).await
}

#[tokio::test]
async fn another_driver_reads_the_same_cells_from_newer_mariadb() -> Result<()> {
    agree_on_types(Flavour::MariaDbNewer, MySqlSource::default()).await
}

#[tokio::test]
async fn another_driver_reads_the_same_cells_from_mysql() -> Result<()> {
    agree_on_types(Flavour::MySql, MySqlSource::default()).await
}

#[tokio::test]
async fn the_text_protocol_holds_the_same_cells() -> Result<()> {
    agree_on_types(Flavour::MySql, MySqlSource::in_text()).await?;
    agree_on_types(Flavour::MariaDb, MySqlSource::in_text()).await
}

#[tokio::test]
async fn another_driver_reads_the_same_shop() -> Result<()> {
    for flavour in Flavour::ALL {
        DatabaseServer::shared(flavour).await?.load("shop.sql").await?;
        both_drivers_agree(flavour, MySqlSource::default(), "shop").await?;
        both_drivers_agree(flavour, MySqlSource::in_text(), "shop").await?;
    }
    Ok(())
}
