//! Connections and statements that are cut off in the middle of the table.

use std::time::Duration;

use headwaters_testkit::proxy::Proxy;
use headwaters_testkit::world::World;
use headwaters_testkit::{Flavour, ServerOptions};
use tokio::time::sleep;

use super::{SLOW_BYTES_PER_SECOND, Trouble, fill, on_both, told_by_failed};

/// How long a server is given to notice that it is to go while its answer is held up.
const HELD_UP: Duration = Duration::from_secs(1);
/// After how many bytes a connection is cut: in the middle of the table.
const CUT_AT_BYTES: u64 = 6 << 20;

on_both!(
    a_server_that_is_killed_in_mid_read_and_comes_back_is_read_again,
    a_server_that_restarts_in_mid_read_is_read_again,
    a_query_that_is_killed_once_is_sent_again,
    a_query_that_is_killed_twice_is_not_wanted,
    a_connection_that_is_killed_is_opened_again,
    a_network_that_cuts_twice_at_the_same_place_is_outlasted,
    a_short_write_timeout_of_the_server_does_not_cut_a_slow_read,
);

async fn a_server_that_is_killed_in_mid_read_and_comes_back_is_read_again(flavour: Flavour) {
    let mut trouble = Trouble::set(flavour, &[]).await;
    trouble.proxy.throttle(SLOW_BYTES_PER_SECOND);
    let copy = trouble.copies("reader").await;
    trouble.reader(None).await;
    trouble.database.kill().expect("a dead server");
    trouble.proxy.mend();
    trouble.logged("the attempt broke", 1).await;
    trouble.database.start().await.expect("the server is back");
    let errors = trouble.assert_landed_once(&copy).await;
    assert!(errors.first().is_some_and(|error| error.contains("was lost")), "{errors:?}");
}

async fn a_server_that_restarts_in_mid_read_is_read_again(flavour: Flavour) {
    let mut trouble = Trouble::set(flavour, &[]).await;
    trouble.proxy.throttle(SLOW_BYTES_PER_SECOND);
    let copy = trouble.copies("reader").await;
    trouble.reader(None).await;
    let (stopped, ()) = tokio::join!(trouble.database.stop(), async {
        sleep(HELD_UP).await;
        trouble.proxy.mend();
    });
    stopped.expect("the server ends in good order");
    trouble.logged("the attempt broke", 1).await;
    trouble.database.start().await.expect("the server is back");
    let errors = trouble.assert_landed_once(&copy).await;
    assert!(!errors.is_empty(), "the restart is in the record");
}

async fn a_query_that_is_killed_once_is_sent_again(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    trouble.proxy.throttle(SLOW_BYTES_PER_SECOND);
    let copy = trouble.copies("reader").await;
    let reader = trouble.reader(None).await;
    trouble.execute(&format!("kill query {reader}")).await;
    trouble.proxy.mend();
    let errors = trouble.assert_landed_once(&copy).await;
    assert!(errors.len() == 1 && errors[0].contains("error 1317"), "{errors:?}");
}

async fn a_query_that_is_killed_twice_is_not_wanted(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    trouble.proxy.throttle(SLOW_BYTES_PER_SECOND);
    let copy = trouble.copies("reader").await;
    let first = trouble.reader(None).await;
    trouble.execute(&format!("kill query {first}")).await;
    let second = trouble.reader(Some(&first)).await;
    trouble.execute(&format!("kill query {second}")).await;
    trouble.proxy.mend();
    let told = told_by_failed(&trouble.ended(&copy).await);
    for part in ["error 1317", "for the second time in this run", "an operator does not want it now"] {
        assert!(told.contains(part), "no '{part}' in {told}");
    }
}

async fn a_connection_that_is_killed_is_opened_again(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    trouble.proxy.throttle(SLOW_BYTES_PER_SECOND);
    let copy = trouble.copies("reader").await;
    let reader = trouble.reader(None).await;
    trouble.execute(&format!("kill {reader}")).await;
    trouble.proxy.mend();
    let errors = trouble.assert_landed_once(&copy).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
}

async fn a_network_that_cuts_twice_at_the_same_place_is_outlasted(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &[]).await;
    let connection = trouble.connection("reader").await;
    let copy = trouble.will_copy(&connection, "d.t").await;
    for cut in 1..=2 {
        trouble.proxy.mend();
        trouble.proxy.cut_after_bytes(CUT_AT_BYTES);
        trouble.logged("the attempt broke", cut).await;
    }
    trouble.proxy.mend();
    let errors = trouble.assert_landed_once(&copy).await;
    assert!(errors.len() >= 2 && errors.iter().all(|error| error.contains("was lost")), "{errors:?}");
}

async fn a_short_write_timeout_of_the_server_does_not_cut_a_slow_read(flavour: Flavour) {
    let trouble = Trouble::set(flavour, &["--net-write-timeout=1"]).await;
    trouble.proxy.throttle(SLOW_BYTES_PER_SECOND);
    let copy = trouble.copies("reader").await;
    trouble.reader(None).await;
    trouble.proxy.stall();
    sleep(3 * HELD_UP).await;
    trouble.proxy.mend();
    let errors = trouble.assert_landed_once(&copy).await;
    assert!(errors.is_empty(), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_over_to_another_server_says_so() {
    let mut first = ServerOptions::new(Flavour::MariaDb).start().await.expect("a database");
    let second = ServerOptions::new(Flavour::MariaDb).start().await.expect("its replica");
    fill(&first).await;
    fill(&second).await;
    let proxy = Proxy::to(first.port()).await.expect("a proxy");
    let world = World::options(env!("CARGO_BIN_EXE_headwaters")).start().await.expect("a server");
    let hosts = format!("Server=127.0.0.1:{},127.0.0.1:{};", proxy.port(), second.port());
    let string = first.connection_string("reader");
    let string = string.replace(&format!("Server=127.0.0.1;Port={};", first.port()), &hosts);
    let connection = world.connect("maria-db", &string).await.expect("a connection");
    proxy.throttle(SLOW_BYTES_PER_SECOND);
    let copy = world.copy_once(&connection, "maria-db", "d.t").await.expect("a flow");
    let trouble = Trouble { database: second, proxy, world };
    let who = "select count(*) from information_schema.processlist where info like '/* headwaters flow%'";
    while first.query(who).await.expect("the process list")[0][0].as_deref() == Some("0") {
        sleep(Duration::from_millis(20)).await;
    }
    first.kill().expect("a dead server");
    trouble.proxy.mend();
    let errors = trouble.assert_landed_once(&copy).await;
    assert!(!errors.is_empty());
    let notes = trouble.ended(&copy).await["metrics"]["statusSummary"]["extensions"]["notes"].to_string();
    assert!(notes.contains("an earlier attempt reached another server"), "{notes}");
}
