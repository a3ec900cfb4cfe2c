//! What a definition means, once its parents and modules are merged and defaults are filled in.
//!
//! Everything here is a plain value. What can be wrong in a way only a later room can see (a
//! package that does not exist, an owner nobody declared) keeps its [`Location`], so that whoever
//! finds the mistake can show the line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

/// Names one of the files a definition was read from: an index into [`Files`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(crate) usize);

/// A place in a definition's text: a file, and a range of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: FileId,
    /// The bytes of the file's text that are meant.
    pub span: Range<usize>,
}

/// A value, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Location,
}

/// The texts a definition was read from, to show places in them.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub(crate) files: Vec<(String, String)>,
}

impl Files {
    /// The path of a file, relative to the project's folder, with `/` between its parts.
    #[must_use]
    pub fn path(&self, id: FileId) -> &str {
        &self.files[id.0].0
    }

    /// The paths of all files, in the order they were read.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(path, _)| path.as_str())
    }

    /// Every file's path and text, in the order they were read.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter();
        files.map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The whole text of a file.
    #[must_use]
    pub fn text(&self, id: FileId) -> &str {
        &self.files[id.0].1
    }

    /// Takes in a file, and names it.
    pub fn add(&mut self, path: impl Into<String>, text: impl Into<String>) -> FileId {
        self.files.push((path.into(), text.into()));
        FileId(self.files.len() - 1)
    }

    /// The line and the column of a place's first character, both counted from 1; columns in
    /// characters.
    #[must_use]
    pub fn position(&self, at: &Location) -> (usize, usize) {
        let text = self.text(at.file);
        let mut start = at.span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        (line, column)
    }
}

/// A workspace: a chain of stages, and what is said of the image they make.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The workspace's name: its file's stem.
    pub name: String,
    /// One sentence for people.
    pub description: Option<String>,
    /// The distribution, as the root of the `extends` chain says.
    pub debian: Debian,
    /// The chain, root first. The last stage is the workspace itself.
    pub stages: Vec<Stage>,
    /// The image's configuration.
    pub image: Image,
    /// How the container is run.
    pub deploy: Deploy,
    /// What Kasm's registry and API are told.
    pub kasm: Kasm,
    /// What must hold in the running image.
    pub checks: Vec<Check>,
    /// The texts all [`Location`]s speak of.
    pub files: Files,
}

/// One stage of a chain: a definition, with its modules merged in.
///
/// `packages` and `slim` are the stage's own; `files`, `users` and `services` are cumulative: the
/// stage's own, laid over those of the stages below it.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The name of the workspace this stage alone would make.
    pub name: String,
    /// The packages this stage adds.
    pub packages: Packages,
    /// The files of the image as of this stage, one per target.
    pub image_files: Vec<ImageFile>,
    /// The users of the image as of this stage, one per name.
    pub users: Vec<User>,
    /// The services of the image as of this stage, one per name, each after those it names in
    /// `after`.
    pub services: Vec<Service>,
    /// What is left out of this stage's packages.
    pub slim: Slim,
    /// How layers are made, as the workspace says that the stage alone would make.
    pub layers: Layers,
    /// The repository the image of this stage is given, for messages.
    pub repository: String,
}

/// The distribution packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debian {
    /// The suite, `trixie` say.
    pub suite: Located<String>,
    /// The components of the main archive and of its security and updates suites.
    pub components: Vec<String>,
    /// Whether `SUITE-security` takes part.
    pub security: bool,
    /// Whether `SUITE-updates` takes part.
    pub updates: bool,
    /// Whether `SUITE-backports` takes part.
    pub backports: bool,
    /// Architectures whose packages may come beside the native ones.
    pub foreign_architectures: Vec<String>,
    /// What apt inside the image uses: lines for `/etc/apt/sources.list`. Empty: no sources.
    pub sources_in_image: Vec<String>,
    /// Further archives.
    pub archives: Vec<Archive>,
}

/// An archive beside the distribution's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// A name for messages and the lock.
    pub name: String,
    /// Where it is: a base address below which `dists/` stands.
    pub uri: Located<String>,
    /// Its suite.
    pub suite: String,
    /// Its components.
    pub components: Vec<String>,
    /// The keyring that signs it, a file of the project. `None` only with `trusted`.
    pub keyring: Option<Located<PathBuf>>,
    /// Fingerprints of the only certificates of the keyring that may sign it; empty: any of them.
    pub signed_by: Vec<String>,
    /// Certificates that vouch for its https servers besides the usual ones, a file of the project.
    pub certificates: Option<Located<PathBuf>>,
    /// Whether it is taken without a signature.
    pub trusted: bool,
    /// How much its versions count; `None`: as its Release file says.
    pub priority: Option<u32>,
}

/// The packages one stage asks for.
#[derive(Debug, Clone, Default)]
pub struct Packages {
    /// Requests in Debian's syntax: `name`, `name=version`, `name (>= version)`, `name:arch`,
    /// `name/suite`. In the order asked for, without those that `remove` took away.
    pub install: Vec<Located<String>>,
    /// Whether Recommends of this stage's packages are installed too.
    pub recommends: bool,
    /// Which versions go before others: of two that mean the same package, the first counts.
    pub pins: Vec<Pin>,
    /// Packages from outside any archive.
    pub debs: Vec<DebByUrl>,
    /// Answers to debconf's questions, given before any script runs.
    pub debconf: Vec<Debconf>,
}

/// A rule about versions of some packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The packages' names, or patterns with `*`.
    pub packages: Vec<String>,
    /// Which versions are meant, as far as that is said.
    pub to: PinTo,
    /// How much they count; `None`: they are never taken.
    pub priority: Option<u32>,
}

/// Which versions a pin means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinTo {
    /// Those of a suite.
    Suite(Located<String>),
    /// Those that match a pattern.
    Version(String),
    /// All.
    Any,
}

/// A package outside any archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebByUrl {
    /// Its address, or its path in the project.
    pub url: Located<String>,
    /// Whether it is a file of the project.
    pub local: bool,
    /// The digest of the file: 64 hexadecimal digits.
    pub sha256: Option<Located<String>>,
}

/// An answer to a question of debconf (debconf-devel(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debconf {
    /// The package that asks.
    pub package: String,
    /// The question: `locales/default_environment_locale`.
    pub question: String,
    /// The question's type: `select`, `boolean`, `string`, `multiselect`, …
    pub kind: String,
    /// The answer.
    pub value: String,
}

/// A file, folder or link of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// The absolute path in the image, without `.`, `..` or a final `/`.
    pub target: Located<String>,
    /// What stands there.
    pub content: FileContent,
    /// The owning user: a name, or a number.
    pub owner: Located<String>,
    /// The owning group: a name, or a number.
    pub group: Located<String>,
    /// The permission bits. `None`: 0644, 0755 for folders and for files their owner may execute.
    pub mode: Option<u32>,
}

/// What a file of the image holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// A file or a whole folder of the project: its path relative to the project's folder.
    Source(Located<String>),
    /// The text itself.
    Text(String),
    /// A download, kept by its digest; `extract` unpacks a tar below the target instead.
    Url {
        /// Its address.
        url: Located<String>,
        /// Its digest: 64 hexadecimal digits.
        sha256: Option<Located<String>>,
        /// Whether it is a tar to be unpacked.
        extract: bool,
    },
    /// A symbolic link to this target, which may be relative.
    Symlink(String),
    /// An empty folder.
    Directory,
}

/// A user of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: Located<String>,
    /// The numeric id, of the user and of the group of the same name.
    pub uid: u32,
    /// The primary group's id; the group is made, with the user's name, if no group has the id.
    pub gid: u32,
    /// The home, made empty if absent.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// Further groups, by name. They must exist.
    pub groups: Vec<String>,
}

/// A process that is kept running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name: letters, digits, `-` and `_`.
    pub name: Located<String>,
    /// The command with its arguments.
    pub command: Located<Vec<String>>,
    /// The user it runs as, where PID 1 is root. `None`: as PID 1.
    pub user: Option<Located<String>>,
    /// The services that must be ready before it starts.
    pub after: Vec<Located<String>>,
    /// What happens when it ends.
    pub restart: Restart,
    /// When it counts as ready. `None`: as soon as it runs.
    pub ready: Option<Ready>,
}

/// What happens when a service ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// It is started again, however it ended.
    Always,
    /// It is started again unless it ended with status 0.
    OnFailure,
    /// It ran once.
    Never,
}

/// When a service counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// This TCP port of the container answers.
    Port(u16),
    /// This unix socket accepts connections.
    Socket(String),
    /// This file exists.
    File(String),
    /// This command ends with status 0.
    Command(Located<Vec<String>>),
}

/// What is left out of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slim {
    /// Keeps `/usr/share/doc` (copyright files are always kept) and `/usr/share/help`.
    pub documentation: bool,
    /// Keeps manual and info pages.
    pub manuals: bool,
    /// Keeps translations of these languages only; `None` keeps all.
    pub locales: Option<Vec<String>>,
    /// Keeps compiled Python.
    pub python_bytecode: bool,
    /// Keeps the tests that Python's modules bring of themselves.
    pub tests: bool,
    /// Keeps udev's database of hardware, which nothing reads where udev does not run.
    pub hardware_database: bool,
}

/// The image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The repository: `kasmforge/desktop`.
    pub repository: String,
    /// Tags; never empty.
    pub tags: Vec<String>,
    /// The user the entry point runs as: name or number.
    pub user: Option<Located<String>>,
    /// Where it starts.
    pub working_directory: Option<Located<String>>,
    /// The entry point.
    pub entrypoint: Option<Located<Vec<String>>>,
    /// Its default arguments.
    pub command: Vec<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// TCP ports, as `6901` or `6901/udp`.
    pub ports: Vec<String>,
    /// Folders that are volumes.
    pub volumes: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// How an engine finds out whether the container is healthy.
    pub healthcheck: Option<Healthcheck>,
    /// The signal that asks PID 1 to end: `SIGTERM`.
    pub stop_signal: Option<String>,
}

/// An engine's health check, times in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// The command.
    pub command: Located<Vec<String>>,
    /// Seconds between two runs.
    pub interval: u64,
    /// Seconds after which a run counts as failed.
    pub timeout: u64,
    /// Seconds at the start in which failures do not count.
    pub start_period: u64,
    /// Failures in a row that make the container unhealthy.
    pub retries: u64,
}

/// How layers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// At most this many layers in the image whose last stage this is.
    pub budget: u32,
}

/// How the container is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// The container's name.
    pub container: String,
    /// Published ports: `6901:6901`, `127.0.0.1:6901:6901`.
    pub ports: Vec<Located<String>>,
    /// Volumes: `name:/path` or `/host/path:/path[:ro]`.
    pub volumes: Vec<Located<String>>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// Memory limit in bytes.
    pub memory: Option<u64>,
    /// Restart policy: `no`, `always`, `unless-stopped`, `on-failure`.
    pub restart: Option<String>,
    /// Environment variables given at start.
    pub environment: BTreeMap<String, String>,
    /// Seconds an upgrade waits for health.
    pub health_timeout: u64,
    /// The container port that serves the desktop.
    pub desktop_port: u16,
    /// How many earlier generations are kept.
    pub keep: u32,
    /// Whether the home is on a volume where the definition names none.
    pub home_volume: bool,
    /// Whether an upgrade looks at the screen.
    pub picture: bool,
}

/// What Kasm is told of the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kasm {
    /// The name people see. Not inherited: the registry lists the workspaces that have one.
    pub friendly_name: Option<Located<String>>,
    /// At most three categories.
    pub categories: Vec<Located<String>>,
    /// The icon, a file of the project.
    pub icon: Option<Located<String>>,
    /// A picture of the running desktop, a file of the project.
    pub screenshot: Option<Located<String>>,
    /// The architectures there are images for, `amd64` or `arm64`; empty: those that were built.
    pub architecture: Vec<String>,
    /// The lines of Kasm's versions it works with, as `1.17.x`; empty: the registry's.
    pub compatibility: Vec<String>,
    /// The address of the Docker registry, for Kasm's agents; `None`: the image's own.
    pub docker_registry: Option<String>,
    /// Tags of the image that people may choose between; empty: only the image's first.
    pub available_tags: Vec<Located<String>>,
    /// CPU cores a session gets.
    pub cores: Option<u32>,
    /// Bytes of memory a session gets: whole MiB.
    pub memory: Option<u64>,
    /// GPUs a session gets.
    pub gpu_count: Option<u32>,
    /// Whether a session needs a GPU.
    pub require_gpu: Option<bool>,
    /// How CPUs are shared out: `Inherit`, `Quotas` or `Shares`.
    pub cpu_allocation_method: Option<String>,
    /// Markdown for people.
    pub notes: Option<String>,
    /// How Kasm's agent runs the container (names as in docker-py): a JSON object, as text.
    pub run_config: Option<String>,
    /// What Kasm's agent executes at events such as `go` or `first_launch`: a JSON object, as text.
    pub exec_config: Option<String>,
    /// Questions asked before a session starts: a JSON object, as text. Only the API knows it.
    pub launch_config: Option<String>,
    /// Folders of the host a session gets: a JSON object, as text. Only the API knows it.
    pub volume_mappings: Option<String>,
    /// Where homes are kept, with `{username}` and `{image_id}`. Only the API knows it.
    pub persistent_profile_path: Option<String>,
    /// Seconds after which a session ends. Only the API knows it.
    pub session_time_limit: Option<u32>,
    /// The id of the web filter policy. Only the API knows it.
    pub filter_policy_id: Option<String>,
    /// The id of the zone sessions are bound to. Only the API knows it.
    pub zone_id: Option<String>,
    /// The Docker networks sessions are bound to. Only the API knows it.
    pub restrict_network_names: Vec<String>,
    /// Keeps the workspace from users' view. Only the API knows it.
    pub hidden: Option<bool>,
    /// Whether users may start it. Only the API knows it.
    pub enabled: Option<bool>,
}

/// What must hold in the running image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// A name for reports.
    pub name: String,
    /// What must hold.
    pub probe: Probe,
    /// Seconds it may take to come true.
    pub within: u64,
    /// Where its probe was written.
    pub at: Location,
}

/// One question to a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The container's TCP port accepts connections.
    Port(u16),
    /// An HTTP(S) request answers with this status.
    Http {
        /// The container's port.
        port: u16,
        /// Whether TLS is spoken (certificates are not verified: they are made at first start).
        tls: bool,
        /// The path asked for.
        path: String,
        /// The expected status; 401 counts as an answer only if it is expected.
        status: u16,
    },
    /// A command in the container ends with status 0.
    Command(Vec<String>),
    /// A file exists in the container.
    File(String),
    /// A process of this name runs in the container.
    Process(String),
}
