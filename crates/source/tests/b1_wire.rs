mod it { mod wire; }
use headwaters_source::mysql::wire::*;
use headwaters_testkit::*;
#[tokio::test]
async fn show() {
    let server = DatabaseServer::shared(headwaters_testkit::Flavour::MariaDb).await.unwrap();
    let ca = Some(Pem::Path(server.certificates().ca()));
    let account = server.account("reader");
    let base = ConnectOptions { hosts: vec![Endpoint::Tcp { host: "::ffff:127.0.0.1".to_owned(), port: server.port() }], user: "reader".into(), password: headwaters_model::secret::Secret::new(account.password), ..Default::default() };
    let show = |name: &'static str, o: ConnectOptions| async move { match Connection::connect(&o).await { Ok(c) => println!("{name}: {:?}", c.server()), Err(e) => println!("{name}: {e}\n   hint: {:?}", e.fault().hint) } };
    show("name", ConnectOptions { tls: TlsOptions { mode: TlsMode::VerifyIdentity, ca: ca.clone(), ..Default::default() }, ..base.clone() }).await;
    show("closed", ConnectOptions { hosts: vec![Endpoint::Tcp { host: "127.0.0.1".into(), port: 1 }], ..base.clone() }).await;
    show("unknown", ConnectOptions { hosts: vec![Endpoint::Tcp { host: "no.such.host.invalid".into(), port: 1 }], ..base.clone() }).await;
    show("socket", ConnectOptions { hosts: vec![Endpoint::Socket("/nowhere/x.sock".into())], ..base.clone() }).await;
    show("badpw", ConnectOptions { password: Default::default(), ..base.clone() }).await;
    show("nodb", ConnectOptions { database: Some("nope".into()), ..base.clone() }).await;
    show("versions", ConnectOptions { tls: TlsOptions { mode: TlsMode::Required, versions: vec![TlsVersion::Tls13], cipher_suites: vec!["ECDHE-RSA-AES128-GCM-SHA256".into()], ..Default::default() }, ..base.clone() }).await;
    show("suite", ConnectOptions { tls: TlsOptions { mode: TlsMode::Required, versions: vec![TlsVersion::Tls12], cipher_suites: vec!["ECDHE-RSA-AES128-GCM-SHA256".into()], ..Default::default() }, ..base.clone() }).await;
    let old = ServerOptions::new(headwaters_testkit::Flavour::MariaDb).argument("--tls-version=TLSv1.1").start().await;
    if let Ok(old) = old {
      show("tls11", ConnectOptions { hosts: vec![Endpoint::Tcp { host: "127.0.0.1".into(), port: old.port() }], ..base.clone() }).await;
    } else { println!("no tls1.1 {old:?}"); }
    let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); let port = http.local_addr().unwrap().port();
    std::thread::spawn(move || { use std::io::Write; let (mut s, _) = http.accept().unwrap(); s.write_all(b"SSH-2.0-OpenSSH_9.2 hello\r\n").unwrap(); std::thread::sleep(std::time::Duration::from_secs(1)); });
    show("ssh", ConnectOptions { hosts: vec![Endpoint::Tcp { host: "127.0.0.1".into(), port }], ..base.clone() }).await;
    // throughput
    let mut c = Connection::connect(&ConnectOptions { tls: TlsOptions { mode: TlsMode::Disabled, ..Default::default() }, ..base.clone() }).await.unwrap();
    for sql in ["select seq, seq*2, repeat('x',20) from seq_1_to_3000000", "select seq, repeat('x',1000) from seq_1_to_300000", "select repeat('x',400000) from seq_1_to_1000"] {
    let st = c.prepare(sql).await.unwrap();
    let t = std::time::Instant::now();
    let mut rows = c.stream(&st, &[]).await.unwrap(); let mut n = 0u64;
    let mut spent = std::time::Duration::ZERO;
    loop { let a = std::time::Instant::now(); while let Some(_) = rows.next_buffered().unwrap() { n += 1; } spent += a.elapsed(); if !rows.fill().await.unwrap() { break } }
    println!("{n} rows {} bytes in {:?}, iterating {:?}", rows.bytes_read(), t.elapsed(), spent);
    }
}
