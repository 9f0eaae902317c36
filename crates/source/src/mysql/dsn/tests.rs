use std::time::Duration;

use chrono_tz::Tz;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::mysql::types::{GuidLayout, ZeroDates};
use crate::mysql::wire::{ClientCertificate, Endpoint, LoadBalance, Pem, TlsMode, TlsVersion};

fn access(text: &str) -> SourceAccess {
    SourceAccess {
        spec: MYSQL_SPEC,
        auth_spec: CONNECTION_STRING_AUTH.to_owned(),
        params: Map::new(),
        secrets: vec![(CONNECTION_STRING.to_owned(), Secret::new(text))],
    }
}

fn basic(params: Value) -> SourceAccess {
    let Value::Object(params) = params else { panic!("an object") };
    SourceAccess {
        spec: MARIA_DB_SPEC,
        auth_spec: BASIC_AUTH.to_owned(),
        params,
        secrets: vec![("password".to_owned(), Secret::new("pw"))],
    }
}

fn read(text: &str) -> Parameters {
    parameters(&access(text)).unwrap()
}

fn refused(text: &str) -> (SourceErrorKind, String) {
    let error = parameters(&access(text)).unwrap_err();
    let fault = error.fault();
    (fault.kind.clone(), format!("{} {}", fault.message, fault.hint.as_deref().unwrap_or_default()))
}

#[test]
fn the_documented_template_reads_as_it_says() {
    let parameters = read("Server=db.example;Port=3310;Database=Shop;UID=Reader;PWD=s3cret");
    let connect = parameters.connect;
    assert_eq!(connect.hosts, [Endpoint::Tcp { host: "db.example".to_owned(), port: 3310 }]);
    assert_eq!(connect.database.as_deref(), Some("Shop"));
    assert_eq!((&*connect.user, connect.password.expose()), ("Reader", "s3cret"));
    assert_eq!(connect.tls.mode, TlsMode::Preferred);
    assert_eq!(connect.connect_timeout, Some(Duration::from_secs(15)));
    assert_eq!(parameters.notes, [""; 0]);
}

#[test]
fn absent_keys_have_the_documented_defaults() {
    let Parameters { connect, rules, notes } = read(";");
    assert_eq!(connect.hosts, [Endpoint::Tcp { host: "localhost".to_owned(), port: 3306 }]);
    assert_eq!((connect.database, &*connect.user, connect.password.expose()), (None, "", ""));
    assert_eq!(connect.statement_timeout, Some(Duration::from_secs(30)));
    assert_eq!(connect.keepalive_seconds, Some(60));
    assert!(!connect.allow_public_key_retrieval && !connect.compress && !connect.enable_cleartext_plugin);
    assert_eq!(rules, TypeRules::default());
    assert!(notes.is_empty());
}

#[test]
fn every_key_that_acts_acts() {
    let text = "Data Source=[::1]:3311;User Name=u;ssl-mode=verify_identity;CA Certificate File=/ca.pem;\
        SSL Cert=/c.pem;SSL Key=/k.pem;TLS Version=TLS 1.3;TLS Cipher Suites=TLS_AES_256_GCM_SHA384;\
        Connect Timeout=3;Command Timeout=0;Allow Public Key Retrieval=YES;Server RSA Public Key File=/rsa.pem;\
        Keep Alive=10;Compress=true;Treat Tiny As Boolean=false;Allow Zero DateTime=1;Old Guids=true;\
        DateTime Kind=Local;SourceTimeZone=America/New_York;Protocol=tcp;Load Balance=LeastConnections;\
        Interactive=true;Application Name=nightly;DefaultAuthenticationPlugin=parsec;EnableCleartextPlugin=true;\
        Character Set=latin1";
    let Parameters { connect, rules, notes } = read(text);
    assert_eq!(connect.hosts, [Endpoint::Tcp { host: "::1".to_owned(), port: 3311 }]);
    assert_eq!(connect.tls.mode, TlsMode::VerifyIdentity);
    assert_eq!(connect.tls.ca, Some(Pem::Path("/ca.pem".into())));
    assert!(matches!(&connect.tls.client, Some(ClientCertificate::Pem { key, .. }) if key.expose() == "/k.pem"));
    assert_eq!(connect.tls.versions, [TlsVersion::Tls13]);
    assert_eq!(connect.tls.cipher_suites, ["TLS_AES_256_GCM_SHA384"]);
    assert_eq!((connect.connect_timeout, connect.statement_timeout), (Some(Duration::from_secs(3)), None));
    assert!(connect.allow_public_key_retrieval && connect.compress && connect.interactive);
    assert_eq!(connect.server_public_key, Some(Pem::Path("/rsa.pem".into())));
    assert_eq!(connect.keepalive_seconds, Some(10));
    assert_eq!(connect.load_balance, LoadBalance::Random);
    assert_eq!((&*connect.program_name, connect.default_auth_plugin.as_deref()), ("nightly", Some("parsec")));
    assert!(connect.enable_cleartext_plugin);
    assert!(!rules.tiny_as_boolean);
    assert_eq!(rules.zero_dates, ZeroDates::Raw);
    assert_eq!(rules.guids, Some(GuidLayout::LittleEndianBinary16));
    assert_eq!(rules.source_time_zone, Some(Tz::America__New_York));
    assert_eq!(notes, ["CharacterSet is ignored: the session always speaks utf8mb4"]);
}

#[test]
fn sockets_and_several_hosts_are_told_apart() {
    assert_eq!(read("Server=/run/my.sock;Port=1").connect.hosts, [Endpoint::Socket("/run/my.sock".into())]);
    assert_eq!(read("Protocol=Unix;Server=/s").connect.hosts, [Endpoint::Socket("/s".into())]);
    let hosts = read("Port=3310;Server=a,b:3307").connect.hosts;
    assert_eq!(hosts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:3310", "b:3307"]);
    assert!(
        matches!(refused("Protocol=unix;Server=h").0, SourceErrorKind::InvalidParameter { key } if key == "Server")
    );
    assert!(matches!(refused("Protocol=pipe").0, SourceErrorKind::InvalidParameter { key } if key == "Protocol"));
}

#[test]
fn duplicates_and_ignored_keys_are_noted() {
    let parameters = read("Server=a;Host=b;Pooling=true;Min Pool Size=3");
    assert_eq!(parameters.connect.hosts, [Endpoint::Tcp { host: "b".to_owned(), port: 3306 }]);
    assert_eq!(
        parameters.notes,
        [
            "CONNSTR_DUPLICATE_KEY: Server is given more than once; the last one counts",
            "Pooling is ignored: it means nothing here",
            "Min Pool Size is ignored: it means nothing here",
        ]
    );
}

#[test]
fn errors_name_key_and_offset_and_never_a_value() {
    for (text, key, part) in [
        ("Server=h;Prot=s3cret", "Prot", "Prot at character 9"),
        ("Server=h;Port=s3cret", "Port", "Port at character 9"),
        ("Server=h; SslMode = s3cret", "SslMode", "SslMode at character 10"),
        ("Server=h;Pwd=a;s3cret", "connectionString", "at character 15"),
        ("Server=h;Pwd='s3cret", "connectionString", "at character 13"),
        ("Server=h;Pwd='x's3cret", "connectionString", "at character 16"),
        ("Server=h;Pwd=a;s3cret!x=1", "a key", "a key at character 15"),
        ("Server=h;Integrated Security=s3cret", "Integrated Security", "use an account with a password"),
        ("Server=h;SshPassword=s3cret", "SshPassword", "open the tunnel outside"),
        ("Server=h;SslKey=s3cret", "SslKey", "SslCert and SslKey go together"),
        ("Server=h;DateTimeKind=Local", "DateTimeKind", "SourceTimeZone"),
        ("Server=h;TlsVersion=TLS 1.1", "TlsVersion", "TLS 1.2"),
        ("Server=s3cret/x", "Server", "a host is"),
        ("mysql://u:s3cret@h:port/db", "Server", "a port is"),
        ("mysql://u:s3cret@h/db?frobnicate=s3cret", "frobnicate", "no such key"),
        ("jdbc:postgresql://h/db?password=s3cret", "connectionString", "another kind"),
        ("jdbc:mysql://h/db?useSSL=s3cret", "useSSL", "true or false"),
        ("mysql://u:s3cret%00@h/db", "Password", "NUL"),
        ("mysql://u:12/s3cret@h/db", "connectionString", "at character 19 percent-encode the password"),
        ("mysql://u:12?s3cret@h/db", "connectionString", "at character 19 percent-encode the password"),
    ] {
        let (kind, message) = refused(text);
        assert_eq!(kind, SourceErrorKind::InvalidParameter { key: key.to_owned() }, "{text}");
        assert!(message.contains(part), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[test]
fn hard_passwords_arrive_as_they_are() {
    let long = "x".repeat(128);
    for password in ["; = \" ' { } \\ %", " edge ", "🙂🔑", "", "==", "'", "\"", "a;b='c'\"d\"", "%41", &long] {
        let text = format!("Server=h;UID=u;PWD={};Port=3307", grammar::quoted(password));
        assert_eq!(read(&text).connect.password.expose(), password);
        let encoded = percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC);
        assert_eq!(read(&format!("mysql://u:{encoded}@h/db")).connect.password.expose(), password);
        assert_eq!(read(&format!("jdbc:mariadb://h/db?password={encoded}")).connect.password.expose(), password);
    }
}

#[test]
fn the_old_tls_switches_of_jdbc_find_their_rung() {
    for (query, mode) in [
        ("useSSL=false&requireSSL=true", TlsMode::Disabled),
        ("useSSL=true", TlsMode::Preferred),
        ("requireSSL=true", TlsMode::Required),
        ("useSSL=true&verifyServerCertificate=true", TlsMode::VerifyCa),
        ("useSSL=false&sslMode=VERIFY_CA", TlsMode::VerifyCa),
    ] {
        assert_eq!(read(&format!("jdbc:mysql://h/db?{query}")).connect.tls.mode, mode, "{query}");
    }
    assert_eq!(read("jdbc:mariadb://h/db?useSsl=true").connect.tls.mode, TlsMode::Required);
    let parameters = read(
        "jdbc:mysql://h/db?connectionTimeZone=Asia/Kolkata&zeroDateTimeBehavior=ROUND&tinyInt1isBit=false&yearIsDateType=true",
    );
    assert_eq!(parameters.rules.source_time_zone, Some(Tz::Asia__Kolkata));
    assert_eq!(parameters.rules.zero_dates, ZeroDates::FirstDay);
    assert!(!parameters.rules.tiny_as_boolean);
    assert_eq!(parameters.notes, ["yearIsDateType is ignored: it means nothing here"]);
}

#[test]
fn single_parameters_act_and_others_are_left_alone() {
    let access = basic(json!({
        "server": "db", "port": "3308", "database": "shop", "username": "u", "sslMode": "Verify Identity",
        "sslCa": "-----BEGIN CERTIFICATE-----", "treatTinyAsBoolean": false, "connectionTimeout": 7,
        "sourceTimeZone": "Asia/Kolkata", "region": {"any": "thing"}, "host": "elsewhere"
    }));
    let Parameters { connect, rules, notes } = parameters(&access).unwrap();
    assert_eq!(connect.hosts, [Endpoint::Tcp { host: "db".to_owned(), port: 3308 }]);
    assert_eq!((&*connect.user, connect.password.expose(), connect.database.as_deref()), ("u", "pw", Some("shop")));
    assert_eq!(connect.tls.mode, TlsMode::VerifyIdentity);
    assert!(matches!(connect.tls.ca, Some(Pem::Text(_))));
    assert_eq!(connect.connect_timeout, Some(Duration::from_secs(7)));
    assert!(!rules.tiny_as_boolean);
    assert_eq!(rules.source_time_zone, Some(Tz::Asia__Kolkata));
    assert_eq!(notes, [""; 0]);

    let numeric = basic(json!({"server": "db", "port": 3309, "username": "u", "sslMode": 2, "useSystemTrustStore": 1,
        "sslCa": "/ca.pem"}));
    let connect = parameters(&numeric).unwrap().connect;
    assert_eq!((connect.tls.mode, connect.tls.ca), (TlsMode::Required, None));
}

#[test]
fn a_missing_parameter_is_named() {
    for (params, key) in [(json!({"username": "u"}), "server"), (json!({"server": "h"}), "username")] {
        let error = parameters(&basic(params)).unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::MissingParameter { key: key.to_owned() });
    }
    let mut access = access("");
    access.secrets.clear();
    let error = parameters(&access).unwrap_err();
    assert_eq!(error.fault().kind, SourceErrorKind::MissingParameter { key: "connectionString".to_owned() });
    access.auth_spec = "Kerberos".to_owned();
    assert!(parameters(&access).is_err());
}

#[test]
fn only_the_secrets_are_masked() {
    let shown = |text: &str| masked(&access(text))[CONNECTION_STRING].as_str().unwrap().to_owned();
    assert_eq!(
        shown("server = h ;PWD = 'a;b' ; Ssl-Ca-Pwd=x;Frobnicate=y;Pooling=true"),
        "server = h ;PWD = ***** ; Ssl-Ca-Pwd=*****;Frobnicate=*****;Pooling=true"
    );
    assert_eq!(
        shown("mysql://u:p@ss@h:3306/db?ssl-mode=REQUIRED&certificatePassword=x"),
        "mysql://u:*****@h:3306/db?ssl-mode=REQUIRED&certificatePassword=*****"
    );
    assert_eq!(shown("jdbc:mysql://h/db?user=u&password=p"), "jdbc:mysql://h/db?user=u&password=*****");
    assert_eq!(shown("mysql://h/db?user&password"), "mysql://h/db?user&password");
    assert_eq!(shown("mysql://h/db?password="), "mysql://h/db?password=*****");
    assert_eq!(shown("mysql://user:12/34@db/shop"), "*****");
    assert_eq!(shown("mysql://user:12?34@db/shop"), "*****");
    assert_eq!(shown("Server=h;Pwd='open"), "*****");
    assert_eq!(
        shown("Server=h;SslCert='-----BEGIN EC PRIVATE KEY-----k';SslCa=/ca.pem"),
        "Server=h;SslCert=*****;SslCa=/ca.pem"
    );
    assert_eq!(shown("mysql://h/db?sslCert=-----BEGIN%20PRIVATE%20KEY-----k"), "mysql://h/db?sslCert=*****");
    assert_eq!(shown("jdbc:postgresql://h/db?password=p"), "*****");

    let both = "-----BEGIN CERTIFICATE-----c\n-----BEGIN RSA PRIVATE KEY-----k";
    let params = json!({"server": "h", "port": 3306, "sslKey": "k", "sslCert": both, "sslCa": "/ca.pem", "extra": [1]});
    assert_eq!(
        Value::Object(masked(&basic(params))),
        json!({"server": "h", "port": 3306, "sslKey": "*****", "sslCert": "*****", "sslCa": "/ca.pem", "extra": [1],
            "password": "*****"})
    );
}

#[test]
fn the_command_line_takes_any_form_and_a_password_beside_it() {
    let (access, notes) = access_from_text("mariadb://u@h/db", Some(Secret::new("pw"))).unwrap();
    assert_eq!((access.spec, notes.len()), (MARIA_DB_SPEC, 0));
    assert_eq!(parameters(&access).unwrap().connect.password.expose(), "pw");
    assert!(!holds_password("mariadb://u@h/db").unwrap());

    let (access, notes) = access_from_text("Server=h;UID=u;PWD=inside", Some(Secret::new("beside"))).unwrap();
    assert_eq!((access.spec, notes.len()), (MYSQL_SPEC, 1));
    assert!(notes[0].contains("process list") && !notes[0].contains("inside"));
    assert_eq!(parameters(&access).unwrap().connect.password.expose(), "inside");
    assert!(holds_password("Server=h;PWD=").unwrap());
    assert!(access_from_text("nonsense", None).is_err());
}

/// What `Debug` and every text of an outcome show.
fn everything_shown(access: &SourceAccess) -> String {
    match parameters(access) {
        Ok(parameters) => format!("{parameters:?}"),
        Err(error) => format!("{error} {error:?}"),
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = (parameters(&access(&text)), masked(&access(&text)));
    }

    #[test]
    fn pairs_of_any_kind_are_read_or_refused(
        pairs in prop::collection::vec(("(Server|Port|Pwd|SslMode|User ID|Ssl-Ca|Pooling|[ -~]{0,12})", "[ -~]{0,12}"), 0..6)
    ) {
        let text: String = pairs.iter().map(|(key, value)| format!("{key}={value};")).collect();
        let _ = (parameters(&access(&text)), masked(&access(&text)));
    }

    #[test]
    fn a_planted_secret_is_never_shown(
        before in "[ -~]{0,30}",
        after in "[ -~]{0,30}",
        form in 0..5_usize,
    ) {
        let secret = "Zq9PlantedSecret7x";
        let text = match form {
            0 => format!("Server=h;{before};PWD={secret};{after}"),
            1 => format!("{before};PWD='{secret}{after}"),
            2 => format!("Server=h;PWD=\"{secret}\"{after}"),
            3 => format!("mysql://u:{secret}@h/db?{after}"),
            _ => format!("jdbc:mysql://h/db?password={secret}&{after}"),
        };
        let access = access(&text);
        let shown = everything_shown(&access);
        prop_assert!(!shown.contains(secret), "{shown}");
        // A quote before the pair may turn it into a part of another value; then it is not known as a secret.
        if !before.contains(['\'', '"', '=']) {
            let masked = format!("{:?}", masked(&access));
            prop_assert!(!masked.contains(secret), "{masked}");
        }
    }

    #[test]
    fn generated_strings_round_trip(
        user in "[^\\x00-\\x1f\\x7f-\\x9f]{0,20}",
        password in "[^\\x00]{0,40}",
        database in "[^\\x00]{0,20}",
        port in 1_u16..,
    ) {
        let quoted = grammar::quoted;
        let text = format!(
            "Server=h;Port={port};UID={};PWD={};Database={}",
            quoted(&user), quoted(&password), quoted(&database)
        );
        let connect = read(&text).connect;
        prop_assert_eq!(&connect.user, &user);
        prop_assert_eq!(connect.password.expose(), &password);
        prop_assert_eq!(connect.database.unwrap_or_default(), database);
    }
}
