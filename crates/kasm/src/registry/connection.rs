//! Asking the web for a registry's files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::Web;

/// How long a name may take to resolve, and a connection to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one file may take.
const WHOLE: Duration = Duration::from_secs(60);
/// How often an answer may point elsewhere.
const REDIRECTS: u32 = 5;
/// Where systems keep the certificates they trust: Debian, Fedora, openSUSE.
const SYSTEM_CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// What a connection goes by.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// A bundle of certificates to trust; `None`: the system's.
    pub certificates: Option<PathBuf>,
    /// A proxy.
    pub proxy: Option<String>,
    /// Hosts asked without it, separated by commas.
    pub no_proxy: Option<String>,
}

/// A connection that cannot be made as it is wished for.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The certificates could not be read.
    #[error("cannot read the certificates in {}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate in PEM", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The proxy's address is not understood.
    #[error("the proxy's address is not understood")]
    Proxy {
        /// Why.
        source: Box<ureq::Error>,
    },
}

impl Connection {
    /// A registry below an address.
    ///
    /// # Errors
    /// The certificates or the proxy are no good.
    pub fn open(&self, base: &str) -> Result<Web, ConnectionError> {
        let proxy = self.proxy.as_deref().map(|text| {
            let failed = |source| ConnectionError::Proxy {
                source: Box::new(source),
            };
            let given = ureq::Proxy::new(text).map_err(failed)?;
            let mut builder = ureq::Proxy::builder(given.protocol())
                .host(given.host())
                .port(given.port());
            if let Some(user) = given.username() {
                builder = builder.username(user);
            }
            if let Some(password) = given.password() {
                builder = builder.password(password);
            }
            for host in self.no_proxy.iter().flat_map(|hosts| hosts.split(',')) {
                builder = builder.no_proxy(host.trim());
            }
            builder.build().map_err(failed)
        });
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("kasmforge/", env!("CARGO_PKG_VERSION")))
            .max_redirects(REDIRECTS)
            .proxy(proxy.transpose()?)
            .tls_config(TlsConfig::builder().root_certs(self.roots()?).build())
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .build();
        Ok(Web::new(ureq::Agent::new_with_config(config), base))
    }

    /// The certificates of the file named, else the system's, else Mozilla's.
    fn roots(&self) -> Result<RootCerts, ConnectionError> {
        let named = self.certificates.clone();
        let path = named.or_else(|| {
            let known = SYSTEM_CERTIFICATES.iter().map(Path::new);
            known
                .filter(|path| path.is_file())
                .map(PathBuf::from)
                .next()
        });
        let Some(path) = path else {
            return Ok(RootCerts::WebPki);
        };
        let bytes = std::fs::read(&path).map_err(|source| ConnectionError::Certificates {
            path: path.clone(),
            source,
        })?;
        let certificates: Vec<Certificate<'static>> = parse_pem(&bytes)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if certificates.is_empty() {
            return Err(ConnectionError::NoCertificate { path });
        }
        Ok(certificates.into())
    }
}
