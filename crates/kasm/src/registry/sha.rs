//! The `sha` of an entry: npm's `folder-hash`, version 4, over the workspace's folder.
//!
//! The hash of a file is SHA-1 over its name and its bytes; that of a folder is SHA-1 over its name
//! and the hexadecimal hashes of its children, sorted as JavaScript's `localeCompare` does.

use std::cmp::Ordering;

use sha1::{Digest as _, Sha1};

/// ASCII's characters but letters, as the Unicode Collation Algorithm's default table orders them.
const ORDER: &str = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789";

/// The hash of a file: 40 hexadecimal digits.
#[must_use]
pub fn file_hash(name: &str, bytes: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(name.as_bytes());
    hasher.update(bytes);
    hex(&hasher.finalize())
}

/// The hash of a folder, from its children's names and hashes: 40 hexadecimal digits.
#[must_use]
pub fn folder_hash(name: &str, children: &[(&str, String)]) -> String {
    let mut sorted: Vec<_> = children.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| compare(a, b));
    let mut hasher = Sha1::new();
    hasher.update(name.as_bytes());
    for (_, hash) in sorted {
        hasher.update(hash.as_bytes());
    }
    hex(&hasher.finalize())
}

/// `localeCompare` for names of ASCII: first by letters alone, then small letters before large ones.
/// Other characters come after them, by number.
fn compare(a: &str, b: &str) -> Ordering {
    let primary = |text: &str| -> Vec<u32> { text.chars().map(rank).collect() };
    let case = |text: &str| -> Vec<bool> { text.chars().map(|c| c.is_ascii_uppercase()).collect() };
    primary(a)
        .cmp(&primary(b))
        .then_with(|| case(a).cmp(&case(b)))
}

fn rank(character: char) -> u32 {
    match ORDER.find(character) {
        Some(place) => place as u32,
        None => 0x100 + u32::from(character.to_ascii_lowercase()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chromium's entry in the registry template, as it was published.
    const CHROMIUM: &str = r#"{
  "description": "Chromium is a free and open-source browser, primarily developed and maintained by Google.",
  "docker_registry": "https://index.docker.io/v1/",
  "image_src": "chromium.png",
  "name": "kasmweb/chromium:develop",
  "run_config": {
    "hostname": "kasm"
  },
  "exec_config": {
    "go": {
      "cmd": "bash -c '/dockerstartup/custom_startup.sh --go --url \"$KASM_URL\"'"
    },
    "assign": {
      "cmd": "bash -c '/dockerstartup/custom_startup.sh --assign --url \"$KASM_URL\"'"
    }
  },
  "categories": [
    "Browser"
  ],
  "friendly_name": "Chromium",
  "architecture": [
    "amd64",
    "arm64"
  ],
  "compatibility": [
    "1.13.x",
    "1.14.x"
  ],
  "uncompressed_size_mb": 2170
}"#;

    #[test]
    fn the_published_entry_has_the_published_sha() {
        let json = file_hash("workspace.json", CHROMIUM.as_bytes());
        assert_eq!(json, "3289641f23c5e7f410445d26946d81b162ef33c3");
        // The icon's own hash, as folder-hash 4.1.1 gives it for the 24,791 bytes published.
        let icon = "5e7a9d56e6bfdde4aa1818a272e0597a913895a2".to_owned();
        assert_eq!(
            folder_hash(
                "Chromium",
                &[("workspace.json", json), ("chromium.png", icon)]
            ),
            "365ce0f48ab56c008eb362a1b40e2af8aae793c1"
        );
    }

    #[test]
    fn names_are_sorted_as_javascript_sorts_them() {
        // What Node 20 makes of ASCII's printable characters.
        let sorted = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpP\
                      qQrRsStTuUvVwWxXyYzZ";
        let mut characters: Vec<String> = (' '..='~').map(String::from).collect();
        characters.sort_by(|a, b| compare(a, b));
        assert_eq!(characters.concat(), sorted);
        assert_eq!(compare("workspace_x.png", "workspace.json"), Ordering::Less);
        assert_eq!(compare("a", "A"), Ordering::Less);
        assert_eq!(compare("A", "b"), Ordering::Less);
    }
}
