use std::collections::HashSet;

use proptest::prelude::*;

use super::rules::{Of, RULES, applies};
use super::*;

fn peer(flavour: Flavour, tls: bool) -> Peer {
    let endpoint = Endpoint::Tcp { host: "db.example".to_owned(), port: 3306 };
    Peer { flavour, endpoint, user: "reader".to_owned(), tls }
}

fn error(flavour: Flavour, number: u16) -> SourceError {
    from_server(&peer(flavour, false), number, "HY000", "said the server")
}

/// What follows an error: a person's turn, or another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    Stop,
    /// Stop for people; a run tries once more.
    StopUnlessRotated,
    Try(Retry),
    TryOnce,
}

fn what_follows(error: &SourceError, number: u16) -> Follows {
    match error {
        SourceError::Definite(fault) if fault.retry == Retry::Once(number) => Follows::StopUnlessRotated,
        SourceError::Definite(_) => Follows::Stop,
        SourceError::Transient(fault) if fault.retry == Retry::Once(number) => Follows::TryOnce,
        SourceError::Transient(fault) => Follows::Try(fault.retry),
    }
}

/// The table of mysql-sources.md 16, number by number: what follows on MariaDB, and on MySQL. Where a number is not one of
/// a flavour, it is an unknown error there, which is a person's turn.
const REFERENCE: &[(u16, Follows, Follows)] = {
    use Follows::{Stop, StopUnlessRotated, Try, TryOnce};
    use Retry::{Again, FewerReaders, Later, Lighter, Reconnect, SmallerSplits};
    &[
        (3, Try(Lighter), Try(Lighter)),
        (1021, Try(Lighter), Try(Lighter)),
        (1030, Stop, Stop),
        (1034, Stop, Stop),
        (1037, Try(Lighter), Try(Lighter)),
        (1038, Try(Lighter), Try(Lighter)),
        (1040, Try(FewerReaders), Try(FewerReaders)),
        (1041, Try(Lighter), Try(Lighter)),
        (1044, Stop, Stop),
        (1045, StopUnlessRotated, StopUnlessRotated),
        (1049, Stop, Stop),
        (1051, Stop, Stop),
        (1053, Try(Later), Try(Later)),
        (1054, Stop, Stop),
        (1077, Try(Later), Try(Later)),
        (1078, Try(Later), Try(Later)),
        (1079, Try(Later), Try(Later)),
        (1114, Try(Lighter), Try(Lighter)),
        (1129, Stop, Stop),
        (1130, Stop, Stop),
        (1142, Stop, Stop),
        (1143, Stop, Stop),
        (1146, Stop, Stop),
        (1152, Try(Reconnect), Try(Reconnect)),
        (1153, Stop, Stop),
        (1156, TryOnce, TryOnce),
        (1157, TryOnce, TryOnce),
        (1158, Try(Reconnect), Try(Reconnect)),
        (1159, Try(Reconnect), Try(Reconnect)),
        (1160, Try(Reconnect), Try(Reconnect)),
        (1161, Try(Reconnect), Try(Reconnect)),
        (1184, Try(Reconnect), Try(Reconnect)),
        (1194, Stop, Stop),
        (1203, Try(FewerReaders), Try(FewerReaders)),
        (1205, Try(Again), Try(Again)),
        (1213, Try(Again), Try(Again)),
        (1226, Try(FewerReaders), Try(FewerReaders)),
        (1227, Stop, Stop),
        (1236, Stop, Stop),
        (1251, Stop, Stop),
        (1290, Stop, Stop),
        (1317, TryOnce, TryOnce),
        (1356, Stop, Stop),
        (1365, Stop, Stop),
        (1366, Stop, Stop),
        (1370, Stop, Stop),
        (1412, Try(Again), Try(Again)),
        (1449, Stop, Stop),
        (1524, Stop, Stop),
        (1615, Try(Again), Try(Again)),
        (1698, Stop, Stop),
        (1789, Stop, Stop),
        (1792, Stop, Stop),
        (1820, Stop, Stop),
        (1835, TryOnce, TryOnce),
        (1836, Stop, Stop),
        (1862, Stop, Stop),
        (1877, Stop, Stop),
        (1927, TryOnce, Stop),
        (1955, Stop, Stop),
        (1969, Try(SmallerSplits), Stop),
        (3024, Stop, Try(SmallerSplits)),
        (3032, Stop, Try(Later)),
        (3118, Stop, Stop),
        (3159, Stop, Stop),
        (3169, Stop, TryOnce),
        (3854, Stop, Stop),
        (4031, Stop, Try(Again)),
        (4151, Stop, Stop),
    ]
};

/// Whose numbers they are where only one flavour has them: the others must not listen to them at all.
const OF_ONE: &[(u16, Of)] = &[
    (1927, Of::MariaDb),
    (1955, Of::MariaDb),
    (1969, Of::MariaDb),
    (4151, Of::MariaDb),
    (3024, Of::MySql),
    (3032, Of::MySql),
    (3118, Of::MySql),
    (3159, Of::MySql),
    (3169, Of::MySql),
    (3854, Of::MySql),
    (4031, Of::MySql),
];

#[test]
fn every_number_of_the_reference_is_followed_by_what_it_says() {
    for (number, on_mariadb, on_mysql) in REFERENCE {
        for (flavour, expected) in
            [(Flavour::MariaDb, on_mariadb), (Flavour::MySql, on_mysql), (Flavour::Percona, on_mysql)]
        {
            assert_eq!(what_follows(&error(flavour, *number), *number), *expected, "{number} of {flavour}");
        }
    }
}

#[test]
fn the_table_has_exactly_the_numbers_of_the_reference() {
    let listed: HashSet<u16> = RULES.iter().flat_map(|rule| rule.numbers).copied().collect();
    let expected: HashSet<u16> = REFERENCE.iter().map(|(number, ..)| *number).collect();
    assert_eq!(listed, expected);
}

#[test]
fn the_same_number_means_different_things() {
    for (number, of) in OF_ONE {
        let has = |flavour| rules::find(flavour, *number).is_some();
        assert_eq!((has(Flavour::MariaDb), has(Flavour::MySql)), (*of == Of::MariaDb, *of == Of::MySql), "{number}");
    }
    let of_one: HashSet<u16> = OF_ONE.iter().map(|(number, _)| *number).collect();
    let not_shared = RULES.iter().filter(|rule| rule.of != Of::Both).flat_map(|rule| rule.numbers);
    assert_eq!(not_shared.copied().collect::<HashSet<u16>>(), of_one);
    assert_eq!(error(Flavour::Percona, 3159).fault().kind, SourceErrorKind::Tls);
    assert_eq!(error(Flavour::MariaDb, 3159).fault().kind, SourceErrorKind::Server { number: 3159 });
}

#[test]
fn a_binary_log_that_can_not_be_read_goes_by_its_text() {
    let of = |text| from_server(&peer(Flavour::MySql, true), 1236, "HY000", text);
    let clash = of("A slave with the same server_uuid/server_id as this slave has connected to the master");
    assert_eq!(what_follows(&clash, 1236), Follows::Try(Retry::Again));
    for purged in [
        "the source purged binary logs containing GTIDs that the replica requires",
        "Could not find first log file name in binary log index file",
    ] {
        assert!(of(purged).fault().hint.as_ref().unwrap().contains("reach back"), "{purged}");
    }
    let damaged = of("log event entry exceeded max_allowed_packet");
    assert!(matches!(&damaged, SourceError::Definite(fault) if !fault.hint.as_ref().unwrap().contains("reach back")));
}

#[test]
fn what_only_a_client_sees_has_its_class_too() {
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let of = |error: &SourceError| (what_follows(error, 0), error.fault().kind.clone());
    let tcp = peer(Flavour::MySql, false);
    let socket = Endpoint::Socket("/run/mysqld.sock".into());
    // 2002, 2003
    for error in [
        unreachable(&socket, &refused),
        unreachable(&tcp.endpoint, &refused),
        connect_timed_out(&tcp.endpoint, Duration::from_secs(15)),
    ] {
        assert_eq!(of(&error), (Follows::Try(Retry::Later), SourceErrorKind::Unreachable), "{error}");
        assert!(error.fault().hint.is_some(), "{error}");
    }
    // 2005
    let unknown = unknown_host("db.exmaple", &refused);
    assert_eq!(what_follows(&unknown, 2005), Follows::TryOnce);
    // 2006, 2013, 2055
    assert_eq!(of(&lost(&tcp, "reset")), (Follows::Try(Retry::Reconnect), SourceErrorKind::Lost));
    // 2027, and what other clients call 1156 and 1157 on their side
    assert_eq!(what_follows(&protocol(&tcp, "odd"), 2027), Follows::TryOnce);
}

#[test]
fn a_denied_account_on_a_plain_connection_may_need_tls() {
    let plain = error(Flavour::MariaDb, 1045);
    assert_eq!(plain.fault().kind, SourceErrorKind::Refused);
    assert!(plain.fault().hint.as_ref().unwrap().contains("or the server requires TLS"));
    assert!(plain.fault().message.contains("'reader'") && plain.fault().message.contains("db.example:3306"));
    let protected = from_server(&peer(Flavour::MariaDb, true), 1045, "28000", "denied");
    assert!(!protected.fault().hint.as_ref().unwrap().contains("TLS"));
}

#[test]
fn a_number_that_nobody_listed_goes_by_its_state() {
    let of = |state| from_server(&peer(Flavour::MySql, true), 9999, state, "new");
    assert_eq!(of("08S01").fault().kind, SourceErrorKind::Lost);
    assert_eq!(of("28000").fault().kind, SourceErrorKind::Refused);
    assert!(matches!(of("40001"), SourceError::Transient(_)));
    assert_eq!(of("42000").fault().kind, SourceErrorKind::Server { number: 9999 });
    assert!(matches!(of(""), SourceError::Definite(_)));
}

#[test]
fn no_number_is_listed_twice_for_one_flavour() {
    for flavour in [Flavour::MariaDb, Flavour::MySql] {
        let mut seen = HashSet::new();
        for rule in RULES.iter().filter(|rule| applies(rule.of, flavour)) {
            for number in rule.numbers {
                assert!(seen.insert(number), "{number} is listed twice for {flavour}");
            }
        }
    }
}

#[test]
fn only_shared_numbers_are_listed_for_both() {
    let both = RULES.iter().filter(|rule| rule.of == Of::Both);
    assert!(both.flat_map(|rule| rule.numbers).all(|number| *number <= 1879));
}

#[test]
fn an_error_before_the_capabilities_has_no_state() {
    let with_state = from_packet(&peer(Flavour::MySql, false), b"\xff\x15\x04#28000denied").unwrap();
    assert_eq!(with_state.fault().kind, SourceErrorKind::Refused);
    let without = from_packet(&peer(Flavour::MySql, false), b"\xff\x10\x04Too many connections").unwrap();
    assert_eq!(without.fault().kind, SourceErrorKind::Server { number: 1040 });
    assert!(without.fault().message.ends_with("Too many connections"));
}

proptest! {
    #[test]
    fn no_bytes_can_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = from_packet(&peer(Flavour::MariaDb, false), &bytes);
    }
}
