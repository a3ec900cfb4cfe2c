//! Whose certificates are trusted, down to one that is pinned.
//!
//! Kasm's installer makes a certificate that no authority signed, often for another name than the
//! server is reached by. So there are three ways besides the machine's own list: a file of
//! authorities (or with the server's own certificate), a fingerprint, and none at all, loudly.
//!
//! Whatever is trusted, the handshake's signature is verified: the server has the certificate's
//! key.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use kasmforge_connection::{Route, certificates};
use kasmforge_digest::Digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme, StreamOwned,
};
use ureq::tls::Certificate;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use super::Error;

/// Whom to believe that it is the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whom the machine trusts, as its [`Route`] says.
    Machine,
    /// The authorities of this file; a server whose very certificate is in it is trusted as it is.
    Authorities(PathBuf),
    /// One certificate, by its SHA-256.
    Pinned(Fingerprint),
    /// Everybody.
    Anybody,
}

/// The SHA-256 of a certificate in DER form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(Digest);

impl Fingerprint {
    /// Reads one as `openssl x509 -fingerprint -sha256` writes it, or as 64 digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.rsplit('=').next().unwrap_or(text);
        let digits: String = digits.chars().filter(|c| *c != ':').collect();
        Digest::from_hex(&digits.to_ascii_lowercase())
            .ok()
            .map(Self)
    }

    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Digest::of(certificate))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.0.hex().to_ascii_uppercase();
        for (index, pair) in hex.as_bytes().chunks(2).enumerate() {
            if index > 0 {
                f.write_str(":")?;
            }
            f.write_str(&String::from_utf8_lossy(pair))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a server last showed, and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) problem: Option<String>,
}

/// The verifier's memory, for errors.
pub(crate) type Memory = Arc<Mutex<Option<Seen>>>;

/// Speaks TLS over whatever connection it is given.
#[derive(Debug)]
pub(crate) struct TlsConnector {
    config: Arc<ClientConfig>,
    memory: Memory,
}

impl TlsConnector {
    /// Prepares for servers that are trusted so.
    pub(crate) fn new(trust: &Trust, route: &Route) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let memory = Memory::default();
        let verifier = Verifier {
            judge: Judge::new(trust, route, &provider)?,
            algorithms: provider.signature_verification_algorithms,
            memory: Arc::clone(&memory),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks all versions of TLS that rustls does")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
            memory,
        })
    }

    /// What will be remembered of servers.
    pub(crate) fn memory(&self) -> Memory {
        Arc::clone(&self.memory)
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details
            .uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']']);
        let name = ServerName::try_from(host)
            .map_err(|_| ureq::Error::Tls("the server's name cannot be in a certificate"))?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name.to_owned())?;
        let mut socket =
            TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Some(Either::B(TlsTransport {
            buffers,
            stream: StreamOwned {
                conn: connection,
                sock: socket,
            },
        })))
    }
}

/// A connection that speaks TLS.
pub(crate) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        io::Write::write_all(&mut self.stream, &self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = io::Read::read(&mut self.stream, self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

/// Decides, and remembers what it saw.
#[derive(Debug)]
struct Verifier {
    judge: Judge,
    algorithms: WebPkiSupportedAlgorithms,
    memory: Memory,
}

#[derive(Debug)]
enum Judge {
    Authorities {
        chains: Arc<WebPkiServerVerifier>,
        /// Certificates trusted as they are, whatever their names say.
        themselves: Vec<CertificateDer<'static>>,
    },
    Pinned(Fingerprint),
    Anybody,
}

impl Judge {
    fn new(trust: &Trust, route: &Route, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let (path, named) = match trust {
            Trust::Anybody => return Ok(Self::Anybody),
            Trust::Pinned(fingerprint) => return Ok(Self::Pinned(*fingerprint)),
            Trust::Authorities(path) => (path.as_path(), true),
            Trust::Machine => (route.bundle().ok_or(Error::NobodyTrusted)?, false),
        };
        let certificates = der(&certificates(path)?);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let chains =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| kasmforge_connection::Error::Certificates {
                    path: path.to_owned(),
                    source: io::Error::other(error),
                })?;
        Ok(Self::Authorities {
            chains,
            themselves: if named { certificates } else { Vec::new() },
        })
    }
}

/// The same certificates as rustls takes them.
fn der(certificates: &[Certificate<'_>]) -> Vec<CertificateDer<'static>> {
    let der = certificates.iter().map(|one| one.der().to_vec().into());
    der.collect()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Fingerprint::of(end_entity);
        let verified = match &self.judge {
            Judge::Anybody => Ok(ServerCertVerified::assertion()),
            Judge::Pinned(pinned) if *pinned == fingerprint => Ok(ServerCertVerified::assertion()),
            Judge::Pinned(_) => Err(rustls::Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
            Judge::Authorities { chains, themselves } => {
                if themselves.iter().any(|one| one == end_entity) {
                    Ok(ServerCertVerified::assertion())
                } else {
                    chains.verify_server_cert(
                        end_entity,
                        intermediates,
                        server_name,
                        ocsp_response,
                        now,
                    )
                }
            }
        };
        let problem = verified.as_ref().err().map(told);
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen {
            fingerprint,
            problem,
        });
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What is wrong with a certificate, in the field's words.
fn told(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(error) = error else {
        return error.to_string();
    };
    match error {
        CertificateError::UnknownIssuer => "no authority known here signed it".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".into()
        }
        CertificateError::Other(_) => "it signed itself".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn fingerprints_are_read_as_openssl_writes_them() {
        let digits = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        let plain = Fingerprint::parse(&digits).expect("64 digits");
        assert_eq!(plain.to_string(), colons);
        for text in [colons.clone(), format!("sha256 Fingerprint={colons}\n")] {
            assert_eq!(Fingerprint::parse(&text), Some(plain), "{text}");
        }
        assert_eq!(Fingerprint::parse("ab:cd"), None);
    }
}
