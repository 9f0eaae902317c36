//! `headwaters copy` and `explore` on real servers.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use headwaters_testkit::proxy::Proxy;
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions, crash};
use serde_json::Value;

use crate::land::{complaint, copied, count, headwaters, output, rows};

async fn shop(flavour: Flavour) -> DatabaseServer {
    let server = ServerOptions::new(flavour).start().await.expect("a server");
    server.load("shop.sql").await.expect("the shop");
    server
}

/// A table of so many rows of about 200 bytes; MariaDB only (its sequence engine).
async fn big_table(server: &DatabaseServer, rows: u32) {
    server.execute("create database big").await.expect("a schema");
    server.execute("create table big.t (id int primary key, filler varchar(200) not null)").await.expect("a table");
    let fill = format!("insert into big.t select seq, repeat(md5(seq), 6) from big.seq_1_to_{rows}");
    server.execute(&fill).await.expect("rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_lands_from_both_servers_and_a_second_copy_leaves_each_row_once() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let server = shop(flavour).await;
        let expected: u64 = server.query("select count(*) from shop.orders").await.expect("a count")[0][0]
            .as_deref()
            .and_then(|count| count.parse().ok())
            .expect("a number");
        let folder = tempfile::tempdir().expect("a folder");
        let source = server.connection_string("reader");
        let first = copied(&source, "shop.orders", folder.path(), &[]);
        assert_eq!((first["rows"].as_u64(), first["version"].as_u64()), (Some(expected), Some(0)));
        let second = copied(&source, "shop.orders", folder.path(), &[]);
        assert_eq!((second["rows"].as_u64(), second["version"].as_u64()), (Some(expected), Some(1)));
        assert_eq!(count(folder.path()), expected);
        let third = copied(&source, "shop.orders", folder.path(), &["--mode", "append"]);
        assert_eq!(third["version"].as_u64(), Some(2));
        assert_eq!(count(folder.path()), 2 * expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_landed_in_the_order_in_which_they_are_named() {
    let server = shop(Flavour::MariaDb).await;
    let folder = tempfile::tempdir().expect("a folder");
    copied(&server.connection_string("reader"), "shop.customers", folder.path(), &["--columns", "full_name,id"]);
    let rows = rows(folder.path());
    let names: Vec<&String> = rows[0].as_object().expect("a row").keys().collect();
    assert_eq!(names, ["full_name", "id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn explore_lists_tables_and_shows_one_with_rows() {
    let server = shop(Flavour::MariaDb).await;
    let source = format!("{};Database=shop", server.connection_string("reader"));
    let listed = output(headwaters().args(["explore", &source, "--output", "json"]));
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let paths: Vec<&str> =
        listed.as_array().expect("a list").iter().filter_map(|table| table["path"].as_str()).collect();
    assert!(paths.contains(&"shop.orders") && paths.is_sorted(), "{paths:?}");

    let shown =
        output(headwaters().args(["explore", &source, "--table", "orders", "--preview", "2", "--output", "json"]));
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["format"], "flat");
    assert_eq!(shown["data"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_shows_server_version_account_and_tls() {
    let server = shop(Flavour::MariaDb).await;
    let source = format!(
        "{};SslMode=VerifyCA;SslCa={}",
        server.connection_string("reader"),
        server.certificates().ca().display()
    );
    let shown = output(headwaters().args(["check", &source]));
    let text = String::from_utf8(shown.stdout.clone()).expect("text");
    assert!(shown.status.success(), "{}", complaint(&shown));
    assert!(text.contains("MariaDB 10.11") && text.contains("reader@") && text.contains("verified: chain"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_copy_ends_with_130_and_leaves_the_table_as_it_was() {
    let server = shop(Flavour::MariaDb).await;
    big_table(&server, 400_000).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut proxy = Proxy::to(server.port()).await.expect("a proxy");
    let source = server.connection_string("reader").replace(&server.port().to_string(), &proxy.port().to_string());

    let mut command = headwaters();
    command.args(["copy", &source, "--table", "big.t", "--splits", "1", "--to"]).arg(folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    wait_for_bytes(&mut proxy, 4 << 20).await;
    proxy.stall();
    crash::signal(child.id(), "INT").expect("a signal");
    proxy.mend();
    let status = wait(&mut child).await;
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert_eq!(status, Some(130), "{said}");
    assert!(!folder.path().join("_delta_log").exists());
    let left = std::fs::read_dir(folder.path()).map_or(0, Iterator::count);
    assert_eq!(left, 0, "files were left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_an_error_and_never_a_short_table() {
    let server = shop(Flavour::MariaDb).await;
    big_table(&server, 400_000).await;
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Proxy::to(server.port()).await.expect("a proxy");
    proxy.cut_after_bytes(8 << 20);
    let source = server.connection_string("reader").replace(&server.port().to_string(), &proxy.port().to_string());
    let output = output(headwaters().args(["copy", &source, "--table", "big.t", "--to"]).arg(folder.path()));
    assert_eq!(output.status.code(), Some(3), "{}", complaint(&output));
    assert!(!folder.path().join("_delta_log").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_is_an_error_and_the_older_version_stays() {
    let mut server = shop(Flavour::MariaDb).await;
    big_table(&server, 400_000).await;
    let folder = tempfile::tempdir().expect("a folder");
    server.execute("create table big.few as select * from big.t limit 10").await.expect("a small table");
    copied(&server.connection_string("reader"), "big.few", folder.path(), &[]);

    let mut proxy = Proxy::to(server.port()).await.expect("a proxy");
    let source = server.connection_string("reader").replace(&server.port().to_string(), &proxy.port().to_string());
    let mut command = headwaters();
    command.args(["copy", &source, "--table", "big.t", "--to"]).arg(folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    wait_for_bytes(&mut proxy, 4 << 20).await;
    server.kill().expect("the database dies");
    let status = wait(&mut child).await;
    assert_eq!(status, Some(3));
    assert_eq!(count(folder.path()), 10);
}

/// Waits until the proxy has passed so many bytes from the server.
async fn wait_for_bytes(proxy: &mut Proxy, bytes: u64) {
    let start = Instant::now();
    while proxy.bytes_down() < bytes {
        assert!(start.elapsed() < Duration::from_secs(60), "only {} bytes were read", proxy.bytes_down());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The exit code of a child that must end by itself.
async fn wait(child: &mut std::process::Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code();
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the program did not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
