//! What a server wants to hear: the header `WWW-Authenticate` (RFC 9110, section 11.6.1).

/// One way a server lets people in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Its scheme in small letters: `basic`, `bearer`.
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads a header's value: challenges with parameters, all between commas. What is not understood
/// is passed over.
pub(crate) fn parse(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            // Nothing, or an equals sign that belongs to nothing.
            match rest.strip_prefix('=') {
                Some(more) => rest = more,
                None => return challenges,
            }
            continue;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        match value {
            Some(value) if !value.starts_with('=') => {
                let (value, more) = quoted(value.trim_start_matches([' ', '\t']));
                if let Some(challenge) = challenges.last_mut() {
                    challenge
                        .parameters
                        .push((word.to_ascii_lowercase(), value));
                }
                rest = more;
            }
            _ => {
                challenges.push(Challenge {
                    scheme: word.to_ascii_lowercase(),
                    parameters: Vec::new(),
                });
                rest = after;
            }
        }
    }
}

/// A value, in quotes or not, and what follows it.
fn quoted(text: &str) -> (String, &str) {
    let Some(inner) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = inner.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &inner[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_have_parameters() {
        let found = parse(
            r#"Bearer realm="https://auth.test/token",service="a, \"b\"",scope="repository:x:pull,push" , Basic realm=plain"#,
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].scheme, "bearer");
        assert_eq!(found[0].parameter("realm"), Some("https://auth.test/token"));
        assert_eq!(found[0].parameter("service"), Some("a, \"b\""));
        assert_eq!(found[0].parameter("scope"), Some("repository:x:pull,push"));
        assert_eq!(found[1].scheme, "basic");
        assert_eq!(found[1].parameter("realm"), Some("plain"));
    }

    #[test]
    fn whatever_is_said_is_read_to_its_end() {
        for (text, schemes) in [
            ("", vec![]),
            ("Basic", vec!["basic"]),
            ("Negotiate, Basic realm=\"x\"", vec!["negotiate", "basic"]),
            ("=,=\"", vec!["\""]),
            ("Bearer realm=\"never ends", vec!["bearer"]),
            ("Bearer realm=\"x\\", vec!["bearer"]),
        ] {
            let found = parse(text);
            let found: Vec<_> = found.iter().map(|one| one.scheme.as_str()).collect();
            assert_eq!(found, schemes, "{text}");
        }
    }
}
