//! A request that is sent, again where that is safe, and what it means that it failed.

use std::io;
use std::thread::sleep;

use super::client::Client;
use super::{Error, Loss, Trust};

/// The largest answer that is read. A server with a thousand images sends about 5 MB.
const LARGEST: u64 = 32_000_000;

impl Client {
    /// Sends a request, again where that is safe, and reads the answer.
    pub(super) fn repeated(
        &self,
        endpoint: &'static str,
        loss: Loss,
        send: impl Fn() -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<(u16, Vec<u8>), Error> {
        let mut pauses = self.settings().pauses.iter();
        loop {
            let answered = send()
                .map_err(|error| self.failed(endpoint, loss, error))
                .and_then(|response| self.received(endpoint, loss, response));
            let again = match &answered {
                Err(Error::Unreachable { .. }) => true,
                Err(Error::Lost { .. }) => loss == Loss::Harmless,
                // What stands before the API answers so while the API starts.
                Ok((502..=504, _)) => loss == Loss::Harmless,
                _ => false,
            };
            match pauses.next() {
                Some(pause) if again => {
                    tracing::info!("{endpoint}: trying again in {} ms", pause.as_millis());
                    sleep(*pause);
                }
                _ => return answered,
            }
        }
    }

    fn received(
        &self,
        endpoint: &'static str,
        loss: Loss,
        response: ureq::http::Response<ureq::Body>,
    ) -> Result<(u16, Vec<u8>), Error> {
        let status = response.status().as_u16();
        if (300..400).contains(&status) {
            let to = response.headers().get("location");
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or_default();
            return Err(Error::Redirected {
                server: self.server().clone(),
                endpoint,
                status,
                to: self.shown(&elsewhere(to)),
            });
        }
        let body = response.into_body();
        let read = body.into_with_config().limit(LARGEST).read_to_vec();
        match read {
            Ok(bytes) => Ok((status, bytes)),
            Err(ureq::Error::BodyExceedsLimit(limit)) => Err(Error::TooLarge { endpoint, limit }),
            Err(error) => Err(self.lost(endpoint, loss, error)),
        }
    }

    /// What a failure to send means.
    fn failed(&self, endpoint: &'static str, loss: Loss, error: ureq::Error) -> Error {
        if let Some(seen) = self.seen()
            && let Some(why) = seen.problem
        {
            let server = self.server().clone();
            return match self.settings().trust {
                Trust::Pinned(pinned) => Error::OtherCertificate {
                    server,
                    pinned,
                    found: seen.fingerprint,
                },
                _ => Error::NotTrusted {
                    server,
                    fingerprint: seen.fingerprint,
                    why,
                },
            };
        }
        if is_before_sending(&error) {
            return Error::Unreachable {
                server: self.server().clone(),
                source: Box::new(error),
            };
        }
        self.lost(endpoint, loss, error)
    }

    fn lost(&self, endpoint: &'static str, loss: Loss, error: ureq::Error) -> Error {
        Error::Lost {
            server: self.server().clone(),
            endpoint,
            loss,
            source: Box::new(error),
        }
    }
}

/// Whether a failure came before the server could have read the request.
fn is_before_sending(error: &ureq::Error) -> bool {
    use ureq::{Error as E, Timeout};
    match error {
        E::HostNotFound
        | E::ConnectionFailed
        | E::ConnectProxyFailed(_)
        | E::Tls(_)
        | E::Rustls(_)
        | E::BadUri(_)
        | E::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        E::Io(error) => {
            use io::ErrorKind as K;
            matches!(
                error.kind(),
                K::ConnectionRefused
                    | K::HostUnreachable
                    | K::NetworkUnreachable
                    | K::AddrNotAvailable
                    | K::InvalidData
            ) || error.to_string().contains("failed to lookup address")
        }
        _ => false,
    }
}

/// Where a redirection leads: no path and no query, which could hold anything.
fn elsewhere(location: &str) -> String {
    match location.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}")
        }
        None if location.is_empty() => "nowhere".into(),
        None => "another path of its own".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::elsewhere;

    #[test]
    fn redirections_are_told_without_their_paths() {
        for (location, told) in [
            (
                "https://other.example.org/x?api_key=abc",
                "https://other.example.org",
            ),
            (
                "https://me:pw@other.example.org:8443",
                "https://other.example.org:8443",
            ),
            ("/login", "another path of its own"),
            ("", "nowhere"),
        ] {
            assert_eq!(elsewhere(location), told);
        }
    }
}
