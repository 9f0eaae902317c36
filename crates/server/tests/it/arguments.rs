//! What is said wrong on the command line, and how the program answers: exit code, one sentence, no secret.

use headwaters_testkit::{Flavour, ServerOptions};

use crate::land::{complaint, headwaters, output};

/// A port of this machine that nobody listens on.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn help_teaches_every_command() {
    let shown = |arguments: &[&str]| {
        let output = output(headwaters().args(arguments));
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text")
    };
    insta::assert_snapshot!("help", shown(&["--help"]));
    for command in ["serve", "copy", "explore", "env", "token", "check", "audit"] {
        insta::assert_snapshot!(format!("help-{command}"), shown(&[command, "--help"]));
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let cases: [&[&str]; 6] = [
        &[],
        &["copy"],
        &["copy", "mysql://u@127.0.0.1/d", "--table", "t", "--to", "x", "--splits", "0"],
        &["explore", "mysql://u@127.0.0.1/d", "--preview", "3"],
        &["explore", "Server=127.0.0.1;Sever=x"],
        &["token", "--data", "/nonexistent/headwaters"],
    ];
    for arguments in cases {
        let output = output(headwaters().args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", complaint(&output));
    }
}

#[test]
fn an_unknown_key_is_named_and_its_value_is_not() {
    let output = output(headwaters().args(["explore", "Server=127.0.0.1;UID=u;Pasword=hunter2"]));
    assert_eq!(output.status.code(), Some(2));
    let complaint = complaint(&output);
    assert!(complaint.contains("Pasword"), "{complaint}");
    assert!(!complaint.contains("hunter2"), "{complaint}");
}

#[test]
fn a_closed_port_and_an_unknown_host_end_with_3_and_name_the_address() {
    let port = closed_port();
    for (source, named) in [
        (format!("Server=127.0.0.1;Port={port};UID=u;PWD=hunter2;ConnectionTimeout=5"), port.to_string()),
        ("Server=no-such-host.invalid;UID=u;PWD=hunter2;ConnectionTimeout=5".to_owned(), "no-such-host.invalid".into()),
    ] {
        let output = output(headwaters().args(["explore", &source]));
        let complaint = complaint(&output);
        assert_eq!(output.status.code(), Some(3), "{complaint}");
        assert!(complaint.contains(&named), "{complaint}");
        assert!(!complaint.contains("hunter2"), "{complaint}");
    }
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("headwaters.toml");
    std::fs::write(&file, "[flows]\nstart_grace = 5\n").expect("the file");
    let output = output(headwaters().args(["check", "--config"]).arg(&file));
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("flows.start_grace"), "{}", complaint(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_account_an_unknown_table_and_a_bad_lake_have_their_codes() {
    let server = ServerOptions::new(Flavour::MariaDb).start().await.expect("a server");
    server.load("shop.sql").await.expect("the shop");
    let reader = server.connection_string("reader");
    let nothing = server.connection_string("nothing");
    let to = tempfile::tempdir().expect("a folder");
    let file_in_the_way = to.path().join("file");
    std::fs::write(&file_in_the_way, "").expect("a file");

    let wrong_password = format!("Server=127.0.0.1;Port={};UID=reader;PWD=hunter2", server.port());
    let (good, bad) = (to.path().join("t"), file_in_the_way.join("t"));
    for (source, table, place, code, said) in [
        (&wrong_password, "shop.orders", &good, 3, "reader"),
        (&reader, "shop.no_such_table", &good, 3, "no_such_table"),
        (&reader, "no_such_schema.orders", &good, 3, "no_such_schema"),
        (&nothing, "shop.orders", &good, 3, "shop.orders"),
        (&reader, "shop.orders", &bad, 4, "file"),
    ] {
        let output = output(headwaters().args(["copy", source, "--table", table, "--to"]).arg(place));
        let complaint = complaint(&output);
        assert_eq!(output.status.code(), Some(code), "{table}: {complaint}");
        assert!(complaint.contains(said), "{table}: {complaint}");
        assert!(!complaint.contains("hunter2"), "{complaint}");
        assert!(!good.join("_delta_log").exists(), "{table} left something behind");
    }
}
