//! Drafts: checked leniently, taken into use in order, and true about what they stand on (flow-service.md 11).

use headwaters_control::{CreateConnection, CreateFlow, CreateSourceConnection, CreateTargetConnection};
use headwaters_model::spec::{CRM_TO_AEP, DATA_LAKE, MYSQL};

use super::*;
use crate::fakes::PASSWORD;
use crate::world::{connection_command, spec};

/// One draft of each collection, each on the ones before.
struct Drafts {
    world: World,
    connection: String,
    source: String,
    target: String,
    flow: String,
}

impl Drafts {
    async fn start() -> Self {
        let world = World::start().await;
        let (control, caller) = (&world.control, &world.caller);
        let command = CreateConnection { draft: true, auth: None, ..connection_command(PASSWORD) };
        let connection = control.create_connection(caller, command).await.unwrap().id.to_string();
        let command = CreateSourceConnection {
            name: Some("orders".into()),
            base_connection_id: Some(connection.clone()),
            connection_spec: spec(MYSQL),
            draft: true,
            ..CreateSourceConnection::default()
        };
        let source = control.create_source_connection(caller, command).await.unwrap().id.to_string();
        let command = CreateTargetConnection {
            connection_spec: spec(DATA_LAKE),
            draft: true,
            ..CreateTargetConnection::default()
        };
        let target = control.create_target_connection(caller, command).await.unwrap().id.to_string();
        let command = CreateFlow { flow_spec: spec(CRM_TO_AEP), draft: true, ..CreateFlow::default() };
        let flow = control.create_flow(caller, command).await.unwrap().id.to_string();
        Self { world, connection, source, target, flow }
    }

    async fn complete_connection(&self) {
        let auth = connection_command(PASSWORD).auth.unwrap();
        let auth = json!({ "specName": auth.spec_name, "params": auth.params });
        self.world.patch::<Connection>(&self.connection, add("/auth", auth)).await.unwrap();
    }

    async fn complete_source(&self) {
        let patch = json!([add("/params/tableName", TABLE), add("/data", json!({}))]);
        self.world.patch::<SourceConnection>(&self.source, patch).await.unwrap();
    }

    async fn complete_target(&self) {
        let data_set = headwaters_control::CreateDataSet { name: Some("Orders".into()), ..Default::default() };
        let data_set = self.world.control.create_data_set(&self.world.caller, data_set).await.unwrap();
        let patch = json!([add("/params/dataSetId", json!(data_set.id))]);
        self.world.patch::<TargetConnection>(&self.target, patch).await.unwrap();
    }

    async fn complete_flow(&self) {
        let patch = json!([
            add("/sourceConnectionIds", json!([self.source])),
            add("/targetConnectionIds/-", json!(self.target)),
            replace("/scheduleParams", json!({ "startTime": NOW_MS / 1000, "frequency": "once" })),
            add("/name", "orders to lake"),
        ]);
        self.world.patch::<Flow>(&self.flow, patch).await.unwrap();
    }

    async fn publish<K: Changeable>(&self, id: &str) -> Result<Resource<K>, CommandError> {
        self.world.act::<K>(id, Action::Publish).await
    }
}

#[tokio::test]
async fn drafts_are_filled_in_and_published_in_their_order() {
    let drafts = Drafts::start().await;
    let Drafts { world, connection, source, target, flow } = &drafts;
    drafts.complete_flow().await;
    assert_eq!(drafts.publish::<Flow>(flow).await.unwrap_err().cause(), Cause::NotApplicable, "its source is a draft");
    drafts.complete_source().await;
    assert_eq!(drafts.publish::<SourceConnection>(source).await.unwrap_err().cause(), Cause::NotApplicable);
    assert_eq!(drafts.publish::<Connection>(connection).await.unwrap_err().cause(), Cause::MissingField, "no auth");
    assert_eq!(drafts.publish::<TargetConnection>(target).await.unwrap_err().cause(), Cause::NoDataSet);

    drafts.complete_connection().await;
    let published = drafts.publish::<Connection>(connection).await.unwrap();
    assert_eq!((published.state, published.body.last_operation.operation.as_str()), (State::Enabled, "publish"));
    assert_eq!(published.body.last_operation.ops, None);
    assert_eq!(drafts.publish::<SourceConnection>(source).await.unwrap().state, State::Enabled);
    assert_eq!(drafts.publish::<Flow>(flow).await.unwrap_err().cause(), Cause::NotApplicable, "its target is a draft");
    drafts.complete_target().await;
    assert_eq!(drafts.publish::<TargetConnection>(target).await.unwrap().state, State::Enabled);
    assert_eq!(drafts.publish::<Flow>(flow).await.unwrap().state, State::Enabled);
    assert_eq!(world.acts(flow).await, ["publish", "update", "create"]);

    let worker = world.worker();
    assert!(world.finished().await.body.status().is_final(), "a published flow is due");
    worker.stop().await;
    assert_eq!(world.executor.table().rows, 3);
}

#[tokio::test]
async fn publishing_checks_the_whole_like_a_create() {
    let drafts = Drafts::start().await;
    let Drafts { world, connection, source, flow, .. } = &drafts;
    let params = connection_command("wrong-password").auth.unwrap().params;
    let wrong = json!({ "specName": "Basic Authentication", "params": params });
    world.patch::<Connection>(connection, add("/auth", wrong)).await.unwrap();
    assert_eq!(drafts.publish::<Connection>(connection).await.unwrap_err().cause(), Cause::Driver);
    assert_eq!(world.read::<Connection>(connection).await.state, State::Draft);
    world.patch::<Connection>(connection, replace("/auth/params/password", PASSWORD)).await.unwrap();
    drafts.publish::<Connection>(connection).await.unwrap();
    assert_eq!(world.vault(connection).await.len(), 2, "its secrets stay");

    assert_eq!(drafts.publish::<SourceConnection>(source).await.unwrap_err().cause(), Cause::MissingField, "no table");
    world.patch::<SourceConnection>(source, json!([add("/params/tableName", "shop.nothing")])).await.unwrap();
    drafts.publish::<SourceConnection>(source).await.unwrap();
    drafts.complete_target().await;
    drafts.publish::<TargetConnection>(&drafts.target).await.unwrap();

    assert_eq!(drafts.publish::<Flow>(flow).await.unwrap_err().cause(), Cause::NoConnectionIds);
    drafts.complete_flow().await;
    assert_eq!(drafts.publish::<Flow>(flow).await.unwrap_err().cause(), Cause::NoColumns, "the source is asked");
    world.patch::<SourceConnection>(source, json!([replace("/params/tableName", TABLE)])).await.unwrap();
    world.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(drafts.publish::<Flow>(flow).await.unwrap_err().cause(), Cause::StartInPast);
    let start = (NOW_MS / 1000 + 7200).to_string();
    world.patch::<Flow>(flow, json!([replace("/scheduleParams/startTime", start)])).await.unwrap();
    drafts.publish::<Flow>(flow).await.unwrap();
    assert_eq!(world.due_ms(flow).await, Some(NOW_MS + 7_200_000));
}

#[tokio::test]
async fn a_draft_may_lack_much_but_not_get_it_wrong() {
    let drafts = Drafts::start().await;
    let Drafts { world, connection, source, target, flow } = &drafts;
    drafts.complete_connection().await;
    world.patch::<Connection>(connection, json!([remove("/auth")])).await.unwrap();
    assert!(world.vault(connection).await.is_empty());
    let half = add("/auth", json!({ "specName": "Basic Authentication", "params": { "server": "db" } }));
    assert_eq!(world.refused::<Connection>(connection, half).await, Cause::MissingField);
    assert_eq!(world.refused::<Connection>(connection, replace("/state", "enabled")).await, Cause::NotApplicable);
    for (patch, cause) in [
        (add("/params/columns", 7), Cause::InvalidValue),
        (add("/params/filters", json!({ "type": "SQL" })), Cause::FilterLanguage),
        (replace("/data", json!({ "format": "csv" })), Cause::Format),
        (replace("/baseConnectionId", "0190a0a0-0000-7000-8000-000000000000"), Cause::InvalidValue),
        (remove("/name"), Cause::MissingField),
    ] {
        assert_eq!(world.refused::<SourceConnection>(source, json!([patch])).await, cause, "{patch}");
    }
    world.patch::<SourceConnection>(source, json!([remove("/baseConnectionId")])).await.unwrap();
    assert_eq!(
        world.refused::<TargetConnection>(target, json!([add("/params/dataSetId", 7)])).await,
        Cause::InvalidValue
    );
    for (patch, cause) in [
        (add("/scheduleParams", json!({ "startTime": "soon", "frequency": "once" })), Cause::UnreadableTime),
        (add("/transformations", json!([{ "name": "Copy", "params": {} }])), Cause::MissingField),
        (add("/sourceConnectionIds", json!([source, source])), Cause::ManyConnectionIds),
        (add("/sourceConnectionIds", json!([target])), Cause::InvalidValue),
        (add("/sourceConnectionIds", "x"), Cause::InvalidValue),
        (replace("/state", "enabled"), Cause::PatchPath),
    ] {
        assert_eq!(world.refused::<Flow>(flow, json!([patch])).await, cause, "{patch}");
    }
    let hourly = json!({ "startTime": 1, "frequency": "hour", "interval": 1 });
    world.patch::<Flow>(flow, json!([add("/scheduleParams", hourly)])).await.unwrap();
    assert_eq!(world.due_ms(flow).await, None, "a draft is never due");
}

#[tokio::test]
async fn what_is_inherited_stays_true_while_drafts_change() {
    let drafts = Drafts::start().await;
    let Drafts { world, connection, source, flow, .. } = &drafts;
    drafts.complete_flow().await;
    let bases = async || {
        let source = world.read::<SourceConnection>(source).await.document();
        let flow = world.read::<Flow>(flow).await;
        let shown = flow.document()["inheritedAttributes"]["sourceConnections"][0]["baseConnection"]["id"].clone();
        (source["inheritedAttributes"]["baseConnection"]["id"].clone(), shown, flow.etag)
    };
    let (of_source, of_flow, etag) = bases().await;
    assert_eq!((of_source, of_flow), (json!(connection), json!(connection)));

    let other = json!(world.connection().await.id.to_string());
    world.patch::<SourceConnection>(source, json!([replace("/baseConnectionId", other.clone())])).await.unwrap();
    assert_eq!(bases().await, (other.clone(), other, etag.clone()), "the flow shows it, and is no new version");
    world.patch::<SourceConnection>(source, json!([remove("/baseConnectionId")])).await.unwrap();
    assert_eq!(bases().await, (Value::Null, Value::Null, etag));
    let patched = world.patch::<Flow>(flow, json!([replace("/sourceConnectionIds", json!([]))])).await.unwrap();
    assert!(patched.body.inherited_attributes.source_connections.is_empty());
}

#[tokio::test]
async fn actions_fit_certain_states_only() {
    let drafts = Drafts::start().await;
    let world = &drafts.world;
    for action in [Action::Enable, Action::Disable] {
        assert_eq!(world.act::<Flow>(&drafts.flow, action).await.unwrap_err().cause(), Cause::NotApplicable);
        let refused = world.act::<SourceConnection>(&drafts.source, action).await.unwrap_err();
        assert_eq!(refused.cause(), Cause::UnknownAction);
    }
    let [connection, source, target, flow] = world.chain().await;
    let cause = |error: CommandError| error.cause();
    assert_eq!(world.act::<Connection>(&connection, Action::Publish).await.map_err(cause), Err(Cause::NotApplicable));
    assert_eq!(world.act::<SourceConnection>(&source, Action::Publish).await.map_err(cause), Err(Cause::NotApplicable));
    assert_eq!(world.act::<TargetConnection>(&target, Action::Publish).await.map_err(cause), Err(Cause::NotApplicable));
    assert_eq!(world.act::<Flow>(&flow, Action::Publish).await.map_err(cause), Err(Cause::NotApplicable));
    assert_eq!(world.act::<Flow>(&flow, Action::ReTrigger).await.map_err(cause), Err(Cause::UnknownAction));
    assert_eq!(world.act::<Flow>("nobody", Action::Enable).await.map_err(cause), Err(Cause::Missing));
}
