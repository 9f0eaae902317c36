//! What another attempt can not make better: one attempt, a stop, and a record that says what to do. And the one case
//! that only looks like it: a password that was changed.

use headwaters_testkit::Flavour;
use headwaters_testkit::world::{CopyOnce, FLOW_SERVICE, now_s};
use serde_json::{Value, json};

use super::{AHEAD_S, Trouble, errors, on_both, told_by_failed};

on_both!(
    a_table_that_is_dropped_before_the_run_stops_it,
    a_column_that_is_dropped_before_the_run_stops_it,
    a_privilege_that_is_taken_away_before_the_run_stops_it,
    a_password_that_is_rotated_in_mid_attempt_is_read_anew,
    a_wrong_password_stops_the_run_at_the_second_attempt,
);

/// The run has failed in as many attempts, and its record has all of these words.
#[track_caller]
fn assert_stopped(run: &Value, attempts: usize, words: &[&str]) {
    let told = told_by_failed(run);
    assert_eq!(errors(run).len(), attempts, "{run:#}");
    for part in words {
        assert!(told.contains(part), "no '{part}' in {run:#}");
    }
}

async fn a_table_that_is_dropped_before_the_run_stops_it(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    let connection = trouble.connection("reader").await;
    let copy = trouble.will_copy(&connection, "d.t").await;
    trouble.execute("drop table d.t").await;
    assert_stopped(&trouble.ended(&copy).await, 1, &["d.t"]);
    assert_still_enabled(&trouble, &copy).await;
}

async fn a_column_that_is_dropped_before_the_run_stops_it(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    let connection = trouble.connection("reader").await;
    let spec = trouble.world.spec("connectionSpecs", trouble.spec_name()).await.expect("a spec");
    let source = json!({
        "name": "two columns", "baseConnectionId": connection, "connectionSpec": spec, "data": {"format": "tabular"},
        "params": {"tableName": "d.t", "columns": [{"name": "id"}, {"name": "filler"}]},
    });
    let source = trouble.world.create(&format!("{FLOW_SERVICE}/sourceConnections"), &source).await.expect("a source");
    let data_set = trouble.world.data_set("two columns").await.expect("a data set");
    let target = trouble.world.target_of(&data_set).await.expect("a target");
    let flow = trouble.world.flow_body("two columns", &source, &target, now_s() + AHEAD_S).await.expect("a body");
    let flow = trouble.world.create(&format!("{FLOW_SERVICE}/flows"), &flow).await.expect("a flow");
    trouble.execute("alter table d.t drop column filler").await;
    let copy = CopyOnce { flow, source, target, data_set };
    assert_stopped(&trouble.ended(&copy).await, 1, &["no column 'filler'"]);
}

async fn a_privilege_that_is_taken_away_before_the_run_stops_it(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    // Something is left to it, so that the table is seen.
    for sql in ["create user guest@'%' identified by 'Headwaters-1'", "grant select, insert on d.t to guest@'%'"] {
        trouble.execute(sql).await;
    }
    let string = format!("Server=127.0.0.1;Port={};UID=guest;PWD=Headwaters-1", trouble.proxy.port());
    let connection = trouble.world.connect(trouble.spec_name(), &string).await.expect("a connection");
    let copy = trouble.will_copy(&connection, "d.t").await;
    trouble.execute("revoke select on d.t from guest@'%'").await;
    assert_stopped(&trouble.ended(&copy).await, 1, &["d.t"]);
}

async fn a_password_that_is_rotated_in_mid_attempt_is_read_anew(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    let connection = trouble.connection("reader").await;
    let copy = trouble.will_copy(&connection, "d.t").await;
    // The attempt has read its secret, and now gets no word from the server.
    trouble.proxy.stall();
    trouble.logged("an attempt begins", 1).await;
    trouble.execute("alter user reader@'%' identified by 'rotated-2'").await;
    let string = format!("Server=127.0.0.1;Port={};UID=reader;PWD=rotated-2", trouble.database.port());
    let etag = trouble.world.document("connections", &connection).await.expect("a connection")["etag"].clone();
    let patch = json!([{"op": "replace", "path": "/auth/params/connectionString", "value": string}]);
    let path = format!("{FLOW_SERVICE}/connections/{connection}");
    let patched = trouble.world.patch(&path, etag.as_str().expect("an etag"), &patch).await.expect("an answer");
    assert_eq!(patched.status, 200, "{}", patched.body);
    trouble.proxy.mend();
    let errors = trouble.assert_landed_once(&copy).await;
    assert!(errors.len() == 1 && errors[0].contains("error 1045"), "{errors:?}");
}

async fn a_wrong_password_stops_the_run_at_the_second_attempt(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    let connection = trouble.connection("reader").await;
    let copy = trouble.will_copy(&connection, "d.t").await;
    trouble.execute("alter user reader@'%' identified by 'rotated-2'").await;
    let run = trouble.ended(&copy).await;
    assert_stopped(&run, 2, &["error 1045", "for the second time in this run", "check the account's name, password"]);
    let tested = trouble.world.get(&format!("{FLOW_SERVICE}/connections/{connection}/test")).await.expect("an answer");
    assert!(tested.body.to_string().contains("1045"), "who asks is told at once: {}", tested.body);
    assert!(!tested.body.to_string().contains("second time"), "{}", tested.body);
}

/// A definite error ends the run, not the flow.
async fn assert_still_enabled(trouble: &Trouble, copy: &CopyOnce) {
    let flow = trouble.world.document("flows", &copy.flow).await.expect("a flow");
    assert_eq!(flow["state"], "enabled", "{flow:#}");
}
