//! Certificates and keys, from where the parameters say: their own text, or a file of this machine.
//!
//! A path comes from whoever may create a connection. Only regular files are read, and never more than a limit, so that
//! neither a device nor a pipe can hold a thread or fill the memory; and never on a thread that others need.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use headwaters_model::source_error::{SourceError, SourceErrorKind};

use super::options::Pem;

/// The most bytes of a certificate or a key; bundles of all public authorities have a quarter of that.
pub(super) const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Does what opens files on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        let message = format!("reading the certificates of the connection was given up: {error}");
        Err(SourceError::transient(SourceErrorKind::Tls, message))
    })
}

/// Reads PEM from where it is; may wait for a disk.
pub(super) fn read_pem(pem: &Pem, parameter: &str) -> Result<Vec<u8>, SourceError> {
    match pem {
        Pem::Text(text) => Ok(text.as_bytes().to_vec()),
        Pem::Path(path) => read_file(path, parameter),
    }
}

/// Reads a regular file of at most [`PEM_BYTES_MAX`]; may wait for a disk.
pub(super) fn read_file(path: &Path, parameter: &str) -> Result<Vec<u8>, SourceError> {
    let unreadable = |error| invalid(parameter, &format!("names a file that can not be read: {error}"));
    // Asked before it is opened: opening a pipe waits for whoever writes to it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(invalid(parameter, "names something else than a regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > PEM_BYTES_MAX {
        true => Err(invalid(parameter, &format!("names a file of more than {PEM_BYTES_MAX} bytes"))),
        false => Ok(bytes),
    }
}

/// A parameter that does not hold what it should.
pub(super) fn invalid(parameter: &str, why: &str) -> SourceError {
    let kind = SourceErrorKind::InvalidParameter { key: parameter.to_owned() };
    SourceError::definite(kind, format!("{parameter} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        let error = read_file(path, "sslCa").unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::InvalidParameter { key: "sslCa".to_owned() });
        error.fault().message.clone()
    }

    #[test]
    fn devices_pipes_and_folders_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [Path::new("/dev/zero"), &pipe, folder.path()] {
            assert!(refused(path).ends_with("something else than a regular file"), "{}", path.display());
        }
        assert!(refused(&folder.path().join("none")).contains("can not be read"));
    }

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let file = File::create(&path).unwrap();
        file.set_len(PEM_BYTES_MAX).unwrap();
        assert_eq!(read_file(&path, "sslCa").unwrap().len() as u64, PEM_BYTES_MAX);
        file.set_len(PEM_BYTES_MAX + 1).unwrap();
        assert!(refused(&path).ends_with("more than 1048576 bytes"));
    }
}
