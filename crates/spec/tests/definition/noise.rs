//! Whatever is read: an answer, and never a panic.

use std::io;

use kasmforge_spec::{Sources, load};
use proptest::prelude::*;

/// A project in which every file is the same bytes.
struct Noise(Vec<u8>);

impl Sources for Noise {
    fn read(&self, _: &str) -> io::Result<Option<String>> {
        let text = String::from_utf8(self.0.clone());
        text.map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn exists(&self, path: &str) -> bool {
        path.len().is_multiple_of(2)
    }

    fn workspaces(&self) -> io::Result<Vec<String>> {
        Ok(["a", "b", "desktop"].map(str::to_owned).to_vec())
    }
}

fn answers(bytes: Vec<u8>) {
    if let Err(report) = load(&Noise(bytes), "desktop") {
        assert!(!report.diagnostics.is_empty());
        // Rendering looks up every place.
        assert!(!report.to_string().is_empty());
    }
}

/// Pieces from which a file of almost the right form comes about.
fn piece() -> impl Strategy<Value = String> {
    let key = prop::sample::select(
        "name extends use suite install remove target source text url sha256 symlink directory \
         owner group mode uid gid home shell groups command user after restart ready port ports \
         volumes locales budget interval shm-size run-config http within value type nonsense"
            .split_whitespace()
            .collect::<Vec<_>>(),
    );
    let header = prop::sample::select(vec![
        "[debian]",
        "[[debian.archives]]",
        "[packages]",
        "[[packages.deb]]",
        "[[packages.debconf]]",
        "[[files]]",
        "[[users]]",
        "[[services]]",
        "[slim]",
        "[image]",
        "[image.healthcheck]",
        "[image.environment]",
        "[layers]",
        "[deploy]",
        "[kasm]",
        "[[checks]]",
        "[files]",
    ]);
    let word = prop_oneof![
        prop::sample::select(vec![
            "a",
            "b",
            "desktop",
            "modules/a",
            "/a",
            "/",
            "..",
            "",
            "0755",
            "1:2",
            "a (>= 1)",
            "é\u{301}",
            "512m",
            "*",
            "\\u0000",
            "a=1",
            "https://a/",
            "18446744073709551616t",
            "SIGTERM",
        ])
        .prop_map(str::to_owned),
        "[ -!#-\\[\\]-~€]{0,12}",
    ];
    let value = prop_oneof![
        word.clone().prop_map(|word| format!("\"{word}\"")),
        prop::collection::vec(word.clone(), 0..3).prop_map(|words| format!("{words:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|value| value.to_string()),
        (key.clone(), word).prop_map(|(key, word)| format!("{{ {key} = \"{word}\" }}")),
        Just("1.5e300".to_owned()),
        Just("[[[]]]".to_owned()),
    ];
    prop_oneof![
        4 => (key, value).prop_map(|(key, value)| format!("{key} = {value}\n")),
        2 => header.prop_map(|header| format!("{header}\n")),
        1 => "\\PC{0,8}",
    ]
}

proptest! {
    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        answers(bytes);
    }

    #[test]
    fn nearly_definitions(pieces in prop::collection::vec(piece(), 0..24)) {
        answers(pieces.concat().into_bytes());
    }
}

#[test]
fn what_is_not_utf8_is_told() {
    let report = load(&Noise(vec![0xff]), "desktop").expect_err("it is no text");
    insta::assert_snapshot!(report, @"error: `workspaces/desktop.toml` cannot be read: it is not UTF-8 text");
}
