//! Connections, data sets and flows: made, shown, found, deleted.

use futures::future::join_all;
use headwaters_control::{
    Caller, Cause, CommandError, CreateDataSet, CreateFlow, CreateTargetConnection, ExploreRequest, Explored, Settings,
    TestOutcome,
};
use headwaters_model::account::Role;
use headwaters_model::connection::{Connection, MASK};
use headwaters_model::data_set::DataSet;
use headwaters_model::etag::Precondition;
use headwaters_model::filter::Filter;
use headwaters_model::flow::Flow;
use headwaters_model::id::{DataSetId, OrgId};
use headwaters_model::page::ListQuery;
use headwaters_model::resource::{Collection, Resource, State};
use headwaters_model::run::{Run, RunOrigin};
use headwaters_model::sandbox::Sandbox;
use headwaters_model::source_connection::SourceConnection;
use headwaters_model::spec::DATA_LAKE;
use headwaters_store::AuditQuery;
use serde_json::{Map, json};

use crate::fakes::{PASSWORD, TABLE};
use crate::world::{NOW_MS, World, connection_command, object, quick, spec};

#[tokio::test]
async fn secrets_are_shown_nowhere() {
    let world = World::start().await;
    let connection = world.connection().await;
    let auth = connection.body.auth.as_ref().unwrap();
    assert_eq!(auth.params["password"], MASK);
    assert_eq!(auth.params["certificatePassword"], MASK, "what the source masks is a secret too");
    assert_eq!(auth.params["port"], 3306, "the rest is echoed as it was sent");

    let id = connection.id.to_string();
    let read = world.control.get::<Connection>(&world.caller, &id).await.unwrap();
    assert_eq!(read, connection);
    let listed = world.control.list::<Connection>(&world.caller, &ListQuery::all()).await.unwrap();
    let audit = world.store.audit(&AuditQuery::default()).await.unwrap();
    let shown = format!("{} {listed:?} {audit:?}", read.document());
    assert!(!shown.contains(PASSWORD) && !shown.contains("another-secret"), "{shown}");

    let refused =
        world.control.create_connection(&world.caller, connection_command("wrong-password")).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::Driver);
    assert!(!format!("{refused} {refused:?}").contains("wrong-password"));
    assert_eq!(refused.hint(), Some("check username and password"));
}

#[tokio::test]
async fn credentials_are_tried_out_where_the_settings_say_so() {
    let world = World::with(Settings { verify_on_create: false, ..quick() }).await;
    let command = connection_command("wrong-password");
    let connection = world.control.create_connection(&world.caller, command).await.unwrap();
    let tested = world.control.test_connection(&world.caller, &connection.id.to_string()).await.unwrap();
    let TestOutcome::Failed { message, hint } = tested else { panic!("the password is wrong") };
    assert!(message.contains("access denied") && hint.is_some());
}

#[tokio::test]
async fn a_draft_connection_needs_no_source() {
    let world = World::start().await;
    let command = headwaters_control::CreateConnection { draft: true, ..connection_command("wrong-password") };
    let draft = world.control.create_connection(&world.caller, command).await.unwrap();
    assert_eq!(draft.state, State::Draft);
    assert_eq!(draft.body.last_operation.operation, "draft_create");
}

#[tokio::test]
async fn a_connection_is_tested_and_explored() {
    let world = World::start().await;
    let id = world.connection().await.id.to_string();
    let TestOutcome::Passed(server) = world.control.test_connection(&world.caller, &id).await.unwrap() else {
        panic!("the password is right")
    };
    assert_eq!((server.server.as_str(), server.tls.as_str()), ("MySQL", "none"));

    let explore = async |object_type: &str, object: Option<&str>, preview| {
        let request = ExploreRequest {
            object_type: Some(object_type.into()),
            object: object.map(Into::into),
            preview,
            filters: None,
        };
        world.control.explore(&world.caller, &id, request).await
    };
    let Explored::Root(tables) = explore("ROOT", None, false).await.unwrap() else { panic!("a list") };
    assert_eq!(tables[0].path, TABLE);
    let Explored::Table(table) = explore("table", Some(TABLE), true).await.unwrap() else { panic!("a table") };
    assert_eq!(table.preview.unwrap().len(), 1);
    assert_eq!(explore("table", Some("shop.nothing"), false).await.unwrap_err().cause(), Cause::NoColumns);
    assert_eq!(explore("table", None, false).await.unwrap_err().cause(), Cause::ObjectMissing);
    let unknown = world.control.explore(&world.caller, "nobody", ExploreRequest::default()).await.unwrap_err();
    assert_eq!(unknown.cause(), Cause::Missing, "the id comes before the parameters");
}

#[tokio::test]
async fn an_id_of_nobody_is_not_found_whatever_its_form() {
    let world = World::start().await;
    for id in ["0190a0a0-0000-7000-8000-000000000000", "nonsense", ""] {
        let error = world.control.get::<Connection>(&world.caller, id).await.unwrap_err();
        assert!(matches!(&error, CommandError::Missing(resource) if resource.id == id), "{error}");
        assert_eq!(error.cause(), Cause::Missing);
    }
}

#[tokio::test]
async fn a_source_connection_inherits_from_its_base() {
    let world = World::start().await;
    let base = world.connection().await;
    let id = world.source(&base, json!({ "tableName": TABLE })).await;
    let source = world.control.get::<SourceConnection>(&world.caller, &id).await.unwrap();
    assert_eq!(source.body.inherited_attributes.unwrap().base_connection.id, base.id.to_string());

    let orphan = headwaters_control::CreateSourceConnection {
        name: Some("orders".into()),
        base_connection_id: Some("0190a0a0-0000-7000-8000-000000000000".into()),
        data: Some(Map::new()),
        connection_spec: spec(headwaters_model::spec::MYSQL),
        params: object(&json!({ "tableName": TABLE })),
        ..Default::default()
    };
    let refused = world.control.create_source_connection(&world.caller, orphan).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::InvalidValue);
}

/// A target that lands in a data set.
fn target_on(data_set: &str) -> CreateTargetConnection {
    CreateTargetConnection {
        data: Some(Map::new()),
        connection_spec: spec(DATA_LAKE),
        params: object(&json!({ "dataSetId": data_set })),
        ..CreateTargetConnection::default()
    }
}

#[tokio::test]
async fn a_target_connection_needs_a_data_set_that_exists_unless_the_settings_make_it() {
    let command = || target_on("5c8c3c555033b814b69f947f");
    let world = World::start().await;
    let refused = world.control.create_target_connection(&world.caller, command()).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::InvalidValue);

    let world = World::with(Settings { create_unknown_data_sets: true, ..quick() }).await;
    world.control.create_target_connection(&world.caller, command()).await.unwrap();
    let made = world.control.get::<DataSet>(&world.caller, "5c8c3c555033b814b69f947f").await.unwrap();
    assert!(made.body.location.ends_with("/prod/5c8c3c555033b814b69f947f"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn targets_that_name_the_same_unknown_data_set_at_once_share_it() {
    let world = World::with(Settings { create_unknown_data_sets: true, ..quick() }).await;
    let targets = (0..8).map(|_| {
        let (control, caller) = (world.control.clone(), world.caller.clone());
        let command = target_on("5c8c3c555033b814b69f947f");
        tokio::spawn(async move { control.create_target_connection(&caller, command).await })
    });
    for target in join_all(targets).await {
        target.unwrap().unwrap();
    }
    assert_eq!(world.control.count::<DataSet>(&world.caller, &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_data_set_of_another_organisation_is_as_good_as_none() {
    let world = World::with(Settings { create_unknown_data_sets: true, ..quick() }).await;
    let made = world
        .control
        .create_data_set(&world.caller, CreateDataSet { name: Some("Orders".into()), ..CreateDataSet::default() });
    let mut theirs = made.await.unwrap();
    let sandbox = Sandbox::prod(OrgId::mint(), world.caller.actor.user.clone(), NOW_MS);
    world.store.create_organisation(&sandbox).await.unwrap();
    theirs.id = DataSetId::mint();
    theirs.scope = sandbox.scope();
    theirs.body.tag("theirs");
    let mut tx = world.store.write(&theirs.scope).await.unwrap();
    tx.insert(&theirs).await.unwrap();
    tx.commit().await.unwrap();
    let refused = async |world: &World, id: &DataSetId| {
        world.control.create_target_connection(&world.caller, target_on(id.as_str())).await.unwrap_err()
    };
    let told = refused(&world, &theirs.id).await;
    assert_eq!(told.cause(), Cause::InvalidValue);
    let nobodys = DataSetId::mint();
    let absent = refused(&World::start().await, &nobodys).await.to_string();
    assert_eq!(told.to_string(), absent.replace(nobodys.as_str(), theirs.id.as_str()), "the same words");
}

#[tokio::test]
async fn data_sets_of_one_name_have_tables_of_different_names() {
    let world = World::start().await;
    let make = async || {
        let command = CreateDataSet { name: Some("My Orders".into()), ..CreateDataSet::default() };
        world.control.create_data_set(&world.caller, command).await.unwrap()
    };
    let (first, second) = (make().await, make().await);
    assert_eq!((first.body.table(), second.body.table()), (Some("my_orders"), Some("my_orders_1")));
    assert_ne!(first.body.location, second.body.location);
    let nameless = world.control.create_data_set(&world.caller, CreateDataSet::default()).await.unwrap_err();
    assert_eq!(nameless.cause(), Cause::MissingField);
}

#[tokio::test]
async fn a_flow_is_checked_against_its_source() {
    let world = World::start().await;
    let base = world.connection().await;
    let target = world.target().await;
    let refused = async |params| {
        let command = CreateFlow {
            source_connection_ids: Some(vec![world.source(&base, params).await]),
            target_connection_ids: Some(vec![target.clone()]),
            ..world.flow_command().await
        };
        world.control.create_flow(&world.caller, command).await.unwrap_err().cause()
    };
    assert_eq!(refused(json!({ "tableName": "shop.nothing" })).await, Cause::NoColumns);
    assert_eq!(refused(json!({ "tableName": TABLE, "columns": [{ "name": "colour" }] })).await, Cause::InvalidValue);
}

#[tokio::test]
async fn a_flow_needs_connections_that_exist() {
    let world = World::start().await;
    let nobody = || Some(vec!["0190a0a0-0000-7000-8000-000000000000".into()]);
    let command = CreateFlow { source_connection_ids: nobody(), ..world.flow_command().await };
    assert_eq!(world.control.create_flow(&world.caller, command).await.unwrap_err().cause(), Cause::InvalidValue);
    let mut command = world.flow_command().await;
    command.target_connection_ids = command.source_connection_ids.clone();
    assert_eq!(world.control.create_flow(&world.caller, command).await.unwrap_err().cause(), Cause::InvalidValue);
}

#[tokio::test]
async fn a_target_that_names_another_schema_than_its_data_set_is_a_conflict() {
    let world = World::start().await;
    let schema = json!({ "id": "https://ns/schemas/a", "contentType": "application/vnd.adobe.xed+json;version=1" });
    let command = CreateDataSet { name: Some("a".into()), schema_ref: Some(schema), ..CreateDataSet::default() };
    let data_set = world.control.create_data_set(&world.caller, command).await.unwrap();
    for (id, version, agrees) in [
        ("https://ns/schemas/a", "application/vnd.adobe.xed-full+json;version=1", true),
        ("https://ns/schemas/b", "application/vnd.adobe.xed-full+json;version=1", false),
        ("https://ns/schemas/a", "application/vnd.adobe.xed-full+json;version=2", false),
    ] {
        let command = CreateTargetConnection {
            data: object(&json!({ "schema": { "id": id, "version": version } })),
            connection_spec: spec(DATA_LAKE),
            params: object(&json!({ "dataSetId": data_set.id })),
            ..CreateTargetConnection::default()
        };
        let target = world.control.create_target_connection(&world.caller, command).await.unwrap();
        let command =
            CreateFlow { target_connection_ids: Some(vec![target.id.to_string()]), ..world.flow_command().await };
        let made = world.control.create_flow(&world.caller, command).await;
        assert_eq!(
            made.as_ref().err().map(CommandError::cause),
            (!agrees).then_some(Cause::SchemaConflict),
            "{made:?}"
        );
    }
}

#[tokio::test]
async fn what_a_flow_uses_can_not_be_deleted_before_it() {
    let world = World::start().await;
    let flow = world.flow().await;
    let (control, caller) = (&world.control, &world.caller);
    let source = flow.body.source_connection_ids[0].to_string();
    let target = flow.body.target_connection_ids[0].to_string();
    let base = flow.body.inherited_attributes.source_connections[0].base_connection.as_ref().unwrap().id.clone();

    let in_use = control.delete_connection(caller, &base, Precondition::None).await.unwrap_err();
    assert_eq!((in_use.cause(), in_use.to_string().contains(&flow.id.to_string())), (Cause::ConnectionInUse, true));
    let in_use = control.delete_source_connection(caller, &source, Precondition::None).await.unwrap_err();
    assert_eq!(in_use.cause(), Cause::InUse);
    let in_use = control.delete_target_connection(caller, &target, Precondition::None).await.unwrap_err();
    assert_eq!(in_use.cause(), Cause::InUse);

    control.delete_flow(caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    control.delete_target_connection(caller, &target, Precondition::None).await.unwrap();
    control.delete_connection(caller, &base, Precondition::None).await.unwrap();
    let gone = control.get::<SourceConnection>(caller, &source).await.unwrap_err();
    assert_eq!(gone.cause(), Cause::Missing, "an unused source connection goes with its base");
}

#[tokio::test]
async fn what_is_on_its_way_to_another_state_can_not_be_deleted() {
    let world = World::start().await;
    let flow = world.flow().await;
    let connection = world.connection().await;
    let service = Caller { role: Role::Service, ..world.caller.clone() };
    for (name, refused) in [("disabling", true), ("updating", true), ("initializing", false)] {
        let state: State = name.parse().unwrap();
        let mut tx = world.store.write(&world.caller.scope).await.unwrap();
        let mut stored = tx.get::<Connection>(&connection.id).await.unwrap().unwrap();
        stored.state = state;
        let expected = stored.touch(&world.caller.actor, NOW_MS);
        tx.replace(&stored, &expected).await.unwrap();
        if refused {
            let mut stored = tx.get::<Flow>(&flow.id).await.unwrap().unwrap();
            stored.state = state;
            let expected = stored.touch(&world.caller.actor, NOW_MS);
            tx.replace(&stored, &expected).await.unwrap();
        }
        tx.commit().await.unwrap();
        let id = connection.id.to_string();
        let shown = world.control.get::<Connection>(&world.caller, &id).await.unwrap();
        assert_eq!(shown.document()["state"], name);
        let cause = |outcome: Result<(), CommandError>| outcome.err().map(|error| error.cause());
        let by_user = world.control.delete_connection(&world.caller, &id, Precondition::None).await;
        let expected = if refused { Cause::NotEditable } else { Cause::InitializingByUser };
        assert_eq!(cause(by_user), Some(expected), "{name}");
        let by_service = world.control.delete_connection(&service, &id, Precondition::None).await;
        assert_eq!(cause(by_service), refused.then_some(Cause::NotEditable), "{name}");
    }
    let deleted = world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await;
    assert_eq!(deleted.unwrap_err().cause(), Cause::Disabling);
}

#[tokio::test]
async fn a_stale_version_is_refused() {
    let world = World::start().await;
    let connection = world.connection().await;
    let stale = Precondition::IfMatch("\"00000000-0000-0200-0000-000000000000\"".into());
    let id = connection.id.to_string();
    let refused = world.control.delete_connection(&world.caller, &id, stale).await.unwrap_err();
    assert!(matches!(&refused, CommandError::Stale { current, .. } if *current == connection.etag));
    let current = Precondition::IfMatch(connection.etag.to_string());
    world.control.delete_connection(&world.caller, &id, current).await.unwrap();
}

#[tokio::test]
async fn resources_are_listed_filtered_and_counted() {
    let world = World::start().await;
    for name in ["a", "b", "b"] {
        let command = headwaters_control::CreateConnection { name: Some(name.into()), ..connection_command(PASSWORD) };
        world.control.create_connection(&world.caller, command).await.unwrap();
    }
    let named_b = Filter::parse("name==b", Collection::Connections).unwrap();
    assert_eq!(world.control.count::<Connection>(&world.caller, std::slice::from_ref(&named_b)).await.unwrap(), 2);
    let query = ListQuery { limit: 1, ..ListQuery::all().with(named_b) };
    let page = world.control.list::<Connection>(&world.caller, &query).await.unwrap();
    assert_eq!((page.items.len(), page.next.is_some()), (1, true));
    let masked = Filter::parse(&format!("auth.params.password=={PASSWORD}"), Collection::Connections).unwrap();
    assert_eq!(
        world.control.count::<Connection>(&world.caller, &[masked]).await.unwrap(),
        0,
        "no filter finds a secret"
    );
}

#[tokio::test]
async fn every_write_leaves_a_line_in_the_audit() {
    let world = World::start().await;
    let flow = world.flow().await;
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    let query = AuditQuery { resource_id: Some(flow.id.to_string()), ..AuditQuery::default() };
    let lines = world.store.audit(&query).await.unwrap();
    let acts: Vec<_> = lines.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(acts, ["delete", "create"]);
    assert_eq!(lines[0].client, world.credentials.client_id.as_str());
    assert_eq!(lines[0].request_id.as_deref(), Some("request-1"));
    assert!(world.control.get::<Flow>(&world.caller, &flow.id.to_string()).await.is_err());
}

#[tokio::test]
async fn what_goes_with_something_else_leaves_a_line_too() {
    let world = World::start().await;
    let flow = world.flow().await;
    let body = Run::scheduled(flow.id, flow.body.flow_spec.clone(), None);
    let run = Resource::new(world.caller.scope.clone(), State::Enabled, body, &world.caller.actor, NOW_MS);
    let mut tx = world.store.write(&world.caller.scope).await.unwrap();
    assert!(tx.schedule_run(&run, &RunOrigin::default(), NOW_MS, None).await.unwrap());
    tx.commit().await.unwrap();
    let base = flow.body.inherited_attributes.source_connections[0].base_connection.as_ref().unwrap().id.clone();
    world.control.delete_flow(&world.caller, &flow.id.to_string(), Precondition::None).await.unwrap();
    world.control.delete_connection(&world.caller, &base, Precondition::None).await.unwrap();
    let source = flow.body.source_connection_ids[0].to_string();
    for (id, action) in [(run.id.to_string(), "cancel"), (source, "delete")] {
        let query = AuditQuery { resource_id: Some(id), ..AuditQuery::default() };
        let lines = world.store.audit(&query).await.unwrap();
        assert_eq!(
            (lines[0].action.as_str(), lines[0].client.as_str()),
            (action, world.credentials.client_id.as_str())
        );
    }
}

#[tokio::test]
async fn specs_are_read_by_id() {
    let world = World::start().await;
    let spec = world.control.connection_spec(&world.caller, &DATA_LAKE.to_string()).await.unwrap();
    assert_eq!(spec["name"], "datalake");
    assert_eq!(world.control.flow_specs(&world.caller, &[]).await.unwrap().len(), 1);
    let unknown = world.control.flow_spec(&world.caller, "nonsense").await.unwrap_err();
    assert_eq!(unknown.cause(), Cause::Missing);
}
