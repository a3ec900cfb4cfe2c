//! Puts a site into a folder, whole or not at all.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use kasmforge_kasm::registry::Site;

/// The file that tells a registry's folder from any other.
const MARK: &str = "versions.txt";

/// Writes a site beside its place, then exchanges it for what was there.
pub(super) fn write(site: &Site, out: &Path) -> anyhow::Result<()> {
    refuse_others(out)?;
    let name = out.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} is not the name of a folder", out.display()))?;
    let parent = out.parent().unwrap_or(Path::new(""));
    if parent != Path::new("") {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let pid = std::process::id();
    let fresh = Temporary(parent.join(format!(".{name}.{pid}.new")));
    let old = Temporary(parent.join(format!(".{name}.{pid}.old")));
    for (path, bytes) in &site.files {
        put(&fresh.0, path, bytes)
            .with_context(|| format!("cannot write {}", fresh.0.join(path).display()))?;
    }
    let replaced = || format!("cannot replace {}", out.display());
    if out.exists() {
        fs::rename(out, &old.0).with_context(replaced)?;
    }
    if let Err(error) = fs::rename(&fresh.0, out) {
        // What was there comes back; that this fails too is told by the same error.
        let _ = fs::rename(&old.0, out);
        return Err(error).with_context(replaced);
    }
    Ok(())
}

/// A folder that holds anything but a registry is somebody's: it stays.
fn refuse_others(out: &Path) -> anyhow::Result<()> {
    let Ok(mut entries) = fs::read_dir(out) else {
        if out.exists() {
            bail!(
                "{} is no folder; name another place with --out",
                out.display()
            );
        }
        return Ok(());
    };
    let empty = entries.next().is_none();
    let ours = out.join(MARK).is_file() && out.join("1.0/list.json").is_file();
    if !empty && !ours {
        bail!(
            "{} holds something else than a registry, and would be replaced; name another place \
             with --out",
            out.display()
        );
    }
    Ok(())
}

/// Writes one file that everybody may read, whatever the umask.
fn put(root: &Path, path: &str, bytes: &[u8]) -> std::io::Result<()> {
    let path = root.join(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
        let folders = folder.ancestors().take_while(|one| one.starts_with(root));
        for folder in folders {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
    }
    let mut file = File::create(&path)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.sync_all()
}

/// A folder that is gone when its owner is.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may have become the site, or never have been.
        let _ = fs::remove_dir_all(&self.0);
    }
}
