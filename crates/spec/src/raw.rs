//! The tables of a definition file, as typed: every key, its shape, and what it is for.
//!
//! The doc comments of the keys are the descriptions in the JSON Schema.

use crate::decode::Map;
use crate::model::Located;
use crate::table::table;
use crate::words::kasm::{
    Category, CpuAllocation, ImageArchitecture, KasmVersion, Megabytes, RegistryUrl,
};
use crate::words::lists::{Arguments, Command, Json, Locales};
use crate::words::names::{
    ContainerName, ImageUser, LabelName, Line, Owner, QuestionType, RestartPolicy, RestartWord,
    ServiceName, Signal, Text, UserName, VariableName, WorkspaceName,
};
use crate::words::network::{HttpPath, ImagePort, Publish, Repository, Sha256, Tag, Url, Volume};
use crate::words::numbers::{ArchivePriority, Id, Mode, PortNumber, Seconds, Size, Whole};
use crate::words::packages::{
    Architecture, ArchiveName, Component, Fingerprint, PackageName, PackagePattern, Question,
    Request, SourcesLine, Suite, VersionPattern,
};
use crate::words::paths::{Absolute, ModuleName, ProjectPath, Target};

table! {
    /// A workspace, or a module: a part that workspaces use.
    RawDefinition {
        /// The name. It equals the stem of the file.
        name: Located<WorkspaceName>,
        /// One sentence for people.
        description: Located<Line>,
        /// The workspace this one is built upon. Its layers are reused as they are.
        extends: Located<WorkspaceName>,
        /// Modules merged into this file, in order: paths below `workspaces/`, without `.toml`.
        r#use: Vec<Located<ModuleName>>,
        /// The distribution. Only where nothing is extended.
        debian: Located<RawDebian>,
        /// The packages this stage adds.
        packages: RawPackages,
        /// Files, folders and links put into the image.
        files: Vec<Located<RawFile>>,
        /// Users of the image.
        users: Vec<Located<RawUser>>,
        /// Processes that are kept running.
        services: Vec<Located<RawService>>,
        /// What is left out of packages.
        slim: RawSlim,
        /// The image's configuration.
        image: RawImage,
        /// How layers are made.
        layers: RawLayers,
        /// How the container is run.
        deploy: RawDeploy,
        /// What Kasm is told of the workspace.
        kasm: RawKasm,
        /// What must hold in the running image.
        checks: Vec<Located<RawCheck>>,
    }
}

table! {
    /// The distribution packages come from.
    RawDebian {
        /// The suite: `trixie`.
        [required] suite: Located<Suite>,
        /// The components; `["main"]` if absent.
        components: Vec<Located<Component>>,
        /// Whether SUITE-security takes part; true if absent.
        security: Located<bool>,
        /// Whether SUITE-updates takes part; false if absent.
        updates: Located<bool>,
        /// Whether SUITE-backports takes part, for what asks for it; false if absent.
        backports: Located<bool>,
        /// Architectures whose packages may come beside the native ones: `["i386"]`.
        foreign_architectures: Vec<Located<Architecture>>,
        /// Lines of apt's sources inside the image; none if absent.
        sources_in_image: Vec<Located<SourcesLine>>,
        /// Further archives.
        archives: Vec<Located<RawArchive>>,
    }
}

table! {
    /// An archive beside the distribution's own.
    RawArchive {
        /// A name for messages and the lock.
        [required] name: Located<ArchiveName>,
        /// The address below which `dists/` stands.
        [required] uri: Located<Url>,
        /// Its suite.
        [required] suite: Located<Suite>,
        /// Its components; `["main"]` if absent, none where the suite ends in `/`.
        components: Vec<Located<Component>>,
        /// The keyring that signs it: a path relative to this file.
        keyring: Located<ProjectPath>,
        /// Fingerprints of the only certificates of the keyring that may sign it; all if absent.
        signed_by: Vec<Located<Fingerprint>>,
        /// Certificates that vouch for its https servers: a path relative to this file.
        certificates: Located<ProjectPath>,
        /// Takes it without a signature.
        trusted: Located<bool>,
        /// Of several versions that of the highest priority is taken; what its Release file says if
        /// absent: 500 as a rule.
        priority: Located<ArchivePriority>,
    }
}

table! {
    /// The packages a stage asks for.
    RawPackages {
        /// Requests: `name`, `name=version`, `name (>= version)`, `name:arch`, `name/suite`,
        /// `?priority(required)`.
        install: Vec<Located<Request>>,
        /// Takes away what modules of this stage asked for.
        remove: Vec<Located<PackageName>>,
        /// Whether Recommends are installed too; false if absent.
        recommends: Located<bool>,
        /// Which versions go before others, or are not taken at all.
        pin: Vec<Located<RawPin>>,
        /// Packages from outside any archive.
        deb: Vec<Located<RawDeb>>,
        /// Answers to debconf's questions.
        debconf: Vec<Located<RawDebconf>>,
    }
}

table! {
    /// A rule about versions of some packages.
    RawPin {
        /// The packages: names, or patterns such as `libreoffice*`.
        [required] packages: Vec<Located<PackagePattern>>,
        /// Takes the versions of a suite.
        suite: Located<Suite>,
        /// Takes the versions that match: `128.*`.
        version: Located<VersionPattern>,
        /// Takes none at all, or none of the suite or the versions named.
        never: Located<bool>,
        /// How much the versions count; 990 if absent, archives count 500.
        priority: Located<ArchivePriority>,
    }
}

table! {
    /// A package outside any archive.
    RawDeb {
        /// Its address.
        url: Located<Url>,
        /// A file of the project: a path relative to this file.
        path: Located<ProjectPath>,
        /// Its digest. Absent: taken when the lock is written, and kept there.
        sha256: Located<Sha256>,
    }
}

table! {
    /// An answer to a question of debconf.
    RawDebconf {
        /// The package that asks.
        [required] package: Located<PackageName>,
        /// The question: `tzdata/Areas`.
        [required] question: Located<Question>,
        /// The question's type.
        [required] r#type: Located<QuestionType>,
        /// The answer.
        [required] value: Located<Text>,
    }
}

table! {
    /// A file, folder or link of the image. Exactly one of `source`, `text`, `url`, `symlink` and
    /// `directory` says what it holds.
    RawFile {
        /// The absolute path in the image.
        [required] target: Located<Target>,
        /// A file or a whole folder of the project, relative to this file.
        source: Located<ProjectPath>,
        /// The text itself.
        text: Located<String>,
        /// A download.
        url: Located<Url>,
        /// The download's digest. Absent: taken when the lock is written, and kept there.
        sha256: Located<Sha256>,
        /// Unpacks the download, a tar, below the target.
        extract: Located<bool>,
        /// Makes a symbolic link to this path.
        symlink: Located<Text>,
        /// Makes an empty folder.
        directory: Located<bool>,
        /// The owning user, by name or number; `root` if absent.
        owner: Located<Owner>,
        /// The owning group, by name or number; the owner's own if it is a user declared here,
        /// `root` otherwise.
        group: Located<Owner>,
        /// The permission bits, in octal.
        mode: Located<Mode>,
    }
}

table! {
    /// A user of the image.
    RawUser {
        /// The login name.
        [required] name: Located<UserName>,
        /// The numeric id.
        [required] uid: Located<Id>,
        /// The primary group's id; the uid if absent.
        gid: Located<Id>,
        /// The home; `/home/NAME` if absent.
        home: Located<Absolute>,
        /// The login shell; `/bin/bash` if absent.
        shell: Located<Absolute>,
        /// Further groups, by name. They must exist.
        groups: Vec<Located<UserName>>,
    }
}

table! {
    /// A process that is kept running.
    RawService {
        /// Its name.
        [required] name: Located<ServiceName>,
        /// The command with its arguments.
        [required] command: Located<Command>,
        /// The user it runs as; PID 1's if absent.
        user: Located<Owner>,
        /// The services that must be ready before it starts.
        after: Vec<Located<ServiceName>>,
        /// What happens when it ends; `always` if absent.
        restart: Located<RestartWord>,
        /// When it counts as ready; as soon as it runs if absent.
        ready: Located<RawReady>,
    }
}

table! {
    /// When a service counts as ready: exactly one of these.
    RawReady {
        /// When this TCP port answers.
        port: Located<PortNumber>,
        /// When this unix socket accepts connections.
        socket: Located<Absolute>,
        /// When this file exists.
        file: Located<Absolute>,
        /// When this command ends with status 0.
        command: Located<Command>,
    }
}

table! {
    /// What is left out of packages. Nothing, if nothing is said.
    RawSlim {
        /// Keeps /usr/share/doc and /usr/share/help; copyright files are always kept.
        documentation: Located<bool>,
        /// Keeps manual and info pages.
        manuals: Located<bool>,
        /// Keeps translations of these languages only; `["*"]` keeps all.
        locales: Located<Locales>,
        /// Keeps compiled Python.
        python_bytecode: Located<bool>,
        /// Keeps the tests that Python's modules bring of themselves.
        tests: Located<bool>,
        /// Keeps udev's database of hardware, which nothing reads where udev does not run.
        hardware_database: Located<bool>,
    }
}

table! {
    /// The image's configuration.
    RawImage {
        /// The repository; `kasmforge/NAME` if absent.
        repository: Located<Repository>,
        /// The tags; `["latest"]` if absent.
        tags: Vec<Located<Tag>>,
        /// The user the entry point runs as: a name or a number, perhaps `:` and a group.
        user: Located<ImageUser>,
        /// The folder it starts in.
        working_directory: Located<Absolute>,
        /// The entry point.
        entrypoint: Located<Command>,
        /// Its default arguments.
        command: Located<Arguments>,
        /// Environment variables.
        environment: Map<VariableName, Text>,
        /// Ports the container listens on: `6901`, `6901/udp`.
        ports: Vec<Located<ImagePort>>,
        /// Folders that are volumes.
        volumes: Vec<Located<Target>>,
        /// Labels.
        labels: Map<LabelName, Text>,
        /// How an engine finds out whether the container is healthy.
        healthcheck: RawHealthcheck,
        /// The signal that asks the container to end: `SIGTERM`.
        stop_signal: Located<Signal>,
    }
}

table! {
    /// An engine's health check. Times are in seconds.
    RawHealthcheck {
        /// The command with its arguments.
        command: Located<Command>,
        /// Seconds between two runs; 30 if absent.
        interval: Located<Seconds>,
        /// Seconds after which a run counts as failed; 30 if absent.
        timeout: Located<Seconds>,
        /// Seconds at the start in which failures do not count; 0 if absent.
        start_period: Located<Whole<0, 86_400>>,
        /// Failures in a row that make the container unhealthy; 3 if absent.
        retries: Located<Whole<1, 1000>>,
    }
}

table! {
    /// How layers are made.
    RawLayers {
        /// At most this many layers in the whole image; 64 if absent. Engines refuse 126.
        budget: Located<Whole<1, 120>>,
    }
}

table! {
    /// How the container is run.
    RawDeploy {
        /// The container's name; `kasm-NAME` if absent.
        container: Located<ContainerName>,
        /// Published ports: `[address:]host:container[/udp]`.
        ports: Vec<Located<Publish>>,
        /// Volumes: `name:/path` or `/host/path:/path`, perhaps with `:ro`.
        volumes: Vec<Located<Volume>>,
        /// The size of /dev/shm: `512m`.
        shm_size: Located<Size>,
        /// The memory limit: `4g`.
        memory: Located<Size>,
        /// The restart policy.
        restart: Located<RestartPolicy>,
        /// Environment variables given at start.
        environment: Map<VariableName, Text>,
        /// Seconds an upgrade waits for health; 120 if absent.
        health_timeout: Located<Seconds>,
        /// The container's port that serves the desktop; 6901 if absent.
        desktop_port: Located<PortNumber>,
        /// How many earlier generations are kept to go back to; 2 if absent.
        keep: Located<Whole<1, 100>>,
        /// Whether the home is on a volume `CONTAINER-home` where no other is named; true if absent.
        home_volume: Located<bool>,
        /// Whether an upgrade looks at the screen: it must show something, and a window manager
        /// must run. True if absent; without a DISPLAY there is nothing to look at.
        picture: Located<bool>,
    }
}

table! {
    /// What Kasm is told of the workspace.
    RawKasm {
        /// The name people see. A workspace that has one is listed in the registry.
        friendly_name: Located<Line>,
        /// At most three categories.
        categories: Vec<Located<Category>>,
        /// The icon, a square PNG or SVG, relative to this file.
        icon: Located<ProjectPath>,
        /// A picture of the running desktop for the gallery, PNG, JPEG or WebP, relative to this file.
        screenshot: Located<ProjectPath>,
        /// The architectures there are images for; those that were built if absent.
        architecture: Vec<Located<ImageArchitecture>>,
        /// The versions of Kasm it works with: `1.17.x`; those of `registry.toml` if absent.
        compatibility: Vec<Located<KasmVersion>>,
        /// The address of the Docker registry for Kasm's agents; the image's own if absent.
        docker_registry: Located<Url>,
        /// Tags of the image that people may choose between as channels; none if absent.
        available_tags: Vec<Located<Tag>>,
        /// CPU cores a session gets.
        cores: Located<Whole<1, 1024>>,
        /// Memory a session gets: `2768m`. Kasm counts in MB.
        memory: Located<Megabytes>,
        /// GPUs a session gets.
        gpu_count: Located<Whole<0, 64>>,
        /// Whether a session needs a GPU.
        require_gpu: Located<bool>,
        /// How Kasm shares out CPUs.
        cpu_allocation_method: Located<CpuAllocation>,
        /// Markdown for people.
        notes: Located<Text>,
        /// How Kasm's agent runs the container; handed over as it is.
        run_config: Located<Json>,
        /// What Kasm's agent executes at events; handed over as it is.
        exec_config: Located<Json>,
        /// Questions Kasm asks before a session starts; handed to its API as it is.
        launch_config: Located<Json>,
        /// Folders of the host a session gets; handed to Kasm's API as it is.
        volume_mappings: Located<Json>,
        /// Where Kasm keeps homes: a path of the agent's host or an address, with `{username}`.
        persistent_profile_path: Located<Line>,
        /// Seconds after which a session ends, for Kasm's API.
        session_time_limit: Located<Whole<1, 31_536_000>>,
        /// The id of the web filter policy, for Kasm's API.
        filter_policy_id: Located<Line>,
        /// The id of the deployment zone sessions are bound to, for Kasm's API.
        zone_id: Located<Line>,
        /// The Docker networks sessions are bound to, for Kasm's API.
        restrict_network_names: Vec<Located<Line>>,
        /// Keeps the workspace from users' view, for Kasm's API; false if absent.
        hidden: Located<bool>,
        /// Whether users may start it, for Kasm's API; true if absent.
        enabled: Located<bool>,
    }
}

table! {
    /// What must hold in the running image: exactly one of `port`, `http`, `command`, `file` and
    /// `process`.
    RawCheck {
        /// A name for reports.
        [required] name: Located<Line>,
        /// This TCP port accepts connections.
        port: Located<PortNumber>,
        /// An HTTP request is answered.
        http: Located<RawHttp>,
        /// This command ends with status 0.
        command: Located<Command>,
        /// This file exists.
        file: Located<Absolute>,
        /// A process of this name runs.
        process: Located<Line>,
        /// Seconds it may take to come true; 60 if absent.
        within: Located<Seconds>,
    }
}

table! {
    /// An HTTP request, and its answer.
    RawHttp {
        /// The container's port.
        [required] port: Located<PortNumber>,
        /// Whether TLS is spoken; false if absent. Certificates are not verified.
        tls: Located<bool>,
        /// The path; `/` if absent.
        path: Located<HttpPath>,
        /// The status of the answer; 200 if absent.
        status: Located<Whole<100, 599>>,
    }
}

table! {
    /// The registry of a project's workspaces, for Kasm's servers and for people.
    RawRegistry {
        /// The registry's name.
        [required] name: Located<Line>,
        /// One or two sentences for people.
        [required] description: Located<Line>,
        /// The address the site is served at, without a version: Kasm's `list_url`.
        [required] url: Located<RegistryUrl>,
        /// The registry's icon, a square PNG or SVG, relative to the project's folder.
        [required] icon: Located<ProjectPath>,
        /// Where people find help: a page's address.
        [required] contact: Located<Url>,
        /// The versions of Kasm that workspaces work with which do not say so themselves.
        compatibility: Vec<Located<KasmVersion>>,
        /// The channel shown first, where workspaces have `available-tags`; their first if absent.
        default_channel: Located<Tag>,
    }
}
