//! The root of the program: the overlay and what is laid over it.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::wire::{During as _, Fault, Operation, Place};

/// The directories a root is made of, opened inside.
pub(crate) struct Layers {
    /// The files the program starts from.
    pub(crate) lower: OwnedFd,
    /// What it changed.
    pub(crate) upper: OwnedFd,
    pub(crate) work: OwnedFd,
    /// Both as one.
    pub(crate) merged: OwnedFd,
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Where a file system in memory can be put to try things out; at least one is always there.
const SCRATCH: [&str; 3] = ["/tmp", "/mnt", "/dev"];

/// The device nodes of the host that a program may use. None of them is anybody's in particular.
const DEVICES: [(&str, bool); 6] = [
    ("null", true),
    ("zero", true),
    ("full", true),
    ("random", true),
    ("urandom", true),
    ("tty", false),
];

/// Parts of /proc that are the host's: shown, not changed. For the kernel a program that root
/// runs is root, and settings under /proc/sys ask nothing more.
const PROC_READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// Files of /proc that tell about the host.
const PROC_EMPTY_FILES: [&str; 5] = [
    "kcore",
    "keys",
    "latency_stats",
    "timer_list",
    "sched_debug",
];
/// Directories of /proc that tell about the host.
const PROC_EMPTY_DIRECTORIES: [&str; 3] = ["acpi", "asound", "scsi"];

/// Keeps mounts of this namespace from reaching the host's.
pub(crate) fn part_from_host() -> Result<(), Fault> {
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .during_on(Operation::Mount, "/")
}

/// Makes the directories of a root in memory, for a run that only tries.
pub(crate) fn scratch_place() -> Result<Place, Fault> {
    let base = SCRATCH
        .iter()
        .map(Path::new)
        .find(|path| path.is_dir())
        .ok_or_else(|| Fault::new(Operation::Mount, SCRATCH[0], Errno::NOENT))?;
    rustix::mount::mount("tmpfs", base, "tmpfs", MountFlags::empty(), c"mode=0755")
        .during_on(Operation::Mount, base)?;
    for name in [
        "lower",
        "upper",
        "work",
        "lower/dev",
        "lower/proc",
        "lower/run",
        "lower/sys",
        "lower/tmp",
    ] {
        let path = base.join(name);
        rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)).during_on(Operation::Mount, path)?;
    }
    Ok(Place {
        lower: base.join("lower"),
        upper: base.join("upper"),
        work: base.join("work"),
    })
}

/// Lays the overlay over its own lower directory, where it needs no place of its own.
pub(crate) fn overlay(place: &Place) -> Result<Layers, Fault> {
    let open = |path: &PathBuf| -> Result<OwnedFd, Fault> {
        let directory = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())
            .during_on(Operation::OpenDirectory, path)?;
        let stat = rustix::fs::fstat(&directory).during_on(Operation::OpenDirectory, path)?;
        if (stat.st_uid, stat.st_gid) != (0, 0) {
            return Err(Fault::new(Operation::CheckOwner, path, Errno::ACCESS));
        }
        Ok(directory)
    };
    let (lower, upper, work) = (open(&place.lower)?, open(&place.upper)?, open(&place.work)?);
    if !is_empty(&work).during_on(Operation::OpenDirectory, &place.work)? {
        return Err(Fault::new(
            Operation::CheckEmpty,
            &place.work,
            Errno::NOTEMPTY,
        ));
    }
    // Numbers instead of paths: they hold no comma or colon to be escaped, and the program can
    // read these options in its /proc/mounts.
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr,volatile,index=off,metacopy=off,\
         redirect_dir=nofollow",
        handle(&lower),
        handle(&upper),
        handle(&work)
    );
    let options = CString::new(options).expect("numbers hold no zero byte");
    rustix::mount::mount(
        "overlay",
        handle(&lower),
        "overlay",
        // Nobody asks when a file was last read, and each symbolic link on a way would note it.
        MountFlags::NOATIME,
        options.as_c_str(),
    )
    .during_on(Operation::MountOverlay, &place.upper)?;
    let merged = rustix::fs::openat(CWD, &place.lower, DIRECTORY, Mode::empty())
        .during_on(Operation::OpenDirectory, &place.lower)?;
    Ok(Layers {
        lower,
        upper,
        work,
        merged,
    })
}

fn is_empty(directory: &OwnedFd) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    for entry in Dir::read_from(&readable)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Lays the file systems of the sandbox's own over the root.
pub(crate) fn furnish(root: &OwnedFd) -> Result<(), Fault> {
    devices(root)?;
    proc(root)?;
    memory(root, "tmp", MountFlags::empty(), c"mode=1777")?;
    run(root)?;
    memory(
        root,
        "sys",
        MountFlags::RDONLY | MountFlags::NOEXEC,
        c"mode=0755",
    )?;
    Ok(())
}

/// Makes the sandbox's root the root, and everything else unreachable.
pub(crate) fn enter(root: &OwnedFd) -> Result<(), Fault> {
    let steps = || -> Result<(), Errno> {
        rustix::process::fchdir(root)?;
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    };
    steps().during(Operation::PivotRoot)
}

/// A path to what is open, for calls that take nothing else.
pub(crate) fn handle(file: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// Opens a directory that something is to be mounted over.
fn mount_point(root: &OwnedFd, path: &str) -> Result<OwnedFd, Fault> {
    rustix::fs::openat2(
        root,
        path,
        DIRECTORY,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )
    .during_on(Operation::Mount, path)
}

/// Lays a file system in memory over a directory and opens it.
fn memory(
    root: &OwnedFd,
    path: &str,
    flags: MountFlags,
    options: &std::ffi::CStr,
) -> Result<OwnedFd, Fault> {
    let place = mount_point(root, path)?;
    rustix::mount::mount(
        "tmpfs",
        handle(&place),
        "tmpfs",
        flags | MountFlags::NOSUID | MountFlags::NODEV,
        options,
    )
    .during_on(Operation::Mount, path)?;
    mount_point(root, path)
}

fn devices(root: &OwnedFd) -> Result<(), Fault> {
    let dev = memory(root, "dev", MountFlags::empty(), c"mode=0755")?;
    for (name, needed) in DEVICES {
        let source = Path::new("/dev").join(name);
        match device(&dev, name, &source) {
            Err(_) if !needed => {}
            result => result.during_on(Operation::BindDevice, source)?,
        }
    }
    let links = [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (target, name) in links {
        rustix::fs::symlinkat(target, &dev, name).during_on(Operation::Mount, name)?;
    }
    directory(&dev, "shm", 0o1777).during_on(Operation::Mount, "dev/shm")?;
    directory(&dev, "pts", 0o755).during_on(Operation::Mount, "dev/pts")?;
    // Maintainer scripts do without terminals, so a host that has none to give is no obstacle.
    let place = mount_point(&dev, "pts")?;
    let terminals = rustix::mount::mount(
        "devpts",
        handle(&place),
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        c"newinstance,ptmxmode=0666,mode=0620",
    );
    if terminals.is_ok() {
        rustix::fs::symlinkat("pts/ptmx", &dev, "ptmx").during_on(Operation::Mount, "dev/ptmx")?;
    }
    Ok(())
}

/// Shows a device of the host. Read-only: that keeps its node from being changed, not the
/// device from being written to.
fn device(dev: &OwnedFd, name: &str, source: &Path) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let source = rustix::fs::openat(CWD, source, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&source)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice {
        return Err(Errno::NODEV);
    }
    drop(rustix::fs::openat(
        dev,
        name,
        OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o666),
    )?);
    rustix::mount::mount_bind(handle(&source), handle(&open_again(dev, name)?))?;
    make_read_only(&open_again(dev, name)?)
}

/// Makes a mount read-only. What else was restricted must stay so: the host's restrictions are
/// locked, and a request that would lift one is refused.
pub(crate) fn make_read_only(place: &OwnedFd) -> Result<(), Errno> {
    let now = rustix::fs::fstatvfs(place)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (seen, kept) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ] {
        if now.contains(seen) {
            flags |= kept;
        }
    }
    rustix::mount::mount_remount(handle(place), flags, "")
}

fn proc(root: &OwnedFd) -> Result<(), Fault> {
    let place = mount_point(root, "proc")?;
    let fresh = rustix::mount::mount(
        "proc",
        handle(&place),
        "proc",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        None,
    );
    match fresh {
        // In a container parts of /proc are covered, and who cannot see them all must not mount
        // another. The container's own, covers and all, serves as well.
        Err(Errno::PERM) => rustix::mount::mount_bind_recursive("/proc", handle(&place))
            .during_on(Operation::MountProc, "proc")?,
        other => other.during_on(Operation::MountProc, "proc")?,
    }
    let proc = mount_point(root, "proc")?;
    for name in PROC_READ_ONLY {
        cover(&proc, name, |place| {
            rustix::mount::mount_bind_recursive(handle(place), handle(place))?;
            make_read_only(&open_again(&proc, name)?)
        })?;
    }
    for name in PROC_EMPTY_FILES {
        cover(&proc, name, |place| {
            rustix::mount::mount_bind("/dev/null", handle(place))?;
            make_read_only(&open_again(&proc, name)?)
        })?;
    }
    for name in PROC_EMPTY_DIRECTORIES {
        cover(&proc, name, |place| {
            rustix::mount::mount("tmpfs", handle(place), "tmpfs", MountFlags::RDONLY, None)
        })?;
    }
    Ok(())
}

/// Opens what has just been mounted over a name, rather than what was there before.
fn open_again(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// Covers a part of /proc, if this kernel has it.
fn cover(
    proc: &OwnedFd,
    name: &str,
    with: impl FnOnce(&OwnedFd) -> Result<(), Errno>,
) -> Result<(), Fault> {
    match open_again(proc, name) {
        Err(Errno::NOENT) => Ok(()),
        place => place
            .and_then(|place| with(&place))
            .during_on(Operation::MountProc, Path::new("proc").join(name)),
    }
}

/// Lays an empty /run over the root's, with the same directories.
fn run(root: &OwnedFd) -> Result<(), Fault> {
    let below = rustix::fs::openat(
        &mount_point(root, "run")?,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .during_on(Operation::Mount, "run")?;
    let run = memory(root, "run", MountFlags::empty(), c"mode=0755")?;
    copy_directories(&below, &run).during_on(Operation::Mount, "run")?;
    match directory(&run, "lock", 0o1777) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).during_on(Operation::Mount, "run/lock"),
    }
}

fn copy_directories(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        directory(to, name, stat.st_mode & 0o7777)?;
        copy_directories(
            &rustix::fs::openat(from, name, flags, Mode::empty())?,
            &rustix::fs::openat(to, name, flags, Mode::empty())?,
        )?;
    }
    Ok(())
}

/// Makes a directory of exactly this mode.
fn directory(
    parent: &OwnedFd,
    name: impl rustix::path::Arg + Copy,
    mode: u32,
) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(mode);
    rustix::fs::mkdirat(parent, name, mode)?;
    rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
}

/// Writes the maps of a user namespace that this process has just entered: one user and one
/// group, both root inside.
pub(crate) fn map_ids(uid: u32, gid: u32) -> Result<(), Fault> {
    map_ids_as(0, uid, gid)
}

/// Writes the maps of a user namespace that this process has just entered, where the one user and
/// the one group have a number of their own.
pub(crate) fn map_ids_as(inside: u32, uid: u32, gid: u32) -> Result<(), Fault> {
    let write = |path: &str, text: String| {
        OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_CLOEXEC)
            .open(path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .during_on(Operation::MapIds, path)
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{inside} {uid} 1"))?;
    write("/proc/self/gid_map", format!("{inside} {gid} 1"))
}
