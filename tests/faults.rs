//! What happens when the world misbehaves: mirrors, disks, scripts, kernels, and whoever pulls the
//! plug. Each time two things must hold: what is told names the fault, and the next build gives the
//! very image an undisturbed one gives.
//!
//! Needs root (a small disk is mounted), `unshare`, `mount` (util-linux, mount), `curl`, and the
//! mirror the host's apt uses.

mod support {
    pub(crate) mod archive;
    pub(crate) mod oracle;
    pub(crate) mod project;
    pub(crate) mod server;
}

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use support::archive::{Archive, Deb};
use support::project::{Image, Project, Ran, damage, debian, host_mirror, shared_store};
use support::server::Server;
use tempfile::TempDir;

/// The pause between two looks at other processes: it decides nothing.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// An image that was built undisturbed, and the lock it was built from.
struct Undisturbed {
    image: Image,
    lock: String,
}

/// The definition of the image most tests build: what is essential, a package that no script can
/// notice, and a file.
fn definition() -> String {
    definition_with(&[])
}

/// The same with further packages. `usr-is-merged` spares all of Perl, which its alternative needs.
fn definition_with(packages: &[&str]) -> String {
    let packages = [&["usr-is-merged", "hello"], packages].concat();
    format!(
        "{}[packages]\ninstall = {packages:?}\n[[files]]\ntarget = \"/etc/probe\"\ntext = \
         \"probe\"\n",
        debian()
    )
}

fn undisturbed() -> &'static Undisturbed {
    static ONCE: OnceLock<Undisturbed> = OnceLock::new();
    ONCE.get_or_init(|| {
        let project = Project::new();
        project.define("desktop", &definition());
        let image = project.build("desktop");
        let lock = project.lock().expect("a build writes a lock");
        Undisturbed { image, lock }
    })
}

/// A project with a lock, upon a store that has everything fetched and nothing made.
fn seeded() -> Project {
    let lock = &undisturbed().lock;
    let project = empty();
    link_all(
        &shared_store().join("blobs"),
        &project.store().join("blobs"),
    );
    project
        .define("desktop", &definition())
        .file("kasmforge.lock", lock.as_bytes());
    project
}

/// Makes a folder of hard links to another's files: the store never writes into a finished file,
/// and neither does `damage`.
fn link_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            link_all(&entry.path(), &to);
        } else {
            fs::hard_link(entry.path(), &to).unwrap_or_else(|error| panic!("{to:?}: {error}"));
        }
    }
}

/// An empty project whose store is not there yet, on the file system of the shared one.
fn empty() -> Project {
    let near = shared_store();
    let near = near.parent().expect("the shared store has a folder");
    let folder = TempDir::with_prefix_in("test-store-", near).expect("a temporary folder");
    Project::with_store_in(folder)
}

/// The packages of a lock: their names and digests.
fn packages(lock: &str) -> BTreeMap<String, String> {
    let lock: toml::Table = lock.parse().expect("a lock is TOML");
    let packages = lock["package"].as_array().expect("packages").iter();
    let text = |value: &toml::Value| value.as_str().expect("a text").to_owned();
    packages
        .map(|package| (text(&package["name"]), text(&package["sha256"])))
        .collect()
}

fn blob(store: &Path, digest: &str) -> PathBuf {
    store
        .join("blobs/sha256")
        .join(&digest[..2])
        .join(&digest[2..])
}

/// That the project's next build gives the undisturbed image.
fn builds_the_same(project: &Project) {
    let image = project.build("desktop");
    assert_eq!(image.digest, undisturbed().image.digest);
    let [found, wanted] =
        [&image, &undisturbed().image].map(|image| fs::read(&image.archive).expect("the archive"));
    assert!(found == wanted, "equal digests, and other bytes");
}

// ---- Mirrors ----------------------------------------------------------------------------------

#[test]
fn a_mirror_that_is_down_is_named() {
    let project = empty().mirror("http://127.0.0.1:1");
    project.define("desktop", &definition());
    let ran = project.run(&["build"]);
    ran.failed_with(&[
        "cannot fetch the Release file of debian bookworm from http://127.0.0.1:1",
        "127.0.0.1:1 cannot be reached",
        "trying again",
    ]);
    assert_eq!(project.lock(), None);
}

/// A project before a real mirror whose answers are changed on their way.
fn before(change: impl Fn(&str, &mut Vec<u8>) + Send + Sync + 'static) -> Project {
    let server = Server::between(&host_mirror(), change);
    let project = empty().mirror(&server.address());
    project.define("desktop", &definition());
    project
}

fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

#[test]
fn an_altered_release_file_is_refused() {
    let project = before(|path, bytes| {
        if path.ends_with("InRelease") {
            flip(bytes);
        }
    });
    let ran = project.run(&["build"]);
    ran.failed_with(&["/dists/bookworm/InRelease is refused", "it was altered"]);
    assert_eq!(project.lock(), None);
}

#[test]
fn a_release_file_of_another_suite_is_refused() {
    // Signed by the same people, and yet not what was asked for.
    let upstream = host_mirror();
    let project = before(move |path, bytes| {
        if path.ends_with("InRelease") {
            let other = format!("{upstream}/dists/trixie/InRelease");
            let got = Command::new("curl")
                .args(["-sfL", "--retry", "5", &other])
                .output();
            *bytes = got.expect("`curl` runs: apt-get install curl").stdout;
        }
    });
    let ran = project.run(&["build"]);
    ran.failed_with(&["is the Release file of", "trixie", "not of bookworm"]);
    assert_eq!(project.lock(), None);
}

#[test]
fn a_damaged_index_is_refused() {
    let project = before(|path, bytes| {
        if path.contains("/main/binary-") {
            flip(bytes);
        }
    });
    let ran = project.run(&["build"]);
    ran.failed_with(&["has other bytes than the archive promises"]);
    assert_eq!(project.lock(), None);
}

#[test]
fn a_short_index_is_refused() {
    let project = before(|path, bytes| {
        if path.contains("/main/binary-") {
            bytes.truncate(bytes.len() / 2);
        }
    });
    let ran = project.run(&["build"]);
    ran.failed_with(&["bytes where the archive promises"]);
    assert_eq!(project.lock(), None);
}

#[test]
fn a_package_that_left_the_archive_is_locked_anew_and_said_so() {
    let first = Archive::of(&[Deb::new("probe", "1")]);
    let second = Archive::of(&[Deb::new("probe", "2")]);
    let project = seeded();
    fs::remove_file(project.path().join("kasmforge.lock")).expect("the lock");
    let define = |archive: &Archive| {
        let text = definition_with(&["probe"]) + &archive.table();
        project.define("desktop", &text);
    };
    define(&first);
    let ran = project.run(&["lock"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let lock = project.lock().expect("a lock");

    // The address of an archive is no part of the lock: this is the same archive, later.
    define(&second);
    let ran = project.run(&["build", "--locked"]);
    ran.failed_with(&["no mirror has these locked packages any more: probe"]);
    assert_eq!(project.lock().as_ref(), Some(&lock));

    let ran = project.run(&["build"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.errors.contains("no mirror has probe any more"),
        "{}",
        ran.errors
    );
    let lock = project.lock().expect("a lock");
    assert!(lock.contains("pool/probe_2_all.deb"), "{lock}");
    assert!(!lock.contains("pool/probe_1_all.deb"), "{lock}");
}

#[test]
fn without_the_network_a_lock_and_its_packages_are_enough() {
    let project = seeded();
    let ran = project.run(&["build", "--offline", "--locked", "--json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(Image::of(&ran).digest, undisturbed().image.digest);

    let project = empty();
    project
        .define("desktop", &definition())
        .file("kasmforge.lock", undisturbed().lock.as_bytes());
    project
        .run(&["build", "--offline"])
        .failed_with(&["is not in the store, and the network is not asked (--offline)"]);
}

#[test]
fn a_locked_build_refuses_another_definition() {
    let project = seeded();
    project.define("desktop", &definition_with(&["nano"]));
    let ran = project.run(&["build", "--locked"]);
    ran.failed_with(&["kasmforge.lock", "--locked", "kasmforge lock"]);
    assert_eq!(project.lock().as_ref(), Some(&undisturbed().lock));
}

// ---- The store --------------------------------------------------------------------------------

#[test]
fn damaged_packages_are_noticed_and_fetched_again() {
    let project = seeded();
    let packages = packages(&undisturbed().lock);
    for name in ["bash", "perl-base"] {
        damage(&blob(project.store(), &packages[name]));
    }
    let ran = project.run(&["build", "--json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.errors.contains("damaged"), "{}", ran.errors);
    assert_eq!(Image::of(&ran).digest, undisturbed().image.digest);
}

/// The largest file below a folder.
fn largest(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((fs::metadata(&path).expect("a file").len(), path));
            }
        }
    }
    files.into_iter().max().expect("there are files").1
}

#[test]
fn damaged_unpacked_files_are_noticed_and_made_again() {
    let project = seeded();
    let image = project.build("desktop");
    for forget_layers in [false, true] {
        fs::remove_file(&image.archive).expect("the archive");
        if forget_layers {
            // Without them nobody remembers which digests the layers must have.
            fs::remove_dir_all(project.store().join("steps")).expect("the records");
        }
        damage(&largest(&project.store().join("trees")));
        let ran = project.run(&["build", "--json"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert!(ran.errors.contains("damaged"), "{}", ran.errors);
        assert_eq!(Image::of(&ran).digest, undisturbed().image.digest);
    }
}

/// Layers are copied from archives of earlier builds; what is damaged there is made again.
#[test]
fn a_damaged_archive_of_an_earlier_build_is_not_copied_from() {
    let project = seeded();
    let earlier = project.build("desktop");
    project.define("other", &definition());
    damage(&earlier.archive);
    let ran = project.run(&["build", "other", "--json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(
        ran.errors.contains("that archive was damaged"),
        "{}",
        ran.errors
    );
    let image = Image::of(&ran);
    fs::remove_file(&image.archive).expect("the archive");
    assert_eq!(project.build("other").digest, image.digest);
    builds_the_same(&project);
}

#[test]
fn lost_records_cost_time_and_nothing_else() {
    let project = seeded();
    project.build("desktop");
    for entry in fs::read_dir(project.store().join("trees")).expect("trees") {
        let folder = entry.expect("a tree").path();
        for name in ["package.json", "configured.json", "settled.json"] {
            let record = folder.join(name);
            if record.exists() {
                fs::write(&record, "{\"name\": ").expect("a record cut short");
            }
        }
    }
    fs::remove_dir_all(project.store().join("images")).expect("images");
    builds_the_same(&project);
}

#[test]
fn a_full_disk_is_told_and_more_room_is_enough() {
    let folder = TempDir::new().expect("a temporary folder");
    let disk = SmallDisk::mount(folder.path(), "64m");
    let project = Project::with_store(&folder.path().join("store"));
    project
        .define("desktop", &definition())
        .file("kasmforge.lock", undisturbed().lock.as_bytes());
    project.run(&["build"]).failed_with(&["the disk is full"]);
    disk.resize("1g");
    builds_the_same(&project);
}

/// A file system in memory, unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path, size: &str) -> Self {
        let options = format!("size={size},mode=0755");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "kasmforge-test"])
            .arg(at));
        Self(at)
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        run(Command::new("mount").args(["-o", &options]).arg(self.0));
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // A panic in a panic would hide the first.
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(
        output.status.success(),
        "{command:?} (this test needs root): {output:?}"
    );
}

/// The inode of a file: it tells whether an archive was given a new end or written anew.
fn inode(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).expect("the file is there").ino()
}

#[test]
fn a_changed_file_gives_the_last_archive_a_new_end_unless_somebody_needs_it() {
    let project = seeded();
    let first = project.build("desktop");
    let before = inode(&first.archive);
    let bytes = fs::read(&first.archive).expect("the archive");
    let changed = |text: &str| definition().replace("\"probe\"\n", &format!("\"{text}\"\n"));

    // Nobody needs it: the very file becomes the next archive.
    project.define("desktop", &changed("second"));
    let second = project.build("desktop");
    assert_ne!(second.digest, first.digest);
    assert_eq!(inode(&second.archive), before);
    assert!(!first.archive.exists());

    // And back: it is what it was, byte for byte.
    project.define("desktop", &definition());
    let again = project.build("desktop");
    assert_eq!(again.digest, first.digest);
    assert_eq!(inode(&again.archive), before);
    assert!(fs::read(&again.archive).expect("the archive") == bytes);

    // A process has it open: that process goes on reading what it began to read.
    let mut reader = fs::File::open(&again.archive).expect("the archive");
    project.define("desktop", &changed("third"));
    let third = project.build("desktop");
    assert_ne!(inode(&third.archive), before);
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut read).expect("read");
    assert!(read == bytes, "an archive changed under its reader");
    drop(reader);

    // Another link leads to it: it stays.
    let other = project.path().join("other-result");
    let told = project.run(&["build", "--result", &other.display().to_string()]);
    assert_eq!(told.status, 0, "{told:?}");
    project.define("desktop", &changed("fourth"));
    let fourth = project.build("desktop");
    assert_ne!(fourth.archive, third.archive);
    assert!(third.archive.exists(), "a linked archive was taken");

    // However it came to be, the archive is that of a build from nothing.
    let clean = seeded();
    clean.define("desktop", &changed("fourth"));
    let wanted = clean.build("desktop");
    assert_eq!(wanted.digest, fourth.digest);
    let [found, wanted] = [&fourth, &wanted].map(|image| fs::read(&image.archive).expect("read"));
    assert!(found == wanted, "equal digests, and other bytes");
}

#[test]
fn projects_that_share_a_store_each_give_their_own_archive_a_new_end() {
    let one = seeded();
    let other = Project::with_store(one.store());
    other.file("kasmforge.lock", undisturbed().lock.as_bytes());
    let changed = |text: &str| definition().replace("\"probe\"\n", &format!("\"{text}\"\n"));
    let build = |project: &Project, text: &str| {
        project.define("desktop", &changed(text));
        inode(&project.build("desktop").archive)
    };
    let archives = [build(&one, "one"), build(&other, "other")];
    assert_ne!(archives[0], archives[1]);
    assert_eq!(build(&one, "one more"), archives[0]);
    assert_eq!(build(&other, "another"), archives[1]);
}

// ---- The plug ---------------------------------------------------------------------------------

#[test]
fn after_a_kill_at_any_point_the_next_build_gives_the_same() {
    let project = seeded();
    for said in ["unpacking", "configuring", "packing"] {
        let mut child = project
            .command()
            .arg("build")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let errors = BufReader::new(child.stderr.take().expect("a pipe"));
        let reached = errors
            .lines()
            .map_while(Result::ok)
            .any(|line| line.starts_with(said));
        assert!(reached, "the build never said `{said}`");
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
    }
    builds_the_same(&project);
}

/// How many times a build is killed at a random instant; the nightly run has it done 200 times.
fn kills() -> u32 {
    let wanted = std::env::var("KASMFORGE_TEST_KILLS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(15)
}

#[test]
fn killed_at_random_instants() {
    let project = seeded();
    let start = |project: &Project| {
        let mut command = project.command();
        command
            .arg("build")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().expect("the command starts")
    };
    // How long a whole build takes here: the instants are spread over that, so that each part of
    // a build is met. No instant can make the test pass or fail.
    let clock = std::time::Instant::now();
    assert!(start(&project).wait().expect("it ends").success());
    let whole = clock.elapsed();
    let made = ["trees", "steps", "images"].map(|name| project.store().join(name));
    let mut chance: u64 = 0x2545_f491_4f6c_dd1d;
    let mut finished = true;
    for number in 0..kills() {
        if finished {
            // It came through: from the beginning again.
            for folder in &made {
                fs::remove_dir_all(folder).expect("a folder of the store");
            }
        }
        // xorshift64: the same instants each time, as far as the machine is the same.
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let mut child = start(&project);
        thread::sleep(whole.mul_f64((chance % 1000) as f64 / 1000.0));
        finished = child.try_wait().expect("it is ours").is_some();
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
        let ran = project.run(&["store", "--verify"]);
        assert_eq!(ran.status, 0, "after kill {number}: {ran:?}");
    }
    builds_the_same(&project);
}

#[test]
fn a_killed_build_leaves_no_process() {
    let project = seeded();
    let asleep = served(&Deb::new("probe", "1").script("postinst", "exec sleep 86399"));
    project.define("desktop", &with_deb(&asleep.address));
    let mut child = project
        .command()
        .arg("build")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let below = loop {
        let below = descendants(child.id());
        if below.iter().any(|&pid| runs(pid, "86399")) {
            break below;
        }
        let ended = child.try_wait().expect("it is ours");
        assert_eq!(ended, None, "the build ended before its script did");
        thread::sleep(BETWEEN_LOOKS);
    };
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    // The kernel ends them, in its own time.
    while below.iter().any(|&pid| runs(pid, "86399")) {
        thread::sleep(BETWEEN_LOOKS);
    }
    assert!(below.len() > 1);
}

/// Whether a process runs with this argument.
fn runs(pid: u32, argument: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .any(|word| word == argument.as_bytes())
}

/// All processes below one.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        found.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found
}

#[test]
fn two_builds_at_once_share_a_store() {
    let project = seeded();
    let other = Project::with_store(project.store());
    other
        .define("desktop", &definition())
        .file("kasmforge.lock", undisturbed().lock.as_bytes());
    let mut builds = [&project, &other].map(|project| {
        project
            .command()
            .args(["build", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts")
    });
    for build in &mut builds {
        // Their talk fits into the pipe.
        build.wait().expect("it ends");
    }
    for build in builds {
        let ran: Ran = build.wait_with_output().expect("it ended").into();
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(Image::of(&ran).digest, undisturbed().image.digest);
    }
}

// ---- Scripts ----------------------------------------------------------------------------------

/// A package behind an address.
struct Served {
    address: String,
    _folder: TempDir,
}

fn served(deb: &Deb) -> Served {
    let folder = TempDir::new().expect("a temporary folder");
    let path = deb.make(folder.path());
    let name = path.file_name().expect("a name").to_string_lossy();
    let server = Server::of(folder.path());
    Served {
        address: format!("{}/{name}", server.address()),
        _folder: folder,
    }
}

fn with_deb(address: &str) -> String {
    format!("{}[[packages.deb]]\nurl = \"{address}\"\n", definition())
}

/// What a build says about a package whose scripts misbehave; and that the next, of a package that
/// was mended, succeeds.
fn fails_until_mended(broken: &Deb, words: &[&str]) {
    let project = seeded();
    let (broken, mended) = (served(broken), served(&Deb::new("probe", "2")));
    project.define("desktop", &with_deb(&broken.address));
    let ran = project.run(&["build"]);
    ran.failed_with(words);
    assert!(!project.path().join("result").exists(), "there is a result");
    project.define("desktop", &with_deb(&mended.address));
    project.build("desktop");
}

#[test]
fn a_postinst_that_fails_is_told_with_its_last_words() {
    let broken = Deb::new("probe", "1").script(
        "postinst",
        "echo probe needs a moon >&2\necho and has none\nexit 7",
    );
    fails_until_mended(
        &broken,
        &[
            "a maintainer script failed",
            "package probe: ",
            "post-installation script subprocess returned error exit status 7",
            "| probe needs a moon",
            "| and has none",
        ],
    );
}

#[test]
fn a_preinst_that_fails_is_told_with_its_status() {
    let broken = Deb::new("probe", "1").script("preinst", "echo no >&2; exit 3");
    fails_until_mended(
        &broken,
        &[
            "package probe: its preinst script ended with status 3",
            "| no",
        ],
    );
}

#[test]
fn a_private_key_made_by_a_script_fails_the_build() {
    let broken = Deb::new("probe", "1").script(
        "postinst",
        "mkdir -p /etc/probe\nprintf -- '-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIJ\\n\
         -----END PRIVATE KEY-----\\n' >/etc/probe/server.key",
    );
    fails_until_mended(&broken, &["a private key in /etc/probe/server.key"]);
}

#[test]
fn scripts_see_neither_the_network_nor_the_host() {
    let project = seeded();
    let secret = TempDir::new().expect("a temporary folder");
    fs::write(secret.path().join("secret"), "of the host").expect("a file");
    let mended = served(&Deb::new("probe", "1").script(
        "postinst",
        &format!(
            "set -e\n[ ! -e {0} ] || {{ echo sees {0}; exit 1; }}\n\
             [ -z \"$KASMFORGE_TEST_SECRET\" ]\n\
             [ \"$(cat /proc/net/dev | grep -c :)\" = 1 ]\n\
             [ \"$(hostname)\" = kasmforge ]",
            secret.path().display()
        ),
    ));
    project.define("desktop", &with_deb(&mended.address));
    let project = project.variable("KASMFORGE_TEST_SECRET", "of the host");
    project.build("desktop");
}

#[test]
fn two_packages_with_the_same_file_are_refused() {
    let archive = Archive::of(&[
        Deb::new("probe-one", "1").file("usr/share/probe", b"one"),
        Deb::new("probe-two", "1").file("usr/share/probe", b"two"),
    ]);
    let project = seeded();
    project.define(
        "desktop",
        &(definition_with(&["probe-one", "probe-two"]) + &archive.table()),
    );
    let ran = project.run(&["build"]);
    ran.failed_with(&["probe-one", "probe-two", "usr/share/probe"]);
}

// ---- The kernel -------------------------------------------------------------------------------

#[test]
fn a_host_without_user_namespaces_is_told_what_to_allow() {
    let project = seeded();
    let forbid = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"";
    let forbidden = || {
        let own = [
            "unshare",
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            forbid,
            "sh",
        ];
        project.command_below(&own)
    };
    let ran = Ran::of(forbidden().arg("build"));
    ran.failed_with(&["sysctl user.max_user_namespaces="]);
    let ran = Ran::of(forbidden().args(["doctor", "--offline"]));
    ran.failed_with(&["a build cannot work here"]);
    let mends = "raise it with `sysctl user.max_user_namespaces=";
    assert!(
        ran.output.contains(mends) && ran.output.contains("bad  sandbox"),
        "{ran:?}"
    );
    let ran = project.run(&["doctor", "--offline", "--json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.output.contains("\"works\": true"), "{ran:?}");
    builds_the_same(&project);
}
