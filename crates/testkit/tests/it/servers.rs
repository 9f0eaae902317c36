//! Every flavour starts, has its accounts, and goes when nobody needs it.

use std::time::Duration;

use headwaters_testkit::accounts::accounts;
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};

#[tokio::test]
async fn every_flavour_answers_with_all_its_accounts() {
    for flavour in Flavour::ALL {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let users = server.query("select user from mysql.user order by user").await.unwrap().concat();
        for account in accounts(flavour) {
            assert!(users.contains(&Some(account.name.to_owned())), "{flavour} lacks {}: {users:?}", account.name);
        }
        assert!(!users.contains(&Some(String::new())), "{flavour} has an account without a name");
    }
}

#[tokio::test]
async fn the_shop_loads_into_every_flavour() {
    for flavour in Flavour::ALL {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        server.load("shop.sql").await.unwrap();
        let rows = server.query("select count(*) from shop.customers").await.unwrap();
        assert_ne!(rows, [[Some("0".to_owned())]], "{flavour}");
    }
}

#[tokio::test]
async fn the_type_tables_load_into_every_flavour() {
    for flavour in Flavour::ALL {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        server.load_types().await.unwrap();
    }
}

#[tokio::test]
async fn two_tests_get_two_schemas() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    assert_ne!(server.fresh_schema("a").await.unwrap(), server.fresh_schema("a").await.unwrap());
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_data_on_the_same_port() {
    let mut server = ServerOptions::new(Flavour::MariaDb).argument("--log-bin=binlog").start().await.unwrap();
    server.execute("create table test_kit.t (a int)").await.unwrap_err();
    server.execute("create database test_kit").await.unwrap();
    server.execute("create table test_kit.t (a int)").await.unwrap();
    server.execute("insert into test_kit.t values (1)").await.unwrap();
    let port = server.port();
    server.kill().unwrap();
    server.execute("select 1").await.unwrap_err();
    server.start().await.unwrap();
    assert_eq!(server.port(), port);
    let rows = server.query("select a, @@log_bin from test_kit.t").await.unwrap();
    assert_eq!(rows, [[Some("1".to_owned()), Some("1".to_owned())]]);
}

#[tokio::test]
async fn a_server_without_tls_offers_none_and_the_others_do() {
    for flavour in Flavour::ALL {
        let plain = ServerOptions::new(flavour).without_tls().start().await.unwrap();
        assert!(!offers_tls(plain.port()).await, "{flavour} without TLS");
        let shared = DatabaseServer::shared(flavour).await.unwrap();
        assert!(offers_tls(shared.port()).await, "{flavour}");
    }
}

#[tokio::test]
async fn the_zone_option_is_the_servers_system_zone() {
    for flavour in Flavour::ALL {
        let server = ServerOptions::new(flavour).timezone("Asia/Kolkata").start().await.unwrap();
        let rows = server.query("select date_format(from_unixtime(86400), '%H:%i')").await.unwrap();
        assert_eq!(rows, [[Some("05:30".to_owned())]], "{flavour}");
    }
}

#[tokio::test]
async fn a_dropped_server_leaves_neither_process_nor_folder() {
    let server = ServerOptions::new(Flavour::MariaDb).start().await.unwrap();
    let dir = server.data_dir().parent().unwrap().to_path_buf();
    let process = std::fs::read_to_string(dir.join("pid")).unwrap();
    drop(server);
    assert!(!dir.exists());
    assert!(!std::path::Path::new("/proc").join(process).exists());
}

#[tokio::test]
async fn a_server_with_a_senseless_argument_fails_with_its_log() {
    let error = ServerOptions::new(Flavour::MariaDb).argument("--no-such-thing").start().await.unwrap_err();
    assert!(format!("{error:#}").contains("no-such-thing"), "{error:#}");
}

/// Reads the server's greeting and looks for `CLIENT_SSL` among its capabilities.
async fn offers_tls(port: u16) -> bool {
    use tokio::io::AsyncReadExt;

    const CLIENT_SSL: u16 = 0x0800;
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut header = [0; 4];
    let read = async {
        socket.read_exact(&mut header).await.unwrap();
        let mut packet = vec![0; usize::from(u16::from_le_bytes([header[0], header[1]]))];
        socket.read_exact(&mut packet).await.unwrap();
        packet
    };
    let packet = tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
    let version_end = 1 + packet[1..].iter().position(|byte| *byte == 0).unwrap();
    let capabilities = version_end + 1 + 4 + 8 + 1;
    u16::from_le_bytes([packet[capabilities], packet[capabilities + 1]]) & CLIENT_SSL != 0
}
