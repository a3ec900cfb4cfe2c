//! Addresses: which belong to one server, and where an answer points.

/// The registry that a name without one means.
const DOCKER_HUB: &str = "docker.io";

/// Where Docker Hub answers; its name is none of a server's.
const DOCKER_HUB_SERVER: &str = "registry-1.docker.io";

/// The server that keeps a registry's images.
pub(crate) fn server(registry: &str) -> &str {
    if registry == DOCKER_HUB {
        DOCKER_HUB_SERVER
    } else {
        registry
    }
}

/// Whether a host, with or without a port, is this very machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name == "::1"
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The scheme of an address, and its host with the port if one is named.
pub(crate) fn parts(address: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    // A name before the host is somebody's login, and no place for one.
    let host = host.rsplit('@').next()?;
    (!scheme.is_empty() && !host.is_empty()).then_some((scheme, host))
}

/// The host of an address.
pub(crate) fn host(address: &str) -> &str {
    parts(address).map_or(address, |(_, host)| host)
}

/// Whether two addresses are of one server, reached in one way: only then may it hear a secret of
/// the other.
pub(crate) fn same_server(one: &str, other: &str) -> bool {
    let full = |address: &str| {
        let (scheme, host) = parts(address)?;
        let scheme = scheme.to_ascii_lowercase();
        let mut host = host.to_ascii_lowercase();
        if !host.rsplit(']').next().unwrap_or_default().contains(':') {
            host.push_str(if scheme == "https" { ":443" } else { ":80" });
        }
        Some((scheme, host))
    };
    full(one).is_some_and(|one| Some(one) == full(other))
}

/// Where an answer to a request at `base` points: another address, a path there, or a path beside.
pub(crate) fn resolve(base: &str, location: &str) -> Option<String> {
    if location.contains("://") {
        let (scheme, _) = parts(location)?;
        return ["http", "https"]
            .contains(&scheme.to_ascii_lowercase().as_str())
            .then(|| location.to_owned());
    }
    let (scheme, host) = parts(base)?;
    if let Some(rest) = location.strip_prefix("//") {
        return Some(format!("{scheme}://{rest}"));
    }
    if location.starts_with('/') {
        return Some(format!("{scheme}://{host}{location}"));
    }
    let plain = base.split(['?', '#']).next()?;
    if location.starts_with('?') {
        return Some(format!("{plain}{location}"));
    }
    let folder = &plain[..=plain.rfind('/')?];
    (folder.len() > scheme.len() + 3).then(|| format!("{folder}{location}"))
}

/// An address with one more parameter.
pub(crate) fn with(address: &str, name: &str, value: &str) -> String {
    let joint = if address.contains('?') { '&' } else { '?' };
    format!("{address}{joint}{name}={}", encoded(value))
}

/// A parameter's value as addresses have it (RFC 3986, section 3.4).
pub(crate) fn encoded(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// An address as it may be shown: without its parameters, which may be secrets.
pub(crate) fn shown(address: &str) -> String {
    let plain = address.split(['?', '#']).next().unwrap_or_default();
    match parts(plain) {
        Some((scheme, host)) => {
            let path = plain[scheme.len() + 3..].split_once('/');
            format!("{scheme}://{host}/{}", path.map_or("", |(_, path)| path))
        }
        None => plain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_point_anywhere() {
        let base = "https://a.test:5000/v2/x/blobs/uploads/1?_state=2";
        for (location, address) in [
            ("/v2/y", Some("https://a.test:5000/v2/y")),
            ("https://b.test/u?s=1", Some("https://b.test/u?s=1")),
            ("//b.test/u", Some("https://b.test/u")),
            (
                "?_state=3",
                Some("https://a.test:5000/v2/x/blobs/uploads/1?_state=3"),
            ),
            ("2", Some("https://a.test:5000/v2/x/blobs/uploads/2")),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(resolve(base, location).as_deref(), address, "{location}");
        }
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        for (one, other, same) in [
            ("https://a.test/x", "https://A.test:443/y", true),
            ("https://a.test", "http://a.test", false),
            ("http://a.test:80/", "http://a.test", true),
            ("https://a.test", "https://a.test:5000", false),
            ("https://a.test", "https://b.a.test", false),
            ("https://a.test@b.test/", "https://a.test/", false),
            ("http://[::1]:80/", "http://[::1]", true),
        ] {
            assert_eq!(same_server(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn this_machine_has_several_names() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "127.3.2.1",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.test", "128.0.0.1", "127.0.0.1.test", "registry"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn parameters_are_not_shown() {
        assert_eq!(
            shown("https://me:word@a.test/u?token=1"),
            "https://a.test/u"
        );
        assert_eq!(
            with("http://a/u?x=1", "service", "a b"),
            "http://a/u?x=1&service=a%20b"
        );
    }
}
