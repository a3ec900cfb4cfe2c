//! A small root to run things in.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use kasmforge_sandbox::{Claim, Device, Error, Outcome, Owner, Program, Root, Status, Trial, run};

const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
const COMMANDS: &str = "awk cat chgrp chmod chown chroot cp date dd env find grep head hostname id \
                        ifconfig ln ls mkdir mkfifo mknod mount mv readlink rm rmdir sed seq sh sleep \
                        stat sync touch tr true tty umount wc";

/// A root of busybox and this test itself.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    /// What is made strange in the next run.
    trial: std::sync::Mutex<Trial>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bench = Self {
            folder,
            trial: std::sync::Mutex::default(),
        };
        for name in [
            "upper",
            "work",
            "lower/bin",
            "lower/dev",
            "lower/etc",
            "lower/proc",
            "lower/run/own",
            "lower/sys",
            "lower/tmp",
        ] {
            fs::create_dir_all(bench.path(name)).expect("a folder");
        }
        let busybox = BUSYBOX
            .iter()
            .find(|path| Path::new(path).exists())
            .expect("busybox: install busybox-static");
        fs::copy(busybox, bench.path("lower/bin/busybox")).expect("a copy of busybox");
        for command in COMMANDS.split_whitespace() {
            symlink("busybox", bench.path("lower/bin").join(command)).expect("a link");
        }
        bench.copy_self();
        bench
    }

    /// Puts this executable into the root, with the libraries it is linked with.
    fn copy_self(&self) {
        fs::copy("/proc/self/exe", self.path("lower/bin/self")).expect("a copy of this");
        let maps = fs::read_to_string("/proc/self/maps").expect("what this is made of");
        let libraries: BTreeSet<&str> = maps
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .filter(|path| path.contains(".so"))
            .collect();
        for library in libraries {
            let name = Path::new(library)
                .file_name()
                .expect("a library has a name");
            // The loader finds libraries here, and itself where the executable says it is.
            for folder in [
                "lib/x86_64-linux-gnu",
                "lib/aarch64-linux-gnu",
                "lib64",
                "lib",
            ] {
                let folder = self.path("lower").join(folder);
                fs::create_dir_all(&folder).expect("a folder");
                fs::copy(library, folder.join(name)).expect("a copy of a library");
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the bench ready for another run over the same files.
    pub(crate) fn clear_work(&self) {
        fs::remove_dir_all(self.path("work")).expect("scratch space that can be removed");
        fs::create_dir(self.path("work")).expect("scratch space");
    }

    /// Makes something strange in the next run.
    pub(crate) fn set_trial(&self, trial: Trial) {
        *self.trial.lock().expect("no panic holds it") = trial;
    }

    /// Puts a file into the lower directory.
    pub(crate) fn lower(&self, name: &str, text: &str, mode: u32) {
        let path = self.path("lower").join(name);
        fs::create_dir_all(path.parent().expect("a relative path")).expect("a folder");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
    }

    pub(crate) fn try_run(
        &self,
        owners: &[Owner],
        argv: &[&str],
    ) -> Result<(Outcome, String), Error> {
        let (lower, upper, work) = (self.path("lower"), self.path("upper"), self.path("work"));
        let program = Program {
            argv: argv.iter().map(OsString::from).collect(),
            environment: vec![("PATH".into(), "/bin".into()), ("A".into(), "b c".into())],
            directory: "/".into(),
            host_name: "bench".into(),
            trial: *self.trial.lock().expect("no panic holds it"),
        };
        let mut output = Vec::new();
        let root = Root {
            lower: &lower,
            upper: &upper,
            work: &work,
        };
        let outcome = run(&root, owners, &program, &mut |bytes| {
            output.extend_from_slice(bytes);
        })?;
        Ok((outcome, String::from_utf8(output).expect("text")))
    }

    /// Runs a shell script with some owners given; returns what it left and what it wrote.
    pub(crate) fn script_with(&self, owners: &[Owner], script: &str) -> (Outcome, String) {
        let script = format!("set -e\n{script}");
        let (outcome, output) = self.try_run(owners, &["sh", "-c", &script]).expect("a run");
        assert_eq!(outcome.status, Status::Exited(0), "{output}");
        (outcome, output)
    }

    pub(crate) fn script(&self, script: &str) -> (Outcome, String) {
        self.script_with(&[], script)
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.path("upper").join(name))
            .expect("a file in the upper directory")
            .permissions()
            .mode()
    }
}

pub(crate) fn owner(path: &str, uid: u32, gid: u32) -> Owner {
    Owner {
        path: path.into(),
        uid,
        gid,
    }
}

pub(crate) fn claim(path: &str, uid: u32, gid: u32) -> Claim {
    Claim {
        path: path.into(),
        uid,
        gid,
        device: None,
    }
}

pub(crate) fn device(path: &str, character: bool, major: u32, minor: u32) -> Claim {
    Claim {
        device: Some(Device {
            character,
            major,
            minor,
        }),
        ..claim(path, 0, 0)
    }
}
