//! What other programs than the one under test say.

#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The SHA-256 of a file, by another program than the one under test.
pub(crate) fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum")
        .arg(path)
        .output()
        .expect("`sha256sum` runs (coreutils)");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout)[..64].to_owned()
}

/// The same of some bytes.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("room for it");
    sha256(file.path())
}

/// Debian's name of this machine's architecture.
pub(crate) fn architecture() -> String {
    let output = Command::new("dpkg")
        .arg("--print-architecture")
        .output()
        .expect("`dpkg` runs: this test needs Debian's dpkg");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Base64, by another program than the one under test.
pub(crate) fn base64(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), text).expect("room for it");
    let ran = Command::new("base64")
        .arg("--wrap=0")
        .arg(file.path())
        .output();
    let ran = ran.expect("`base64` runs (coreutils)");
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}
