//! TLS of the SMTP server: our certificate, read again when its file changes, and the client's, when it has one.
//!
//! A client certificate is asked for and never demanded: a missing, expired or foreign one is no TLS alert, which would leave mail in
//! the client's queue without a word, but a refusal at MAIL that says what is wrong. The client proves in the handshake that it
//! has the key; whether the certificate is one of ours is looked at afterwards ([`Tls::identify`]). A pair of files that cannot be read
//! leaves the last good one in use. Standards: RFC 8446, RFC 5246, RFC 8314, RFC 9325.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::SmtpTlsConfig;
use crate::domain::Timestamp;

/// Chains are three certificates long; more is a mistake of the file.
const CHAIN_MAX: usize = 16;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of them cannot be read as PEM.
    #[error("{path}: {why}; fix: write PEM, with the certificate first and its chain after it")]
    File {
        /// Which.
        path: String,
        /// Why not.
        why: String,
    },
    /// They do not belong together, or the authority is none.
    #[error("smtp.tls: {0}; fix: use the key that the certificate was made for")]
    Pair(String),
}

/// What a client certificate says, when it is one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of the certificate in hexadecimal digits.
    pub fingerprint: String,
    /// The DNS names of its subject alternative names, in lower case.
    pub names: Vec<String>,
}

/// What is known of the client's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Presented {
    /// It has shown none.
    #[default]
    Nothing,
    /// It is one of ours.
    Good(ClientCertificate),
    /// It is not, and why; one line.
    Bad(String),
}

/// The server's side of TLS.
pub struct Tls {
    files: SmtpTlsConfig,
    now: RwLock<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    changed: Vec<Option<SystemTime>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read or they do not fit.
    pub fn open(files: SmtpTlsConfig) -> Result<Self, TlsError> {
        let now = RwLock::new(load(&files)?);
        Ok(Self { files, now })
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).config))
    }

    /// What the client has shown in its handshake, as of `at`.
    pub(crate) fn identify(&self, connection: &ServerConnection, at: Timestamp) -> Presented {
        let Some([end, between @ ..]) = connection.peer_certificates() else { return Presented::Nothing };
        let clients = self.now.read().unwrap_or_else(PoisonError::into_inner).clients.clone();
        let Some(clients) = clients else { return Presented::Nothing };
        let seconds = u64::try_from(at.0.div_euclid(1000)).unwrap_or_default();
        match clients.verify_client_cert(end, between, UnixTime::since_unix_epoch(Duration::from_secs(seconds))) {
            Ok(_) => Presented::Good(describe(end)),
            Err(error) => Presented::Bad(error.to_string()),
        }
    }

    /// Reads the files again when one of them has changed. Answers whether the next connection gets something new.
    ///
    /// # Errors
    /// As [`Tls::open`]; the last good ones stay in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        if changed(&self.files) == self.now.read().unwrap_or_else(PoisonError::into_inner).changed {
            return Ok(false);
        }
        let loaded = load(&self.files)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(true)
    }

    /// Looks at the files every so often until `shutdown`. A renewal writes two files: a pair that does not fit yet is tried again.
    pub(crate) async fn watch(&self, every: Duration, shutdown: &CancellationToken) {
        let mut told = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            match self.reload() {
                Ok(true) => {
                    told = false;
                    info!(certificate = %self.files.cert.display(), "the certificate of SMTP was read again");
                }
                Ok(false) => {}
                Err(error) if !told => {
                    told = true;
                    warn!(%error, "the certificate of SMTP cannot be read again; the one before stays in use");
                }
                Err(_) => {}
            }
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn load(files: &SmtpTlsConfig) -> Result<Loaded, TlsError> {
    // Looked at before they are read: a change in between is seen the next time.
    let changed = changed(files);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = files.client_ca.as_deref().map(|path| clients(path, &provider)).transpose()?;
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, &error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Pair(error.to_string()))?;
    let builder = match &clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::new(Lenient(Arc::clone(clients)))),
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| TlsError::Pair(error.to_string()))?;
    Ok(Loaded { config: Arc::new(config), clients, changed })
}

fn clients(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unreadable(path, &error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| unreadable(path, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| unreadable(path, &error))?.take(CHAIN_MAX).collect();
    let found = found.map_err(|error| unreadable(path, &error))?;
    if found.is_empty() { Err(unreadable(path, &"it holds no certificate")) } else { Ok(found) }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.display().to_string(), why: why.to_string() }
}

fn changed(files: &SmtpTlsConfig) -> Vec<Option<SystemTime>> {
    let paths: [Option<&PathBuf>; 3] = [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()];
    let when = |path: &PathBuf| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    paths.into_iter().map(|path| path.and_then(when)).collect()
}

fn describe(certificate: &CertificateDer<'_>) -> ClientCertificate {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let names = webpki::EndEntityCert::try_from(certificate)
        .map(|parsed| parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
        .unwrap_or_default();
    ClientCertificate { fingerprint: data_encoding::HEXLOWER.encode(digest.as_ref()), names }
}

/// Takes any certificate into the handshake, as long as the client has its key.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
