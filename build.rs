//! Takes the workspaces of this repository into the program, so that `kasmforge init` can write them
//! where there is no checkout.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=workspaces");
    let here =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder"));
    let mut files = Vec::new();
    list(&here.join("workspaces"), &mut files)?;
    files.sort();
    let mut text = String::from("&[\n");
    for file in &files {
        let path = file.strip_prefix(&here).expect("a file below its folder");
        let executable = fs::metadata(file)?.permissions().mode() & 0o100 != 0;
        writeln!(
            text,
            "    File {{ path: {path:?}, executable: {executable}, content: include_bytes!({file:?}) }},"
        )
        .expect("a string takes all");
    }
    text.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names an output folder"));
    fs::write(out.join("shipped.rs"), text)
}

/// Lists the files below a folder.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
