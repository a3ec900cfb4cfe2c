//! A machine with containerd and without a Docker engine.
//!
//! containerd alone keeps and runs images, but knows nothing of names for containers, published
//! ports or restarts, so nothing is upgraded there. Images can be given to it: its own `ctr` reads
//! the very archive that engines read.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::archive::{ImageArchive, Upload};
use crate::{Error, LoadEvent, Reference};

/// Where containerd listens.
const SOCKET: &str = "/run/containerd/containerd.sock";
/// The namespace that `ctr`, and most who use containerd by hand, mean.
const NAMESPACE: &str = "default";

/// A containerd that can be given images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containerd {
    /// Its socket.
    pub socket: PathBuf,
    /// The namespace images are put into: Kubernetes' is `k8s.io`, nerdctl's `default`.
    pub namespace: String,
}

/// An image that containerd was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The image's name.
    pub reference: Reference,
    /// How many bytes were sent.
    pub bytes_sent: u64,
    /// Whether it was there already.
    pub already_there: bool,
    /// How long it took.
    pub seconds: f64,
}

impl Containerd {
    /// Reads `containerd:///path/of/the/socket[?namespace]`; `containerd://` means the usual one.
    #[must_use]
    pub fn parse(host: &str) -> Option<Self> {
        let rest = host.strip_prefix("containerd://")?;
        let (socket, namespace) = rest.split_once('?').unwrap_or((rest, NAMESPACE));
        Some(Self {
            socket: PathBuf::from(if socket.is_empty() { SOCKET } else { socket }),
            namespace: namespace.to_owned(),
        })
    }

    /// The machine's containerd, if it has one.
    #[must_use]
    pub fn there() -> Option<Self> {
        Path::new(SOCKET).exists().then(|| Self {
            socket: PathBuf::from(SOCKET),
            namespace: NAMESPACE.to_owned(),
        })
    }

    /// Gives an image to containerd, whole, unless it is there.
    ///
    /// # Errors
    /// If `ctr` is missing or refuses, or the archive cannot be read.
    pub fn load(
        &self,
        image: &ImageArchive,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Imported, Error> {
        let started = Instant::now();
        let reference = Reference::parse(&image.reference)?;
        let mut imported = Imported {
            reference: reference.clone(),
            bytes_sent: 0,
            already_there: true,
            seconds: 0.0,
        };
        if !self.has(&reference, image)? {
            imported.already_there = false;
            let upload = Upload::new(image, &reference, |_| false)?;
            imported.bytes_sent = upload.length;
            self.import(image, upload, progress)?;
            progress(LoadEvent::Verifying);
            if !self.has(&reference, image)? {
                return Err(Error::ImageDiffers {
                    reference,
                    problem: "containerd does not have it, or not all of it".to_owned(),
                });
            }
        }
        imported.seconds = started.elapsed().as_secs_f64();
        Ok(imported)
    }

    fn import(
        &self,
        image: &ImageArchive,
        upload: Upload,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<(), Error> {
        let mut child = self
            .ctr(&["images", "import", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| self.failed(source.into()))?;
        let mut input = child.stdin.take().expect("its input is a pipe");
        let (length, mut sent) = (upload.length, 0);
        for chunk in upload {
            let chunk = chunk.map_err(|source| Error::ReadArchive {
                path: image.path.clone(),
                source,
            })?;
            // What it has to say of it comes with its status.
            if input.write_all(&chunk).is_err() {
                break;
            }
            sent += chunk.len() as u64;
            progress(LoadEvent::Sending { sent, length });
        }
        drop(input);
        progress(LoadEvent::Unpacking);
        let output = child
            .wait_with_output()
            .map_err(|source| self.failed(source.into()))?;
        if output.status.success() {
            return Ok(());
        }
        Err(self.failed(last_line(&output.stderr).into()))
    }

    /// Whether the image is there under its name, with all its content.
    fn has(&self, reference: &Reference, image: &ImageArchive) -> Result<bool, Error> {
        let filter = format!("name=={reference}");
        let output = self
            .ctr(&["images", "check", &filter])
            .output()
            .map_err(|source| self.failed(source.into()))?;
        if !output.status.success() {
            return Err(self.failed(last_line(&output.stderr).into()));
        }
        // REF TYPE DIGEST STATUS SIZE UNPACKED
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.first() == Some(&reference.to_string().as_str())
                && words.contains(&image.manifest.to_string().as_str())
                && words.contains(&"complete")
        }))
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", &self.namespace])
            .args(arguments);
        command
    }

    fn failed(&self, source: crate::Cause) -> Error {
        Error::Containerd {
            socket: self.socket.clone(),
            source,
        }
    }
}

impl std::fmt::Display for Containerd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "containerd://{}?{}",
            self.socket.display(),
            self.namespace
        )
    }
}

fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    line.unwrap_or("no word of why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let parse = |text: &str| Containerd::parse(text).map(|one| one.to_string());
        assert_eq!(
            parse("containerd://").as_deref(),
            Some("containerd:///run/containerd/containerd.sock?default")
        );
        assert_eq!(
            parse("containerd:///x.sock?k8s.io").as_deref(),
            Some("containerd:///x.sock?k8s.io")
        );
        assert_eq!(parse("unix:///x.sock"), None);
    }
}
