//! A throw-away certificate authority for test servers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// The names that the server certificate is valid for.
pub const SERVER_NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Where the certificates of a server are (PEM files, private keys in PKCS#8).
#[derive(Clone, Debug)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    pub(crate) fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The authority that signed server and client.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Another authority, which signed nothing that the server shows.
    pub fn wrong_ca(&self) -> PathBuf {
        self.dir.join("wrong-ca.pem")
    }

    /// A client's certificate, signed by [`Self::ca`].
    pub fn client_certificate(&self) -> PathBuf {
        self.dir.join("client.pem")
    }

    /// The key of [`Self::client_certificate`].
    pub fn client_key(&self) -> PathBuf {
        self.dir.join("client-key.pem")
    }

    /// The server's certificate, for [`SERVER_NAMES`].
    pub fn server_certificate(&self) -> PathBuf {
        self.dir.join("server.pem")
    }

    /// The key of [`Self::server_certificate`].
    pub fn server_key(&self) -> PathBuf {
        self.dir.join("server-key.pem")
    }
}

/// Makes a whole set of certificates in `dir`.
pub(crate) fn make(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let certificates = Certificates::at(dir);
    let issuer = authority(&certificates.ca(), "Headwaters test authority")?;
    authority(&certificates.wrong_ca(), "Another authority")?;

    let names = SERVER_NAMES.map(str::to_owned).to_vec();
    let server = leaf("Headwaters test server", names, ExtendedKeyUsagePurpose::ServerAuth)?;
    issue(&server, &issuer, &certificates.server_certificate(), &certificates.server_key())?;
    let client = leaf("Headwaters test client", Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)?;
    issue(&client, &issuer, &certificates.client_certificate(), &certificates.client_key())
}

fn authority(path: &Path, name: &str) -> Result<Issuer<'static, KeyPair>> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    write(path, &parameters.self_signed(&key)?.pem())?;
    Ok(Issuer::new(parameters, key))
}

fn leaf(name: &str, subjects: Vec<String>, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(subjects)?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![usage];
    Ok(parameters)
}

fn issue(parameters: &CertificateParams, issuer: &Issuer<'_, KeyPair>, certificate: &Path, key: &Path) -> Result<()> {
    let pair = KeyPair::generate()?;
    write(certificate, &parameters.signed_by(&pair, issuer)?.pem())?;
    write(key, &pair.serialize_pem())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
