//! The ladder of `sslMode` (mysql-sources.md 2 and 4) against servers with and without TLS.

use headwaters_model::secret::Secret;
use headwaters_model::source_error::{SourceError, SourceErrorKind};
use headwaters_source::mysql::wire::{
    ClientCertificate, ConnectOptions, Connection, Endpoint, Pem, TlsMode, TlsOptions, TlsVersion,
};
use headwaters_testkit::{DatabaseServer, Flavour, ServerOptions};

use super::{cell, local, plain};

fn with(server: &DatabaseServer, mode: TlsMode, ca: Option<Pem>) -> ConnectOptions {
    ConnectOptions { tls: TlsOptions { mode, ca, ..TlsOptions::default() }, ..plain(server, "reader") }
}

fn right(server: &DatabaseServer) -> Option<Pem> {
    Some(Pem::Path(server.certificates().ca()))
}

fn wrong(server: &DatabaseServer) -> Option<Pem> {
    Some(Pem::Path(server.certificates().wrong_ca()))
}

async fn described(options: &ConnectOptions) -> String {
    let mut connection = Connection::connect(options).await.unwrap();
    assert_eq!(cell(&mut connection, "select 1").await, "1");
    let described = connection.server().tls().map_or("none".to_owned(), ToString::to_string);
    connection.close().await;
    described
}

async fn tls_error(options: &ConnectOptions) -> SourceError {
    let error = Connection::connect(options).await.unwrap_err();
    assert_eq!(error.fault().kind, SourceErrorKind::Tls, "{error}");
    assert!(matches!(error, SourceError::Definite(_)), "{error}");
    error
}

#[tokio::test]
async fn each_rung_of_the_ladder_is_what_it_says() {
    // Accounts of MariaDB need no TLS for their password, so that all rungs can be stood on.
    for flavour in [Flavour::MariaDb, Flavour::MariaDbNewer] {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        for (mode, ca, expected) in [
            (TlsMode::Disabled, None, "none"),
            (TlsMode::Preferred, None, "TLSv1.3 / TLS_AES_256_GCM_SHA384 / verified: no"),
            (TlsMode::Required, None, "TLSv1.3 / TLS_AES_256_GCM_SHA384 / verified: no"),
            (TlsMode::Required, wrong(server), "TLSv1.3 / TLS_AES_256_GCM_SHA384 / verified: no"),
            (TlsMode::VerifyCa, right(server), "TLSv1.3 / TLS_AES_256_GCM_SHA384 / verified: chain"),
            (TlsMode::VerifyIdentity, right(server), "TLSv1.3 / TLS_AES_256_GCM_SHA384 / verified: chain+name"),
        ] {
            assert_eq!(described(&with(server, mode, ca)).await, expected, "{mode:?} on {flavour}");
        }
    }
}

#[tokio::test]
async fn mysql_is_verified_too() {
    let server = DatabaseServer::shared(Flavour::MySql).await.unwrap();
    let described = described(&with(server, TlsMode::VerifyIdentity, right(server))).await;
    assert!(described.starts_with("TLSv1.3 / TLS_") && described.ends_with(" / verified: chain+name"), "{described}");
}

#[tokio::test]
async fn certificates_that_mysql_made_for_itself_pass_by_chain_and_never_by_name() {
    let server = ServerOptions::new(Flavour::MySql).start().await.unwrap();
    // The test kit gives servers its own certificates; those that MySQL makes at first start lie beside the data.
    let [ca, certificate, key] =
        ["ca.pem", "server-cert.pem", "server-key.pem"].map(|name| server.data_dir().join(name));
    if !ca.exists() {
        panic!("MySQL made no certificates of its own in {}", server.data_dir().display());
    }
    for (variable, path) in [("ssl_ca", &ca), ("ssl_cert", &certificate), ("ssl_key", &key)] {
        server.execute(&format!("set global {variable} = '{}'", path.display())).await.unwrap();
    }
    server.execute("alter instance reload tls").await.unwrap();
    let own = Some(Pem::Path(ca));
    let described = described(&with(&server, TlsMode::VerifyCa, own.clone())).await;
    assert!(described.ends_with("verified: chain"), "{described}");
    let error = tls_error(&with(&server, TlsMode::VerifyIdentity, own)).await;
    assert!(error.fault().message.contains("127.0.0.1") || error.fault().message.contains("name"), "{error}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_trusted() {
    for flavour in Flavour::ALL {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        for mode in [TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
            for ca in [wrong(server), None] {
                let error = tls_error(&with(server, mode, ca)).await;
                assert!(error.fault().message.contains("not signed by a trusted authority"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_passes_by_its_chain_only() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    // The same place by an address that the certificate doesn't carry.
    let elsewhere = vec![Endpoint::Tcp { host: "::ffff:127.0.0.1".to_owned(), port: server.port() }];
    let by_chain = ConnectOptions { hosts: elsewhere.clone(), ..with(server, TlsMode::VerifyCa, right(server)) };
    assert!(described(&by_chain).await.ends_with("verified: chain"));
    let by_name = ConnectOptions { hosts: elsewhere, ..with(server, TlsMode::VerifyIdentity, right(server)) };
    let error = tls_error(&by_name).await;
    let told = "is for localhost, 127.0.0.1, not for ::ffff:127.0.0.1";
    assert!(error.fault().message.contains(told), "the names found are told: {error}");
}

#[tokio::test]
async fn a_server_without_tls_is_used_in_clear_only_by_those_who_allow_it() {
    let server = ServerOptions::new(Flavour::MariaDb).without_tls().start().await.unwrap();
    for mode in [TlsMode::Disabled, TlsMode::Preferred] {
        assert_eq!(described(&with(&server, mode, None)).await, "none");
    }
    for mode in [TlsMode::Required, TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
        let error = tls_error(&with(&server, mode, right(&server))).await;
        assert!(error.fault().message.contains("does not offer TLS"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_demands_tls_says_so_or_we_do() {
    let demanding = |flavour| ServerOptions::new(flavour).argument("--require-secure-transport=ON");
    let mysql = demanding(Flavour::MySql).start().await.unwrap();
    let error = Connection::connect(&plain(&mysql, "empty_password")).await.unwrap_err();
    assert_eq!(error.fault().kind, SourceErrorKind::Tls, "{error}");

    let maria = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let error = Connection::connect(&plain(maria, "needs_tls")).await.unwrap_err();
    assert_eq!(error.fault().kind, SourceErrorKind::Refused);
    assert!(error.fault().hint.as_ref().unwrap().contains("or the server requires TLS"), "{error}");
    let protected = ConnectOptions { tls: with(maria, TlsMode::Required, None).tls, ..plain(maria, "needs_tls") };
    assert!(described(&protected).await.starts_with("TLSv1.3"));
}

#[tokio::test]
async fn an_account_that_demands_a_certificate_gets_it_from_pem_or_from_pkcs12() {
    for flavour in Flavour::ALL {
        let server = DatabaseServer::shared(flavour).await.unwrap();
        let certificates = server.certificates();
        let account = |client| {
            let tls = TlsOptions { client, ..with(server, TlsMode::VerifyIdentity, right(server)).tls };
            ConnectOptions { tls, ..plain(server, "needs_certificate") }
        };
        let error = Connection::connect(&account(None)).await.unwrap_err();
        assert!(error.fault().hint.as_ref().unwrap().contains("client certificate"), "{flavour}: {error}");

        let certificate = std::fs::read_to_string(certificates.client_certificate()).unwrap();
        let key = std::fs::read_to_string(certificates.client_key()).unwrap();
        let by_text = ClientCertificate::Pem { certificate: Pem::new(&certificate), key: Secret::new(key) };
        described(&account(Some(by_text))).await;
        let by_path = ClientCertificate::Pem {
            certificate: Pem::Path(certificates.client_certificate()),
            key: Secret::new(certificates.client_key().display().to_string()),
        };
        described(&account(Some(by_path))).await;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.pfx");
        std::fs::write(&path, pkcs12(&certificates, "open sesame")).unwrap();
        let file = |password| ClientCertificate::Pkcs12 { path: path.clone(), password: Secret::new(password) };
        described(&account(Some(file("open sesame")))).await;
        let error = Connection::connect(&account(Some(file("wrong")))).await.unwrap_err();
        let key = "certificateFile".to_owned();
        assert_eq!(error.fault().kind, SourceErrorKind::InvalidParameter { key });
    }
}

fn pkcs12(certificates: &headwaters_testkit::certificates::Certificates, password: &str) -> Vec<u8> {
    use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

    let certificate = CertificateDer::from_pem_file(certificates.client_certificate()).unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_file(certificates.client_key()).unwrap();
    let key = PrivateKey::from_der(key.secret_pkcs8_der()).unwrap();
    let chain = PrivateKeyChain::new(vec![1_u8], key, [Certificate::from_der(&certificate).unwrap()]);
    let mut store = KeyStore::new();
    store.add_entry("client", KeyStoreEntry::PrivateKeyChain(chain));
    store.writer(password).write().unwrap()
}

#[tokio::test]
async fn versions_and_suites_can_be_narrowed() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let mut options = with(server, TlsMode::Required, None);
    options.tls.versions = vec![TlsVersion::Tls12];
    options.tls.cipher_suites = vec!["ECDHE-ECDSA-AES128-GCM-SHA256".to_owned()];
    assert_eq!(described(&options).await, "TLSv1.2 / TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 / verified: no");
}

#[tokio::test]
async fn a_socket_is_protected_only_when_asked_for() {
    let server = DatabaseServer::shared(Flavour::MariaDb).await.unwrap();
    let over_socket = |mode| ConnectOptions { tls: with(server, mode, right(server)).tls, ..local(server, "reader") };
    assert_eq!(described(&over_socket(TlsMode::Preferred)).await, "none");
    assert!(described(&over_socket(TlsMode::VerifyIdentity)).await.ends_with("verified: chain+name"));
}
