//! What the connection asks for changes how values are read.

use anyhow::Result;
use headwaters_model::job::{ReadRequest, Splits};
use headwaters_source::contract::SOURCE_NAME;
use headwaters_source::mysql::MySqlSource;
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions, expected};
use serde_json::{Value, json};

use crate::neutral::neutral;
use crate::reading::{access_with, limits, read, request};

async fn landed(table: &str, settings: &str) -> Result<expected::Read> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    server.load_types().await?;
    let access = access_with(&format!("{};Database=lake_types;{settings}", server.connection_string("reader")));
    neutral(&read(MySqlSource::default(), &access, &request(table, Splits::Auto), limits(1)).await?)
}

/// A column of the rows with these ids.
fn of(read: &expected::Read, column: &str, ids: &[i64]) -> Vec<Value> {
    let row = |id: &i64| read.rows.iter().find(|row| row["id"] == *id);
    ids.iter().filter_map(row).map(|row| row[column].clone()).collect()
}

#[tokio::test]
async fn tiny_integers_stay_integers_on_request() -> Result<()> {
    let read = landed("t_bool", "TreatTinyAsBoolean=false").await?;
    assert_eq!(of(&read, "c_bool", &[1, 4, 5]), [json!(1), json!(2), json!(127)]);
    assert_eq!(read.diagnostics, Some(Vec::new()));
    Ok(())
}

#[tokio::test]
async fn zero_dates_keep_their_text_on_request() -> Result<()> {
    let read = landed("t_date", "AllowZeroDateTime=true").await?;
    assert_eq!(of(&read, "c", &[7, 8, 6]), [Value::Null, Value::Null, json!("2024-02-29")]);
    assert_eq!(of(&read, "c_raw", &[7, 8, 6]), [json!("0000-00-00"), json!("2024-00-00"), Value::Null]);
    Ok(())
}

#[tokio::test]
async fn the_text_of_a_date_takes_a_name_that_is_free() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    let schema = server.fresh_schema("raw").await?;
    server.execute(&format!("create table `{schema}`.t (d date, d_raw int)")).await?;
    let settings = format!("Database={schema};AllowZeroDateTime=true");
    let access = access_with(&format!("{};{settings}", server.connection_string("reader")));
    let landed = read(MySqlSource::default(), &access, &request("t", Splits::Auto), limits(1)).await?;
    let fields = landed.plan.schema.fields().iter();
    let named: Vec<_> =
        fields.map(|field| (field.name().as_str(), field.metadata().get(SOURCE_NAME).map(String::as_str))).collect();
    assert_eq!(named, [("d", Some("d")), ("d_raw_", Some("d_raw_")), ("d_raw", Some("d_raw"))]);
    Ok(())
}

#[tokio::test]
async fn columns_that_the_account_may_not_read_are_named_in_a_note() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        // A server of its own: others expect that this account may do nothing.
        let server = ServerOptions::new(flavour).start().await?;
        let schema = server.fresh_schema("partial").await?;
        server.execute(&format!("create table `{schema}`.t (id int primary key, salary int)")).await?;
        server.execute(&format!("grant select (id), insert (salary) on `{schema}`.t to nothing@'%'")).await?;
        let access = access_with(&format!("{};Database={schema}", server.connection_string("nothing")));
        let landed = read(MySqlSource::default(), &access, &request("t", Splits::Auto), limits(1)).await?;
        let named = |note: &String| note.contains("left out") && note.contains("(salary)");
        assert!(landed.plan.notes.iter().any(named), "{flavour}: {:?}", landed.plan.notes);
        let asked = ReadRequest { columns: Some(vec!["id".to_owned()]), ..request("t", Splits::Auto) };
        let landed = read(MySqlSource::default(), &access, &asked, limits(1)).await?;
        assert!(!landed.plan.notes.iter().any(named), "{flavour}: {:?}", landed.plan.notes);
        server.execute(&format!("revoke insert (salary) on `{schema}`.t from nothing@'%'")).await?;
        let landed = read(MySqlSource::default(), &access, &request("t", Splits::Auto), limits(1)).await?;
        let hidden = |note: &String| note.contains("their names are hidden too");
        assert!(landed.plan.notes.iter().any(hidden), "{flavour}: {:?}", landed.plan.notes);
        server.execute(&format!("revoke select (id) on `{schema}`.t from nothing@'%'")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn zero_dates_become_the_first_day_on_request_and_are_told() -> Result<()> {
    let read = landed("t_datetime", "ConvertZeroDateTime=true").await?;
    assert_eq!(of(&read, "c0", &[6, 8]), [json!("0001-01-01T00:00:00.000000Z"), Value::Null]);
    assert_eq!(read.diagnostics.unwrap_or_default().len(), 6);
    Ok(())
}

#[tokio::test]
async fn wall_clocks_of_a_zone_become_moments_and_odd_hours_are_told() -> Result<()> {
    let read = landed("t_datetime", "SourceTimeZone=America/New_York").await?;
    let moments = of(&read, "c0", &[3, 4, 5]);
    assert_eq!(
        moments,
        [
            json!("1970-01-01T05:00:00.000000Z"),
            json!("2024-03-10T07:30:00.000000Z"),
            json!("2024-11-03T05:30:00.000000Z")
        ]
    );
    let diagnostics = read.diagnostics.unwrap_or_default();
    let told = |reason: &str| diagnostics.iter().any(|d| d.column == "c0" && d.reason == reason);
    assert!(told("TIME_ZONE_GAP") && told("TIME_ZONE_OVERLAP"), "{diagnostics:?}");
    let moments = landed("t_timestamp", "SourceTimeZone=America/New_York").await?;
    assert_eq!(of(&moments, "c0", &[5]), [json!("2024-11-03T05:30:00.000000Z")], "a TIMESTAMP is a moment already");
    Ok(())
}

#[tokio::test]
async fn sixteen_bytes_become_a_guid_on_request() -> Result<()> {
    let read = landed("k_uuid_bin", "GuidFormat=Binary16").await?;
    let five = read.rows.iter().find(|row| row["v"] == 5).map(|row| row["k"].clone());
    assert_eq!(five, Some(json!("01234567-89ab-cdef-0123-456789abcd00")));
    Ok(())
}

#[tokio::test]
async fn vectors_of_a_newer_mariadb_are_lists_of_floats() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MariaDbNewer).await?;
    let schema = server.fresh_schema("vectors").await?;
    server.execute(&format!("create table `{schema}`.t (id int primary key, v vector(3))")).await?;
    let rows = "(1, vec_fromtext('[0.5, -1, 2.25]')), (2, null)";
    server.execute(&format!("insert into `{schema}`.t values {rows}")).await?;
    let access = access_with(&format!("{};Database={schema}", server.connection_string("reader")));
    let landed = neutral(&read(MySqlSource::default(), &access, &request("t", Splits::Auto), limits(1)).await?)?;
    assert_eq!(of(&landed, "v", &[1, 2]), [json!([0.5, -1.0, 2.25]), Value::Null]);
    assert_eq!(landed.diagnostics, Some(Vec::new()));
    Ok(())
}
