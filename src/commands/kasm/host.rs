//! `kasmforge kasm host`

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use kasmforge_digest::Digest;
use kasmforge_kasm::host::{self as cloud, Download, HostImage};
use serde_json::json;

use super::World;

/// Where Kasm's releases are.
const RELEASES: &str = "https://kasm-static-content.s3.amazonaws.com/kasm_release_";

#[derive(Debug, Args)]
pub(super) struct Host {
    /// The release of Kasm, as the name of its download has it: `1.18.1`, `1.17.0.7f020d`.
    #[arg(long, value_name = "VERSION")]
    release: String,
    /// The SHA-256 of the release's tar, as `sha256sum` prints it.
    #[arg(long, value_name = "SHA256", value_parser = digest)]
    sha256: Digest,
    /// Where the release's tar is [default: Kasm's own download].
    #[arg(long, value_name = "URL", value_parser = https)]
    release_url: Option<String>,
    /// Says that Kasm's end user licence agreement is read and accepted; the installer needs it.
    #[arg(long)]
    accept_eula: bool,
    /// The size of the swap file, in MB.
    #[arg(long, value_name = "MB", default_value_t = 8192)]
    swap: u32,
    /// How many sessions the host takes at once.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// How many users the host takes at once [default: as many as sessions].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    users: Option<u32>,
    /// What the host does to images that no workspace names.
    #[arg(long, value_name = "MODE", default_value = "off")]
    pruning: Pruning,
    /// A TCP port to open besides 443; may be given several times.
    #[arg(long = "port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    ports: Vec<u16>,
    /// The address of an image archive (`result`) that is loaded.
    #[arg(long, value_name = "URL", requires = "image_sha256", value_parser = https)]
    image_url: Option<String>,
    /// The archive's SHA-256, as `sha256sum` prints it.
    #[arg(long, value_name = "SHA256", requires = "image_url", value_parser = digest)]
    image_sha256: Option<Digest>,
    /// An image that is pulled from a registry.
    #[arg(long, value_name = "IMAGE", conflicts_with = "image_url", value_parser = image)]
    pull: Option<String>,
}

/// What a host does to images that no workspace names.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Pruning {
    /// Nothing: an image that is loaded stays.
    Off,
    /// Removes old ones without a tag.
    Normal,
    /// Removes them.
    Aggressive,
}

/// Prints a cloud-init file for a new host with Kasm.
pub(super) fn run(wanted: &Host, world: &World<'_>) -> anyhow::Result<()> {
    let version = &wanted.release;
    if !is_release(version) {
        bail!(
            "`{}` is no release of Kasm; write it as the name of its download has it: 1.18.1, or \
             1.17.0.7f020d",
            version.escape_debug()
        );
    }
    if !wanted.accept_eula {
        bail!(
            "the file would accept Kasm's end user licence agreement in your name; read it at \
             https://www.kasmweb.com/eula and pass --accept-eula"
        );
    }
    let image = match (&wanted.image_url, wanted.image_sha256, &wanted.pull) {
        (Some(url), sha256, _) => Some(HostImage::Archive(Download {
            url: url.clone(),
            sha256: sha256.context("an archive's address comes with its digest")?,
        })),
        (None, _, Some(name)) => Some(HostImage::Pull(name.clone())),
        (None, _, None) => None,
    };
    let url = wanted.release_url.clone();
    let host = cloud::Host {
        release: Download {
            url: url.unwrap_or_else(|| format!("{RELEASES}{version}.tar.gz")),
            sha256: wanted.sha256,
        },
        swap: wanted.swap,
        sessions: wanted.sessions,
        users: wanted.users.unwrap_or(wanted.sessions),
        pruning: match wanted.pruning {
            Pruning::Off => cloud::Pruning::Off,
            Pruning::Normal => cloud::Pruning::Normal,
            Pruning::Aggressive => cloud::Pruning::Aggressive,
        },
        ports: wanted.ports.clone(),
        image,
    };
    if host.image.is_none() {
        world
            .printer
            .say("no image comes with it; load one when the host is up: kasmforge load --host …");
    }
    let text = host.cloud_config();
    if world.printer.json() {
        let json = json!({
            "release": version,
            "ports": host.open_ports(),
            "cloud_config": text,
        });
        return Ok(world.printer.result("", &json)?);
    }
    Ok(world.printer.raw(&text)?)
}

/// Whether a text is a release's version; up to 1.17, some digits of a commit follow it.
fn is_release(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let commit = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    match parts.as_slice() {
        [numbers @ .., last] if numbers.len() == 3 => numbers.iter().all(number) && commit(last),
        numbers => (2..=3).contains(&numbers.len()) && numbers.iter().all(number),
    }
}

fn digest(text: &str) -> Result<Digest, String> {
    let digits = text.split_whitespace().next().unwrap_or_default();
    Digest::from_hex(&digits.to_ascii_lowercase())
        .map_err(|_| "this is no SHA-256: 64 hexadecimal digits".into())
}

fn https(text: &str) -> Result<String, String> {
    let fine = text.starts_with("https://") && text.bytes().all(|b| b.is_ascii_graphic());
    fine.then(|| text.to_owned())
        .ok_or_else(|| "the address must begin with https:// and have no blanks".into())
}

fn image(text: &str) -> Result<String, String> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    (starts && text.bytes().all(fine))
        .then(|| text.to_owned())
        .ok_or_else(|| "this is no name of an image".into())
}

#[cfg(test)]
mod tests {
    use super::is_release;

    #[test]
    fn releases_are_those_that_can_be_downloaded() {
        for release in ["1.18.1", "1.18", "1.17.0.7f020d", "1.10.0.238225"] {
            assert!(is_release(release), "{release}");
        }
        for other in [
            "",
            "1",
            "1.18.x",
            "1..1",
            "latest",
            "1.17.0.7f020d.tar.gz",
            "1.17.0.../x",
        ] {
            assert!(!is_release(other), "{other}");
        }
    }
}
