//! Plans that another attempt goes on with (mysql-sources.md 14).

use anyhow::{Context as _, Result};
use headwaters_model::diagnostic::Diagnostics;
use headwaters_model::job::{FrozenPlan, LandedSplit, ReadRequest, Resume, Splits, Totals};
use headwaters_model::source_error::{Retry, SourceError};
use headwaters_source::contract::{ReadLimits, Source};
use headwaters_source::mysql::MySqlSource;
use headwaters_testkit::{DatabaseServer, Flavour};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::neutral::neutral;
use crate::reading::{access, limits, read, request};
use crate::splits::{ROWS, SHAPES, SPLITS, fill};

fn freezing(resume: Option<Resume>) -> ReadLimits {
    ReadLimits { freeze: true, resume, ..limits(2) }
}

/// What an attempt leaves that has landed these key ranges, as the store keeps it.
fn left(plan: &FrozenPlan, landed: &[u32]) -> Result<Resume> {
    let kept = landed.iter().map(|split| LandedSplit {
        split: *split,
        files: Vec::new(),
        totals: Totals::default(),
        diagnostics: Diagnostics::default(),
        verified: None,
    });
    let resume = Resume { plan: plan.clone(), committed: Vec::new(), kept: kept.collect() };
    Ok(serde_json::from_str(&serde_json::to_string(&resume)?)?)
}

/// The plan of an attempt, of which nothing is read.
async fn frozen(access: &headwaters_model::job::SourceAccess, request: &ReadRequest) -> Result<FrozenPlan> {
    let open = MySqlSource::default().open(access, request, freezing(None), CancellationToken::new()).await?;
    for reader in open.readers {
        reader.close().await;
    }
    open.plan.frozen.context("no plan that can be gone on with")
}

/// Why a plan is not gone on with.
async fn refused(access: &headwaters_model::job::SourceAccess, request: &ReadRequest, resume: Resume) -> String {
    let opened = MySqlSource::default().open(access, request, freezing(Some(resume)), CancellationToken::new()).await;
    match opened.map(|open| open.plan) {
        Err(SourceError::Transient(fault)) if fault.retry == Retry::StartOver => fault.message,
        other => panic!("must start over: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_missing_of_a_plan_is_read_under_keys_of_every_shape() -> Result<()> {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = DatabaseServer::shared(flavour).await?;
        let schema = server.fresh_schema("resume").await?;
        let access = access(server, "locker", &schema);
        for (shape, columns, values) in SHAPES {
            fill(server, &schema, columns, values).await?;
            let request = request("t", Splits::Exactly(SPLITS));
            let plan = frozen(&access, &request).await?;
            let (first, rest): (Vec<u32>, Vec<u32>) = (0..plan.splits).partition(|split| split % 2 == 0);
            let mut seen: Vec<i64> = Vec::new();
            for landed in [&first, &rest] {
                let landed =
                    read(MySqlSource::default(), &access, &request, freezing(Some(left(&plan, landed)?))).await?;
                assert_eq!(landed.plan.frozen.as_ref().map(|plan| plan.id), Some(plan.id));
                seen.extend(neutral(&landed)?.rows.iter().filter_map(|row| row["v"].as_i64()));
            }
            seen.sort_unstable();
            let each_once = seen.iter().copied().eq(0..i64::try_from(ROWS)?);
            assert!(each_once, "{shape} on {flavour}: {} rows", seen.len());
        }
        server.execute(&format!("drop database `{schema}`")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_plan_is_not_gone_on_with_when_what_it_was_made_of_has_changed() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    let schema = server.fresh_schema("resume").await?;
    let access = access(server, "locker", &schema);
    let columns = "k int not null, v int, primary key (k)";
    fill(server, &schema, columns, "n, n").await?;
    let whole = request("t", Splits::Exactly(SPLITS));
    let resume = left(&frozen(&access, &whole).await?, &[0])?;

    let filter = json!({"type": "PQL", "format": "pql/json", "value": {"nodeType": "fnApply", "fnName": ">=", "params": [
        {"nodeType": "fieldLookup", "fieldName": "v"}, {"nodeType": "literal", "value": 5}]}});
    let narrower = ReadRequest { filter: Some(filter), ..whole.clone() };
    assert!(refused(&access, &narrower, resume.clone()).await.contains("other rows of"));

    server.execute(&format!("alter table `{schema}`.t modify v bigint")).await?;
    assert!(refused(&access, &whole, resume.clone()).await.contains("the columns of"));
    server
        .execute(&format!("alter table `{schema}`.t modify v int, drop primary key, add unique key other (k)"))
        .await?;
    assert!(refused(&access, &whole, resume.clone()).await.contains("the key that"));

    let mut elsewhere = resume;
    elsewhere.plan.source["standing"]["server"] = json!("another");
    assert!(refused(&access, &whole, elsewhere).await.contains("another server answers"));
    server.execute(&format!("drop database `{schema}`")).await
}

#[tokio::test]
async fn a_table_without_a_key_is_not_frozen_and_a_note_says_so() -> Result<()> {
    let server = DatabaseServer::shared(Flavour::MariaDb).await?;
    let schema = server.fresh_schema("resume").await?;
    let access = access(server, "locker", &schema);
    for (columns, engine, why) in [
        ("k int not null, v int", "InnoDB", "it has no key that names each row"),
        ("k int not null primary key, v int", "MyISAM", "it is not transactional"),
    ] {
        server.execute(&format!("create or replace table `{schema}`.t ({columns}) engine = {engine}")).await?;
        let landed =
            read(MySqlSource::default(), &access, &request("t", Splits::Exactly(SPLITS)), freezing(None)).await?;
        assert_eq!(landed.plan.frozen, None);
        let note = format!("options.consistency split has no effect on {schema}.t, because {why}");
        assert!(landed.plan.notes.iter().any(|found| found.starts_with(&note)), "{:?}", landed.plan.notes);
    }
    server.execute(&format!("drop database `{schema}`")).await
}
