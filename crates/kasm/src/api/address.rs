//! Where a server is.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

/// The address of a Kasm server: `https://kasm.example.org`, perhaps with a port and a path before
/// `/api`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    scheme: String,
    authority: String,
    host: String,
    prefix: String,
}

/// What is wrong with an address. It is not repeated: somebody may have written a password into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no address at all.
    #[error(
        "the server's address is not understood; write it as https://kasm.example.org, perhaps with \
         a port"
    )]
    Malformed,
    /// It names a user or a password.
    #[error(
        "the server's address has a user name or password in it; leave it out: the API key is given \
         apart from the address"
    )]
    Userinfo,
    /// It has a query or a fragment.
    #[error("the server's address has a `?` or `#` in it; give only what stands before `/api`")]
    Query,
    /// It is neither https nor http.
    #[error("the server's address is neither https nor http")]
    Scheme,
}

impl Server {
    /// Reads an address. Without a scheme, https is meant; `/api` and `/api/public` at its end, as
    /// orchestrators keep it, are no part of it.
    ///
    /// # Errors
    /// If it is no such address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let whole = match text.contains("://") {
            true => text.to_owned(),
            false => format!("https://{text}"),
        };
        if whole.contains(['?', '#']) {
            return Err(AddressError::Query);
        }
        let uri: Uri = whole.parse().map_err(|_| AddressError::Malformed)?;
        let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
        if scheme != "https" && scheme != "http" {
            return Err(AddressError::Scheme);
        }
        let authority = uri.authority().ok_or(AddressError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(AddressError::Userinfo);
        }
        if authority.host().is_empty() {
            return Err(AddressError::Malformed);
        }
        let mut prefix = uri.path().trim_end_matches('/');
        for end in ["/public", "/api"] {
            prefix = prefix.strip_suffix(end).unwrap_or(prefix);
        }
        Ok(Self {
            scheme,
            authority: authority.as_str().to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            prefix: prefix.trim_end_matches('/').to_owned(),
        })
    }

    /// The host's name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address below which the documented endpoints are: `https://kasm.example.org/api/public`.
    #[must_use]
    pub fn api(&self) -> String {
        format!("{self}/api/public")
    }

    /// Whether what is sent can be read on its way.
    pub(crate) fn is_plain(&self) -> bool {
        self.scheme == "http"
    }

    /// Whether it is this very machine, by a name that no resolver decides.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The address of a path on the server.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{self}{path}")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::{AddressError, Server};

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, api) in [
            ("kasm.example.org", "https://kasm.example.org/api/public"),
            (
                "https://kasm.example.org/",
                "https://kasm.example.org/api/public",
            ),
            (
                "https://kasm.example.org:8443/api/public",
                "https://kasm.example.org:8443/api/public",
            ),
            (
                "https://example.org/kasm/api",
                "https://example.org/kasm/api/public",
            ),
            ("http://127.0.0.1:9", "http://127.0.0.1:9/api/public"),
            ("https://[::1]:8443", "https://[::1]:8443/api/public"),
        ] {
            assert_eq!(Server::parse(text).expect(text).api(), api);
        }
        for (text, wrong) in [
            ("", AddressError::Malformed),
            ("https://", AddressError::Malformed),
            ("https://me:pw@kasm.example.org", AddressError::Userinfo),
            ("https://kasm.example.org?x=1", AddressError::Query),
            ("ftp://kasm.example.org", AddressError::Scheme),
        ] {
            assert_eq!(Server::parse(text), Err(wrong), "{text}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_number() {
        let local = |text| Server::parse(text).expect(text).is_loopback();
        assert!(local("http://127.0.0.1:1") && local("http://[::1]") && local("http://localhost"));
        assert!(!local("http://127.0.0.1.example.org") && !local("http://10.0.0.1"));
    }
}
