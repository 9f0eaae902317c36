//! The connection specs of MySQL and MariaDB, as the API advertises them (flow-service.md 12.1).

use headwaters_model::id::SpecId;
use serde_json::Value;

use super::dsn::{MARIA_DB_SPEC, MYSQL_SPEC};

const MYSQL: &str = include_str!("specs/mysql.json");
const MARIA_DB: &str = include_str!("specs/maria-db.json");

/// Both specs.
#[must_use]
pub(super) fn specs() -> Vec<Value> {
    // A test reads both: a file that is no JSON never gets this far.
    [MYSQL, MARIA_DB].into_iter().filter_map(|text| serde_json::from_str(text).ok()).collect()
}

/// Whether a spec is one of the two.
#[must_use]
pub(super) fn serves(spec: SpecId) -> bool {
    spec == MYSQL_SPEC || spec == MARIA_DB_SPEC
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::mysql::dsn::{BASIC_AUTH, CONNECTION_STRING_AUTH};

    #[test]
    fn both_specs_have_their_published_ids_and_auth_specs() {
        let specs = specs();
        let names: Vec<&str> = specs.iter().filter_map(|spec| spec["name"].as_str()).collect();
        assert_eq!(names, ["mysql", "maria-db"]);
        for spec in &specs {
            assert!(serves(spec["id"].as_str().unwrap().parse().unwrap()));
            let auth: BTreeSet<&str> =
                spec["authSpec"].as_array().unwrap().iter().filter_map(|auth| auth["name"].as_str()).collect();
            assert_eq!(auth, BTreeSet::from([BASIC_AUTH, CONNECTION_STRING_AUTH]));
            assert_eq!(spec["attributes"]["filterAtSource"]["columnNameEscapeChar"], "`");
            assert_eq!(spec["providerId"], "0ed90a81-07f4-4586-8190-b40eccef1c5a");
        }
    }

    #[test]
    fn every_secret_parameter_has_the_format_of_a_password() {
        for spec in specs() {
            let basic = &spec["authSpec"][1]["spec"]["properties"];
            for secret in ["password", "sslKey", "certificatePassword"] {
                assert_eq!(basic[secret]["format"], "password", "{secret}");
            }
            assert_eq!(spec["authSpec"][0]["spec"]["properties"]["connectionString"]["format"], "password");
        }
    }
}
