//! Addresses of mirrors, and of files below them.

use std::fmt::Write as _;

use crate::Error;

/// Checks a base address and removes its last slashes.
///
/// # Errors
/// As [`check`].
pub(crate) fn base(text: &str) -> Result<String, Error> {
    check(text)?;
    Ok(text.trim_end_matches('/').to_owned())
}

/// Checks that an address can be fetched from.
///
/// # Errors
/// Refuses what is not `http://host…`, `https://host…` or `file:/…`.
pub(crate) fn check(text: &str) -> Result<(), Error> {
    let refused = |why| Error::Address {
        address: text.into(),
        why,
    };
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(refused("it has blanks in it"));
    }
    let (scheme, rest) = text.split_once(':').ok_or_else(|| {
        refused(
            "it has no scheme; write http://…, https://… or file:/…, with the folder that \
                 holds `dists` and `pool`",
        )
    })?;
    let right = match scheme {
        "http" | "https" => rest
            .strip_prefix("//")
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')),
        "file" => rest.starts_with('/'),
        _ => return Err(refused("only http, https and file can be fetched from")),
    };
    if !right {
        return Err(refused("it names no host, or no absolute path"));
    }
    Ok(())
}

/// The address of a file below a base, or the path itself if it is an address already.
pub(crate) fn join(base: &str, path: &str) -> String {
    if is_absolute(path) {
        return path.to_owned();
    }
    let mut address = base.trim_end_matches('/').to_owned();
    address.push('/');
    encode(path.trim_start_matches("./"), &mut address);
    address
}

/// Whether a text is a whole address rather than a path below a mirror.
pub(crate) fn is_absolute(path: &str) -> bool {
    ["http://", "https://", "file:/"]
        .iter()
        .any(|scheme| path.starts_with(scheme))
}

/// Writes a path as it stands in a request.
///
/// `%` because pools hold files whose very names have `%3a` in them; `+` because some object
/// stores read it as a blank. Apt writes both the same way.
fn encode(path: &str, address: &mut String) {
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => address.push(char::from(byte)),
            b'/' | b'-' | b'_' | b'.' | b'~' | b':' | b'@' | b'!' | b'=' | b',' => {
                address.push(char::from(byte));
            }
            _ => write!(address, "%{byte:02x}").expect("writing to a String does not fail"),
        }
    }
}

/// The path of a `file:` address.
pub(crate) fn file_path(address: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let rest = address.strip_prefix("file:")?;
    // `file:///path`, `file://localhost/path` and apt's own `file:/path`.
    let rest = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    Some(std::ffi::OsString::from_vec(decoded(rest)).into())
}

/// The bytes of a text without `%40` and its like.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.as_bytes();
    while let [first, tail @ ..] = left {
        let digit = |at: usize| tail.get(at).and_then(|b| char::from(*b).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits"));
            left = &tail[2..];
        } else {
            bytes.push(*first);
            left = tail;
        }
    }
    bytes
}

/// The host of an address, for messages.
pub(crate) fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

/// The address without a user's name and password, for messages.
pub(crate) fn shown(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            match rest[..end].rfind('@') {
                Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
                None => address.to_owned(),
            }
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_and_encodes_as_apt_does() {
        for (path, wanted) in [
            (
                "pool/g/g++_12.2.0-3_amd64.deb",
                "pool/g/g%2b%2b_12.2.0-3_amd64.deb",
            ),
            ("pool/x_1%3a2~rc1.deb", "pool/x_1%253a2~rc1.deb"),
            ("./x 1.deb", "x%201.deb"),
        ] {
            assert_eq!(
                join("http://mirror.test/debian/", path),
                format!("http://mirror.test/debian/{wanted}")
            );
        }
        assert_eq!(
            join("http://a.test", "https://b.test/c+d"),
            "https://b.test/c+d"
        );
    }

    #[test]
    fn file_addresses_are_paths() {
        for (address, path) in [
            ("file:/srv/a", "/srv/a"),
            ("file:///srv/a%20b", "/srv/a b"),
            ("file://localhost/srv/100%", "/srv/100%"),
        ] {
            assert_eq!(
                file_path(address).as_deref(),
                Some(path.as_ref()),
                "{address}"
            );
        }
    }

    #[test]
    fn refuses_what_cannot_be_fetched_from() {
        for address in [
            "mirror.test/debian",
            "ftp://a.test/",
            "http://",
            "http:///x",
            "file:x",
            "http://a b",
        ] {
            assert!(base(address).is_err(), "{address}");
        }
        assert_eq!(
            base("http://a.test/debian//").expect("right"),
            "http://a.test/debian"
        );
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("https://me:secret@a.test/x@y"), "https://a.test/x@y");
        assert_eq!(host("https://me:secret@a.test:80/x@y"), "a.test:80");
    }
}
