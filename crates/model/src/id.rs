//! Every id of the system, minted in one place.
//!
//! Entities of the Flow Service are named by time-ordered UUIDs. Ids whose form the wire prescribes (24-hex data sets,
//! 26-character batches, organisations) stand here too (platform-services.md 0.3, catalogue.json `identifierForms`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that does not have the form of the id it was read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}")]
pub struct InvalidId {
    kind: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Mints a new id; ids minted later sort later.
            #[must_use]
            pub fn mint() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id that is fixed in the published catalogue.
            #[must_use]
            pub const fn fixed(id: u128) -> Self {
                Self(Uuid::from_u128(id))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Reads the lower- or upper-case hyphenated form.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId { kind: stringify!($name) };
                if text.len() != 36 {
                    return Err(invalid);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| invalid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.hyphenated())
            }
        }
    )*};
}

ids! {
    /// Names a base connection.
    ConnectionId;
    /// Names a source connection: what is read.
    SourceConnectionId;
    /// Names a target connection: where it lands.
    TargetConnectionId;
    /// Names a flow for as long as its history is kept.
    FlowId;
    /// Names one run of a flow; its attempts are told apart by their ordinals.
    RunId;
    /// Names a plan that several attempts go on with.
    PlanId;
    /// Names a connection spec or a flow spec; the built-in ones are fixed by the published catalogue.
    SpecId;
    /// Names a sandbox of an organisation.
    SandboxId;
}

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident = $valid:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId { kind: stringify!($name) }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )*};
}

text_ids! {
    /// Names an organisation: 24 upper-case hex digits and `@AdobeOrg`.
    OrgId = |text| text.strip_suffix("@AdobeOrg").is_some_and(|hex| is_hex(hex, 24, upper));
    /// Names the person or technical account that acted: 24 upper-case hex digits and `@AdobeID`, or a client id.
    UserId = |text| !text.is_empty() && text.len() <= 128;
    /// Names a technical account: 32 lower-case hex digits (platform-services.md 6); the service's own actors have
    /// names like `flow_scheduler`.
    ClientId = |text| !text.is_empty() && text.len() <= 128;
    /// Names a data set: 24 lower-case hex digits.
    DataSetId = |text| is_hex(text, 24, lower);
    /// Names a batch: 26 upper-case Crockford characters, time-ordered.
    BatchId = |text| text.len() == 26 && text.bytes().all(|byte| CROCKFORD.contains(&byte));
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn is_hex(text: &str, digits: usize, digit: fn(u8) -> bool) -> bool {
    text.len() == digits && text.bytes().all(digit)
}

fn upper(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'F')
}

fn lower(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl OrgId {
    /// Mints an organisation.
    #[must_use]
    pub fn mint() -> Self {
        Self(format!("{}@AdobeOrg", hex_of(Uuid::new_v4(), 24).to_uppercase()))
    }

    /// The id without `@AdobeOrg`: the name of the organisation's folder in the lake (product.md, "In the lake").
    #[must_use]
    pub fn folder(&self) -> &str {
        self.0.strip_suffix("@AdobeOrg").unwrap_or(&self.0)
    }
}

impl UserId {
    /// Mints the user id of a technical account.
    #[must_use]
    pub fn mint() -> Self {
        Self(format!("{}@AdobeID", hex_of(Uuid::new_v4(), 24).to_uppercase()))
    }
}

impl UserId {
    /// The user as whom a service token acts: its client.
    #[must_use]
    pub fn of_client(client: &ClientId) -> Self {
        Self(client.0.clone())
    }

    /// The user of an actor of the service itself, e.g. `flow_scheduler@AdobeID`.
    #[must_use]
    pub fn service(name: &'static str) -> Self {
        Self(format!("{name}@AdobeID"))
    }
}

impl ClientId {
    /// Mints the client id of a technical account.
    #[must_use]
    pub fn mint() -> Self {
        Self(hex_of(Uuid::new_v4(), 32))
    }

    /// The client of an actor of the service itself, e.g. `flow_scheduler`.
    #[must_use]
    pub fn service(name: &'static str) -> Self {
        Self(name.to_owned())
    }
}

impl DataSetId {
    /// Mints a data set id; ids minted later sort later.
    #[must_use]
    pub fn mint() -> Self {
        Self(hex_of(Uuid::now_v7(), 24))
    }
}

impl BatchId {
    /// Mints a batch id: the 128 bits of a time-ordered UUID in 26 Crockford characters.
    #[must_use]
    pub fn mint() -> Self {
        let bits = Uuid::now_v7().as_u128();
        let characters = (0..26).rev().map(|place| CROCKFORD[(bits >> (place * 5)) as usize & 31] as char);
        Self(characters.collect())
    }
}

fn hex_of(id: Uuid, digits: usize) -> String {
    let mut hex = id.simple().to_string();
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_ids_have_the_form_that_the_wire_prescribes() {
        assert!(OrgId::mint().as_str().parse::<OrgId>().is_ok());
        assert!(DataSetId::mint().as_str().parse::<DataSetId>().is_ok());
        assert!(BatchId::mint().as_str().parse::<BatchId>().is_ok());
        assert!(ClientId::mint().as_str().len() == 32);
        assert!(UserId::mint().as_str().ends_with("@AdobeID"));
        assert!(FlowId::mint().to_string().parse::<FlowId>().is_ok());
    }

    #[test]
    fn batches_minted_later_sort_later() {
        let first = BatchId::mint();
        let second = BatchId::mint();
        assert!(first < second);
    }

    #[test]
    fn an_id_of_another_form_is_refused() {
        for text in ["", "x", "{7d0a6a1e-3a3f-4b57-8a44-1d4c2c1f8a01}", "7d0a6a1e3a3f4b578a441d4c2c1f8a01"] {
            assert!(text.parse::<FlowId>().is_err(), "{text}");
        }
        assert!("0123456789abcdef01234567@AdobeOrg".parse::<OrgId>().is_err());
        assert!("0123456789ABCDEF01234567".parse::<DataSetId>().is_err());
    }
}
