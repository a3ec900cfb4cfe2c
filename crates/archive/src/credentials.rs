//! Logins for private archives: known by address, sent to nobody else, shown to nobody.
//!
//! They come from netrc files, from apt's `auth.conf` (apt_auth.conf(5): the same form, with a path
//! behind the host), or singly from the caller. One that names no scheme goes over https only, as
//! apt has it.

use std::fmt;

use crate::address;

/// Logins, in the order in which they are tried: the first that fits an address is sent.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    place: Place,
    secret: Secret,
    /// Where it was found, for messages.
    origin: String,
}

/// What a login is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// `http` or `https`.
    scheme: String,
    /// The host, with its port where one is named.
    host: String,
    /// What paths begin with.
    path: String,
}

/// What is sent: the value of the header `Authorization`.
#[derive(Clone)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A login that is sent to an address.
#[derive(Clone, Copy)]
pub(crate) struct Login<'a> {
    /// The value of the header `Authorization`.
    pub(crate) header: &'a str,
    /// Where it was found, for messages.
    pub(crate) origin: &'a str,
}

impl Credentials {
    /// No logins.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Reads a netrc file, or one of apt's `auth.conf`: `machine HOST[/PATH] login USER password
    /// WORD`, in any layout. `default` and macros are passed over: a login for everybody is none.
    ///
    /// `origin` is the file's name, for messages. What cannot be read is passed over, because other
    /// programs' entries stand in these files, too.
    pub fn add_netrc(&mut self, text: &str, origin: &str) {
        let mut place = None;
        let mut login = None;
        let mut words = words(text).into_iter();
        let mut password = None;
        let mut macros = false;
        loop {
            let word = words.next();
            let begins = matches!(word, None | Some("machine" | "default" | "macdef"));
            if begins {
                if let (Some(place), Some(login), Some(password)) =
                    (place.take(), login.take(), password.take())
                {
                    self.entries.push(Entry {
                        place,
                        secret: basic(login, password),
                        origin: origin.into(),
                    });
                }
                (login, password) = (None, None);
            }
            match word {
                None => return,
                Some("machine") => {
                    macros = false;
                    place = words.next().and_then(machine);
                }
                Some("default") => macros = false,
                Some("macdef") => macros = true,
                _ if macros => {}
                Some("login") => login = words.next(),
                Some("password") => password = words.next(),
                Some("account") => {
                    words.next();
                }
                Some(_) => {}
            }
        }
    }

    /// Adds a user and a password for all below an address.
    pub fn add_basic(&mut self, base: &str, user: &str, password: &str, origin: &str) {
        self.add(base, basic(user, password), origin);
    }

    /// Adds a token for all below an address, sent as `Authorization: Bearer`.
    pub fn add_bearer(&mut self, base: &str, token: &str, origin: &str) {
        self.add(base, Secret(format!("Bearer {token}")), origin);
    }

    fn add(&mut self, base: &str, secret: Secret, origin: &str) {
        if let Some(place) = parts(base) {
            self.entries.push(Entry {
                place,
                secret,
                origin: origin.into(),
            });
        }
    }

    /// Adds all logins of another list behind those of this one.
    pub fn append(&mut self, other: &Self) {
        self.entries.extend(other.entries.iter().cloned());
    }

    /// Takes a user and a password out of an address (`https://me:word@host/…`), so that it can be
    /// shown and kept, and remembers them for it. Gives the address without them.
    #[must_use]
    pub fn take_from(&mut self, address: &str) -> String {
        let bare = address::shown(address);
        if bare != address
            && let Some((_, rest)) = address.split_once("://")
            && let Some((user, _)) = rest.rsplit_once('@')
        {
            let (user, password) = user.split_once(':').unwrap_or((user, ""));
            self.add_basic(&bare, &decoded(user), &decoded(password), "its address");
        }
        bare
    }

    /// The login for an address.
    pub(crate) fn login(&self, address: &str) -> Option<Login<'_>> {
        let wanted = parts(address)?;
        let plain = |host: &str| host.split(':').next().map(str::to_ascii_lowercase);
        let entry = self.entries.iter().find(|entry| {
            let place = &entry.place;
            let host = if place.host.contains(':') {
                place.host.eq_ignore_ascii_case(&wanted.host)
            } else {
                plain(&place.host) == plain(&wanted.host)
            };
            host && place.scheme == wanted.scheme && is_below(&wanted.path, &place.path)
        })?;
        Some(Login {
            header: &entry.secret.0,
            origin: &entry.origin,
        })
    }
}

/// Whether a path is a folder, or below it.
fn is_below(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What stands in a netrc file, without its remarks.
fn words(text: &str) -> Vec<&str> {
    text.lines()
        .flat_map(|line| {
            let line = line.trim_start();
            let line = if line.starts_with('#') { "" } else { line };
            line.split_ascii_whitespace()
        })
        .collect()
}

/// What an entry `machine` names: over https, unless it says otherwise.
fn machine(word: &str) -> Option<Place> {
    if word.contains("://") {
        parts(word)
    } else {
        parts(&format!("https://{word}"))
    }
}

fn parts(address: &str) -> Option<Place> {
    let (scheme, rest) = address.split_once("://")?;
    if scheme != "http" && scheme != "https" {
        return None;
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    (!host.is_empty()).then(|| Place {
        scheme: scheme.into(),
        host: host.into(),
        path: format!("/{path}"),
    })
}

fn basic(user: &str, password: &str) -> Secret {
    Secret(format!(
        "Basic {}",
        base64(format!("{user}:{password}").as_bytes())
    ))
}

/// A text without `%40` and its like.
fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&address::decoded(text)).into_owned()
}

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * at) & 63).expect("six bits");
            let digit = if at <= chunk.len() {
                DIGITS[digit]
            } else {
                b'='
            };
            text.push(char::from(digit));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn netrc(text: &str) -> Credentials {
        let mut credentials = Credentials::none();
        credentials.add_netrc(text, "netrc");
        credentials
    }

    fn sent(credentials: &Credentials, address: &str) -> Option<String> {
        let login = credentials.login(address)?;
        Some(login.header.to_owned())
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_login_goes_where_its_entry_says_and_nowhere_else() {
        let credentials = netrc(
            "# machine evil.test login no password no\n\
             machine a.test/debian login me password word\n\
             macdef init\n  machine-like words\n\n\
             machine http://plain.test login me\n  account x password word\n\
             machine b.test:8443 login me password word\n\
             machine half.test login me\n\
             default login all password all\n",
        );
        let word = Some("Basic bWU6d29yZA==".to_owned());
        for (address, expected) in [
            ("https://a.test/debian", &word),
            ("https://A.test/debian/pool/x.deb", &word),
            ("https://a.test:444/debian/x", &word),
            ("https://a.test/debian-security/x", &None),
            ("https://a.test/", &None),
            ("http://a.test/debian/x", &None),
            ("https://sub.a.test/debian/x", &None),
            ("http://plain.test/x", &word),
            ("https://plain.test/x", &None),
            ("https://b.test:8443/", &word),
            ("https://b.test/", &None),
            ("https://half.test/", &None),
            ("https://evil.test/", &None),
            ("https://other.test/", &None),
            ("file:/a.test/debian", &None),
        ] {
            assert_eq!(sent(&credentials, address), *expected, "{address}");
        }
    }

    #[test]
    fn an_address_gives_its_password_away_to_itself_only() {
        let mut credentials = Credentials::none();
        let bare = credentials.take_from("https://me:w%40rd@a.test/debian");
        assert_eq!(bare, "https://a.test/debian");
        let header = sent(&credentials, "https://a.test/debian/x").expect("its own");
        assert_eq!(header, format!("Basic {}", base64(b"me:w@rd")));
        assert_eq!(sent(&credentials, "https://b.test/debian/x"), None);
        assert_eq!(
            credentials.take_from("https://b.test/x"),
            "https://b.test/x"
        );
        assert!(!format!("{credentials:?}").contains(&base64(b"me:w@rd")));
    }

    #[test]
    fn tokens_are_bearers() {
        let mut credentials = Credentials::none();
        credentials.add_bearer("https://a.test/debian/", "abc", "a variable");
        assert_eq!(
            sent(&credentials, "https://a.test/debian/dists/x").as_deref(),
            Some("Bearer abc")
        );
    }
}
