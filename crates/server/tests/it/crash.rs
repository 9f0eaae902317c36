//! The process dies at each named point of a run, and each row is landed once all the same (docs/architecture.md,
//! section 4).

use headwaters_model::crash::CrashPoint;
use headwaters_testkit::proxy::Proxy;
use headwaters_testkit::world::{CATALOG, FLOW_SERVICE, World};
use headwaters_testkit::{Flavour, ServerOptions};

use crate::land::count;

/// How long a run may take that another process must first take over.
const RUN_SECONDS_MAX: u64 = 90;

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_lands_every_row_once() {
    if !cfg!(feature = "crash-points") {
        panic!("the program has no crash points: run this with --features headwaters-server/crash-points");
    }
    let database = ServerOptions::new(Flavour::MariaDb).start().await.expect("a database");
    database.load("shop.sql").await.expect("the shop");
    let rows = database.query("select count(*) from shop.order_items").await.expect("a count")[0][0].clone();

    for point in CrashPoint::ALL {
        let mut world = World::options(env!("CARGO_BIN_EXE_headwaters"))
            .crash_at(point.name())
            .start()
            .await
            .unwrap_or_else(|error| panic!("{point}: {error:#}"));
        let connection = world.connect("maria-db", &database.connection_string("reader")).await.expect("a connection");
        let copy = world.copy_once(&connection, "maria-db", "shop.order_items").await.expect("a flow");
        world.crashed().await.unwrap_or_else(|error| panic!("{point}: {error:#}"));

        world.restart().await.unwrap_or_else(|error| panic!("{point}: {error:#}"));
        let run = world.finished_run(&copy.flow, RUN_SECONDS_MAX).await;
        let run = run.unwrap_or_else(|error| panic!("{point}: {error:#}\n{}", world.log()));
        assert_eq!(run["metrics"]["statusSummary"]["status"], "success", "{point}: {run:#}");
        let folder = world.table_dir(&copy.data_set).await.expect("a table");
        assert_eq!(Some(count(&folder).to_string()), rows, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_in_every_attempt_fails_the_run_and_lands_nothing() {
    let database = ServerOptions::new(Flavour::MariaDb).start().await.expect("a database");
    database.execute("create database big").await.expect("a schema");
    database.execute("create table big.t (id int primary key, filler varchar(200) not null)").await.expect("a table");
    database.execute("insert into big.t select seq, repeat(md5(seq), 6) from big.seq_1_to_100000").await.expect("rows");
    let proxy = Proxy::to(database.port()).await.expect("a proxy");
    let world = World::options(env!("CARGO_BIN_EXE_headwaters")).start().await.expect("a server");
    let string = database.connection_string("reader").replace(&database.port().to_string(), &proxy.port().to_string());
    let connection = world.connect("maria-db", &string).await.expect("a connection");

    proxy.cut_after_bytes(4 << 20);
    let copy = world.copy_once(&connection, "maria-db", "big.t").await.expect("a flow");
    let run = world.finished_run(&copy.flow, RUN_SECONDS_MAX).await.expect("a run");
    let status = &run["metrics"]["statusSummary"];
    assert_eq!(status["status"], "failed", "{run:#}");
    assert_eq!(status["errors"][0]["code"], "CONNECTOR-1001-500", "{run:#}");
    let location = world.get(&format!("{CATALOG}/dataSets/{}", copy.data_set)).await.expect("an answer");
    let location = location.body[&copy.data_set]["location"].as_str().expect("a location").to_owned();
    let folder = std::path::PathBuf::from(location.trim_start_matches("file://"));
    assert!(!folder.join("_delta_log").exists(), "{}", folder.display());

    let tested = world.get(&format!("{FLOW_SERVICE}/connections/{connection}/test")).await.expect("an answer");
    assert_eq!(tested.status, 200, "a broken source is an answer, not an error: {}", tested.body);
}
