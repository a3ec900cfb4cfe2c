//! A small file of the project that is there whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

/// Writes a file beside its place and gives it its name once it is on the disk; folders on the way to
/// it are made.
///
/// # Errors
/// If it cannot be written; then what was there is still there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let folder = path.parent().with_context(failed)?;
    let mut name = OsString::from(".");
    name.push(path.file_name().with_context(failed)?);
    name.push(format!(".{}", std::process::id()));
    let temporary = folder.join(name);
    fs::create_dir_all(folder).with_context(failed)?;
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // It may not even have been made.
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(failed)
}
