//! A desktop asked over HTTP.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::TlsConfig;

use crate::container::Reach;

/// How long one HTTP request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// No answer that is read is larger: a picture of a large screen.
const BODY: u64 = 64 << 20;

/// Where a desktop is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// Asks a desktop for its first page, with TLS, then without.
pub(crate) fn answer(reach: &Reach) -> Option<Address> {
    let tls = [true, false]
        .into_iter()
        .find(|tls| matches!(request(reach, *tls, "/"), Ok(200 | 401)))?;
    Some(Address {
        host: reach.host.clone(),
        port: reach.port,
        tls,
    })
}

/// The status an HTTP request is answered with.
pub(crate) fn request(reach: &Reach, tls: bool, path: &str) -> Result<u16, ureq::Error> {
    let address = Address {
        host: reach.host.clone(),
        port: reach.port,
        tls,
    };
    Ok(get(&address, path, None)?.0)
}

/// The status and the body an HTTP request is answered with, perhaps with a login. Redirects are
/// answers, not invitations. Of a body no more is read than a picture has.
pub(crate) fn get(
    address: &Address,
    path: &str,
    login: Option<(&str, &str)>,
) -> Result<(u16, Vec<u8>), ureq::Error> {
    // A desktop makes its own certificate at its first start.
    let tls_config = TlsConfig::builder().disable_verification(true).build();
    let agent: Agent = Agent::config_builder()
        .tls_config(tls_config)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST))
        .build()
        .into();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut request = agent.get(format!("{address}{slash}{path}"));
    if let Some((user, password)) = login {
        request = request.header("Authorization", basic(user, password));
    }
    let mut response = request.call()?;
    let status = response.status().as_u16();
    let body = match login {
        Some(_) => response
            .body_mut()
            .with_config()
            .limit(BODY)
            .read_to_vec()?,
        None => Vec::new(),
    };
    Ok((status, body))
}

/// A login as HTTP's basic scheme writes it (RFC 7617), in base64 (RFC 4648).
fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "Basic ".to_owned();
    for chunk in format!("{user}:{password}").as_bytes().chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            text.push(match index <= chunk.len() {
                true => char::from(DIGITS[(bits >> (18 - 6 * index) & 63) as usize]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 7617 and RFC 4648.
    #[test]
    fn logins_are_written_as_the_standard_has_it() {
        assert_eq!(
            basic("Aladdin", "open sesame"),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(basic("", ""), "Basic Og==");
        assert_eq!(basic("fo", ""), "Basic Zm86");
        assert_eq!(basic("a", "bc"), "Basic YTpiYw==");
    }

    #[test]
    fn addresses_are_urls() {
        let address = |host: &str, tls| {
            Address {
                host: host.into(),
                port: 6901,
                tls,
            }
            .to_string()
        };
        assert_eq!(address("127.0.0.1", true), "https://127.0.0.1:6901");
        assert_eq!(address("::1", false), "http://[::1]:6901");
    }
}
