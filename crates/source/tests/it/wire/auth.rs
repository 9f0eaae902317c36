//! Authentication plugins (mysql-sources.md 3) on the servers that have them.

use std::process::Command;

use headwaters_model::secret::Secret;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_source::mysql::wire::{ConnectOptions, Connection, PasswordPath, Pem, TlsMode, TlsOptions};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};

use super::{cell, local, plain, protected};

#[tokio::test]
async fn every_plugin_of_every_server_lets_us_in_under_tls() {
    for (flavour, account, plugin) in [
        (Flavour::MariaDb, "native", "mysql_native_password"),
        (Flavour::MariaDb, "empty_password", "mysql_native_password"),
        (Flavour::MariaDb, "odd_password", "mysql_native_password"),
        (Flavour::MariaDb, "ed25519", "client_ed25519"),
        (Flavour::MariaDbNewer, "native", "mysql_native_password"),
        (Flavour::MariaDbNewer, "ed25519", "client_ed25519"),
        (Flavour::MariaDbNewer, "parsec", "parsec"),
        (Flavour::MariaDbNewer, "caching_sha2", "caching_sha2_password"),
        (Flavour::MySql, "caching_sha2", "caching_sha2_password"),
        (Flavour::MySql, "empty_password", "caching_sha2_password"),
        (Flavour::MySql, "odd_password", "caching_sha2_password"),
        (Flavour::MySql, "sha256", "sha256_password"),
    ] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let connected = Connection::connect(&protected(server, account)).await;
        let mut connection = connected.unwrap_or_else(|error| panic!("{account} on {flavour}: {error}"));
        assert_eq!(connection.server().auth_plugin(), plugin, "{account} on {flavour}");
        assert_eq!(cell(&mut connection, "select current_user()").await, format!("{account}@%"));
        connection.close().await;
    }
}

#[tokio::test]
async fn plugins_that_protect_the_password_themselves_need_no_tls() {
    for (flavour, account) in [
        (Flavour::MariaDb, "native"),
        (Flavour::MariaDb, "ed25519"),
        (Flavour::MariaDb, "odd_password"),
        (Flavour::MariaDbNewer, "parsec"),
        (Flavour::MySql, "empty_password"),
    ] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let connected = Connection::connect(&plain(server, account)).await;
        let mut connection = connected.unwrap_or_else(|error| panic!("{account} on {flavour}: {error}"));
        assert!(connection.server().tls().is_none());
        assert_eq!(cell(&mut connection, "select 1").await, "1");
        connection.close().await;
    }
}

#[tokio::test]
async fn a_cold_cache_over_plain_tcp_is_refused_with_the_ways_out() {
    let server = ServerOptions::new(Flavour::MySql).start().await.unwrap();
    let refused = Connection::connect(&plain(&server, "caching_sha2")).await.unwrap_err();
    assert_eq!(refused.fault().kind, SourceErrorKind::Refused);
    assert!(matches!(refused, SourceError::Definite(_)));
    let hint = refused.fault().hint.as_deref();
    assert_eq!(hint, Some("use TLS, or a pinned server RSA key, or AllowPublicKeyRetrieval"));

    let retrieving = ConnectOptions { allow_public_key_retrieval: true, ..plain(&server, "caching_sha2") };
    assert_eq!(path(&retrieving).await, PasswordPath::FullRsa);
    // Now the server knows the password, until it forgets.
    assert_eq!(path(&plain(&server, "caching_sha2")).await, PasswordPath::Fast);
    server.execute("flush privileges").await.unwrap();
    assert!(Connection::connect(&plain(&server, "caching_sha2")).await.is_err());
}

#[tokio::test]
async fn a_whole_password_travels_encrypted_or_inside_a_protected_channel() {
    let server = ServerOptions::new(Flavour::MySql).start().await.unwrap();
    let pinned = |account| ConnectOptions {
        server_public_key: Some(Pem::Path(server.rsa_public_key())),
        ..plain(&server, account)
    };
    assert_eq!(path(&pinned("caching_sha2")).await, PasswordPath::FullRsa);
    server.execute("flush privileges").await.unwrap();
    assert_eq!(path(&protected(&server, "caching_sha2")).await, PasswordPath::FullProtected);
    server.execute("flush privileges").await.unwrap();
    assert_eq!(path(&local(&server, "caching_sha2")).await, PasswordPath::FullProtected);

    // sha256_password has no cache: every connection takes the full way.
    for _ in 0..2 {
        assert_eq!(path(&protected(&server, "sha256")).await, PasswordPath::FullProtected);
        assert_eq!(path(&pinned("sha256")).await, PasswordPath::FullRsa);
        assert_eq!(path(&local(&server, "sha256")).await, PasswordPath::FullRsa);
        assert!(Connection::connect(&plain(&server, "sha256")).await.is_err());
    }
}

#[tokio::test]
async fn a_pinned_key_of_another_server_is_of_no_use() {
    let server = ServerOptions::new(Flavour::MySql).start().await.unwrap();
    let text = "-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n";
    let options = ConnectOptions { server_public_key: Some(Pem::new(text)), ..plain(&server, "caching_sha2") };
    let error = Connection::connect(&options).await.unwrap_err();
    assert!(error.fault().message.contains("RSA key"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_account_and_place_named() {
    for flavour in Flavour::ALL {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let options = ConnectOptions { password: Secret::new("hunter2"), ..protected(server, "reader") };
        let error = Connection::connect(&options).await.unwrap_err();
        assert!(matches!(error, SourceError::Definite(_)), "{flavour}: {error}");
        assert_eq!(error.fault().kind, SourceErrorKind::Refused, "{flavour}");
        assert!(error.fault().message.contains("'reader'"), "{error}");
        assert!(error.fault().message.contains(&format!("127.0.0.1:{}", server.port())), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn an_account_of_the_socket_needs_the_socket() {
    let server = ServerOptions::new(Flavour::MariaDb).start().await.unwrap();
    let refused = Connection::connect(&plain(&server, "unix_socket")).await.unwrap_err();
    assert_eq!(refused.fault().kind, SourceErrorKind::Refused);
    assert!(refused.fault().message.contains("1698"), "{refused}");

    let output = Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let verb = if me == "root" { "alter" } else { "create" };
    server.execute(&format!("{verb} user '{me}'@'localhost' identified via unix_socket")).await.unwrap();
    let options = ConnectOptions { user: me, password: Secret::default(), ..local(&server, "unix_socket") };
    let mut connection = Connection::connect(&options).await.unwrap();
    assert_eq!(cell(&mut connection, "select 1").await, "1");
    connection.close().await;
}

#[tokio::test]
async fn a_plugin_with_a_broken_hash_is_refused_by_name() {
    let server = ServerOptions::new(Flavour::MariaDb).argument("--secure-auth=OFF").start().await.unwrap();
    let create = "create user old identified via mysql_old_password using '5d2e19393cc5ef67'";
    server.execute(create).await.unwrap();
    let options = ConnectOptions { user: "old".to_owned(), ..plain(&server, "reader") };
    let error = Connection::connect(&options).await.unwrap_err();
    assert_eq!(error.fault().kind, SourceErrorKind::Refused);
    let message = &error.fault().message;
    assert!(message.contains("'old'") && message.contains("mysql_old_password"), "{message}");
}

#[tokio::test]
async fn the_password_is_handed_over_only_to_a_server_that_was_verified() {
    let server = ServerOptions::new(Flavour::MariaDb).start().await.unwrap();
    server.execute("install soname 'auth_pam'").await.unwrap();
    server.execute("create user asks identified via pam").await.unwrap();
    let secret = "a password that must not travel";
    let asks =
        ConnectOptions { user: "asks".to_owned(), password: Secret::new(secret), ..protected(&server, "reader") };

    let error = Connection::connect(&asks).await.unwrap_err();
    assert!(error.fault().message.contains("EnableCleartextPlugin"), "{error}");
    let enabled = ConnectOptions { enable_cleartext_plugin: true, ..asks };
    let error = Connection::connect(&enabled).await.unwrap_err();
    assert!(error.fault().message.contains("nobody checked who that is"), "{error}");

    // Once it is verified the server decides, which knows no such account of PAM.
    let ca = Some(Pem::Path(server.certificates().ca()));
    let tls = TlsOptions { mode: TlsMode::VerifyCa, ca, ..TlsOptions::default() };
    let error = Connection::connect(&ConnectOptions { tls, ..enabled }).await.unwrap_err();
    assert!(error.fault().message.contains("refused the account 'asks'"), "{error}");
}

#[tokio::test]
async fn a_plugin_chosen_by_the_client_gives_way_to_that_of_the_account() {
    let server = DatabaseServer::shared(Flavour::MySql).await.unwrap();
    for begin_with in ["mysql_native_password", "caching_sha2_password", "sha256_password", "unknown"] {
        let options =
            ConnectOptions { default_auth_plugin: Some(begin_with.to_owned()), ..protected(server, "caching_sha2") };
        let connection = Connection::connect(&options).await.unwrap();
        assert_eq!(connection.server().auth_plugin(), "caching_sha2_password");
        connection.close().await;
    }
}

async fn path(options: &ConnectOptions) -> PasswordPath {
    let connection = Connection::connect(options).await.unwrap();
    let path = connection.server().password_path();
    connection.close().await;
    path
}
