//! Packages that no script can notice run none: in their stage or above it, and the image is the one that
//! dpkg makes when it is given all packages at once.
//!
//! The last is `verify`'s word: the image it begins with was made the short way, and it makes that again
//! in an empty store where nothing stands by. Needs `dpkg-deb` and the mirror the host's apt uses.

mod support {
    pub(crate) mod archive;
    pub(crate) mod oracle;
    pub(crate) mod project;
    pub(crate) mod server;
}

use std::process::Command;

use support::archive::{Archive, Deb};
use support::project::{Image, Project, Ran, debian};

/// What lies under the tool in this test and run of it, and in no other: the store that tests share
/// must not have it.
fn base(test: &str) -> Deb {
    let script = format!("echo base > /etc/base # {test} {}", std::process::id());
    Deb::new("base", "1").script("postinst", &script)
}

/// A tool without scripts.
fn tool(version: &str) -> Deb {
    Deb::new("tool", version)
        .field("Section", "utils")
        .field("Depends", "base")
        .field("Homepage", "https://example.org/")
        .file("usr/bin/tool", version.as_bytes())
        .file("usr/share/tool/data", b"data")
        .file("usr/share/man/man1/tool.1", b"slimmed away")
        .file("etc/toolrc", b"settings")
}

/// Two stages: what packages the lower one has, and what the upper one has besides.
struct Stages<'a> {
    project: &'a Project,
    archive: &'a Archive,
}

impl Stages<'_> {
    fn define(&self, lower: &[&str], upper: &[&str]) {
        let lower = [&["usr-is-merged", "base"], lower].concat();
        let text = format!("{}{}", debian(), self.archive.table());
        let packages = |names: &[&str]| format!("[packages]\ninstall = {names:?}\n");
        self.project.define(
            "lower",
            &(text + "[slim]\nmanuals = false\n" + &packages(&lower)),
        );
        let text = format!("extends = \"lower\"\n{}", packages(upper));
        self.project.define("upper", &text);
    }

    /// Builds the upper one; gives the stages whose scripts ran.
    fn built(&self) -> (Image, Vec<&'static str>) {
        let ran = self.project.run(&["build", "upper", "--json"]);
        assert_eq!(ran.status, 0, "{}", ran.errors);
        (Image::of(&ran), configured(&ran))
    }

    fn is_what_dpkg_makes(&self) {
        let ran = self.project.run(&["verify", "upper"]);
        assert_eq!(ran.status, 0, "{ran:?}");
    }
}

/// What a file of an image holds: that of the highest layer that has it.
fn file(image: &Image, path: &str) -> Option<String> {
    let script = "tar --extract --to-stdout --file \"$1\" \"blobs/sha256/$2\" | tar --extract --to-stdout \
                  --file - \"$3\"";
    image.layers.iter().rev().find_map(|layer| {
        let hex = layer.strip_prefix("sha256:").expect("a digest");
        let ran = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&image.archive)
            .args([hex, path])
            .output()
            .expect("`tar` runs");
        let text = || String::from_utf8(ran.stdout).expect("a text");
        ran.status.success().then(text)
    })
}

fn configured(ran: &Ran) -> Vec<&'static str> {
    let names = ["lower", "upper"].into_iter();
    let told = |name: &&str| ran.errors.contains(&format!("configuring {name} "));
    names.filter(told).collect()
}

#[test]
fn scripts_run_again_for_those_only_that_they_may_notice() {
    let looks = "ls /usr/share/tool > /etc/looked";
    let all = |version: &str| {
        [
            base("notice"),
            Deb::new("top", "1").script("postinst", "echo top > /etc/top"),
            Deb::new("watch", "1")
                .script("triggers", "interest-noawait /usr/share/tool")
                .script("postinst", looks),
            tool(version),
        ]
    };
    let archive = Archive::of(&all("1"));
    let project = Project::new();
    let stages = Stages {
        project: &project,
        archive: &archive,
    };
    stages.define(&[], &["top"]);
    let (without, ran) = stages.built();
    assert_eq!(ran, ["lower", "upper"]);

    // A tool comes, and is there: its files, and what dpkg knows of it.
    stages.define(&["tool"], &["top"]);
    let (with, ran) = stages.built();
    assert!(ran.is_empty(), "{ran:?}");
    assert_ne!(with.digest, without.digest);
    assert_eq!(file(&with, "usr/bin/tool").as_deref(), Some("1"));
    assert_eq!(file(&with, "usr/share/man/man1/tool.1"), None);
    let status = file(&with, "var/lib/dpkg/status").expect("dpkg's list");
    let stanza = status
        .split("\n\n")
        .find(|one| one.starts_with("Package: tool\n"));
    assert!(stanza.is_some_and(|one| one.contains("\nStatus: install ok installed\n")));
    let list = file(&with, "var/lib/dpkg/info/tool.list").expect("its files");
    assert!(
        list.contains("/usr/bin/tool\n") && !list.contains("man1/tool.1"),
        "{list}"
    );
    stages.is_what_dpkg_makes();

    // It changes.
    archive.publish("Sun, 11 Jun 2023 08:00:00 UTC", &all("2"));
    let updated = project.run(&["update"]);
    assert_eq!(updated.status, 0, "{}", updated.errors);
    let (changed, ran) = stages.built();
    assert!(ran.is_empty(), "{ran:?}");
    assert_eq!(file(&changed, "usr/bin/tool").as_deref(), Some("2"));

    // The stage above begins to watch what it ships: there the scripts find it.
    stages.define(&["tool"], &["watch"]);
    let (watched, ran) = stages.built();
    assert_eq!(ran, ["upper"]);
    assert_eq!(file(&watched, "etc/looked").as_deref(), Some("data\n"));
    stages.is_what_dpkg_makes();

    // It goes.
    stages.define(&[], &["top"]);
    let (gone, ran) = stages.built();
    assert!(ran.is_empty(), "{ran:?}");
    assert_eq!(gone.digest, without.digest);
}

#[test]
fn whatever_scripts_had_to_do_with_is_no_bystander() {
    let divert = "dpkg-divert --quiet --package moves --rename --add /usr/share/tool/data";
    let archive = Archive::of(&[
        base("touch"),
        tool("1"),
        Deb::new("writes", "1").script(
            "postinst",
            "mkdir -p /usr/share/tool; [ -e /usr/bin/tool ] || echo made > /usr/bin/tool",
        ),
        Deb::new("moves", "1").script("postinst", divert),
    ]);
    let project = Project::new();
    let stages = Stages {
        project: &project,
        archive: &archive,
    };
    stages.define(&["tool"], &["writes"]);
    let (image, ran) = stages.built();
    assert_eq!(ran, ["lower", "upper"]);
    // The script found what the package ships.
    assert_eq!(file(&image, "usr/bin/tool").as_deref(), Some("1"));
    stages.is_what_dpkg_makes();
    stages.define(&["tool", "moves"], &[]);
    let (image, _) = stages.built();
    assert_eq!(
        file(&image, "usr/share/tool/data.distrib").as_deref(),
        Some("data")
    );
    stages.is_what_dpkg_makes();
}
