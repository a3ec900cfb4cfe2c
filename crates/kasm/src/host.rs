//! How a new machine becomes a Kasm server, as cloud-init reads it at the first start.
//!
//! [`Host::cloud_config`] writes one YAML document: a script, and that it is run. The script fetches
//! a release of Kasm and takes it only with the right SHA-256, runs Kasm's installer, and sets what
//! a server of own images needs. That goes through the server's database: its API can do nothing
//! until somebody has made a key in the web interface.

use std::fmt::Write as _;

use kasmforge_digest::Digest;

/// Where the script is put.
const SCRIPT: &str = "/usr/local/sbin/kasm-host-setup";

/// Where the installer's words go. They end with the passwords it made.
const LOG: &str = "/root/kasm-install.log";

/// A host to be.
#[derive(Debug, Clone)]
pub struct Host {
    /// The address of the release's tar.
    pub release: Download,
    /// The size of the swap file Kasm's installer makes, in MB.
    pub swap: u32,
    /// How many sessions the agent takes at once.
    pub sessions: u32,
    /// How many users the agent takes at once.
    pub users: u32,
    /// What the agent does to images that no workspace names: `Off`, `Normal` or `Aggressive`.
    pub pruning: Pruning,
    /// TCP ports that are opened, besides 443.
    pub ports: Vec<u16>,
    /// The image that is there from the beginning.
    pub image: Option<HostImage>,
}

/// A file of the network.
#[derive(Debug, Clone)]
pub struct Download {
    /// Its address.
    pub url: String,
    /// Its digest.
    pub sha256: Digest,
}

/// An image, and how it comes to the host.
#[derive(Debug, Clone)]
pub enum HostImage {
    /// As an archive, as `kasmforge build` makes it.
    Archive(Download),
    /// From a registry.
    Pull(String),
}

/// What an agent does to images that no workspace names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruning {
    /// Nothing.
    Off,
    /// It removes old ones without a tag.
    Normal,
    /// It removes them.
    Aggressive,
}

impl Pruning {
    const fn word(self) -> &'static str {
        match self {
            Self::Off => "Off",
            Self::Normal => "Normal",
            Self::Aggressive => "Aggressive",
        }
    }
}

impl Host {
    /// All ports that must be reachable, lowest first.
    #[must_use]
    pub fn open_ports(&self) -> Vec<u16> {
        let mut ports = self.ports.clone();
        ports.push(443);
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The document.
    #[must_use]
    pub fn cloud_config(&self) -> String {
        let ports: Vec<String> = self.open_ports().iter().map(u16::to_string).collect();
        let mut text = format!(
            "#cloud-config\n\
             # A host with Kasm Workspaces, written by kasmforge.\n\
             # Open these TCP ports in the provider's firewall: {}.\n\
             # When it is up, the passwords Kasm made are at the end of {LOG}.\n\
             package_update: true\n\
             packages:\n  - ca-certificates\n  - curl\n\
             write_files:\n  - path: {SCRIPT}\n    owner: root:root\n    permissions: '0700'\n    \
             content: |\n",
            ports.join(", ")
        );
        for line in self.script().lines() {
            match line.is_empty() {
                true => text.push('\n'),
                false => {
                    let _ = writeln!(text, "      {line}");
                }
            }
        }
        let _ = write!(
            text,
            "runcmd:\n  - [{SCRIPT}]\n\
             final_message: kasm-host-setup ended after $UPTIME seconds\n"
        );
        text
    }

    /// The script. It may be run again: what is done is not done twice.
    fn script(&self) -> String {
        let mut script = format!(
            "#!/bin/sh\n\
             # Makes this machine a host of Kasm Workspaces. What is done is not done again.\n\
             set -eu\n\
             state=/var/lib/kasm-host-setup\n\
             mkdir -p \"$state\"\n\
             cd \"$state\"\n\
             \n\
             # fetch URL SHA256 FILE\n\
             fetch() {{\n  \
             curl --fail --silent --show-error --location --retry 5 --output \"$3.part\" \"$1\"\n  \
             echo \"$2  $3.part\" | sha256sum --check --quiet -\n  \
             mv \"$3.part\" \"$3\"\n\
             }}\n\
             \n\
             if [ ! -e installed ]; then\n  \
             fetch {url} {sha256} release.tar.gz\n  \
             rm -rf kasm_release\n  \
             tar -xf release.tar.gz\n  \
             # Its last words are the passwords it made.\n  \
             (umask 077; : >{LOG})\n  \
             bash kasm_release/install.sh --accept-eula --swap-size {swap} >>{LOG} 2>&1\n  \
             rm -rf kasm_release release.tar.gz\n  \
             touch installed\n\
             fi\n\
             \n\
             # The agent enters itself into the database some time after the start.\n\
             database() {{ docker ps --format '{{{{.ID}}}} {{{{.Image}}}}' | grep -m 1 'kasmweb/postgres' \
             | cut -d ' ' -f 1; }}\n\
             tries=60\n\
             until docker exec \"$(database)\" psql -U kasmapp -d kasm -c \
             \"UPDATE servers SET prune_images_mode = '{pruning}', max_simultaneous_sessions = \
             {sessions}, max_simultaneous_users = {users};\" | grep -q '^UPDATE [1-9]'; do\n  \
             tries=$((tries - 1))\n  \
             [ \"$tries\" -gt 0 ] || {{ echo 'no agent entered itself' >&2; exit 1; }}\n  \
             sleep 5\n\
             done\n",
            url = quoted(&self.release.url),
            sha256 = self.release.sha256.hex(),
            swap = self.swap,
            pruning = self.pruning.word(),
            sessions = self.sessions,
            users = self.users,
        );
        match &self.image {
            None => {}
            Some(HostImage::Archive(archive)) => {
                let _ = write!(
                    script,
                    "\nif [ ! -e loaded ]; then\n  fetch {} {} image.tar\n  \
                     docker load --input image.tar\n  rm image.tar\n  touch loaded\nfi\n",
                    quoted(&archive.url),
                    archive.sha256.hex()
                );
            }
            Some(HostImage::Pull(name)) => {
                let _ = write!(script, "\ndocker pull {}\n", quoted(name));
            }
        }
        script.push_str(
            "\nif command -v ufw >/dev/null && ufw status | grep -q '^Status: active'; then\n",
        );
        for port in self.open_ports() {
            let _ = writeln!(script, "  ufw allow {port}/tcp");
        }
        script.push_str("fi\n");
        script
    }
}

/// A word of a shell script.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            release: Download {
                url: "https://example.org/kasm_release_1.18.1.tar.gz".into(),
                sha256: Digest::of(b"release"),
            },
            swap: 8192,
            sessions: 5,
            users: 5,
            pruning: Pruning::Off,
            ports: vec![3100, 443],
            image: Some(HostImage::Archive(Download {
                url: "https://example.org/it's.tar".into(),
                sha256: Digest::of(b"image"),
            })),
        }
    }

    #[test]
    fn the_script_is_one_a_shell_understands() {
        let output = std::process::Command::new("sh")
            .args(["-n", "-c", &host().script()])
            .output()
            .expect("sh runs");
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
    }

    #[test]
    fn ports_are_told_once() {
        assert_eq!(host().open_ports(), [443, 3100]);
        assert!(host().cloud_config().contains("firewall: 443, 3100.\n"));
    }
}
