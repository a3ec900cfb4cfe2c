//! Settings: the command line, the environment and the user's file made one value, in one place.
//!
//! The file is `$XDG_CONFIG_HOME/kasmforge/settings.toml`:
//!
//! ```toml
//! mirror = "http://mirror.example.org/debian"
//! store = "/var/cache/kasmforge"
//! check-valid-until = true
//! certificates = "/etc/ssl/certs/ca-certificates.crt"
//! snapshot = "https://snapshot.example.org"
//!
//! [kasm]
//! server = "https://kasm.example.org"
//! user = "admin@kasm.local"
//! api-key-file = "/home/me/.config/kasmforge/kasm-key"
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kasmforge_archive::Credentials;
use kasmforge_build::Trial;
use kasmforge_connection::Route;
use serde::Deserialize;

use crate::cli::Global;

/// What the settings' sources say together.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where downloads and finished steps are kept.
    pub(crate) store: PathBuf,
    /// Mirrors from the command line.
    pub(crate) mirrors: Vec<String>,
    /// `KASMFORGE_MIRROR`.
    pub(crate) mirror_variable: Option<String>,
    /// The file's mirror.
    pub(crate) mirror_setting: Option<String>,
    /// Whether an outdated Release is refused.
    pub(crate) check_valid_until: bool,
    /// `SOURCE_DATE_EPOCH`, in seconds since 1970.
    pub(crate) source_date_epoch: Option<i64>,
    /// What `verify` makes strange around scripts, from [`TRIAL`].
    pub(crate) trial: Trial,
    /// The way to other machines: a proxy, and whom TLS trusts.
    pub(crate) route: Route,
    /// Logins from netrc and from apt's `auth.conf`.
    pub(crate) credentials: Credentials,
    /// The variables `KASMFORGE_ARCHIVE_…`: logins for archives by their names.
    pub(crate) archive_variables: ArchiveVariables,
    /// `KASMFORGE_SNAPSHOT`, or the file's `snapshot`.
    pub(crate) snapshot: Option<String>,
    /// The Kasm server.
    pub(crate) kasm: Kasm,
}

/// Logins for archives by their names, as the environment has them.
#[derive(Clone, Default)]
pub(crate) struct ArchiveVariables(BTreeMap<String, String>);

impl std::fmt::Debug for ArchiveVariables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// What the names of these variables begin with.
const ARCHIVE_VARIABLE: &str = "KASMFORGE_ARCHIVE_";

impl ArchiveVariables {
    /// Adds the login for an archive, if the environment has one: `…_NAME_TOKEN`, or `…_NAME_USER`
    /// with `…_NAME_PASSWORD`.
    pub(crate) fn add_to(&self, credentials: &mut Credentials, archive: &str, base: &str) {
        let name: String = archive
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        let variable = |end: &str| {
            let name = format!("{ARCHIVE_VARIABLE}{name}_{end}");
            Some((self.0.get(&name)?, name))
        };
        // A secret never goes over a line that anybody may listen at.
        if !base.starts_with("https://") {
            return;
        }
        if let Some((token, origin)) = variable("TOKEN") {
            credentials.add_bearer(base, token, &origin);
        } else if let (Some((user, _)), Some((password, origin))) =
            (variable("USER"), variable("PASSWORD"))
        {
            credentials.add_basic(base, user, password, &origin);
        }
    }
}

/// The variable by which `verify` tells the builds it starts what to make strange around
/// maintainer scripts: `clock=SECONDS`, `folders`, `attribute`, with commas between.
pub(crate) const TRIAL: &str = "KASMFORGE_TRIAL";

fn trial(text: &str) -> anyhow::Result<Trial> {
    let mut trial = Trial::default();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match (word, word.strip_prefix("clock=")) {
            ("folders", _) => trial.reverse_folders = true,
            ("attribute", _) => trial.attribute = true,
            (_, Some(seconds)) => {
                trial.clock_ahead = seconds
                    .parse()
                    .with_context(|| format!("{TRIAL} has `{word}`, which is not in seconds"))?;
            }
            _ => anyhow::bail!(
                "{TRIAL} has `{word}`; it may have `clock=SECONDS`, `folders` and `attribute`"
            ),
        }
    }
    Ok(trial)
}

/// The file's table of the Kasm server. Where the key is, but never the key: such files are shown
/// around.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Kasm {
    /// Its address.
    pub(crate) server: Option<String>,
    /// The user sessions belong to, by name or id.
    pub(crate) user: Option<String>,
    /// A file with the API key.
    pub(crate) api_key_file: Option<PathBuf>,
    /// A command that prints the API key.
    pub(crate) api_key_command: Option<Vec<String>>,
    /// The SHA-256 of the server's certificate.
    pub(crate) fingerprint: Option<String>,
    /// A file of certificates to trust.
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    mirror: Option<String>,
    store: Option<PathBuf>,
    check_valid_until: Option<bool>,
    certificates: Option<PathBuf>,
    snapshot: Option<String>,
    #[serde(default)]
    kasm: Kasm,
}

/// The mirror a distributor of kasmforge builds in, by setting this when compiling.
pub(crate) const BUILT_IN_MIRROR: Option<&str> = option_env!("KASMFORGE_BUILT_IN_MIRROR");

impl Settings {
    /// Gathers the settings.
    pub(crate) fn resolve(global: &Global) -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from);
        let folder = |name: &str, below: &str| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .or_else(|| home.as_ref().map(|home| home.join(below)))
        };
        let file = folder("XDG_CONFIG_HOME", ".config")
            .map(|folder| read(&folder.join("kasmforge/settings.toml")))
            .transpose()?
            .unwrap_or_default();
        let cache = || folder("XDG_CACHE_HOME", ".cache").map(|folder| folder.join("kasmforge"));
        let store = global.store.clone().or(file.store).or_else(cache);
        let store = store.context("there is no HOME; say where to keep things with --store")?;
        let source_date_epoch = variable("SOURCE_DATE_EPOCH")
            .map(|text| {
                let message = || format!("SOURCE_DATE_EPOCH is `{text}`, not seconds since 1970");
                text.parse().with_context(message)
            })
            .transpose()?;
        let proxy = [
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
        ];
        Ok(Self {
            store,
            mirrors: global.mirror.clone(),
            mirror_variable: variable("KASMFORGE_MIRROR"),
            mirror_setting: file.mirror,
            check_valid_until: file.check_valid_until.unwrap_or(true),
            source_date_epoch,
            route: Route {
                proxy: proxy.into_iter().find_map(variable),
                no_proxy: variable("no_proxy").or_else(|| variable("NO_PROXY")),
                certificates: variable("SSL_CERT_FILE")
                    .map(PathBuf::from)
                    .or(file.certificates),
            },
            trial: trial(&variable(TRIAL).unwrap_or_default())?,
            credentials: credentials(variable("NETRC").map(PathBuf::from), home.as_deref())?,
            archive_variables: ArchiveVariables(
                std::env::vars()
                    .filter(|(name, value)| name.starts_with(ARCHIVE_VARIABLE) && !value.is_empty())
                    .collect(),
            ),
            snapshot: variable("KASMFORGE_SNAPSHOT").or(file.snapshot),
            kasm: file.kasm,
        })
    }
}

/// Logins from the user's netrc and from apt's `auth.conf`, the user's first.
///
/// Apt's files are often for root alone: what may not be read is passed over.
fn credentials(named: Option<PathBuf>, home: Option<&Path>) -> anyhow::Result<Credentials> {
    let mut credentials = Credentials::none();
    if let Some(path) = &named {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}, which NETRC names", path.display()))?;
        credentials.add_netrc(&text, &path.display().to_string());
    }
    let mut others: Vec<PathBuf> = Vec::new();
    if named.is_none() {
        others.extend(home.map(|home| home.join(".netrc")));
    }
    others.push("/etc/apt/auth.conf".into());
    let mut parts: Vec<PathBuf> = std::fs::read_dir("/etc/apt/auth.conf.d")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "conf"))
        .collect();
    parts.sort();
    others.extend(parts);
    for path in others {
        if let Ok(text) = std::fs::read_to_string(&path) {
            credentials.add_netrc(&text, &path.display().to_string());
        }
    }
    Ok(credentials)
}

/// The files in which Docker and Podman keep logins for registries, those of Docker first.
pub(crate) fn login_files() -> Vec<PathBuf> {
    let folder = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let home = |below: &str| folder("HOME").map(|home| home.join(below));
    let docker = folder("DOCKER_CONFIG").or_else(|| home(".docker"));
    let mut files: Vec<PathBuf> = docker
        .map(|folder| folder.join("config.json"))
        .into_iter()
        .collect();
    match folder("REGISTRY_AUTH_FILE") {
        Some(file) => files.push(file),
        None => {
            let podman = [
                folder("XDG_RUNTIME_DIR"),
                folder("XDG_CONFIG_HOME").or_else(|| home(".config")),
            ];
            let podman = podman.into_iter().flatten();
            files.extend(podman.map(|folder| folder.join("containers/auth.json")));
        }
    }
    files
}

/// Where upgrades are written down; `None` without a home.
pub(crate) fn state() -> Option<PathBuf> {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
        .map(|folder| folder.join("kasmforge"))
}

fn read(path: &Path) -> anyhow::Result<File> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text)
            .with_context(|| format!("the settings in {} are not understood", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
