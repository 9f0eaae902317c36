//! Which texts come out, and how the database carries them out.

use headwaters_model::account::{Account, Role};
use headwaters_model::batch::Batch;
use headwaters_model::connection::Connection;
use headwaters_model::data_set::DataSet;
use headwaters_model::flow::Flow;
use headwaters_model::id::OrgId;
use headwaters_model::page::Order;
use headwaters_model::resource::{Collection, Kind};
use headwaters_model::run::Run;
use headwaters_model::sandbox::Sandbox;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::target_connection::TargetConnection;
use serde_json::json;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::index::Reach;
use super::*;
use crate::resources::Stored;
use crate::schema::MIGRATIONS;

fn scope() -> Scope {
    let account = Account::mint(OrgId::mint(), "tests", Role::Manage, 0);
    Sandbox::prod(account.org, account.user_id, 0).scope()
}

fn query(filters: &[&str], order: Option<&str>, collection: Collection) -> ListQuery {
    let filters = filters.iter().map(|text| Filter::parse(text, collection).unwrap()).collect();
    let order = order.map_or_else(Order::newest_first, |text| Order::parse(text, collection).unwrap());
    ListQuery { filters, order, ..ListQuery::all() }
}

/// A database with the schema and nothing in it.
async fn database() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    for (_, _, sql) in MIGRATIONS {
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
    connection
}

/// How the database would carry a selection out.
async fn plan(database: &mut SqliteConnection, mut selection: Selection) -> String {
    selection.sql.insert_str(0, "explain query plan ");
    let steps = bind_all(selection).fetch_all(database).await.unwrap();
    let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
    steps.join("\n")
}

/// What is listed often (flow-service.md 7.2), and the index that finds it in its order.
const OFTEN: &[(Collection, &[&str], &str, &str)] = {
    use Collection::{Batches, Connections, DataSets, Flows, Runs, SourceConnections, TargetConnections};
    const AGE: &str = "-createdAt";
    &[
        (Connections, &[], AGE, "connection_by_age"),
        (Connections, &[], "createdAt", "connection_by_age"),
        (Connections, &[], "-updatedAt", "connection_by_update"),
        (Connections, &[], "name", "connection_by_name"),
        (Connections, &["connectionSpec.id==a"], AGE, "connection_by_spec"),
        (Connections, &["state==enabled"], AGE, "connection_by_state"),
        (Connections, &["state==enabled"], "name", "connection_by_name"),
        (SourceConnections, &[], AGE, "source_connection_by_age"),
        (SourceConnections, &["baseConnectionId==a"], AGE, "source_connection_by_base"),
        (SourceConnections, &["baseConnectionId==a", "connectionSpec.id==b"], AGE, "source_connection_by_base"),
        (SourceConnections, &["connectionSpec.id==a"], AGE, "source_connection_by_spec"),
        (SourceConnections, &["params.tableName==shop.orders"], AGE, "source_connection_by_table"),
        (TargetConnections, &["connectionSpec.id==a"], AGE, "target_connection_by_spec"),
        (TargetConnections, &[], "-name", "target_connection_by_name"),
        (Flows, &[], AGE, "flow_by_age"),
        (Flows, &["createdAt>5"], AGE, "flow_by_age"),
        (Flows, &["createdAt>5", "state==enabled"], AGE, "flow_by_state"),
        (Flows, &["updatedAt>5"], AGE, "flow_by_age"),
        (Flows, &["updatedAt>5"], "-updatedAt", "flow_by_update"),
        (Flows, &["lastRunDetails.startedAtUTC>5"], AGE, "flow_by_age"),
        (Flows, &["lastRunDetails.startedAtUTC>5"], "-lastRunDetails.startedAtUTC", "flow_by_last_run"),
        (Flows, &["lastRunDetails.state==failed"], AGE, "flow_by_last_run_state"),
        (Flows, &[], "name", "flow_by_name"),
        (Flows, &[], "-name", "flow_by_name"),
        (Flows, &["state==Enabled"], AGE, "flow_by_state"),
        (Flows, &["flowSpec.id==a"], AGE, "flow_by_spec"),
        (Flows, &["sourceConnectionIds[]==a"], AGE, "flow_by_source"),
        (Flows, &["state==enabled", "sourceConnectionIds[]==a"], AGE, "flow_by_source"),
        (Flows, &["targetConnectionIds[]==a"], AGE, "flow_by_target"),
        (Flows, &["inheritedAttributes.sourceConnections[].connectionSpec.id==a"], AGE, "flow_by_source_spec"),
        (Flows, &["inheritedAttributes.sourceConnections[].baseConnection.id==a"], AGE, "flow_by_base"),
        (Flows, &["inheritedAttributes.properties.isSourceFlow==true"], AGE, "flow_by_age"),
        (Runs, &[], AGE, "run_by_age"),
        (Runs, &["flowId==a"], AGE, "run_by_flow"),
        (Runs, &["flowId==a", "state==inProgress"], AGE, "run_by_flow_and_status"),
        (Runs, &["metrics.statusSummary.status==failed"], AGE, "run_by_status"),
        (Runs, &["metrics.durationSummary.startedAtUTC>5"], AGE, "run_by_age"),
        (Runs, &["metrics.durationSummary.startedAtUTC>5"], "metrics.durationSummary.startedAtUTC", "run_by_start"),
        (DataSets, &[], "name", "data_set_by_name"),
        (Batches, &["dataSetId==a"], AGE, "batch_by_data_set"),
    ]
};

fn table(collection: Collection) -> &'static Table {
    match collection {
        Collection::Connections => Connection::TABLE,
        Collection::SourceConnections => SourceConnection::TABLE,
        Collection::TargetConnections => TargetConnection::TABLE,
        Collection::Flows => Flow::TABLE,
        Collection::Runs => Run::TABLE,
        Collection::DataSets => DataSet::TABLE,
        Collection::Batches => Batch::TABLE,
        Collection::ConnectionSpecs | Collection::FlowSpecs => unreachable!("specs are not listed here"),
    }
}

#[tokio::test]
async fn what_is_listed_often_walks_one_index_and_sorts_nothing() {
    let mut database = database().await;
    for (collection, filters, order, index) in OFTEN {
        let first = query(filters, Some(order), *collection);
        let key = if order.ends_with("name") { json!("n") } else { json!(1_700_000_000_000_i64) };
        let next = ListQuery { after: Some(vec![key, json!("x")]), ..first.clone() };
        for query in [first, next] {
            let selection = Selection::pages(table(*collection), &scope(), &query, None).remove(0);
            let steps = plan(&mut database, selection).await;
            let name = table(*collection).name;
            let expected = format!("SEARCH {name} USING INDEX {index} (org=? AND sandbox=?");
            assert!(steps.starts_with(&expected) && !steps.contains('\n'), "{filters:?} by {order}: {steps}");
        }
    }
}

#[tokio::test]
async fn the_next_page_begins_inside_the_index() {
    let mut database = database().await;
    let scope = scope();
    for (filters, order, after, seek) in [
        (&[][..], "-createdAt", json!(5), "AND (created_at_us,id)<(?,?))"),
        (&["flowId==x"][..], "createdAt", json!(5), "AND flow_id=? AND (created_at_us,id)>(?,?))"),
        (&["state==failed"][..], "-createdAt", json!(5), "AND <expr>=? AND (created_at_us,id)<(?,?))"),
        (&[][..], "-metrics.durationSummary.startedAtUTC", json!(5), "AND (started_at,id)<(?,?))"),
        (&[][..], "-metrics.durationSummary.startedAtUTC", json!(null), "AND started_at=? AND id<?)"),
    ] {
        let query = ListQuery { after: Some(vec![after, json!("x")]), ..query(filters, Some(order), Collection::Runs) };
        let selection = Selection::pages(Run::TABLE, &scope, &query, None).remove(0);
        let steps = plan(&mut database, selection).await;
        assert!(steps.ends_with(seek), "{steps}");
    }
}

#[tokio::test]
async fn each_of_several_values_is_found_in_order() {
    let mut database = database().await;
    let query = query(&["state==failed,success", "flowId==x"], None, Collection::Runs);
    let steps = plan(&mut database, Selection::pages(Run::TABLE, &scope(), &query, None).remove(0)).await;
    let found = "SEARCH run USING INDEX run_by_flow_and_status (org=? AND sandbox=? AND flow_id=? AND <expr>=?)";
    let covering = found.replace("USING INDEX", "USING COVERING INDEX");
    assert_eq!(steps.matches(found).count() + steps.matches(&covering).count(), 2, "{steps}");
    assert_eq!(steps.matches("TEMP B-TREE FOR ORDER BY").count(), 1, "only what was found is sorted: {steps}");
}

#[tokio::test]
async fn a_range_that_few_rows_lie_in_is_found_first_and_sorted_then() {
    let mut database = database().await;
    for (filters, order, index) in [
        (&["lastRunDetails.startedAtUTC>5"][..], None, Some("flow_by_last_run")),
        (&["state==enabled", "updatedAt<=5"], None, Some("flow_by_update")),
        (&["createdAt>5"], Some("name"), Some("flow_by_age")),
        (&["createdAt>5"], None, None),
        (&["name==a", "updatedAt>5"], None, None),
        (&["id==a", "updatedAt>5"], None, None),
        (&["options.a>5"], None, None),
    ] {
        let query = query(filters, order, Collection::Flows);
        let range = Range::of_page(Flow::TABLE, &query);
        assert_eq!(range.as_ref().map(|range| range.index.as_str()), index, "{filters:?}");
        let (Some(range), Some(index)) = (range, index) else { continue };
        let steps = plan(&mut database, Selection::probe(Flow::TABLE, &scope(), &query, &range)).await;
        assert!(steps.contains(&format!("INDEX {index} (org=? AND sandbox=? AND ")), "{steps}");
        let steps = plan(&mut database, Selection::pages(Flow::TABLE, &scope(), &query, Some(range)).remove(0)).await;
        let found = format!("SEARCH flow USING INDEX {index} (org=? AND sandbox=? AND ");
        assert!(steps.starts_with(&found) && steps.ends_with("USE TEMP B-TREE FOR ORDER BY"), "{steps}");
    }
}

#[test]
fn only_what_no_index_helps_may_read_every_body() {
    for (filters, order, reach) in [
        (&[][..], None, Reach::Index),
        (&["state==enabled", "updatedAt>5"], Some("name"), Reach::Index),
        (&["sourceConnectionIds[]==a", "options.a==b"], Some("options.a"), Reach::Bodies),
        (&["sourceConnectionIds[]==a", "options.a==b"], None, Reach::Bodies),
        (&["id==a", "options.a==b"], None, Reach::Index),
        (&["options.a==b"], None, Reach::Bodies),
        (&["state==enabled", "options.a==b"], None, Reach::Bodies),
        (&[], Some("options.a"), Reach::Bodies),
        (&["state==enabled"], Some("createdBy"), Reach::Bodies),
    ] {
        let query = query(filters, order, Collection::Flows);
        assert_eq!(Reach::of_page(Flow::TABLE, &query), reach, "{filters:?} by {order:?}");
    }
}

#[tokio::test]
async fn counting_reads_an_index_only() {
    let mut database = database().await;
    for filters in [&[][..], &["state==enabled"], &["state==draft,disabled"], &["updatedAt>5"], &["createdAt>5"]] {
        let filters: Vec<_> = filters.iter().map(|text| Filter::parse(text, Collection::Flows).unwrap()).collect();
        let steps = plan(&mut database, Selection::count(Flow::TABLE, &scope(), &filters)).await;
        assert!(steps.contains("SEARCH flow USING COVERING INDEX flow_by_"), "{filters:?}: {steps}");
    }
}

#[test]
fn what_a_caller_writes_is_never_part_of_the_text() {
    let evil = "x'; drop table run; --";
    let filters = [format!("flowId=={evil}"), format!("params.a==\"{evil}\""), format!("activities[].name!={evil}")];
    let filters: Vec<_> = filters.iter().map(String::as_str).collect();
    let mut query = query(&filters, Some("-params.drop"), Run::COLLECTION);
    query.after = Some(vec![json!(evil), json!(evil)]);
    let selection = Selection::pages(Run::TABLE, &scope(), &query, None).remove(0);
    assert!(!selection.sql.contains("drop") && !selection.sql.contains("--"), "{}", selection.sql);
    assert_eq!(selection.arguments.iter().filter(|bound| **bound == Argument::Text(evil.to_owned())).count(), 5);
}
