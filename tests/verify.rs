//! `verify`: what comes out the same is told to, and what does not is found, named and put down to
//! the script that made it.
//!
//! Needs `dpkg-deb` and the mirror the host's apt uses.

mod support {
    pub(crate) mod archive;
    pub(crate) mod oracle;
    pub(crate) mod project;
    pub(crate) mod server;
}

use serde_json::Value;
use support::archive::{Archive, Deb};
use support::project::{Project, debian};

#[test]
fn scripts_that_look_at_the_world_are_named() {
    // So many that no two orders are the same by chance.
    let listed = (0..60).fold(Deb::new("listing", "1"), |deb, number| {
        deb.file(&format!("usr/share/listing/{number}"), b"x")
    });
    let archive = Archive::of(&[
        Deb::new("timely", "1").script("postinst", "date +%s > /etc/timely\ndate > /etc/date"),
        Deb::new("chancy", "1").script(
            "postinst",
            "od -An -N8 -tx8 /dev/urandom > /etc/chancy; mktemp /etc/XXXXXXXX > /dev/null",
        ),
        listed.script("postinst", "find /usr/share/listing -type f > /etc/listing"),
        Deb::new("steady", "1").script(
            "postinst",
            "echo $SOURCE_DATE_EPOCH $LANG $TZ $(hostname) $(umask) $(id) > /etc/steady",
        ),
    ]);
    let project = Project::new();
    let packages = "[packages]\ninstall = [\"usr-is-merged\", \"timely\", \"chancy\", \"listing\", \
                    \"steady\"]\n";
    project.define("desktop", &(debian() + &archive.table() + packages));
    let ran = project.run(&["verify", "desktop", "--json"]);
    ran.failed_with(&["desktop does not come out the same"]);
    let told: Value = serde_json::from_str(&ran.output).expect("JSON");
    let differences = told["rounds"][0]["differences"].as_array().expect("a list");
    let of = |path: &str| -> Option<(&str, &str)> {
        let found = differences.iter().find(|one| one["path"] == path)?;
        Some((found["written_by"].as_str()?, found["looks_like"].as_str()?))
    };
    for (path, script, cause) in [
        ("etc/timely", "timely.postinst", "the clock"),
        ("etc/date", "timely.postinst", "the clock"),
        ("etc/chancy", "chancy.postinst", "random"),
        ("etc/listing", "listing.postinst", "directory order"),
    ] {
        let (writer, looks_like) = of(path).unwrap_or_else(|| panic!("{path}: {told:#}"));
        assert_eq!(writer, script, "{path}");
        assert!(looks_like.contains(cause), "{path}: {looks_like}");
    }
    assert!(of("etc/steady").is_none(), "{told:#}");
    // The name that is another each time: once here, once there.
    let names = differences
        .iter()
        .filter(|one| one["written_by"] == "chancy.postinst")
        .count();
    assert!(names >= 2, "{told:#}");

    // People are shown what differs, line by line.
    let ran = project.run(&["verify", "desktop"]);
    for words in [
        "/etc/listing: content",
        "written by listing.postinst",
        "  - ",
        "  + ",
    ] {
        assert!(ran.output.contains(words), "`{words}` in {}", ran.output);
    }
}

#[test]
fn what_comes_out_the_same_is_said_to() {
    // An index in the order of a folder, which a rule puts right.
    let index = (0..60).fold(Deb::new("index", "1"), |deb, number| {
        deb.file(&format!("usr/share/info/{number}.info"), b"x")
    });
    let script = "{ printf '* Menu:\\n\\nAll\\n'; find /usr/share/info -name '*.info' |
                      sed 's|.*/\\(.*\\).info|* \\1: (\\1).|'; } > /tmp/dir
                  mv /tmp/dir /usr/share/info/dir";
    let archive = Archive::of(&[index.script("postinst", script)]);
    let project = Project::new();
    // With modules to compile: beside the scripts in the build, one after the other in the trial, which
    // asks who wrote what.
    let packages = "[packages]\ninstall = [\"usr-is-merged\", \"python3-six\", \"index\"]\n";
    let slim = "[slim]\npython-bytecode = true\n";
    project.define("desktop", &(debian() + &archive.table() + packages + slim));
    let ran = project.run(&["verify", "--json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let told: Value = serde_json::from_str(&ran.output).expect("JSON");
    assert_eq!(told["equal"], true);
    // What was varied is told, and so is what this host did not allow.
    let varied = told["rounds"][0]["varied"]
        .as_array()
        .expect("a list")
        .len();
    let left = told["rounds"][0]["not_varied"]
        .as_array()
        .expect("a list")
        .len();
    assert_eq!(varied + left, 8, "{told:#}");
}

#[test]
fn normalisers_are_listed() {
    let project = Project::new();
    let ran = project.run(&["verify", "--normalisers", "--json"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let rules: Value = serde_json::from_str(&ran.output).expect("JSON");
    for rule in rules.as_array().expect("a list") {
        assert!(
            rule["version"].as_u64() >= Some(1) && !rule["why"].as_str().unwrap_or("").is_empty()
        );
    }
    let ran = project.run(&["verify", "--normalisers"]);
    for line in [
        "machine-id 1: every machine has its own; an empty one is made at first start",
        "java-certificates 1: times and order of arrival: sorted by alias, all of 1970",
        "info-index 1: order of arrival: sorted by section and name",
    ] {
        assert!(ran.output.lines().any(|one| one == line), "{ran:?}");
    }
}
