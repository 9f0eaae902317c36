//! What each fuzz target does with its bytes. Also replayed over the corpora by an ordinary test.

use std::time::Duration;

use headwaters_model::filter::{Filter, Property};
use headwaters_model::job::SourceAccess;
use headwaters_model::page::{ListQuery, Order};
use headwaters_model::resource::Collection;
use headwaters_model::row_filter::RowFilter;
use headwaters_model::secret::Secret;
use headwaters_source::mysql::columns::{BatchLimits, Columns, RowLayout};
use headwaters_source::mysql::increment::text::Pattern;
use headwaters_source::mysql::types::{Landing, ServerType, TypeRules};
use headwaters_source::mysql::wire::{ConnectOptions, Connection, Endpoint, RowFormat, TlsMode, TlsOptions};
use headwaters_source::mysql::{dsn, filter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Longer inputs find nothing that shorter ones do not.
const INPUT_BYTES_MAX: usize = 1024 * 1024;
/// No server of ours waits: an input that makes the client wait longer has hung it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything a server may say: greeting, authentication, the answer to a statement.
///
/// # Panics
/// If the client hangs although the server has closed the connection.
pub fn packet(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let options = ConnectOptions {
            hosts: vec![Endpoint::Tcp { host: "127.0.0.1".to_owned(), port }],
            tls: TlsOptions { mode: TlsMode::Disabled, ..TlsOptions::default() },
            password: Secret::new("secret"),
            connect_timeout: Some(PATIENCE),
            statement_timeout: Some(PATIENCE),
            ..ConnectOptions::default()
        };
        let server = async {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let _ = stream.write_all(&bytes[..bytes.len().min(INPUT_BYTES_MAX)]).await;
            let _ = stream.shutdown().await;
            let mut ignored = [0; 4096];
            while stream.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
        };
        let client = async {
            if let Ok(mut connection) = Connection::connect(&options).await {
                let _ = connection.query("SELECT 1").await;
            }
        };
        let both = async {
            tokio::select! { () = client => {}, () = async { server.await; std::future::pending().await } => {} }
        };
        tokio::time::timeout(4 * PATIENCE, both).await.expect("the client gives up when the server has closed");
    });
}

/// Rows of a table, in both protocols. The first byte says how many columns there are, the next ones their types.
pub fn row(bytes: &[u8]) {
    let Some((&count, rest)) = bytes.split_first() else { return };
    let Some((types, row)) = rest.split_at_checked(usize::from(count % 8)) else { return };
    let rules = TypeRules::default();
    let landing = |(place, kind): (usize, &u8)| Landing::of(&format!("c{place}"), &server_type(*kind), true, &rules);
    let landings: Vec<Landing> = types.iter().enumerate().map(landing).collect();
    for format in [RowFormat::Binary, RowFormat::Text] {
        let limits = BatchLimits { rows_max: 16, bytes_max: INPUT_BYTES_MAX };
        let mut columns = Columns::new(RowLayout::new(landings.clone(), &["c0".to_owned()]), format, limits);
        if columns.push(row).is_ok() && columns.push(row).is_ok() {
            let batch = columns.finish();
            assert!(batch.is_err() || batch.is_ok_and(|batch| batch.num_rows() == 2), "each row is landed once");
        }
    }
}

fn server_type(kind: u8) -> ServerType {
    let unsigned = kind & 0x80 != 0;
    match kind & 0x1F {
        0 => ServerType::TinyInt { unsigned, boolean: !unsigned },
        1 => ServerType::SmallInt { unsigned },
        2 => ServerType::MediumInt { unsigned },
        3 => ServerType::Int { unsigned },
        4 => ServerType::BigInt { unsigned },
        5 => ServerType::Decimal { precision: 38, scale: 10 },
        6 => ServerType::Decimal { precision: 65, scale: 30 },
        7 => ServerType::Float,
        8 => ServerType::Double,
        9 => ServerType::Bit { bits: 1 },
        10 => ServerType::Bit { bits: 33 },
        11 => ServerType::Bit { bits: 64 },
        12 => ServerType::Year,
        13 => ServerType::Date,
        14 => ServerType::DateTime { fraction_digits: kind >> 5 },
        15 => ServerType::Timestamp { fraction_digits: 6 },
        16 => ServerType::Time { fraction_digits: kind >> 5 },
        17 => ServerType::Binary { length: 16, fixed: true },
        18 => ServerType::Enum { empty_member: unsigned },
        19 => ServerType::Set,
        20 => ServerType::Json,
        21 => ServerType::Geometry,
        22 => ServerType::Vector,
        23 => ServerType::Null,
        24 => ServerType::Unknown { binary: unsigned },
        _ => ServerType::Text,
    }
}

/// Connection strings and URIs.
///
/// # Panics
/// If a text that was read can't be shown without its secrets and be read again.
pub fn dsn(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok((access, _)) = dsn::access_from_text(text, None) else { return };
    let shown = dsn::masked(&access);
    let masked = shown["connectionString"].as_str().expect("a text stays a text").to_owned();
    let secrets = vec![("connectionString".to_owned(), Secret::new(masked))];
    let again = dsn::parameters(&SourceAccess { secrets, ..access.clone() }).expect("masking breaks no grammar");
    let first = dsn::parameters(&access).expect("what was read is read again");
    assert_eq!(first.connect.hosts, again.connect.hosts);
    assert_eq!(first.connect.database, again.connect.database);
}

/// What a list may be asked for: the first line is a `property`, the second an `orderby`.
///
/// # Panics
/// If a filter that was read is another one when its own text is read again, as page tokens do.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (property, order) = text.split_once('\n').unwrap_or((text, ""));
    let document = serde_json::json!({ "name": property, "metrics": { "statusSummary": { "status": order } } });
    for collection in [Collection::Flows, Collection::Runs, Collection::ConnectionSpecs] {
        if let Ok(Property::Filter(filter)) = Property::parse(property, collection) {
            let again = Filter::parse(filter.text(), collection).expect("what was read is read again");
            assert_eq!(filter.matches(&document), again.matches(&document));
        }
        if let Ok(order) = Order::parse(order, collection) {
            assert_eq!(order.values_of(&document).len(), order.keys().len(), "one value for each key");
        }
    }
}

/// Continuation tokens: what a client sends in place of what a page gave it.
///
/// # Panics
/// If the query of a token is another one in its own token.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(query) = ListQuery::from_token(text, Collection::Flows) else { return };
    let after = query.after.clone().expect("a token says after what the page begins");
    let again = ListQuery::from_token(&query.token(Collection::Flows, after), Collection::Flows);
    let again = again.expect("what was read is read again");
    assert_eq!((&again.filters, &again.order, again.limit), (&query.filters, &query.order, query.limit));
}

/// Row filters: the document, and its SQL for a table without columns.
pub fn row_filter(bytes: &[u8]) {
    let Ok(document) = serde_json::from_slice(bytes) else { return };
    let Ok(parsed) = RowFilter::parse(&document) else { return };
    assert!(parsed.comparisons() > 0, "a filter without a comparison means nothing");
    let table = headwaters_source::mysql::catalog::TableDescription {
        name: headwaters_source::mysql::catalog::TableName { schema: String::new(), table: String::new() },
        kind: headwaters_source::mysql::catalog::ObjectKind::Table,
        engine: None,
        columns: Vec::new(),
        keys: Vec::new(),
    };
    assert!(filter::condition(&document, &table, &TypeRules::default()).is_err(), "no column is known");
}

/// Patterns of `dateFormat`, the first line, and a moment that they spell, the second.
///
/// # Panics
/// If what a sorted pattern spells has another length than it says, or does not sort like moments.
pub fn date_pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (pattern, moment) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(pattern) = Pattern::parse(pattern) else { return };
    let unit_us = pattern.unit_us();
    assert!(unit_us > 0 && !pattern.server_format().is_empty(), "a pattern names at least a day");
    if !pattern.is_sorted() {
        return;
    }
    // Within the years 1 to 9999, which are all that is spelt.
    let moment = moment.parse::<i64>().unwrap_or(0).rem_euclid(200_000_000_000_000_000);
    let (this, next) = (pattern.spell(moment), pattern.spell(moment + unit_us));
    assert_eq!(this.chars().count(), pattern.chars(), "{this}");
    assert!(this < next, "{this} comes before {next}");
}
