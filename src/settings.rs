//! Settings: the command line, the environment and the user's file made one value, in one place.
//!
//! The file is `$XDG_CONFIG_HOME/kasmforge/settings.toml`:
//!
//! ```toml
//! mirror = "http://mirror.example.org/debian"
//! store = "/var/cache/kasmforge"
//! check-valid-until = true
//! ```

use std::path::{Path, PathBuf};

use anyhow::Context as _;
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
    /// A bundle of certificates that TLS trusts.
    pub(crate) certificates: Option<PathBuf>,
    /// A proxy for http and https.
    pub(crate) proxy: Option<String>,
    /// Hosts asked without the proxy.
    pub(crate) no_proxy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    mirror: Option<String>,
    store: Option<PathBuf>,
    check_valid_until: Option<bool>,
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
            certificates: variable("SSL_CERT_FILE").map(PathBuf::from),
            proxy: proxy.into_iter().find_map(variable),
            no_proxy: variable("no_proxy").or_else(|| variable("NO_PROXY")),
        })
    }
}

fn read(path: &Path) -> anyhow::Result<File> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text)
            .with_context(|| format!("the settings in {} are not understood", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
