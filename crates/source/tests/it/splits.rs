//! Keys of every shape are cut into even ranges that hold each row once.

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use headwaters_model::job::{ReadRequest, Splits};
use headwaters_source::mysql::MySqlSource;
use headwaters_testkit::{DatabaseServer, Flavour};
use mysql_async::prelude::Queryable;
use serde_json::json;

use crate::neutral::neutral;
use crate::reading::{Landed, access, limits, read, request};

pub(crate) const ROWS: usize = 3_000;
pub(crate) const SPLITS: u32 = 6;

/// Tables of [`ROWS`] rows: the columns, the key, and an expression that makes a row of `n`.
pub(crate) const SHAPES: [(&str, &str, &str); 12] = [
    (
        "gappy bigint",
        "k bigint not null, v int, primary key (k)",
        "if(n % 2, -9223372036854775808 + n, 9223372036854775807 - n), n",
    ),
    ("unsigned", "k bigint unsigned not null, v int, primary key (k)", "18446744073709551615 - n * n, n"),
    ("composite", "a int not null, b varchar(20) not null, v int, primary key (a, b)", "7, concat('k', n), n"),
    (
        "text",
        "k varchar(40) character set utf8mb4 collate utf8mb4_unicode_ci not null, v int, primary key (k)",
        "concat(char(65 + n % 26 using utf8mb4), if(n % 2, 'É', 'e'), '''\\\\', n), n",
    ),
    ("latin1", "k varchar(40) character set latin1 not null, v int, primary key (k)", "concat('ö', n), n"),
    ("koi8r", "k varchar(40) character set koi8r not null, v int, primary key (k)", "concat(n % 100, 'Жук', n), n"),
    ("year", "y year not null, id int not null, v int, primary key (y, id)", "if(n % 2, 0, 1901 + n % 255), n, n"),
    (
        "date with zeros",
        "d date not null, id int not null, v int, primary key (d, id)",
        "if(n % 3 = 0, '0000-00-00', if(n % 3 = 1, '2024-00-00', '2024-01-01' + interval n day)), n, n",
    ),
    ("uuid bytes", "k binary(16) not null, v int, primary key (k)", "unhex(left(sha2(n, 256), 32)), n"),
    ("datetime", "k datetime(3) not null, v int, primary key (k)", "'2024-01-01' + interval n * n second, n"),
    ("decimal", "k decimal(30,10) not null, v int, primary key (k)", "n * 1.0000000001 - 1500, n"),
    (
        "unique",
        "k int not null, v int, ratio double not null, primary key (ratio), unique key u (k)",
        "n * 3, n, n * 0.5",
    ),
];

/// Keys that MariaDB alone has.
const MARIADB_SHAPES: [(&str, &str, &str); 2] = [
    (
        "uuid",
        "k uuid not null, v int, primary key (k)",
        "concat(lpad(hex(n * 7919), 8, '0'), '-0000-1000-8000-', lpad(hex(n * 31), 12, '0')), n",
    ),
    ("inet6", "k inet6 not null, v int, primary key (k)", "concat('2001:db8::', hex(n * 7)), n"),
];

pub(crate) async fn fill(server: &DatabaseServer, schema: &str, columns: &str, values: &str) -> Result<()> {
    server.execute(&format!("drop table if exists `{schema}`.t")).await?;
    server.execute(&format!("create table `{schema}`.t ({columns})")).await?;
    server.execute(&format!("create table if not exists `{schema}`.digits (d int primary key)")).await?;
    server
        .execute(&format!("insert ignore into `{schema}`.digits values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)"))
        .await?;
    let digits = format!("`{schema}`.digits");
    let numbers = format!(
        "(select 1000 * a.d + 100 * b.d + 10 * c.d + e.d as n from {digits} a, {digits} b, {digits} c, {digits} e) numbers"
    );
    let mut writer = server.connect().await?;
    writer.query_drop("set sql_mode = ''").await?;
    writer.query_drop(format!("insert into `{schema}`.t select {values} from {numbers} where n < {ROWS}")).await?;
    writer.disconnect().await?;
    server.execute(&format!("analyze table `{schema}`.t")).await
}

fn each_row_once(landed: &Landed, what: &str) -> Result<()> {
    let mut seen: Vec<i64> = neutral(landed)?.rows.iter().filter_map(|row| row["v"].as_i64()).collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..i64::try_from(ROWS)?), "{what}: each row once, {} rows", seen.len());
    Ok(())
}

#[tokio::test]
async fn keys_of_every_shape_are_cut_evenly() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = server.fresh_schema("shapes").await?;
        let access = access(server, "locker", &schema);
        let of_flavour = if flavour == Flavour::MariaDb { &MARIADB_SHAPES[..] } else { &[] };
        for (shape, columns, values) in SHAPES.iter().chain(of_flavour) {
            fill(server, &schema, columns, values).await?;
            let request = request("t", Splits::Exactly(SPLITS));
            let landed = read(MySqlSource::default(), &access, &request, limits(2)).await?;
            let what = format!("{shape} on {flavour}: {:?}", landed.rows_by_split);
            each_row_once(&landed, &what)?;
            assert!(landed.rows_by_split.len() >= SPLITS as usize - 1, "{what}, {:?}", landed.plan.notes);
            let fair = ROWS as u64 / u64::from(SPLITS);
            assert!(landed.rows_by_split.iter().all(|rows| *rows <= 2 * fair + fair / 2), "{what}");
        }
        server.execute(&format!("drop database `{schema}`")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_filter_narrows_every_split() -> Result<()> {
    for source in [MySqlSource::default(), MySqlSource::in_text()] {
        let server = DatabaseServer::shared(Flavour::MariaDb).await?;
        let schema = server.fresh_schema("filter").await?;
        let (_, columns, values) = SHAPES[0];
        fill(server, &schema, columns, values).await?;
        let filter = json!({"type": "PQL", "format": "pql/json", "value": {
            "nodeType": "fnApply", "fnName": "<", "params": [
                {"nodeType": "fieldLookup", "fieldName": "v"}, {"nodeType": "literal", "value": 100}]}});
        let request = ReadRequest { filter: Some(filter), ..request("t", Splits::Exactly(4)) };
        let landed = read(source, &access(server, "locker", &schema), &request, limits(2)).await?;
        assert_eq!(landed.rows(), 100);
        server.execute(&format!("drop database `{schema}`")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn named_columns_come_in_the_order_named() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    server.load_types().await?;
    let columns = Some(vec!["c_bi".to_owned(), "id".to_owned()]);
    let request = ReadRequest { columns, ..request("lake_types.t_int_signed", Splits::Auto) };
    let landed = read(MySqlSource::default(), &access(server, "reader", "lake_types"), &request, limits(1)).await?;
    let names: Vec<&str> = landed.plan.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!((names, landed.rows()), (vec!["c_bi", "id"], 6));
    Ok(())
}

#[tokio::test]
async fn a_large_text_key_is_cut_without_walking_the_table() -> Result<()> {
    const LARGE: u64 = 200_000;
    const COLUMNS: [(&str, &str); 3] = [
        ("char(40)", "left(sha2(n, 256), 40)"),
        ("varchar(40) character set cp1251", "concat(left(sha2(n, 256), 12), 'Щ', n)"),
        (
            "varchar(40) character set utf8mb4 collate utf8mb4_unicode_ci",
            "concat('Käufer-', left(sha2(n, 256), 12), n)",
        ),
    ];
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = server.fresh_schema("sampled").await?;
        server.execute(&format!("create table `{schema}`.d (d int primary key)")).await?;
        server.execute(&format!("insert into `{schema}`.d values (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")).await?;
        let d = format!("`{schema}`.d");
        let n = "100000 * a.d + 10000 * b.d + 1000 * c.d + 100 * e.d + 10 * f.d + g.d";
        let numbers = format!("(select {n} as n from {d} a, {d} b, {d} c, {d} e, {d} f, {d} g where a.d < 2) numbers");
        for (data_type, key) in COLUMNS {
            server.execute(&format!("drop table if exists `{schema}`.t")).await?;
            let columns = format!("k {data_type} not null primary key, v int not null");
            server.execute(&format!("create table `{schema}`.t ({columns})")).await?;
            server.execute(&format!("insert into `{schema}`.t select {key}, n from {numbers} order by 1")).await?;
            server.execute(&format!("analyze table `{schema}`.t")).await?;
            let request = ReadRequest { columns: Some(vec!["v".to_owned()]), ..request("t", Splits::Exactly(8)) };
            let landed = read(MySqlSource::default(), &access(server, "locker", &schema), &request, limits(2)).await?;
            let what = format!("{data_type} on {flavour}: {:?} {:?}", landed.rows_by_split, landed.plan.notes);
            let values = landed.batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().values());
            let mut seen: Vec<i32> = values.copied().collect();
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..i32::try_from(LARGE)?), "each row once, {what}");
            assert_eq!(landed.rows_by_split.len(), 8, "{what}");
            assert!(landed.rows_by_split.iter().all(|rows| *rows < LARGE / 4), "{what}");
        }
        server.execute(&format!("drop database `{schema}`")).await?;
    }
    Ok(())
}

/// Private characters have no place in Unicode: the server prints each of them as a question mark.
#[tokio::test]
async fn texts_without_a_place_in_unicode_are_read_once() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = server.fresh_schema("private").await?;
        let columns = "k varchar(20) character set sjis not null primary key, v int not null";
        server.execute(&format!("create table `{schema}`.t ({columns})")).await?;
        // Lead bytes F0 to F9 are for private use.
        let row = |n: usize| format!("(X'F0{:02X}', {n})", 0x40 + n % 0x3F + if n >= 0x3F { 0x40 } else { 0 });
        let rows: Vec<String> = (0..120).map(row).collect();
        server.execute(&format!("insert into `{schema}`.t values {}", rows.join(","))).await?;
        server.execute(&format!("analyze table `{schema}`.t")).await?;
        let access = access(server, "locker", &schema);
        let landed = read(MySqlSource::default(), &access, &request("t", Splits::Exactly(3)), limits(2)).await?;
        let mut seen: Vec<i64> = neutral(&landed)?.rows.iter().filter_map(|row| row["v"].as_i64()).collect();
        seen.sort_unstable();
        let what = format!("{flavour}: {:?} {:?}", landed.rows_by_split, landed.plan.notes);
        assert!(seen.iter().copied().eq(0..120), "{what}");
        assert_eq!(landed.rows_by_split, [40, 40, 40], "{what}");
        server.execute(&format!("drop database `{schema}`")).await?;
    }
    Ok(())
}
