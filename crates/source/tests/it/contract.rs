//! What every registered source promises, whatever database it is.

use std::time::Duration;

use anyhow::{Context, Result};
use headwaters_model::job::{ReadRequest, Splits};
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_source::registry;
use headwaters_testkit::accounts::PASSWORD;
use headwaters_testkit::{DatabaseServer, Flavour};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::reading::{access, access_with, drain, limits, request};

#[tokio::test]
async fn a_source_serves_the_specs_that_it_advertises() -> Result<()> {
    for source in registry::sources() {
        let specs = source.specs();
        assert!(!specs.is_empty());
        for spec in specs {
            let id = spec["id"].as_str().context("a spec has an id")?.parse().context("its id is one")?;
            assert!(source.serves(id), "{spec}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn secrets_are_masked_and_bad_parameters_named() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    for source in registry::sources() {
        let shown = serde_json::Value::Object(source.masked(&access(server, "reader", "shop"))).to_string();
        assert!(!shown.contains(PASSWORD), "{shown}");
        assert!(shown.contains("*****"), "{shown}");
        let error = source.check(&access_with("Server=localhost;Colour=blue")).expect_err("an unknown key");
        assert!(matches!(&error.fault().kind, SourceErrorKind::InvalidParameter { .. }), "{error}");
        assert!(!error.to_string().contains("blue"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn good_credentials_probe_and_bad_ones_are_refused() -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    for flavour in Flavour::ALL {
        let server = DatabaseServer::shared(flavour).await?;
        for source in registry::sources() {
            let info = source.probe(&access(server, "reader", "mysql"), PATIENCE).await?;
            assert!(info.account.starts_with("reader@"), "{info:?}");
            let bad = format!("Server={};Port={};UID=reader;PWD=wrong", server.host(), server.port());
            let error = source.probe(&access_with(&bad), PATIENCE).await.expect_err("a wrong password");
            assert!(
                matches!(&error, SourceError::Definite(fault) if fault.kind == SourceErrorKind::Refused),
                "{error}"
            );
        }
    }
    Ok(())
}

async fn refused(request: ReadRequest) -> Result<SourceErrorKind> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    server.load("shop.sql").await?;
    let access = access(server, "reader", "shop");
    let mut kinds = Vec::new();
    for source in registry::sources() {
        kinds.push(source.check_read(&access, &request).await.err().context("the check refuses")?);
        let opened = source.open(&access, &request, limits(1), CancellationToken::new()).await;
        kinds.push(opened.err().context("the read refuses")?);
    }
    let first = kinds.first().context("a source")?.fault().kind.clone();
    assert!(kinds.iter().all(|error| error.fault().kind == first), "{kinds:?}");
    Ok(first)
}

#[tokio::test]
async fn what_does_not_exist_is_told_before_a_row_is_read() -> Result<()> {
    assert_eq!(refused(request("shop.no_such_table", Splits::Auto)).await?, SourceErrorKind::UnknownTable);
    let columns = ReadRequest { columns: Some(vec!["no_such".to_owned()]), ..request("shop.customers", Splits::Auto) };
    assert_eq!(refused(columns).await?, SourceErrorKind::UnknownColumn);
    let filter = json!({"type": "PQL", "format": "pql/json", "value": {"nodeType": "fnApply", "fnName": "=", "params": [
        {"nodeType": "fieldLookup", "fieldName": "no_such"}, {"nodeType": "literal", "value": 1}]}});
    let filtered = ReadRequest { filter: Some(filter), ..request("shop.customers", Splits::Auto) };
    assert_eq!(refused(filtered).await?, SourceErrorKind::UnknownFilterColumn);
    Ok(())
}

#[tokio::test]
async fn every_listed_table_is_described_and_read() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MySql).await?;
    server.load("shop.sql").await?;
    let access = access(server, "reader", "shop");
    for source in registry::sources() {
        let tables = source.list(&access).await?;
        assert!(tables.len() > 3);
        for table in tables.iter().filter(|table| table.readable) {
            let described = source.describe(&access, &table.path, None).await?;
            let whole = request(&table.path, Splits::Auto);
            let open = source.open(&access, &whole, limits(2), CancellationToken::new()).await?;
            let landed = drain(open).await?;
            let read: Vec<&str> = landed.plan.schema.fields().iter().map(|field| field.name().as_str()).collect();
            let shown: Vec<&str> = described.columns.iter().map(|column| column.name.as_str()).collect();
            assert_eq!((read, landed.plan.table.as_str()), (shown, table.path.as_str()));
        }
    }
    Ok(())
}
