//! Answers the system calls that are about ownership.
//!
//! A `chown` is carried out for real towards the one owner there is, so that the kernel does
//! everything else it does then: refuse what must be refused, clear setuid bits, copy the file
//! up. Only the owner that was meant is a matter of the record. A device node becomes an empty
//! file and a record. A `stat` of something recorded is answered from the record; all others go
//! to the kernel.

mod attributes;
mod identities;
mod trials;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::caller::{Caller, Identity, Target, path_of};
use crate::calls::{By, Call, Kind, Layout, Width};
use crate::creation::Awaiting;
use crate::identity::Identities;
use crate::kernel::memory;
use crate::kernel::seccomp::{Answer, Listener, Notification};
use crate::ownership::{Ownership, Record};
use crate::program::{Device, IdentityChange, Trial};
use crate::trial::clock::Clock;
use crate::trial::listing::Listings;
use crate::trial::writers::Writers;
use crate::wire::c_string;

/// Answers system calls and keeps the record.
pub(crate) struct Supervisor {
    pub(crate) ownership: Ownership,
    pub(crate) identity_changes: BTreeSet<IdentityChange>,
    /// The root directory of the sandbox.
    root: Identity,
    /// Whether some paths may mean something else to a caller than to the supervisor.
    remounted: bool,
    identities: Identities,
    awaiting: Awaiting,
    clock: Option<Clock>,
    listings: Listings,
    pub(crate) writers: Option<Writers>,
}

/// Where and how a `stat` wants its answer.
#[derive(Clone, Copy)]
enum Form {
    Stat(Layout),
    Statx { flags: i32, mask: u32 },
}

impl Supervisor {
    /// `upper` is the overlay's upper directory.
    pub(crate) fn new(
        ownership: Ownership,
        root: Identity,
        trial: &Trial,
        upper: OwnedFd,
    ) -> Result<Self, Errno> {
        let ahead = trial.clock_ahead;
        Ok(Self {
            ownership,
            identity_changes: BTreeSet::new(),
            root,
            remounted: false,
            identities: Identities::default(),
            awaiting: Awaiting::default(),
            clock: (ahead != 0).then(|| Clock::new(ahead)).transpose()?,
            listings: Listings::default(),
            writers: trial.attribute.then(|| Writers::new(upper)),
        })
    }

    /// Records whatever is still to be recorded, once nobody runs any more.
    pub(crate) fn settle(&mut self) -> Result<(), Errno> {
        self.awaiting.settle(None, &mut self.ownership)
    }

    /// Takes one call and answers it.
    pub(crate) fn serve(&mut self, listener: &Listener) -> Result<(), Errno> {
        match listener.receive()? {
            Some(call) => listener.answer(&call, self.answer(listener, &call)),
            None => Ok(()),
        }
    }

    fn answer(&mut self, listener: &Listener, notification: &Notification) -> Answer {
        let Some(call) = Call::of(notification) else {
            return Answer::Fail(Errno::NOSYS);
        };
        let maker = Some(notification.pid);
        if let Err(error) = self.awaiting.settle(maker, &mut self.ownership) {
            return Answer::Fail(error);
        }
        let arguments = notification.arguments;
        let caller = Caller::new(notification.pid);
        let valid = || {
            if listener.still_waits(notification) {
                Ok(())
            } else {
                Err(Errno::SRCH)
            }
        };
        let path = |at: i32, address: u64, follow: bool, empty: bool| Target::Path {
            at,
            address,
            follow,
            empty,
        };
        let here = libc::AT_FDCWD;
        let number = |argument: u64| argument as i32;
        let nofollow = |flags: i32| flags & libc::AT_SYMLINK_NOFOLLOW != 0;
        let empty = |flags: i32| flags & libc::AT_EMPTY_PATH != 0;
        let [a, b, c, d, e, _] = arguments;
        match call.kind {
            Kind::Chown { follow } => {
                let target = path(here, a, follow, false);
                self.chown(&caller, valid, target, ids(b, c, call.width))
            }
            Kind::Fchown => {
                let target = Target::Descriptor(number(a));
                self.chown(&caller, valid, target, ids(b, c, call.width))
            }
            Kind::Fchownat => {
                let flags = number(e);
                if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
                    return Answer::Fail(Errno::INVAL);
                }
                let target = path(number(a), b, !nofollow(flags), empty(flags));
                self.chown(&caller, valid, target, ids(c, d, call.width))
            }
            Kind::Mknod => self.mknod(&caller, valid, here, [a, b, c]),
            Kind::Mknodat => self.mknod(&caller, valid, number(a), [b, c, d]),
            Kind::Stat { follow, layout } => {
                let target = path(here, a, follow, false);
                self.stat(&caller, valid, target, Form::Stat(layout), b)
            }
            Kind::Fstat(layout) => {
                let target = Target::Descriptor(number(a));
                self.stat(&caller, valid, target, Form::Stat(layout), b)
            }
            Kind::Fstatat(layout) => {
                let flags = number(d);
                let target = path(number(a), b, !nofollow(flags), empty(flags));
                self.stat(&caller, valid, target, Form::Stat(layout), c)
            }
            Kind::Statx => {
                let flags = number(c);
                let target = path(number(a), b, !nofollow(flags), empty(flags));
                let form = Form::Statx {
                    flags: flags & libc::AT_STATX_SYNC_TYPE,
                    mask: d as u32,
                };
                self.stat(&caller, valid, target, form, e)
            }
            Kind::Link => self.link(&caller, valid, path(here, a, false, false)),
            Kind::Linkat => {
                let flags = number(e);
                let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
                self.link(&caller, valid, path(number(a), b, follow, empty(flags)))
            }
            Kind::SetIds(ids, form) => {
                let wanted: Vec<_> = arguments[..form.count()]
                    .iter()
                    .map(|argument| id(*argument, call.width))
                    .collect();
                self.set_ids(&caller, ids, form, &wanted)
            }
            Kind::GetId(ids, role) => self.get_id(&caller, ids, role),
            Kind::GetIds(ids) => self.get_ids(&caller, ids, [a, b, c], call.width),
            Kind::GetGroups => self.get_groups(&caller, number(a), b, call.width),
            Kind::SetGroups => self.set_groups(&caller, number(a), b, call.width),
            Kind::Create {
                directory,
                path,
                flags,
            } => {
                let at = directory.map_or(here, |at| number(arguments[at]));
                let flags = flags.map_or(0, |at| arguments[at] as u32);
                self.create(&caller, valid, at, arguments[path], flags)
            }
            Kind::Move => Answer::Continue,
            Kind::Remount => {
                self.remounted = true;
                Answer::Continue
            }
            Kind::SetAttribute(by) => self.set_attribute(&caller, valid, named(by, a), [b, c, d]),
            Kind::GetAttribute(by) => self.get_attribute(&caller, valid, named(by, a), [b, c, d]),
            Kind::RemoveAttribute(by) => self.remove_attribute(&caller, valid, named(by, a), b),
            Kind::Sleep => sleep(&caller),
            Kind::Execute => self.executes(&caller, a),
            Kind::List => self.list(&caller, valid, number(a), b, c),
            Kind::Handle { word } => begins_again(&caller, b, word),
            Kind::Clock => self.clock_time(&caller, number(a), b),
            Kind::TimeOfDay => self.time_of_day(&caller, a, b),
            #[cfg(target_arch = "x86_64")]
            Kind::Time => self.time(&caller, a),
            Kind::Begin => self.begins(&caller),
            // The filter answers these itself.
            Kind::SetLimit { .. } | Kind::Refused | Kind::Missing => Answer::Fail(Errno::NOSYS),
        }
    }

    fn chown(
        &mut self,
        caller: &Caller,
        valid: impl Fn() -> Result<(), Errno>,
        target: Target,
        (uid, gid): (Option<u32>, Option<u32>),
    ) -> Answer {
        let mut change = || -> Result<(), Errno> {
            let file = caller.open(&caller.object(target)?, self.root)?;
            valid()?;
            let before = rustix::fs::fstat(&file)?;
            let old = self.ownership.get(&file, &before);
            self.may_give(caller, old.unwrap_or(Record::PLAIN), uid, gid)?;
            let result = rustix::fs::chownat(
                &file,
                "",
                uid.map(|_| Uid::ROOT),
                gid.map(|_| Gid::ROOT),
                AtFlags::EMPTY_PATH,
            );
            match result {
                // A device lent by the host: there is nothing to change and nothing to record.
                Err(Errno::PERM | Errno::ROFS)
                    if FileType::from_raw_mode(before.st_mode) == FileType::CharacterDevice =>
                {
                    return Ok(());
                }
                other => other?,
            }
            let known = old.unwrap_or(Record::PLAIN);
            let new = Record {
                uid: uid.unwrap_or(known.uid),
                gid: gid.unwrap_or(known.gid),
                ..known
            };
            if old.is_some() || new != Record::PLAIN || inherits_group(&file) {
                self.ownership.set(file, &before, new)?;
            }
            Ok(())
        };
        change().into()
    }

    /// Arguments from the path on: path, mode, device.
    fn mknod(
        &mut self,
        caller: &Caller,
        valid: impl Fn() -> Result<(), Errno>,
        at: i32,
        [address, mode, device]: [u64; 3],
    ) -> Answer {
        let (mode, device) = (mode as u32, device as u32);
        if !matches!(mode & libc::S_IFMT, libc::S_IFCHR | libc::S_IFBLK) {
            return self.create(caller, valid, at, address, libc::O_CREAT as u32);
        }
        if self
            .identities
            .of(caller.id())
            .is_some_and(|one| !one.is_root())
        {
            return Answer::Fail(Errno::PERM);
        }
        let mut make = || -> Result<(), Errno> {
            let path = caller.path(address, false)?;
            let (directory, name) = split(path.as_bytes()).ok_or(Errno::NOENT)?;
            if directory.is_empty() && name.is_empty() {
                return Err(Errno::NOENT);
            }
            if name.is_empty() {
                return Err(Errno::EXIST);
            }
            let directory = c_string(directory)?;
            let directory = caller.resolve(at, &directory, true, self.root)?;
            let permissions = mode & 0o7777 & !caller.mask()?;
            valid()?;
            // An overlay takes 0/0 for a removed file and does not let anybody make one.
            let device = Device::from_number(FileType::from_raw_mode(mode), device);
            if device.character && (device.major, device.minor) == (0, 0) {
                return Err(Errno::PERM);
            }
            drop(rustix::fs::openat(
                &directory,
                name,
                OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY,
                Mode::from_raw_mode(permissions),
            )?);
            let file = rustix::fs::openat(
                &directory,
                name,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            let stat = rustix::fs::fstat(&file)?;
            let record = Record {
                device: Some(device),
                ..Record::PLAIN
            };
            self.ownership.set(file, &stat, record)
        };
        make().into()
    }

    fn stat(
        &mut self,
        caller: &Caller,
        valid: impl Fn() -> Result<(), Errno>,
        target: Target,
        form: Form,
        buffer: u64,
    ) -> Answer {
        if self.ownership.is_empty() {
            return Answer::Continue;
        }
        match self.recorded(caller, target) {
            Some((file, record)) => valid()
                .and_then(|()| filled_in(&file, record, form))
                .and_then(|bytes| caller.write(buffer, &bytes))
                .into(),
            // Also if it could not be looked up: the kernel says why.
            None => Answer::Continue,
        }
    }

    /// The file a call is about, if something other than the truth is to be said about it.
    fn recorded(&mut self, caller: &Caller, target: Target) -> Option<(OwnedFd, Record)> {
        let object = caller.object(target).ok()?;
        // Nearly always the answer is no, and a question less is asked for it.
        if let Some(stat) = caller.glance(&object, !self.remounted)
            && !self.ownership.may_know(&stat.ok()?)
        {
            return None;
        }
        let file = caller.open(&object, self.root).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let record = self.ownership.get(&file, &stat)?;
        (record != Record::PLAIN).then_some((file, record))
    }

    /// Lets a link be made, but learns what it needs to recognise it first.
    fn link(
        &mut self,
        caller: &Caller,
        valid: impl Fn() -> Result<(), Errno>,
        target: Target,
    ) -> Answer {
        let mut prepare = || -> Result<(), Errno> {
            let file = caller.open(&caller.object(target)?, self.root)?;
            valid()?;
            let stat = rustix::fs::fstat(&file)?;
            self.ownership.expect_link(&file, &stat)
        };
        // If anything is wrong with it, the kernel will say so to the caller.
        let _ = prepare();
        Answer::Continue
    }
}

/// Whether a file lies in a directory whose group its files inherit. There, belonging to root
/// was somebody's decision and must be recorded like any other.
fn inherits_group(file: &OwnedFd) -> bool {
    let parent = || -> Result<bool, Errno> {
        let path = path_of(file)?;
        let parent = path.parent().ok_or(Errno::NOENT)?;
        let stat = rustix::fs::stat(parent)?;
        Ok(stat.st_mode & libc::S_ISGID != 0)
    };
    parent().unwrap_or(false)
}

/// The answer to a `stat`, with the recorded owner and device in place of the real ones.
fn filled_in(file: &OwnedFd, record: Record, form: Form) -> Result<Vec<u8>, Errno> {
    let file = file.as_fd();
    let mode = |mode: u32| match record.device {
        Some(device) => mode & !libc::S_IFMT | device.file_type().as_raw_mode(),
        None => mode,
    };
    match form {
        Form::Stat(layout) => {
            let mut stat = memory::stat(file)?;
            stat.st_uid = record.uid;
            stat.st_gid = record.gid;
            stat.st_mode = mode(stat.st_mode);
            if let Some(device) = record.device {
                stat.st_rdev = device.number().into();
            }
            match layout {
                Layout::Native => Ok(memory::stat_bytes(&stat).to_vec()),
                #[cfg(target_arch = "x86_64")]
                Layout::I386 => i386_stat(&stat),
            }
        }
        Form::Statx { flags, mask } => {
            let mut stat = memory::statx(file, flags, mask)?;
            stat.stx_uid = record.uid;
            stat.stx_gid = record.gid;
            stat.stx_mode = u16::try_from(mode(stat.stx_mode.into())).expect("a mode has 16 bits");
            if let Some(device) = record.device {
                stat.stx_rdev_major = device.major;
                stat.stx_rdev_minor = device.minor;
            }
            Ok(memory::statx_bytes(&stat).to_vec())
        }
    }
}

/// `struct stat64` of i386, where 64-bit numbers are aligned to four bytes
/// (`arch/x86/include/uapi/asm/stat.h`).
#[cfg(target_arch = "x86_64")]
fn i386_stat(stat: &libc::stat) -> Result<Vec<u8>, Errno> {
    let narrow = |number: i64| u32::try_from(number).map_err(|_| Errno::OVERFLOW);
    let mut bytes = Vec::with_capacity(96);
    let mut put = |part: &[u8]| bytes.extend_from_slice(part);
    put(&stat.st_dev.to_le_bytes());
    put(&[0; 4]);
    put(&(stat.st_ino as u32).to_le_bytes());
    put(&stat.st_mode.to_le_bytes());
    put(&(stat.st_nlink as u32).to_le_bytes());
    put(&stat.st_uid.to_le_bytes());
    put(&stat.st_gid.to_le_bytes());
    put(&stat.st_rdev.to_le_bytes());
    put(&[0; 4]);
    put(&stat.st_size.to_le_bytes());
    put(&(stat.st_blksize as u32).to_le_bytes());
    put(&stat.st_blocks.to_le_bytes());
    for (seconds, nanoseconds) in [
        (stat.st_atime, stat.st_atime_nsec),
        (stat.st_mtime, stat.st_mtime_nsec),
        (stat.st_ctime, stat.st_ctime_nsec),
    ] {
        put(&(seconds as u32).to_le_bytes());
        put(&narrow(nanoseconds)?.to_le_bytes());
    }
    put(&stat.st_ino.to_le_bytes());
    Ok(bytes)
}

/// Two ids among a call's arguments; none means "leave it".
fn ids(uid: u64, gid: u64, width: Width) -> (Option<u32>, Option<u32>) {
    (id(uid, width), id(gid, width))
}

fn id(argument: u64, width: Width) -> Option<u32> {
    let id = argument as u32 & width.mask();
    (id != width.mask()).then_some(id)
}

/// The file that a call about attributes names.
fn named(by: By, argument: u64) -> Target {
    match by {
        By::Descriptor => Target::Descriptor(argument as i32),
        By::Path | By::Link => Target::Path {
            at: libc::AT_FDCWD,
            address: argument,
            follow: by == By::Path,
            empty: false,
        },
    }
}

/// Splits a path into the directory and the name in it; the name is empty where nothing can be
/// made. None for a path that ends in a slash.
fn split(path: &[u8]) -> Option<(&OsStr, &OsStr)> {
    let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..=slash], &path[slash + 1..]),
        None => (&b"."[..], path),
    };
    let name = match name {
        b"." | b".." => b"",
        b"" if path.iter().any(|byte| *byte != b'/') => return None,
        name => name,
    };
    Some((OsStr::from_bytes(directory), OsStr::from_bytes(name)))
}

impl Device {
    /// Takes the number `mknod` is given.
    fn from_number(kind: FileType, number: u32) -> Self {
        Self {
            character: kind == FileType::CharacterDevice,
            major: (number & 0x000f_ff00) >> 8,
            minor: (number & 0xff) | ((number >> 12) & 0x000f_ff00),
        }
    }

    /// The number `stat` gives.
    const fn number(self) -> u32 {
        (self.minor & 0xff) | (self.major << 8) | ((self.minor & !0xff) << 12)
    }

    const fn file_type(self) -> FileType {
        if self.character {
            FileType::CharacterDevice
        } else {
            FileType::BlockDevice
        }
    }
}

/// Has calls that the end of a child interrupts begun again, for whoever handles that signal.
///
/// Until it is received here, a call of the supervisor's waits as a read from a terminal would: a
/// signal ends it. The kernel begins it again unless the handler asked it not to (sigaction(2),
/// `SA_RESTART`), and then a `stat` fails with `EINTR`, which no program expects of it. Shells
/// handle just this signal, without that flag, and children end at any time. What shells wait with is
/// interrupted either way (signal(7)).
fn begins_again(caller: &Caller, action: u64, word: usize) -> Answer {
    // Both layouts begin with the handler and the flags, each as long as a C `long`.
    let Ok(bytes) = caller.bytes(action, 2 * word) else {
        // The kernel says what is wrong with it.
        return Answer::Continue;
    };
    let (handler, flags) = bytes.split_at(word);
    let default_or_ignored = handler[0] <= 1 && handler[1..].iter().all(|byte| *byte == 0);
    // Little-endian machines only, as the filter.
    let mut low = [0; 4];
    low.copy_from_slice(&flags[..4]);
    let wanted = u32::from_le_bytes(low);
    let restart = libc::SA_RESTART.cast_unsigned();
    if !default_or_ignored && wanted & restart == 0 {
        // What cannot be written stays as it was meant.
        let _ = caller.write(action + word as u64, &(wanted | restart).to_le_bytes());
    }
    Answer::Continue
}

/// Programs that wait at their end for no other reason than that a file changed after them has a
/// later time than what they wrote. Here no time outlives the run.
const WAITING_FOR_THE_CLOCK: [&str; 1] = ["/usr/bin/fc-cache"];

/// Spares those programs their waiting. Nobody else: who waits for another process must wait.
fn sleep(caller: &Caller) -> Answer {
    let executable = caller.executable();
    let path = executable.to_str().unwrap_or_default();
    if WAITING_FOR_THE_CLOCK.contains(&path) {
        Answer::Done
    } else {
        Answer::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_go_there_and_back() {
        for number in [0x0103, 0x0800, 0xffff_ffff, 0x0010_0000 | 0x0801] {
            let device = Device::from_number(FileType::BlockDevice, number);
            assert_eq!(device.number(), number, "{number:#x}");
        }
        let null = Device::from_number(FileType::CharacterDevice, 0x0103);
        assert_eq!((null.major, null.minor), (1, 3));
    }

    #[test]
    fn paths_are_split_where_a_name_can_be_made() {
        let parts = |path: &'static str| {
            split(path.as_bytes())
                .map(|(a, b)| (a.to_str().expect("text"), b.to_str().expect("text")))
        };
        assert_eq!(parts("/dev/null"), Some(("/dev/", "null")));
        assert_eq!(parts("null"), Some((".", "null")));
        assert_eq!(parts("a/.."), Some(("a/", "")));
        assert_eq!(parts("/"), Some(("/", "")));
        assert_eq!(parts("a/"), None);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn an_old_stat_of_i386_has_96_bytes() {
        let file = OwnedFd::from(std::fs::File::open("/").expect("the root directory"));
        let stat = memory::stat(file.as_fd()).expect("its stat");
        let bytes = i386_stat(&stat).expect("numbers that fit");
        assert_eq!(bytes.len(), 96);
        assert_eq!(bytes[16..20], stat.st_mode.to_le_bytes());
        assert_eq!(bytes[88..], stat.st_ino.to_le_bytes());
    }
}
