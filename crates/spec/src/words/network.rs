//! Ports, addresses and references.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::names::is_component;
use super::paths::Absolute;
use super::{Complaint, Word, word};
use super::{all, begins, words};

/// Whether a text is a number of a port, written plainly.
fn is_port(text: &str) -> bool {
    all(text, |c| c.is_ascii_digit()) && !text.starts_with('0') && text.parse::<u16>().is_ok()
}

/// Splits `6901/tcp` into number and protocol; TCP where none is named.
fn port_and_protocol(text: &str) -> Option<(&str, &str)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    (is_port(port) && matches!(protocol, "tcp" | "udp")).then_some((port, protocol))
}

/// How a port is written in the model: its protocol only if it is not TCP.
fn plain_port(port: &str, protocol: &str) -> String {
    match protocol {
        "tcp" => port.to_owned(),
        other => format!("{port}/{other}"),
    }
}

/// A port of the container: `6901`, `6901/tcp`, `6901/udp`. Kept without `/tcp`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImagePort(pub(crate) String);

impl Word for ImagePort {
    const KIND: &'static str = "a port";
    const PATTERN: &'static str = "^[1-9][0-9]{0,4}(/(tcp|udp))?$";

    fn read(text: &str) -> Result<ImagePort, Complaint> {
        match port_and_protocol(text) {
            Some((port, protocol)) => Ok(ImagePort(plain_port(port, protocol))),
            None => Err(Complaint::new(
                "a number from 1 to 65535 is wanted, perhaps with `/udp`",
            )),
        }
    }
}

word!(ImagePort);

/// A published port: `[address:]host:container[/protocol]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Publish {
    /// The address and port on the host, with the protocol: what can be taken only once.
    pub(crate) host: String,
    /// The port of the container, with the protocol.
    pub(crate) container: String,
    /// The whole as the model has it.
    pub(crate) text: String,
}

impl Word for Publish {
    const KIND: &'static str = "a published port";
    const PATTERN: &'static str =
        "^(([0-9.]+|\\[[0-9a-fA-F:.]+\\]):)?[1-9][0-9]{0,4}:[1-9][0-9]{0,4}(/(tcp|udp))?$";

    fn read(text: &str) -> Result<Publish, Complaint> {
        let parts = || {
            let (host, container) = text.rsplit_once(':')?;
            let (container, protocol) = port_and_protocol(container)?;
            let (address, port) = match host.rsplit_once(':') {
                Some((address, port)) => (Some(address), port),
                None => (None, host),
            };
            let good = address.is_none_or(is_address) && is_port(port);
            good.then(|| Publish {
                host: plain_port(host, protocol),
                container: plain_port(container, protocol),
                text: format!("{host}:{}", plain_port(container, protocol)),
            })
        };
        parts().ok_or_else(|| {
            let complaint = Complaint::new("`[address:]host:container[/udp]` is wanted");
            match port_and_protocol(text) {
                Some((port, _)) => complaint.help(format!("write `{port}:{text}`")),
                None => complaint.help("as in `6901:6901` or `127.0.0.1:6901:6901`"),
            }
        })
    }
}

word!(Publish);

fn is_address(text: &str) -> bool {
    let v6 = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match v6 {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<Ipv4Addr>().is_ok(),
    }
}

/// A volume: `name:/path` or `/host/path:/path`, perhaps with options.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Volume {
    /// Where it stands in the container.
    pub(crate) target: String,
    /// The whole as it was written.
    pub(crate) text: String,
}

impl Word for Volume {
    const KIND: &'static str = "a volume";
    const PATTERN: &'static str = "^[^:]+:/[^:]*(:[^:]+)?$";

    fn read(text: &str) -> Result<Volume, Complaint> {
        /// What engines know; anything else they refuse only when the container is made.
        const OPTIONS: [&str; 12] = [
            "ro",
            "rw",
            "z",
            "Z",
            "nocopy",
            "private",
            "rprivate",
            "shared",
            "rshared",
            "slave",
            "rslave",
            "consistent",
        ];
        let shape = || {
            Complaint::new("`name:/path` or `/host/path:/path` is wanted").help(
                "a folder of the host is named by its absolute path; add `:ro` to forbid writing",
            )
        };
        let mut parts = text.split(':');
        let (Some(source), Some(target), options, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        let named = begins(
            source,
            |c| c.is_ascii_alphanumeric(),
            |c| c.is_ascii_alphanumeric() || "_.-".contains(c),
        );
        if !named && Absolute::read(source).is_err()
            || Absolute::read(target).is_err()
            || target == "/"
        {
            return Err(shape());
        }
        let unknown =
            options.and_then(|options| options.split(',').find(|option| !OPTIONS.contains(option)));
        if unknown.is_some() {
            return Err(Complaint::new("this option of a volume is not known")
                .help(format!("the options are: {}", OPTIONS.join(", "))));
        }
        Ok(Volume {
            target: target.to_owned(),
            text: text.to_owned(),
        })
    }
}

word!(Volume);

/// Whether a text is a repository's name: components between `/`, a registry's host perhaps first.
fn is_repository(text: &str) -> bool {
    /// More is refused by registries.
    const LONGEST: usize = 255;
    let (host, path) = match text.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            (Some(host), path)
        }
        _ => (None, text),
    };
    let good_host = |host: &str| {
        let (name, port) = host.split_once(':').unwrap_or((host, "443"));
        is_port(port)
            && name
                .split('.')
                .all(|part| all(part, |c| c.is_ascii_alphanumeric() || c == '-'))
    };
    text.len() <= LONGEST && host.is_none_or(good_host) && path.split('/').all(is_component)
}

fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // What is written here is committed, kept in the lock and shown.
    if host.contains('@') {
        return false;
    }
    all(rest, |c| c.is_ascii_graphic()) && host.contains(|c: char| c.is_ascii_alphanumeric())
}

words! {
    /// A web address.
    Url = "a web address", "^https?://[^ ]+$", is_url,
        "an address that begins with `https://` or `http://` is wanted, without spaces or a password",
        "a login for it belongs into ~/.netrc or a variable: see docs/archives.md";

    /// A repository of images.
    Repository = "a repository", "^[a-z0-9.:_/-]+$", is_repository,
        "`name`, `group/name` or `registry.example/group/name` is wanted, in small letters",
        "a tag does not belong to it: `image.tags` has those";

    /// A tag of an image.
    Tag = "a tag", "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$",
        |text| text.len() <= 128
            && begins(text, |c| c.is_ascii_alphanumeric() || c == '_', |c| c.is_ascii_alphanumeric() || "_.-".contains(c)),
        "at most 128 letters, digits, `_`, `.` and `-` are wanted";

    /// The path of an HTTP request.
    HttpPath = "a path of a web address", "^/[^ ]*$",
        |text| text.starts_with('/') && all(text, |c| c.is_ascii_graphic()),
        "a path that begins with `/` is wanted, without spaces";
}

/// A SHA-256 digest: 64 hexadecimal digits. Kept in small letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sha256(pub(crate) String);

impl Word for Sha256 {
    const KIND: &'static str = "a SHA-256 digest";
    const PATTERN: &'static str = "^[0-9a-fA-F]{64}$";

    fn read(text: &str) -> Result<Sha256, Complaint> {
        /// Four bits to a digit.
        const DIGITS: usize = 64;
        let hexadecimal = all(text, |c| c.is_ascii_hexdigit());
        if hexadecimal && text.len() == DIGITS {
            return Ok(Sha256(text.to_ascii_lowercase()));
        }
        let label = if hexadecimal {
            format!("64 hexadecimal digits are wanted, these are {}", text.len())
        } else {
            "64 hexadecimal digits are wanted".to_owned()
        };
        let complaint = Complaint::new(label);
        Err(match text.strip_prefix("sha256:") {
            Some(_) => complaint.help("leave out `sha256:`"),
            None => complaint.help(
                "leave the key out, and the lock will take the digest of what is fetched first",
            ),
        })
    }
}

word!(Sha256);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_published_in_one_shape() {
        for (text, written) in [
            ("6901:6901", Some("6901:6901")),
            ("6901:6901/tcp", Some("6901:6901")),
            ("53:53/udp", Some("53:53/udp")),
            ("127.0.0.1:6901:6901", Some("127.0.0.1:6901:6901")),
            ("[::1]:6901:6901", Some("[::1]:6901:6901")),
            ("::1:6901:6901", None),
            ("localhost:6901:6901", None),
            ("6901", None),
            ("0:6901", None),
            ("6901:65536", None),
            ("06901:6901", None),
            ("6901:6901/sctp", None),
            ("6900-6901:6901", None),
            ("", None),
            (":", None),
        ] {
            let read = Publish::read(text).ok().map(|publish| publish.text);
            assert_eq!(read.as_deref(), written, "{text}");
        }
    }

    #[test]
    fn repositories_are_what_registries_take() {
        for (text, good) in [
            ("kasmforge/desktop", true),
            ("desktop", true),
            ("ghcr.example/a-h/x_y/z.1", true),
            ("localhost:5000/desktop", true),
            ("localhost/desktop", true),
            ("Desktop", false),
            ("kasmforge/desktop:latest", false),
            ("kasmforge//desktop", false),
            ("/desktop", false),
            ("registry.example:x/desktop", false),
            ("a--b", false),
            ("", false),
        ] {
            assert_eq!(is_repository(text), good, "{text}");
        }
    }

    #[test]
    fn volumes_name_a_source_and_a_target() {
        for (text, good) in [
            ("home:/home/kasm-user", true),
            ("/srv/data:/data:ro", true),
            ("/srv/data:/data:ro,z", true),
            ("./data:/data", false),
            ("home", false),
            ("home:data", false),
            ("home:/", false),
            ("home:/data:rx", false),
            ("a:/b:ro:c", false),
            (":/data", false),
        ] {
            assert_eq!(Volume::read(text).is_ok(), good, "{text}");
        }
    }
}
