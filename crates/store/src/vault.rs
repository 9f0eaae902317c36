//! The credential vault: AES-256-GCM with a random nonce, keys from a key ring on disk.
//!
//! **Invariant.** A ciphertext is bound to its record: owner and field are associated data, so that a row that was
//! copied to another connection does not open. The newest key seals, every key of the ring opens.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use headwaters_model::secret::Secret;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The length of a key, in bytes.
const KEY_BYTES: usize = 32;
/// The largest key ring file that is read, in bytes.
const KEYRING_BYTES_MAX: u64 = 1 << 20;
/// Who may read and write the key ring: its owner.
const KEYRING_MODE: u32 = 0o600;

/// Why a secret could not be sealed or opened, or the key ring not be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file can not be read or written.
    #[error("could not {doing} the key ring {}", .path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is there, but it is not a key ring.
    #[error("the key ring {} is damaged: {reason}; restore it from a backup, without it no stored secret can be opened", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Others than its owner may read the file.
    #[error("the key ring {} can be read by others (mode {mode:o}); run chmod 600 on it", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key that sealed a secret is not in the ring.
    #[error("the key ring has no key {key}; add the key ring that was used when the secret was stored")]
    UnknownKey {
        /// The id of the key.
        key: String,
    },
    /// The ciphertext does not open under its key for this owner and field.
    #[error("the secret {field} of {owner} does not open: it was changed or belongs to another record")]
    Tampered {
        /// Whose it should be.
        owner: String,
        /// Which field.
        field: String,
    },
    /// The random generator or the cipher refused to work.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// The keys of an installation: those that seal secrets, and the one that signs access tokens.
pub struct KeyRing {
    keys: Vec<SealingKey>,
    signing: [u8; KEY_BYTES],
}

struct SealingKey {
    id: String,
    bytes: [u8; KEY_BYTES],
}

/// The file: keys in base64, the oldest first.
#[derive(Serialize, Deserialize)]
struct KeyRingFile {
    version: u32,
    keys: Vec<KeyFile>,
    signing_key: String,
}

#[derive(Serialize, Deserialize)]
struct KeyFile {
    id: String,
    key: String,
}

impl KeyRing {
    /// A new ring with one key of each kind, in memory only.
    pub fn generate() -> Result<Self, VaultError> {
        let key = SealingKey { id: Uuid::now_v7().to_string(), bytes: random()? };
        Ok(Self { keys: vec![key], signing: random()? })
    }

    /// Reads the ring at a path, or makes a new one there, readable by its owner only.
    pub fn open_or_create(path: &Path) -> Result<Self, VaultError> {
        match Self::open(path) {
            Err(VaultError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let ring = Self::generate()?;
                match ring.write_new(path) {
                    // Another process was faster: its ring is the one.
                    Err(VaultError::File { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                        Self::open(path)
                    }
                    written => written.map(|()| ring),
                }
            }
            opened => opened,
        }
    }

    /// Reads the ring at a path.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        let failed = |source| VaultError::File { doing: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(VaultError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(KEYRING_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text).map_err(|reason| VaultError::Damaged { path: path.to_owned(), reason })
    }

    /// The key under which access tokens are signed (HMAC-SHA-256).
    #[must_use]
    pub fn signing_key(&self) -> &[u8] {
        &self.signing
    }

    /// Adds a key, which seals from now on; call [`Self::save`] to keep it.
    pub fn rotate(&mut self) -> Result<(), VaultError> {
        self.keys.push(SealingKey { id: Uuid::now_v7().to_string(), bytes: random()? });
        Ok(())
    }

    /// Replaces the file at a path by this ring, at once or not at all.
    pub fn save(&self, path: &Path) -> Result<(), VaultError> {
        let failed = |source| VaultError::File { doing: "write", path: path.to_owned(), source };
        let new = self.write_beside(path).map_err(failed)?;
        std::fs::rename(new, path).and_then(|()| sync_directory(path)).map_err(failed)
    }

    /// Makes the file at a path where there is none: whole or not at all, for whoever reads it meanwhile too.
    fn write_new(&self, path: &Path) -> Result<(), VaultError> {
        let failed = |source| VaultError::File { doing: "write", path: path.to_owned(), source };
        let new = self.write_beside(path).map_err(failed)?;
        // Unlike a rename, a link never takes the place of a file that is there.
        let linked = std::fs::hard_link(&new, path);
        std::fs::remove_file(&new).and(linked).and_then(|()| sync_directory(path)).map_err(failed)
    }

    /// Writes the ring durably into a new file of its own beside its path.
    fn write_beside(&self, path: &Path) -> std::io::Result<PathBuf> {
        let keys = self.keys.iter().map(|key| KeyFile { id: key.id.clone(), key: STANDARD.encode(key.bytes) });
        let file = KeyRingFile { version: 1, keys: keys.collect(), signing_key: STANDARD.encode(self.signing) };
        let text = serde_json::to_vec_pretty(&file)?;
        // A process id alone is not enough: in a container, every process is the first.
        let new = path.with_extension(format!("json.new.{}", Uuid::now_v7()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(KEYRING_MODE).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        Ok(new)
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let file: KeyRingFile = serde_json::from_str(text).map_err(|_| "it is not JSON of the expected shape")?;
        if file.version != 1 {
            return Err("its version is not 1");
        }
        let keys = file.keys.into_iter().map(|key| Ok(SealingKey { id: key.id, bytes: key_bytes(&key.key)? }));
        let keys = keys.collect::<Result<Vec<_>, &'static str>>()?;
        let signing = key_bytes(&file.signing_key)?;
        if keys.is_empty() { Err("it holds no key") } else { Ok(Self { keys, signing }) }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        f.debug_struct("KeyRing").field("keys", &ids).finish_non_exhaustive()
    }
}

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) key_id: String,
    pub(crate) nonce: String,
    pub(crate) ciphertext: String,
}

/// Seals and opens secrets.
pub struct Vault {
    keys: KeyRing,
}

impl Vault {
    /// A vault over a key ring.
    #[must_use]
    pub fn new(keys: KeyRing) -> Self {
        Self { keys }
    }

    pub(crate) fn seal(&self, owner: &str, field: &str, secret: &Secret) -> Result<Sealed, VaultError> {
        let newest = self.keys.keys.last().ok_or(VaultError::Crypto)?;
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut bytes = secret.expose().as_bytes().to_vec();
        let aad = Aad::from(associated(owner, field));
        let sealed =
            cipher(&newest.bytes)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes);
        sealed.map_err(|_| VaultError::Crypto)?;
        Ok(Sealed { key_id: newest.id.clone(), nonce: STANDARD.encode(nonce), ciphertext: STANDARD.encode(bytes) })
    }

    pub(crate) fn open(&self, owner: &str, field: &str, sealed: &Sealed) -> Result<Secret, VaultError> {
        let key = self.keys.keys.iter().find(|key| key.id == sealed.key_id);
        let key = key.ok_or_else(|| VaultError::UnknownKey { key: sealed.key_id.clone() })?;
        let tampered = || VaultError::Tampered { owner: owner.to_owned(), field: field.to_owned() };
        let nonce = STANDARD.decode(&sealed.nonce).map_err(|_| tampered())?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| tampered())?;
        let mut bytes = STANDARD.decode(&sealed.ciphertext).map_err(|_| tampered())?;
        let aad = Aad::from(associated(owner, field));
        let clear = cipher(&key.bytes)?.open_in_place(nonce, aad, &mut bytes).map_err(|_| tampered())?;
        let text = std::str::from_utf8(clear).map_err(|_| tampered())?;
        Ok(Secret::new(text))
    }
}

/// A secret of 256 random bits, as a text that needs no quoting.
pub fn random_secret() -> Result<Secret, VaultError> {
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(random::<KEY_BYTES>()?)))
}

/// The SHA-256 of a text in hex: how the secret of an account is kept.
pub(crate) fn sha256_hex(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares two hashes without telling by its time where they differ.
pub(crate) fn same(left: &str, right: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

fn cipher(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, VaultError> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(|_| VaultError::Crypto)?))
}

/// Owner and field, told apart by a byte that neither can hold.
fn associated(owner: &str, field: &str) -> Vec<u8> {
    [owner.as_bytes(), &[0], field.as_bytes()].concat()
}

fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| VaultError::Crypto)?;
    Ok(bytes)
}

fn key_bytes(text: &str) -> Result<[u8; KEY_BYTES], &'static str> {
    let bytes = STANDARD.decode(text).map_err(|_| "a key is not base64")?;
    bytes.try_into().map_err(|_| "a key has not 32 bytes")
}

/// Makes the name of a new file survive a power cut.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(KeyRing::generate().unwrap())
    }

    #[test]
    fn a_secret_opens_for_its_record_only() {
        let vault = vault();
        let sealed = vault.seal("connection-1", "password", &Secret::new("hunter2")).unwrap();
        assert_eq!(vault.open("connection-1", "password", &sealed).unwrap().expose(), "hunter2");
        for (owner, field) in [("connection-2", "password"), ("connection-1", "sslKeyPassword")] {
            let refused = vault.open(owner, field, &sealed).unwrap_err();
            assert!(matches!(refused, VaultError::Tampered { .. }), "{refused:?}");
        }
    }

    #[test]
    fn a_changed_ciphertext_does_not_open() {
        let vault = vault();
        let sealed = vault.seal("o", "f", &Secret::new("hunter2")).unwrap();
        let mut bytes = STANDARD.decode(&sealed.ciphertext).unwrap();
        bytes[0] ^= 1;
        let changed = Sealed { ciphertext: STANDARD.encode(bytes), ..sealed };
        assert!(matches!(vault.open("o", "f", &changed), Err(VaultError::Tampered { .. })));
    }

    #[test]
    fn the_same_secret_is_never_sealed_the_same_way() {
        let vault = vault();
        let [first, second] = [0, 1].map(|_| vault.seal("o", "f", &Secret::new("x")).unwrap());
        assert_ne!(first, second);
    }

    #[test]
    fn a_new_key_seals_and_the_old_one_still_opens() {
        let mut keys = KeyRing::generate().unwrap();
        let old = SealingKey { id: keys.keys[0].id.clone(), bytes: keys.keys[0].bytes };
        let sealed = Vault::new(KeyRing { keys: vec![old], signing: keys.signing });
        let sealed = sealed.seal("o", "f", &Secret::new("old")).unwrap();
        keys.rotate().unwrap();
        let vault = Vault::new(keys);
        assert_eq!(vault.open("o", "f", &sealed).unwrap().expose(), "old");
        assert_ne!(vault.seal("o", "f", &Secret::new("new")).unwrap().key_id, sealed.key_id);
    }

    #[test]
    fn a_key_that_is_not_in_the_ring_is_named() {
        let sealed = vault().seal("o", "f", &Secret::new("x")).unwrap();
        let refused = vault().open("o", "f", &sealed).unwrap_err();
        assert!(refused.to_string().contains(&sealed.key_id), "{refused}");
    }

    #[test]
    fn the_ring_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring.json");
        let made = KeyRing::open_or_create(&path).unwrap();
        let again = KeyRing::open_or_create(&path).unwrap();
        assert_eq!(made.signing_key(), again.signing_key());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, KEYRING_MODE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(KeyRing::open(&path), Err(VaultError::Exposed { mode: 0o644, .. })));
    }

    #[test]
    fn of_many_that_open_at_once_all_get_the_same_ring() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring.json");
        let start = std::sync::Barrier::new(8);
        let open = || {
            start.wait();
            KeyRing::open_or_create(&path).unwrap().signing
        };
        let rings: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(rings.iter().all(|ring| *ring == rings[0]));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_rotated_ring_is_saved_in_one_piece() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring.json");
        let mut ring = KeyRing::open_or_create(&path).unwrap();
        ring.rotate().unwrap();
        ring.save(&path).unwrap();
        assert_eq!(KeyRing::open(&path).unwrap().keys.len(), 2);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_ring_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring.json");
        KeyRing::open_or_create(&path).unwrap();
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(KeyRing::open_or_create(&path), Err(VaultError::Damaged { .. })));
    }

    #[test]
    fn neither_ring_nor_secret_can_be_printed() {
        let ring = KeyRing::generate().unwrap();
        let shown = format!("{ring:?}");
        assert!(!shown.contains(&STANDARD.encode(ring.signing)) && !shown.contains("signing"), "{shown}");
        assert!(random_secret().unwrap().expose().len() >= 40);
    }
}
