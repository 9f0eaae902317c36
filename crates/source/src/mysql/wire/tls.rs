//! The ladder of mysql-sources.md 2 and 4, with rustls.

use std::fmt;
use std::sync::Arc;

use headwaters_model::source_error::{SourceError, SourceErrorKind};
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, ProtocolVersion,
    RootCertStore, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::files::{self, invalid, read_file, read_pem};
use super::options::{ClientCertificate, Endpoint, Pem, TlsMode, TlsOptions, TlsVersion};
use super::server::{Tls, Verified};
use super::stream::PlainStream;

/// The name that a certificate must carry when the server is reached through a Unix socket.
const SOCKET_NAME: &str = "localhost";

/// Protects a channel; the server waits for it.
pub(super) async fn protect(
    stream: PlainStream,
    endpoint: &Endpoint,
    options: &TlsOptions,
) -> Result<(TlsStream<PlainStream>, Tls), SourceError> {
    let config = {
        // Files are opened here, and the platform's store.
        let options = options.clone();
        files::blocking(move || config(&options)).await?
    };
    let name = server_name(endpoint, options.mode)?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(|error| failed(endpoint, &error))?;
    let (_, session) = stream.get_ref();
    let tls = Tls {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        cipher_suite: session.negotiated_cipher_suite().map(suite_name).unwrap_or_default(),
        verified: match options.mode {
            TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required => Verified::No,
            TlsMode::VerifyCa => Verified::Chain,
            TlsMode::VerifyIdentity => Verified::ChainAndName,
        },
    };
    Ok((stream, tls))
}

/// SNI is sent only for names; rustls takes care of that.
fn server_name(endpoint: &Endpoint, mode: TlsMode) -> Result<ServerName<'static>, SourceError> {
    let host = match endpoint {
        Endpoint::Tcp { host, .. } => host.as_str(),
        Endpoint::Socket(_) => SOCKET_NAME,
    };
    match ServerName::try_from(host.to_owned()) {
        Ok(name) => Ok(name),
        // Nobody compares it.
        Err(_) if mode < TlsMode::VerifyIdentity => ServerName::try_from(SOCKET_NAME)
            .map_err(|_| invalid("server", "is not a name that a certificate can carry")),
        Err(_) => Err(invalid("server", "is not a name that a certificate can carry")),
    }
}

fn config(options: &TlsOptions) -> Result<ClientConfig, SourceError> {
    let provider = Arc::new(provider(options)?);
    let verifier = verifier(options, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(options))
        .map_err(|_| invalid("tlsCipherSuites", "leaves nothing for the TLS versions that are allowed"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(client) = &options.client else { return Ok(builder.with_no_client_auth()) };
    let (chain, key, parameter) = client_certificate(client)?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| invalid(parameter, &format!("is not a usable certificate with its key: {error}")))
}

fn provider(options: &TlsOptions) -> Result<CryptoProvider, SourceError> {
    let mut provider = aws_lc_rs::default_provider();
    if options.cipher_suites.is_empty() {
        return Ok(provider);
    }
    let chosen = options.cipher_suites.iter().map(|name| cipher_suite(name)).collect::<Option<Vec<_>>>();
    provider.cipher_suites =
        chosen.ok_or_else(|| invalid("tlsCipherSuites", "names a cipher suite that is unknown or too weak"))?;
    Ok(provider)
}

fn versions(options: &TlsOptions) -> Vec<&'static SupportedProtocolVersion> {
    let offered = |version| options.versions.is_empty() || options.versions.contains(&version);
    let all = [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)];
    all.into_iter().filter(|(version, _)| offered(*version)).map(|(_, supported)| supported).collect()
}

/// Finds a cipher suite by IANA's name or by OpenSSL's.
pub(super) fn cipher_suite(name: &str) -> Option<SupportedCipherSuite> {
    let wanted = letters(name);
    aws_lc_rs::ALL_CIPHER_SUITES.iter().find(|suite| letters(&suite_name(**suite)) == wanted).copied()
}

/// What both spellings have in common: `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`, `ECDHE-RSA-AES256-GCM-SHA384`.
fn letters(name: &str) -> String {
    let upper = name.trim().to_ascii_uppercase().replace("_WITH_", "_");
    // OpenSSL leaves the hash of the ChaCha suites away.
    let bare = upper.strip_prefix("TLS_").unwrap_or(&upper).trim_end_matches("_SHA256");
    let bare = bare.strip_suffix("-SHA256").unwrap_or(bare);
    bare.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// IANA's name; rustls writes `TLS13_` where IANA writes `TLS_`.
fn suite_name(suite: SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name,
    }
}

fn verifier(options: &TlsOptions, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, SourceError> {
    if options.mode < TlsMode::VerifyCa {
        return Ok(Arc::new(Lenient { provider: provider.clone(), chain: None }));
    }
    let chain: Arc<dyn ServerCertVerifier> = match &options.ca {
        Some(pem) => {
            let roots = Arc::new(authorities(pem)?);
            let built = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
            built.map_err(|error| invalid("sslCa", &format!("can not be used: {error}")))?
        }
        None => Arc::new(rustls_platform_verifier::Verifier::new(provider.clone()).map_err(no_platform_roots)?),
    };
    match options.mode {
        TlsMode::VerifyIdentity => Ok(chain),
        _ => Ok(Arc::new(Lenient { provider: provider.clone(), chain: Some(chain) })),
    }
}

fn authorities(pem: &Pem) -> Result<RootCertStore, SourceError> {
    let bytes = read_pem(pem, "sslCa")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| invalid("sslCa", &format!("is not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| invalid("sslCa", &format!("holds no usable authority: {error}")))?;
    }
    match roots.is_empty() {
        true => Err(invalid("sslCa", "holds no certificate")),
        false => Ok(roots),
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, &'static str);

fn client_certificate(client: &ClientCertificate) -> Result<Identity, SourceError> {
    match client {
        ClientCertificate::Pem { certificate, key } => {
            let bytes = read_pem(certificate, "sslCert")?;
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            let chain = chain.map_err(|error| invalid("sslCert", &format!("is not PEM: {error}")))?;
            let bytes = read_pem(&Pem::new(key.expose()), "sslKey")?;
            let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| invalid("sslKey", "is not a key in PEM"))?;
            Ok((chain, key, "sslCert"))
        }
        ClientCertificate::Pkcs12 { path, password } => {
            let parameter = "certificateFile";
            let bytes = read_file(path, parameter)?;
            let store = KeyStore::from_pkcs12(&bytes, password.expose(), Pkcs12ImportPolicy::Relaxed);
            let store = store.map_err(|_| invalid(parameter, "is not PKCS#12, or certificatePassword is wrong"))?;
            let (_, entry) =
                store.private_key_chain().ok_or_else(|| invalid(parameter, "holds no key with its certificate"))?;
            let chain = entry.certs().iter().map(|certificate| CertificateDer::from(certificate.as_der().to_vec()));
            let key = PrivatePkcs8KeyDer::from(entry.key().as_der().to_vec());
            Ok((chain.collect(), key.into(), parameter))
        }
    }
}

fn no_platform_roots(error: Error) -> SourceError {
    SourceError::definite(SourceErrorKind::Tls, format!("this machine has no trusted authorities: {error}"))
        .with_hint("name the authority in sslCa")
}

/// 2026 of mysql-sources.md 16, with the library's reason in plain words.
fn failed(endpoint: &Endpoint, error: &std::io::Error) -> SourceError {
    let Some(reason) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return SourceError::transient(SourceErrorKind::Tls, format!("TLS with {endpoint} broke off: {error}"));
    };
    let (reason, hint) = match reason {
        Error::InvalidCertificate(certificate) => untrusted(certificate),
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered | PeerIncompatible::Tls12NotOfferedOrEnabled) => {
            ("server offers TLS 1.1 at most, or none of the versions that are allowed".to_owned(), None)
        }
        other => (other.to_string(), None),
    };
    let error = SourceError::definite(SourceErrorKind::Tls, format!("TLS with {endpoint} failed: {reason}"));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn untrusted(error: &CertificateError) -> (String, Option<&'static str>) {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("the server's certificate has expired".to_owned(), Some("renew it on the server"))
        }
        CertificateError::UnknownIssuer => (
            "the server's certificate is not signed by a trusted authority".to_owned(),
            Some("name the authority that signed it in sslCa"),
        ),
        CertificateError::NotValidForNameContext { expected, presented } => (
            format!(
                "the server's certificate is for {}, not for {}",
                presented.iter().map(|name| bare_name(name)).collect::<Vec<_>>().join(", "),
                expected.to_str()
            ),
            Some("connect by a name that the certificate carries, or set sslMode to verify_ca"),
        ),
        CertificateError::NotValidForName => (
            "the server's certificate does not carry the host's name".to_owned(),
            Some("connect by a name that the certificate carries, or set sslMode to verify_ca"),
        ),
        other => (other.to_string(), None),
    }
}

/// The library tells a name as `DnsName("localhost")` or `IpAddress(127.0.0.1)`.
fn bare_name(shown: &str) -> &str {
    let inner = shown.split_once('(').map_or(shown, |(_, rest)| rest.trim_end_matches(')'));
    inner.trim_matches('"')
}

/// Checks less than everything: the chain without the name, or nothing but that the peer holds its certificate's key.
struct Lenient {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<dyn ServerCertVerifier>>,
}

impl fmt::Debug for Lenient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lenient").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Lenient {
    /// The verifiers behind `chain` check the chain first and the name last, so that an error about the name says that
    /// all the rest is well.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use headwaters_model::secret::Secret;

    use super::*;

    #[test]
    fn cipher_suites_are_known_by_both_spellings() {
        for (iana, openssl) in [
            ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
            ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
            ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
            ("TLS_AES_256_GCM_SHA384", "tls_aes_256_gcm_sha384"),
        ] {
            let suite = cipher_suite(iana).unwrap();
            assert_eq!(suite_name(suite), iana);
            assert_eq!(cipher_suite(openssl).unwrap(), suite, "{openssl}");
        }
        assert!(cipher_suite("DES-CBC3-SHA").is_none());
        assert!(cipher_suite("").is_none());
    }

    #[test]
    fn names_are_told_as_people_write_them() {
        assert_eq!(bare_name("DnsName(\"localhost\")"), "localhost");
        assert_eq!(bare_name("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(bare_name("db.example"), "db.example");
    }

    #[test]
    fn a_version_whose_suites_were_all_struck_is_refused() {
        let options = TlsOptions {
            versions: vec![TlsVersion::Tls13],
            cipher_suites: vec!["ECDHE-RSA-AES256-GCM-SHA384".to_owned()],
            ..TlsOptions::default()
        };
        let error = config(&options).unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::InvalidParameter { key: "tlsCipherSuites".to_owned() });
    }

    #[test]
    fn an_authority_that_is_no_certificate_is_refused_by_its_parameter() {
        for ca in [Pem::Text("-----BEGIN NOTHING-----".to_owned()), Pem::new("/nowhere/ca.pem"), Pem::new("/dev/zero")]
        {
            let options = TlsOptions { mode: TlsMode::VerifyCa, ca: Some(ca), ..TlsOptions::default() };
            let error = config(&options).unwrap_err();
            assert_eq!(error.fault().kind, SourceErrorKind::InvalidParameter { key: "sslCa".to_owned() });
        }
    }

    #[test]
    fn a_certificate_that_is_no_file_is_refused_by_its_parameter() {
        let pem = |certificate: &str, key: &str| ClientCertificate::Pem {
            certificate: Pem::new(certificate),
            key: Secret::new(key),
        };
        let pkcs12 = ClientCertificate::Pkcs12 { path: "/dev/zero".into(), password: Secret::default() };
        for (client, parameter) in [
            (pem("/dev/zero", "-----BEGIN PRIVATE KEY-----"), "sslCert"),
            (pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "/dev/zero"), "sslKey"),
            (pkcs12, "certificateFile"),
        ] {
            let error = client_certificate(&client).unwrap_err();
            assert_eq!(error.fault().kind, SourceErrorKind::InvalidParameter { key: parameter.to_owned() }, "{error}");
        }
    }
}
