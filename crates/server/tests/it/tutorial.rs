//! The documented tutorial over HTTP, on real servers (flow-service.md 22), and wrong turns on the way.

use headwaters_testkit::world::{CATALOG, FLOW_SERVICE, Recurring, World, quick_recurring};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};
use serde_json::{Value, json};

use crate::land::{count, headwaters, output};
use crate::recurring::{NEXT_SECONDS_MAX, SOON_S, read};
use crate::scene::{RUN_SECONDS_MAX, assert_refused, text};

const MYSQL: &str = "26d738e0-8963-47ea-aadf-c60de735468a";

pub(crate) async fn world() -> World {
    World::options(env!("CARGO_BIN_EXE_headwaters")).start().await.expect("a server")
}

async fn shop(flavour: Flavour) -> DatabaseServer {
    let server = ServerOptions::new(flavour).start().await.expect("a database");
    server.load("shop.sql").await.expect("the shop");
    server
}

fn spec_name(flavour: Flavour) -> &'static str {
    if flavour.is_maria_db() { "maria-db" } else { "mysql" }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_lands_every_table_of_the_shop_from_both_servers() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let database = shop(flavour).await;
        let world = world().await;
        let string = format!("{};Database=shop", database.connection_string("reader"));
        let connection = world.connect(spec_name(flavour), &string).await.expect("a connection");

        let tested = world.get(&format!("{FLOW_SERVICE}/connections/{connection}/test")).await.expect("an answer");
        assert_eq!((tested.status, &tested.body["result"]), (200, &json!(true)), "{}", tested.body);

        let root = format!("{FLOW_SERVICE}/connections/{connection}/explore?objectType=root");
        let listed = world.get(&root).await.expect("an answer");
        let tables: Vec<String> =
            listed.body.as_array().expect("a list").iter().map(|table| text(&table["path"])).collect();
        assert_eq!(tables.len(), 11, "{tables:?}");

        for table in tables {
            let copy = world.copy_once(&connection, spec_name(flavour), &table).await.expect("a flow");
            let run = world.finished_run(&copy.flow, RUN_SECONDS_MAX).await.expect("a run");
            assert_eq!(run["metrics"]["statusSummary"]["status"], "success", "{table}: {run:#}");
            let folder = world.table_dir(&copy.data_set).await.expect("a table");
            let (_, name) = table.split_once('.').expect("a path");
            let sql = format!("select count(*) from shop.`{}`", name.replace('`', "``"));
            let rows = database.query(&sql).await.expect("a count")[0][0].clone();
            assert_eq!(Some(count(&folder).to_string()), rows, "{table}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorials_recurring_flow_reads_what_was_there_and_then_what_has_come() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let database = shop(flavour).await;
        let world = quick_recurring(World::options(env!("CARGO_BIN_EXE_headwaters"))).start().await.expect("a server");
        let string = format!("{};Database=shop", database.connection_string("reader"));
        let connection = world.connect(spec_name(flavour), &string).await.expect("a connection");
        // As the tutorial spells it: all texts, and a format that says nothing of a column of moments.
        let mut flow = Recurring::new("shop.customers", "updated_at").soon_again(SOON_S);
        flow.delta_column = json!({"name": "updated_at", "dateFormat": "YYYY-MM-DD", "timezone": "UTC"});
        let copy = world.copy_every_minute(&connection, spec_name(flavour), &flow).await.expect("a flow");
        let first = world.nth_run(&copy.flow, 0, RUN_SECONDS_MAX).await.expect("a run");
        assert_eq!(read(&first), 80, "{flavour}: what was there");

        for sql in [
            "insert into shop.customers (id, email, full_name, country, created_at) values \
                 (201, 'u201@shop.example', 'Mira Holt', 'IE', '2024-05-01'), \
                 (202, 'u202@shop.example', 'Ewa Król', 'PL', '2024-05-01')",
            "update shop.customers set vip = 1 - vip where id = 5",
        ] {
            database.execute(sql).await.expect("a change");
        }
        let mut found = 0;
        for k in 1..=2 {
            let run = world.nth_run(&copy.flow, k, NEXT_SECONDS_MAX).await.expect("a run");
            found += read(&run);
            let window = &run["activities"][0]["durationSummary"]["extensions"];
            assert!(window["windowStart"].as_u64() < window["windowEnd"].as_u64(), "{run:#}");
            let end_s = window["windowEnd"].as_u64().map(|ms| ms / 1000);
            assert_eq!(run["params"]["windowEndTime"].as_u64(), end_s, "{run:#}");
            if found > 0 {
                break;
            }
        }
        assert_eq!(found, 3, "{flavour}: what has come, and nothing else");
        let folder = world.table_dir(&copy.data_set).await.expect("a table");
        assert_eq!(count(&folder), 83, "{flavour}");
        let flow = world.document("flows", &copy.flow).await.expect("a flow");
        assert_eq!(flow["scheduleParams"]["interval"], "1", "shown as it was sent");
        assert_eq!(flow["transformations"][0]["params"]["deltaColumn"]["dateFormat"], "YYYY-MM-DD");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_record_says_what_was_read_and_landed() {
    let database = shop(Flavour::MariaDb).await;
    let world = world().await;
    let connection = world.connect("maria-db", &database.connection_string("reader")).await.expect("a connection");
    let copy = world.copy_once(&connection, "maria-db", "shop.orders").await.expect("a flow");
    let run = world.finished_run(&copy.flow, RUN_SECONDS_MAX).await.expect("a run");
    let settings = insta::Settings::clone_current();
    settings.bind(|| {
        insta::assert_json_snapshot!(run, {
            ".id" => "[run]", ".flowId" => "[flow]", ".etag" => "[etag]", ".providerRefId" => "[ref]",
            ".createdAt" => "[time]", ".updatedAt" => "[time]", ".imsOrgId" => "[org]", ".sandboxId" => "[sandbox]",
            ".**.startedAtUTC" => "[time]", ".**.completedAtUTC" => "[time]", ".**.updatedAtUTC" => "[time]",
            ".**.inputBytes" => "[bytes]", ".**.outputBytes" => "[bytes]", ".**.ids" => "[ids]", ".**.id" => "[id]",
            ".**.path" => "[path]", ".params" => "[params]", ".**.fileInfo" => "[files]",
            ".**.attempts" => "[attempts]", ".**.url" => "[url]", ".activities[].sourceInfo[].id" => "[source]",
            ".activities[].targetInfo[].id" => "[target]",
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_flow_uses_can_not_be_deleted_and_what_is_deleted_is_gone() {
    let database = shop(Flavour::MariaDb).await;
    let world = world().await;
    let connection = world.connect("maria-db", &database.connection_string("reader")).await.expect("a connection");
    let copy = world.copy_once(&connection, "maria-db", "shop.categories").await.expect("a flow");
    world.finished_run(&copy.flow, RUN_SECONDS_MAX).await.expect("a run");

    let path = |collection: &str, id: &str| format!("{FLOW_SERVICE}/{collection}/{id}");
    let refused = world.delete(&path("connections", &connection)).await.expect("an answer");
    assert_refused(&refused, "FLOW-1418-400");
    let refused = world.delete(&path("sourceConnections", &copy.source)).await.expect("an answer");
    assert_refused(&refused, "FLOW-1447-400");

    for (collection, id) in [
        ("flows", &copy.flow),
        ("sourceConnections", &copy.source),
        ("targetConnections", &copy.target),
        ("connections", &connection),
    ] {
        let deleted = world.delete(&path(collection, id)).await.expect("an answer");
        assert_eq!((deleted.status, deleted.body), (204, Value::Null), "{collection}");
        let gone = world.get(&path(collection, id)).await.expect("an answer");
        assert_refused(&gone, "FLOW-1439-404");
    }
    let landed = world.get(&format!("{CATALOG}/dataSets/{}", copy.data_set)).await.expect("an answer");
    assert_eq!(landed.status, 200, "the rows stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_turn_at_the_source_has_its_documented_code() {
    let database = shop(Flavour::MariaDb).await;
    let world = world().await;
    let good = database.connection_string("reader");
    let closed = free_port();
    for (string, said) in [
        (format!("Server=127.0.0.1;Port={};UID=reader;PWD=hunter2", database.port()), "reader"),
        (format!("Server=127.0.0.1;Port={closed};UID=reader;PWD=hunter2"), "127.0.0.1"),
        ("Server=no-such-host.invalid;UID=reader;PWD=hunter2".to_owned(), "no-such-host.invalid"),
        (format!("{good};SslMode=VerifyCA;SslCa={}", database.certificates().wrong_ca().display()), "certificate"),
    ] {
        let refused = world
            .post(&format!("{FLOW_SERVICE}/connections"), &connection_body("maria-db", &string))
            .await
            .expect("an answer");
        assert_refused(&refused, "CONNECTOR-1308-400");
        let sentence = text(&refused.body["errorMessage"]);
        assert!(sentence.contains(said), "{sentence}");
        assert!(!refused.body.to_string().contains("hunter2"), "{sentence}");
    }

    let connection = world.connect("maria-db", &good).await.expect("a connection");
    for table in ["shop.no_such_table", "no_such_schema.orders"] {
        let path = format!("{FLOW_SERVICE}/connections/{connection}/explore?objectType=table&object={table}");
        let refused = world.get(&path).await.expect("an answer");
        assert_refused(&refused, "CONNECTOR-1330-400");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_is_demanded_and_not_offered_is_refused_and_the_reverse_too() {
    let database = ServerOptions::new(Flavour::MariaDb).without_tls().start().await.expect("a database");
    let with_tls = shop(Flavour::MySql).await;
    let world = world().await;
    let demanded = format!("{};SslMode=Required", database.connection_string("reader"));
    let plain = format!("{};SslMode=None", with_tls.connection_string("needs_tls"));
    for (spec, string) in [("maria-db", demanded), ("mysql", plain)] {
        let body = connection_body(spec, &string);
        let refused = world.post(&format!("{FLOW_SERVICE}/connections"), &body).await.expect("an answer");
        assert_refused(&refused, "CONNECTOR-1308-400");
        assert!(text(&refused.body["errorMessage"]).to_lowercase().contains("tls"), "{}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_password_is_nowhere_in_answers_logs_or_files() {
    let database = shop(Flavour::MariaDb).await;
    let world = world().await;
    let account = database.account("odd_password");
    let connection =
        world.connect("maria-db", &database.connection_string("odd_password")).await.expect("a connection");
    let shown = world.get(&format!("{FLOW_SERVICE}/connections/{connection}")).await.expect("an answer");
    assert!(!shown.body.to_string().contains("ключ"), "{}", shown.body);
    assert!(shown.body.to_string().contains("*****"), "{}", shown.body);
    assert!(!world.log().contains("ключ"));
    let needle = account.password.as_bytes();
    for entry in std::fs::read_dir(world.data_dir()).expect("the data directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let bytes = std::fs::read(&path).expect("a file");
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_of_a_client_opens_the_door() {
    let world = world().await;
    let shown = output(headwaters().args(["env", "--format", "json", "--data"]).arg(world.data_dir()));
    let variables: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let answer = headwaters_testkit::world::read(
        world
            .bare_request(reqwest::Method::GET, &format!("{FLOW_SERVICE}/connectionSpecs"))
            .header("authorization", format!("Bearer {}", text(&variables["ACCESS_TOKEN"])))
            .header("x-api-key", text(&variables["API_KEY"]))
            .header("x-gw-ims-org-id", text(&variables["ORG_ID"])),
    )
    .await
    .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.to_string().contains(MYSQL));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_signal_drains_and_ends_with_0_and_a_later_start_finds_everything() {
    let database = shop(Flavour::MariaDb).await;
    let mut world = world().await;
    let connection = world.connect("maria-db", &database.connection_string("reader")).await.expect("a connection");
    let status = world.terminate().await.expect("an end");
    assert_eq!(status.code(), Some(0), "{}", world.log());
    world.restart().await.expect("a second start");
    let shown = world.get(&format!("{FLOW_SERVICE}/connections/{connection}")).await.expect("an answer");
    assert_eq!(shown.status, 200);
}

fn connection_body(spec: &str, string: &str) -> Value {
    let id = if spec == "mysql" { MYSQL } else { "3000eb99-cd47-43f3-827c-43caf170f015" };
    json!({
        "name": "a test database",
        "connectionSpec": { "id": id, "version": "1.0" },
        "auth": {
            "specName": "Connection String Based Authentication",
            "params": { "connectionString": string },
        },
    })
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
