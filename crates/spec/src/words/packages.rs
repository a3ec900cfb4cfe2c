//! How packages and archives are named. Only shapes: what they mean is another room's.

use super::{Complaint, Word, word};
use super::{all, begins, small, words};

/// Whether a text is a package's name (Debian Policy 5.6.1).
fn is_package(text: &str) -> bool {
    text.len() >= 2 && begins(text, small, |c| small(c) || "+.-".contains(c))
}

/// Whether a text is a version (Debian Policy 5.6.12), as far as its characters go.
fn is_version(text: &str) -> bool {
    begins(
        text,
        |c| c.is_ascii_digit(),
        |c| c.is_ascii_alphanumeric() || ".+-~:".contains(c),
    )
}

fn is_suite(text: &str) -> bool {
    !text.split('/').any(|part| part == "..")
        && begins(
            text,
            |c| c.is_ascii_alphanumeric() || c == '.',
            |c| c.is_ascii_alphanumeric() || ".+~_/-".contains(c),
        )
}

/// A request for a package: `name`, `name:arch`, and at most one of `=version`, ` (op version)`,
/// `/suite`. Or for all packages of a priority: `?priority(required)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    /// The package's name; of a priority's packages the whole request.
    pub(crate) name: String,
    /// The whole as it was written, but with one space before and none in the brackets' edges.
    pub(crate) text: String,
}

impl Word for Request {
    const KIND: &'static str = "a request for a package";
    const PATTERN: &'static str = "^(\\?priority\\((required|important|standard)\\)|[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?(=[^ ]+|/[^ ]+| *\\([<>=]+ *[^ ]+\\))?)$";

    fn read(text: &str) -> Result<Request, Complaint> {
        if text.starts_with('?') {
            let known = ["required", "important", "standard"];
            let known = known.map(|priority| format!("?priority({priority})"));
            return match known.iter().any(|known| known == text) {
                true => Ok(Request {
                    name: text.to_owned(),
                    text: text.to_owned(),
                }),
                false => Err(Complaint::new(
                    "of apt's patterns only those of priorities are known",
                )
                .help(format!("they are `{}`", known.join("`, `")))),
            };
        }
        let end = text.find(['=', '/', '(']).unwrap_or(text.len());
        let (package, rest) = text.split_at(end);
        let package = if rest.starts_with('(') {
            package.trim_end_matches(' ')
        } else {
            package
        };
        let (name, architecture) = match package.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture)),
            None => (package, None),
        };
        if !is_package(name) {
            let complaint =
                Complaint::new("a package's name begins it: small letters, digits, `+`, `-`, `.`");
            let words = text.split([' ', ',']).filter(|word| !word.is_empty());
            let names: Vec<String> = words.clone().map(|word| format!("\"{word}\"")).collect();
            return Err(match names.len() {
                // A line of a shell script, pasted.
                2.. if words.clone().all(is_package) => {
                    complaint.help(format!("name each package by itself: {}", names.join(", ")))
                }
                _ => complaint,
            });
        }
        if architecture.is_some_and(|architecture| !all(architecture, |c| small(c) || c == '-')) {
            return Err(Complaint::new(
                "an architecture such as `amd64` is wanted after `:`",
            ));
        }
        let constraint = match rest.chars().next() {
            None => String::new(),
            Some('=') if is_version(&rest[1..]) => rest.to_owned(),
            Some('=') => return Err(Complaint::new("a version is wanted after `=`")),
            Some('/') if is_suite(&rest[1..]) => rest.to_owned(),
            Some('/') => return Err(Complaint::new("a suite is wanted after `/`")),
            Some(_) => {
                let inner = rest[1..]
                    .strip_suffix(')')
                    .unwrap_or_default()
                    .trim_matches(' ');
                let version = inner.trim_start_matches(['<', '>', '=']);
                let operator = &inner[..inner.len() - version.len()];
                let version = version.trim_start_matches(' ');
                if !matches!(operator, "<<" | "<=" | "=" | ">=" | ">>") || !is_version(version) {
                    return Err(Complaint::new("a relation such as `(>= 1.2)` is wanted")
                        .help("the relations are `<<`, `<=`, `=`, `>=` and `>>`"));
                }
                format!(" ({operator} {version})")
            }
        };
        Ok(Request {
            name: name.to_owned(),
            text: format!("{package}{constraint}"),
        })
    }
}

word!(Request);

words! {
    /// A package's name.
    PackageName = "a package's name", "^[a-z0-9][a-z0-9+.-]+$", is_package,
        "two or more small letters, digits, `+`, `-` and `.` are wanted",
        "only the name: without version and architecture";

    /// Packages' names, with `*` for any characters.
    PackagePattern = "a pattern of packages' names", "^[a-z0-9*][a-z0-9+.*-]*$",
        |text| begins(text, |c| small(c) || c == '*', |c| small(c) || "+.-*".contains(c)),
        "a name, or a pattern such as `lib*`, is wanted";

    /// Versions, with `*` for any characters.
    VersionPattern = "a pattern of versions", "^[0-9*][A-Za-z0-9.+~:*-]*$",
        |text| begins(text, |c| c.is_ascii_digit() || c == '*', |c| c.is_ascii_alphanumeric() || ".+-~:*".contains(c)),
        "a version, or a pattern such as `128.*`, is wanted";

    /// An architecture.
    Architecture = "an architecture", "^[a-z0-9][a-z0-9-]+$",
        |text| text.len() >= 2 && begins(text, small, |c| small(c) || c == '-'),
        "a name such as `i386` is wanted";

    /// A suite of an archive; one that ends in `/` has no components.
    Suite = "a suite", "^[A-Za-z0-9.][A-Za-z0-9.+~_/-]*$", is_suite,
        "a name such as `trixie` is wanted";

    /// A component of an archive.
    Component = "a component", "^[A-Za-z0-9][A-Za-z0-9.+_/-]*$",
        |text| begins(text, |c| c.is_ascii_alphanumeric(), |c| c.is_ascii_alphanumeric() || ".+_/-".contains(c)),
        "a name such as `main` is wanted";

    /// The name an archive has in messages and in the lock.
    ArchiveName = "an archive's name", "^[a-z0-9][a-z0-9.-]*$",
        |text| begins(text, small, |c| small(c) || c == '.' || c == '-'),
        "small letters, digits, `.` and `-` are wanted";

    /// The fingerprint of an OpenPGP certificate.
    Fingerprint = "a fingerprint", "^[0-9A-Fa-f]{40}([0-9A-Fa-f]{24})?$",
        |text| matches!(text.len(), 40 | 64) && all(text, |c| c.is_ascii_hexdigit()),
        "40 or 64 hexadecimal digits are wanted, without spaces",
        "`gpg --show-keys --with-fingerprint FILE` shows it";

    /// A line of apt's sources.
    SourcesLine = "a line of apt's sources", "^deb(-src)? ",
        |text| all(text, |c| !c.is_control())
            && matches!(text.split(' ').next(), Some("deb" | "deb-src"))
            && text.split(' ').filter(|word| !word.is_empty()).count() >= 3,
        "one line as of `sources.list` is wanted: `deb`, an address, a suite, components";

    /// A question of debconf.
    Question = "a question of debconf", "^[^ ]+/[^ ]+$",
        |text| all(text, |c| c.is_ascii_graphic()) && text.split('/').all(|part| !part.is_empty()) && text.contains('/'),
        "a name such as `tzdata/Areas` is wanted";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_debians_shapes() {
        for (text, written) in [
            ("xfce4", Some("xfce4")),
            ("g++", Some("g++")),
            ("libc6:i386", Some("libc6:i386")),
            ("bash=5.2-1~x+b1", Some("bash=5.2-1~x+b1")),
            ("bash=1:5.2", Some("bash=1:5.2")),
            ("bash/trixie-backports", Some("bash/trixie-backports")),
            ("bash (>= 5.2)", Some("bash (>= 5.2)")),
            ("bash(>=5.2)", Some("bash (>= 5.2)")),
            ("bash:amd64 ( << 1:5.2 )", Some("bash:amd64 (<< 1:5.2)")),
            ("bash (> 5.2)", None),
            ("bash (>= )", None),
            ("bash (>= 5.2", None),
            ("bash =5", None),
            ("bash=", None),
            ("bash/", None),
            ("bash/../x", None),
            ("bash:", None),
            ("Bash", None),
            ("a", None),
            ("", None),
            ("bash vim", None),
            ("bash | vim", None),
            ("-bash", None),
            ("bäsh", None),
        ] {
            let read = Request::read(text).ok().map(|request| request.text);
            assert_eq!(read.as_deref(), written, "{text}");
        }
    }
}
