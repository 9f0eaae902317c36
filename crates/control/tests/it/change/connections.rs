//! Changing base connections: states, logins, secrets (flow-service.md 9, 13).

use headwaters_control::{Caller, CreateFlow, CreateSourceConnection, Settings};
use headwaters_model::account::Role;
use headwaters_model::connection::MASK;
use headwaters_model::spec::MYSQL;
use serde_json::Map;

use super::*;
use crate::fakes::PASSWORD;
use crate::world::{object, quick, spec};

fn params(password: &str) -> Value {
    json!({ "server": "db", "port": 3306, "database": "shop", "username": "reader", "password": password })
}

#[tokio::test]
async fn a_client_that_echoes_the_masks_changes_no_secret() {
    let world = World::start().await;
    let connection = world.connection().await;
    let id = connection.id.to_string();
    let secrets = world.vault(&id).await;
    let mut auth = connection.document()["auth"].clone();
    world.patch::<Connection>(&id, replace("/auth", auth.clone())).await.unwrap();
    assert_eq!(world.vault(&id).await, secrets);

    auth["params"]["port"] = json!("3307");
    let patched = world.patch::<Connection>(&id, json!([replace("/auth", auth)])).await.unwrap();
    assert_eq!(patched.body.auth.unwrap().params["port"], "3307");
    assert_eq!(world.vault(&id).await, secrets, "the parameters around the masks have changed");
    world.control.test_connection(&world.caller, &id).await.unwrap();
}

#[tokio::test]
async fn replacing_the_parameters_swaps_them_all() {
    let world = World::start().await;
    let id = world.connection().await.id.to_string();
    let fields = async || world.vault(&id).await.into_iter().map(|(field, _)| field).collect::<Vec<_>>();
    assert_eq!(fields().await, ["certificatePassword", "password"]);
    let patched = world.patch::<Connection>(&id, json!([replace("/auth/params", params(PASSWORD))])).await.unwrap();
    assert_eq!(fields().await, ["password"], "a secret that is gone is gone");
    assert_eq!(Value::Object(patched.body.auth.unwrap().params), params(MASK));
    let patched = world.patch::<Connection>(&id, json!([add("/auth/params/certificatePassword", "new-secret")])).await;
    assert_eq!(patched.unwrap().body.auth.unwrap().params["certificatePassword"], MASK);
    assert_eq!(world.vault(&id).await[0], ("certificatePassword".into(), "new-secret".into()));
}

#[tokio::test]
async fn a_patch_shows_no_secret_anywhere() {
    let world = World::start().await;
    let id = world.connection().await.id.to_string();
    let patch = json!([
        replace("/auth/params/certificatePassword", "first-secret"),
        replace("/auth", {
            let mut with = params(PASSWORD);
            with["certificatePassword"] = "second-secret".into();
            json!({ "specName": "Basic Authentication", "params": with })
        }),
        add("/auth/params/note", "kept"),
    ]);
    let patched = world.patch::<Connection>(&id, patch).await.unwrap();
    let ops = patched.body.last_operation.ops.clone().unwrap();
    assert_eq!(ops[0], replace("/auth/params/certificatePassword", MASK));
    assert_eq!(ops[1]["value"]["params"]["password"], MASK);
    assert_eq!((&ops[1]["value"]["params"]["server"], &ops[2]["value"]), (&json!("db"), &json!("kept")));
    let audit = world.store.audit(&AuditQuery::default()).await.unwrap();
    let read = world.read::<Connection>(&id).await;
    let shown = format!("{patched:?} {} {read:?} {audit:?}", read.document());
    for secret in [PASSWORD, "first-secret", "second-secret", "another-secret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let refused =
        world.patch::<Connection>(&id, json!([replace("/auth/params", "hunter2-as-text")])).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::InvalidValue);
    assert!(!format!("{refused} {refused:?}").contains("hunter2-as-text"), "{refused}");
}

#[tokio::test]
async fn a_changed_login_is_checked_and_tried_out_like_a_new_one() {
    let world = World::start().await;
    let id = world.connection().await.id.to_string();
    for (patch, cause) in [
        (replace("/auth/params", params("wrong-password")), Cause::Driver),
        (replace("/auth/params", json!({})), Cause::MissingField),
        (add("/auth/params/sslMode", "sometimes"), Cause::InvalidValue),
        (replace("/auth/params/server", json!([])), Cause::InvalidValue),
        (replace("/auth/specName", "OAuth"), Cause::UnknownAuthSpec),
        (remove("/auth/params"), Cause::MissingField),
        (remove("/auth"), Cause::MissingField),
        (replace("/auth/params/a~1b", 1), Cause::Unpatchable),
        (replace("/auth/params/a/b", 1), Cause::PatchPath),
    ] {
        assert_eq!(world.refused::<Connection>(&id, json!([patch])).await, cause, "{patch}");
    }
    assert_eq!(world.acts(&id).await, ["create"]);

    let world = World::with(Settings { verify_on_create: false, ..quick() }).await;
    let id = world.connection().await.id.to_string();
    world.patch::<Connection>(&id, replace("/auth/params", params("wrong-password"))).await.unwrap();
}

#[tokio::test]
async fn a_source_that_is_off_line_does_not_hinder_a_new_name() {
    let world = World::start().await;
    let id = world.connection().await.id.to_string();
    let mut tx = world.store.write(&world.caller.scope).await.unwrap();
    tx.put_secret(&id, "password", &Secret::new("not-taken-any-more")).await.unwrap();
    tx.commit().await.unwrap();
    let renamed = world.patch::<Connection>(&id, replace("/name", "shop of old")).await.unwrap();
    let auth = renamed.document()["auth"].clone();
    world.patch::<Connection>(&id, json!([replace("/auth", auth), add("/description", "x")])).await.unwrap();
    assert_eq!(world.refused::<Connection>(&id, replace("/auth/params/port", 3307)).await, Cause::Driver);
}

#[tokio::test]
async fn the_state_of_a_connection_can_be_written() {
    let world = World::start().await;
    let [id, source, _, flow] = world.chain().await;
    for state in ["draft", "disabling", "Enabled", ""] {
        assert_eq!(world.refused::<Connection>(&id, json!([replace("/state", state)])).await, Cause::InvalidState);
    }
    assert_eq!(world.refused::<Connection>(&id, json!([replace("/state", 7)])).await, Cause::InvalidState);
    assert_eq!(world.refused::<Connection>(&id, json!([remove("/state")])).await, Cause::InvalidState);
    let base = world.read::<Connection>(&id).await;
    for state in ["disabled", "initializing"] {
        let patched = world.patch::<Connection>(&id, json!([replace("/state", state)])).await.unwrap();
        assert_eq!(patched.document()["state"], state);

        // What stands on it already can be looked after, nothing new can be built on it.
        world.patch::<SourceConnection>(&source, json!([replace("/name", state)])).await.unwrap();
        world.patch::<Flow>(&flow, json!([replace("/name", state)])).await.unwrap();
        let command = CreateSourceConnection {
            name: Some("more".into()),
            base_connection_id: Some(base.id.to_string()),
            data: Some(Map::new()),
            connection_spec: spec(MYSQL),
            params: object(&json!({ "tableName": TABLE })),
            ..CreateSourceConnection::default()
        };
        let refused = world.control.create_source_connection(&world.caller, command).await.unwrap_err();
        assert_eq!(refused.cause(), Cause::NotApplicable);
        let command = CreateFlow { source_connection_ids: Some(vec![source.clone()]), ..world.flow_command().await };
        assert_eq!(world.control.create_flow(&world.caller, command).await.unwrap_err().cause(), Cause::NotApplicable);
    }
    let back = json!([replace("/state", "enabled")]);
    assert_eq!(world.refused::<Connection>(&id, back.clone()).await, Cause::InitializingByUser);
    let service = Caller { role: Role::Service, ..world.caller.clone() };
    let current = version(&world.read::<Connection>(&id).await.etag);
    let patch = Patch::parse(back).unwrap();
    let patched = world.control.patch::<Connection>(&service, &id, &current, &patch).await.unwrap();
    assert_eq!(patched.state, State::Enabled);
    let refused = world.act::<Connection>(&id, Action::Disable).await.unwrap_err();
    assert_eq!(refused.cause(), Cause::UnknownAction);
}
