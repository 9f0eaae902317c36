use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn peer(flavour: Flavour, tls: bool) -> Peer {
    let endpoint = Endpoint::Tcp { host: "db.example".to_owned(), port: 3306 };
    Peer { flavour, endpoint, user: "reader".to_owned(), tls }
}

fn error(flavour: Flavour, number: u16) -> SourceError {
    from_server(&peer(flavour, false), number, "HY000", "said the server")
}

#[test]
fn the_same_number_means_different_things() {
    assert!(matches!(error(Flavour::MySql, 4031), SourceError::Transient(_)));
    assert!(matches!(error(Flavour::MariaDb, 4031), SourceError::Definite(_)));
    assert!(matches!(error(Flavour::MariaDb, 1927), SourceError::Transient(_)));
    assert!(matches!(error(Flavour::MySql, 1927), SourceError::Definite(_)));
    assert_eq!(error(Flavour::Percona, 3159).fault().kind, SourceErrorKind::Tls);
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
    assert_eq!(of("").fault().kind, SourceErrorKind::Server { number: 9999 });
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
