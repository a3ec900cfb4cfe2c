//! The proxy, and whom it is not asked for.

/// Reads a proxy's address, and the hosts that are asked without it.
pub(crate) fn parse(text: &str, except: &str) -> Result<ureq::Proxy, ureq::Error> {
    let given = ureq::Proxy::new(text)?;
    // The hosts can only be told to a builder.
    let mut builder = ureq::Proxy::builder(given.protocol())
        .host(given.host())
        .port(given.port())
        .resolve_target(given.resolve_target());
    if let Some(user) = given.username() {
        builder = builder.username(user);
    }
    if let Some(password) = given.password() {
        builder = builder.password(password);
    }
    let hosts = except.split(',').map(str::trim);
    for host in hosts.filter(|host| !host.is_empty()) {
        builder = builder.no_proxy(host);
    }
    builder.build()
}

/// The address without a user's name and password.
pub(crate) fn shown(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    match scheme {
        "" => host.to_owned(),
        scheme => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_may_have_exceptions() {
        let proxy = parse("http://me:x@proxy.test:3128", "a.test, .b.test,").expect("right");
        assert_eq!(
            (proxy.host(), proxy.port(), proxy.username()),
            ("proxy.test", 3128, Some("me"))
        );
        let asks =
            |uri: &str| !proxy.is_no_proxy(&uri.parse::<ureq::http::Uri>().expect("an address"));
        assert!(asks("http://c.test/") && !asks("http://a.test/"));
    }

    #[test]
    fn passwords_are_not_shown() {
        for (text, told) in [
            ("http://me:a@b@proxy.test:3128/", "http://proxy.test:3128/"),
            ("me:a@proxy.test", "proxy.test"),
            ("proxy.test", "proxy.test"),
        ] {
            assert_eq!(shown(text), told);
        }
    }
}
