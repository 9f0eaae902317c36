//! Random values of every kind: what the server computes of them must be what is computed of the files.

use std::fmt::Write as _;

use headwaters_testkit::DatabaseServer;

use super::{SERVERS, report};
use crate::land::copied;

const ROWS: u64 = 3000;
const ROWS_PER_STATEMENT: u64 = 250;

/// Splitmix64: the same values in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn digits(&mut self, digits_max: u64) -> String {
        let mut text: String = (0..=self.below(digits_max)).map(|_| char::from(b'0' + self.below(10) as u8)).collect();
        if self.below(2) == 0 {
            text.insert(0, '-');
        }
        text
    }

    fn decimal(&mut self, whole: u64, fraction: u64) -> String {
        let (whole, fraction) = (self.digits(whole), self.digits(fraction).replace('-', ""));
        format!("{whole}.{fraction}")
    }

    /// Any double that is a number: of any bits, or near to what people write.
    fn double(&mut self) -> f64 {
        loop {
            let bits = f64::from_bits(self.next());
            let number = match self.below(4) {
                0 => bits,
                1 => self.below(2_000_000) as f64 / 1000.0 - 1000.0,
                2 => 10_f64.powi(self.below(40) as i32 - 20) * self.below(100_000) as f64,
                _ => bits % 1e18,
            };
            if number.is_finite() {
                return number;
            }
        }
    }

    fn float(&mut self) -> f32 {
        loop {
            let number = f32::from_bits(self.next() as u32);
            if number.is_finite() {
                return number;
            }
        }
    }

    fn date(&mut self) -> String {
        match self.below(12) {
            0 => "0000-00-00".to_owned(),
            1 => format!("2024-{:02}-00", self.below(13)),
            2 => format!("0000-{:02}-{:02}", 1 + self.below(12), 1 + self.below(28)),
            _ => format!("{:04}-{:02}-{:02}", 1 + self.below(9999), 1 + self.below(12), 1 + self.below(31)),
        }
    }

    fn clock(&mut self) -> String {
        format!("{:02}:{:02}:{:02}.{:06}", self.below(24), self.below(60), self.below(60), self.below(1_000_000))
    }

    /// Characters of up to four bytes, blanks at the end among them, in hexadecimal digits.
    fn text(&mut self, highest: u64) -> String {
        let mut text = String::new();
        for _ in 0..self.below(12) {
            let code = match self.below(3) {
                0 => self.below(128),
                1 => self.below(highest.min(0x800)),
                _ => self.below(highest),
            };
            text.extend(u32::try_from(code).ok().and_then(char::from_u32));
        }
        if self.below(4) == 0 {
            text.push(' ');
        }
        hex(text.as_bytes())
    }

    fn bytes(&mut self) -> String {
        let bytes: Vec<u8> = (0..self.below(24)).map(|_| self.next() as u8).collect();
        hex(&bytes)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A column's definition and a value of it.
type Column = (&'static str, fn(&mut Random) -> String);

const COLUMNS: [Column; 31] = [
    ("tinyint", |r| (r.below(256) as i64 - 128).to_string()),
    ("tinyint(1)", |r| r.below(3).to_string()),
    ("tinyint unsigned", |r| r.below(256).to_string()),
    ("smallint", |r| (r.below(65536) as i64 - 32768).to_string()),
    ("mediumint unsigned zerofill", |r| r.below(1 << 24).to_string()),
    ("int(4) unsigned zerofill", |r| r.below(1 << 32).to_string()),
    ("bigint", |r| (r.next() as i64).to_string()),
    ("bigint unsigned", |r| r.next().to_string()),
    ("decimal(38,10)", |r| r.decimal(27, 9)),
    ("decimal(9,4) unsigned zerofill", |r| r.decimal(4, 3).replace('-', "")),
    ("decimal(60,20)", |r| r.decimal(39, 19)),
    ("float", |r| format!("{:e}", r.float())),
    ("double", |r| format!("{:e}", r.double())),
    ("double(20,3)", |r| format!("{:.3}", r.double() % 1e12)),
    ("bit(1)", |r| r.below(2).to_string()),
    ("bit(37)", |r| r.below(1 << 37).to_string()),
    ("bit(64)", |r| r.next().to_string()),
    ("year", |r| [0, 1901 + r.below(255)][r.below(2) as usize].to_string()),
    ("date", |r| format!("'{}'", r.date())),
    ("datetime", |r| format!("'{} {}'", r.date(), r.clock())),
    ("datetime(6)", |r| format!("'{} {}'", r.date(), r.clock())),
    ("timestamp(3) null", |r| format!("from_unixtime({}.{:03})", 1 + r.below(2_000_000_000), r.below(1000))),
    ("time(4)", |r| format!("'{}{}:{}'", ["", "-"][r.below(2) as usize], r.below(838), &r.clock()[3..])),
    ("varchar(40) character set utf8mb4", |r| format!("_utf8mb4 X'{}'", r.text(0x11_0000))),
    ("varchar(40) character set latin1", |r| format!("_utf8mb4 X'{}'", r.text(0x100))),
    ("varchar(40) character set utf16", |r| format!("_utf8mb4 X'{}'", r.text(0x11_0000))),
    ("char(30) character set koi8r", |r| format!("_utf8mb4 X'{}'", r.text(0x450))),
    ("varbinary(30)", |r| format!("X'{}'", r.bytes())),
    ("blob", |r| format!("X'{}'", r.bytes())),
    ("enum('a','','ü','x y') character set utf8mb4", |r| r.below(5).to_string()),
    ("set('a','b','ü','x y') character set utf8mb4", |r| r.below(16).to_string()),
];

async fn fill(server: &DatabaseServer, table: &str, random: &mut Random) {
    let defined: String = COLUMNS.iter().enumerate().fold(String::new(), |mut out, (place, (definition, _))| {
        let _ = write!(out, ", c{place} {definition}");
        out
    });
    server.execute(&format!("create table {table} (id int primary key{defined})")).await.expect("a table");
    for start in (0..ROWS).step_by(ROWS_PER_STATEMENT as usize) {
        let rows: Vec<String> = (start..start + ROWS_PER_STATEMENT)
            .map(|id| {
                let values: Vec<String> = COLUMNS
                    .iter()
                    .map(|(_, value)| if random.below(20) == 0 { "null".to_owned() } else { value(random) })
                    .collect();
                format!("({id}, {})", values.join(", "))
            })
            .collect();
        // What a column does not take is made to fit, as it is in many a real table.
        let insert = format!("insert ignore into {table} values {}", rows.join(", "));
        server.execute(&insert).await.expect("rows");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_values_of_every_kind_are_summed_up_alike_on_both_sides() {
    for flavour in SERVERS {
        let server = DatabaseServer::shared(flavour).await.expect("a server");
        let schema = server.fresh_schema("random").await.expect("a schema");
        let table = format!("{schema}.t");
        fill(server, &table, &mut Random(20_240_229)).await;
        for rule in ["", ";SourceTimeZone=Europe/Berlin", ";AllowZeroDateTime=true", ";ConvertZeroDateTime=true"] {
            let source = format!("{}{rule}", server.connection_string("reader"));
            let folder = tempfile::tempdir().expect("a folder");
            copied(&source, &table, folder.path(), &[]);
            let (report, code) = report(&source, &table, folder.path(), &["--keys", "5"]);
            assert_eq!(code, Some(0), "{flavour}{rule}: {report:#}");
            assert_eq!(report["source"]["rows"], ROWS);
        }
    }
}
