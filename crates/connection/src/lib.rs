//! How other machines are reached: the proxy, whom TLS trusts, how long is waited.
//!
//! Whoever asks a server (a mirror, a registry, a Kasm server) begins with [`Route::agent`], so that
//! a proxy or a company's own authority that is named once counts everywhere, and is refused in the
//! same words where it is no good. What differs between servers, such as redirections, logins and
//! pinned certificates, stays with those who ask them.
//!
//! ```
//! # fn main() -> Result<(), kasmforge_connection::Error> {
//! use kasmforge_connection::{Route, tls};
//!
//! let route = Route::default();
//! let config = route.agent()?.max_redirects(0).tls_config(tls(route.roots()?)).build();
//! let agent = ureq::Agent::new_with_config(config);
//! # drop(agent);
//! # Ok(())
//! # }
//! ```

mod certificates;
mod error;
mod proxy;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;

pub use certificates::{certificates, system_certificates};
pub use error::Error;

/// How a server is told who asks.
pub const USER_AGENT: &str = concat!("kasmforge/", env!("CARGO_PKG_VERSION"));

/// How long a name may take to resolve, and a connection to come about.
pub const CONNECT: Duration = Duration::from_secs(10);

/// The way from this machine to others; every value comes from the caller.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// The HTTP proxy, `http://[user:password@]host:port`.
    pub proxy: Option<String>,
    /// Hosts that the proxy is not asked for, separated by commas, as in the variable `no_proxy`.
    pub no_proxy: Option<String>,
    /// A file of PEM certificates to trust for https. Absent: the system's, and where there is
    /// none, Mozilla's list as built in.
    pub certificates: Option<PathBuf>,
}

impl Route {
    /// The common beginning of every agent's configuration: who asks, through which proxy, how long
    /// a connection may take to come about. A status is an answer here, not an error.
    ///
    /// # Errors
    /// [`Error::Proxy`].
    pub fn agent(&self) -> Result<ConfigBuilder<AgentScope>, Error> {
        Ok(ureq::Agent::config_builder()
            .user_agent(USER_AGENT)
            .http_status_as_error(false)
            .proxy(self.proxy()?)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT)))
    }

    /// The certificates to trust: those of the file named, else the system's; `None` where the
    /// machine has no list.
    ///
    /// # Errors
    /// [`Error::Certificates`].
    pub fn trusted(&self) -> Result<Option<Vec<Certificate<'static>>>, Error> {
        self.bundle().map(certificates).transpose()
    }

    /// The file they are in: the one named, else the system's.
    #[must_use]
    pub fn bundle(&self) -> Option<&Path> {
        let named = self.certificates.as_deref();
        named.or_else(system_certificates)
    }

    /// The same, for ureq's own TLS; Mozilla's list where the machine has none.
    ///
    /// # Errors
    /// [`Error::Certificates`].
    pub fn roots(&self) -> Result<RootCerts, Error> {
        Ok(self.trusted()?.map_or(RootCerts::WebPki, RootCerts::from))
    }

    fn proxy(&self) -> Result<Option<ureq::Proxy>, Error> {
        let Some(text) = self.proxy.as_deref() else {
            return Ok(None);
        };
        let proxy = proxy::parse(text, self.no_proxy.as_deref().unwrap_or_default());
        proxy.map(Some).map_err(|source| Error::Proxy {
            proxy: proxy::shown(text),
            source: Box::new(source),
        })
    }
}

/// A proxy's password is not for logs.
impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("proxy", &self.proxy.as_deref().map(proxy::shown))
            .field("no_proxy", &self.no_proxy)
            .field("certificates", &self.certificates)
            .finish()
    }
}

/// TLS that trusts certain authorities, and verifies as usual.
#[must_use]
pub fn tls(roots: RootCerts) -> TlsConfig {
    TlsConfig::builder().root_certs(roots).build()
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn a_password_of_a_proxy_is_in_no_log_and_no_error() {
        let route = Route {
            proxy: Some("nonsense://me:secret@proxy.test:3128".into()),
            ..Route::default()
        };
        let error = route.agent().err().expect("no such scheme");
        let told = format!("{route:?} {error} {error:?}");
        assert!(
            told.contains("proxy.test:3128") && !told.contains("secret"),
            "{told}"
        );
    }
}
