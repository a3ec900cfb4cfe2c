//! Starts this very executable again where everything is different: on another file system,
//! under another host name, as another user.
//!
//! That is for proving that none of it matters to what the executable makes. A process in
//! between makes the place, in a mount namespace of its own, and stays until the caller has seen
//! enough: the place goes away with it.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, lchown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::process::{Signal, WaitOptions};
use rustix::thread::{CpuSet, UnshareFlags};

use crate::error::Error;
use crate::kernel::process;
use crate::message::{Malformed, Message, fields};
use crate::mounts;
use crate::program::Status;
use crate::wire::{During as _, Fault, Operation, c_string};

/// The name under which an executable starts itself to make such a place.
pub(crate) const NAME: &str = "kasmforge-elsewhere";

/// The user and group that the executable goes on as: no file of a host belongs to them.
const SOMEBODY: u32 = 42_424;

/// Folders that the place can be laid over; it hides what is in them from the executable alone.
const PLACES: [&str; 4] = ["/mnt", "/media", "/srv", "/tmp"];

/// Where in the place the output of the executable goes.
const OUTPUT: &str = "output";
const ERRORS: &str = "errors";

/// Where everything is different.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// The folder that becomes the place: one of [`place`].
    pub place: PathBuf,
    /// Makes the place a file system in memory of at most so many bytes. Otherwise it is `disk`.
    pub memory: Option<u64>,
    /// A folder on disk, to be the place if memory is not.
    pub disk: PathBuf,
    /// Whether to go on as another user, if this one is root, or under another number.
    pub user: bool,
    /// The host name.
    pub host_name: String,
    /// The file mode creation mask.
    pub mask: u32,
    /// On how many processors it may run; 0 for all.
    pub processors: u32,
    /// Folders of the host to be seen in the place, read-only, and under which names.
    pub shown: Vec<(PathBuf, String)>,
    /// Files of the host to be copied into the place, and to where.
    pub copied: Vec<(PathBuf, String)>,
    /// The executable's arguments, without its name.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// A folder of this host that can become a place.
#[must_use]
pub fn place() -> Option<PathBuf> {
    let mut places = PLACES.iter().map(PathBuf::from);
    places.find(|path| path.is_dir())
}

/// An executable that has run elsewhere. Its place is there until this is dropped.
#[derive(Debug)]
pub struct Went {
    child: Child,
    root: PathBuf,
    /// How it ended.
    pub status: Status,
    /// The user it was, if another one.
    pub user: Option<u32>,
}

impl Went {
    /// The path on this host of a path in the place, given from the place on.
    #[must_use]
    pub fn path(&self, inside: &Path) -> PathBuf {
        self.root.join(inside)
    }

    /// The path on this host of an absolute path that it saw.
    #[must_use]
    pub fn inside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What it wrote to standard output.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn output(&self) -> std::io::Result<String> {
        fs::read(self.path(OUTPUT.as_ref())).map(|text| String::from_utf8_lossy(&text).into())
    }

    /// What it wrote to standard error.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn errors(&self) -> std::io::Result<String> {
        fs::read(self.path(ERRORS.as_ref())).map(|text| String::from_utf8_lossy(&text).into())
    }
}

impl Drop for Went {
    fn drop(&mut self) {
        // The end of its input is what the process in between waits for.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What the process in between answers.
enum Report {
    Went(Status, Option<u32>),
    Failed(Fault),
}

impl Message for Report {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Went(status, user) => {
                true.put(to);
                status.put(to);
                user.put(to);
            }
            Self::Failed(fault) => {
                false.put(to);
                fault.put(to);
            }
        }
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        if bool::take(from)? {
            Ok(Self::Went(Status::take(from)?, Message::take(from)?))
        } else {
            Fault::take(from).map(Self::Failed)
        }
    }
}

fields!(Elsewhere {
    place,
    memory,
    disk,
    user,
    host_name,
    mask,
    processors,
    shown,
    copied,
    arguments,
    environment
});

/// Runs this executable elsewhere and waits for its end.
///
/// # Errors
/// If the place could not be made. An executable that fails is a [`Went`].
pub fn go(elsewhere: &Elsewhere) -> Result<Went, Error> {
    let mut child = Command::new(crate::run::OWN_EXECUTABLE)
        .arg0(NAME)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::Launch)?;
    let talk = |child: &mut Child| -> std::io::Result<Vec<u8>> {
        let request = elsewhere.to_bytes();
        let mut told = (request.len() as u64).to_le_bytes().to_vec();
        told.extend(request);
        if let Some(input) = &mut child.stdin {
            input.write_all(&told)?;
        }
        let mut report = Vec::new();
        if let Some(output) = &mut child.stdout {
            output.read_to_end(&mut report)?;
        }
        Ok(report)
    };
    let report = talk(&mut child).map_err(Error::Listen)?;
    let root = PathBuf::from(format!("/proc/{}/root", child.id()));
    let root = root.join(
        elsewhere
            .place
            .strip_prefix("/")
            .unwrap_or(&elsewhere.place),
    );
    match Report::from_bytes(&report) {
        Ok(Report::Went(status, user)) => Ok(Went {
            child,
            root,
            status,
            user,
        }),
        answer => {
            drop(child.stdin.take());
            let status = child.wait().map_err(Error::Listen)?;
            match answer {
                Ok(Report::Failed(fault)) => Err(fault.into()),
                _ => Err(Error::Lost(status)),
            }
        }
    }
}

/// Is the process in between.
pub(crate) fn serve() -> ! {
    let report = work().unwrap_or_else(Report::Failed);
    let answered = write_and_close(&report.to_bytes());
    if answered.is_ok() && matches!(report, Report::Went(..)) {
        // Until the caller lets go, or is no more.
        let _ = rustix::io::read(std::io::stdin().as_fd(), &mut [0_u8; 1]);
    }
    process::exit(0)
}

/// The report ends where the descriptor is closed, and no earlier.
fn write_and_close(bytes: &[u8]) -> Result<(), Errno> {
    let mut left = bytes;
    while !left.is_empty() {
        let count = rustix::io::write(std::io::stdout().as_fd(), left)?;
        left = &left[count..];
    }
    process::duplicate_onto(libc::STDERR_FILENO, libc::STDOUT_FILENO)
}

fn request() -> Result<Elsewhere, Fault> {
    let mut input = std::io::stdin().lock();
    let mut read = || -> std::io::Result<Vec<u8>> {
        let mut length = [0; 8];
        input.read_exact(&mut length)?;
        let mut bytes = vec![0; usize::try_from(u64::from_le_bytes(length)).unwrap_or(0)];
        input.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().during(Operation::ReadRequest)?;
    Elsewhere::from_bytes(&bytes).map_err(|_| Fault::new(Operation::ReadRequest, "", Errno::BADMSG))
}

fn work() -> Result<Report, Fault> {
    let wanted = request()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .during(Operation::Prepare)?;
    let user = separate(wanted.user)?;
    mounts::part_from_host()?;
    // What the place hides must be open before, and by way of this namespace's own mounts.
    let open = |path: &PathBuf| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty())
            .during_on(Operation::OpenDirectory, path)
    };
    let shown = wanted
        .shown
        .iter()
        .map(|(path, name)| Ok((open(path)?, name)));
    let shown = shown.collect::<Result<Vec<_>, Fault>>()?;
    let copied = wanted.copied.iter().map(|(path, name)| {
        let file = File::open(path).during_on(Operation::OpenDirectory, path)?;
        Ok((file, name))
    });
    let copied = copied.collect::<Result<Vec<_>, Fault>>()?;
    let disk = open(&wanted.disk)?;

    process::set_host_name(&wanted.host_name).during(Operation::SetUp)?;
    let place = &wanted.place;
    let owner = match user {
        Some(User::Real(id) | User::Mapped(id)) => id,
        None => rustix::process::geteuid().as_raw(),
    };
    if let Some(bytes) = wanted.memory {
        let options = CString::new(format!("size={bytes},mode=0755")).expect("a number");
        rustix::mount::mount(
            "tmpfs",
            place,
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        )
    } else {
        rustix::mount::mount_bind(mounts::handle(&disk), place)
    }
    .during_on(Operation::Mount, place)?;
    let real = matches!(user, Some(User::Real(_)));
    let give = |path: &Path| -> std::io::Result<()> {
        if real {
            lchown(path, Some(owner), Some(owner))?;
        }
        Ok(())
    };
    give(place).during_on(Operation::Mount, place)?;
    for (folder, name) in shown {
        let at = place.join(name);
        folders(place, name, &give).during_on(Operation::Mount, &at)?;
        rustix::mount::mount_bind(mounts::handle(&folder), &at)
            .and_then(|()| {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                mounts::make_read_only(&rustix::fs::openat(CWD, &at, flags, Mode::empty())?)
            })
            .during_on(Operation::Mount, &at)?;
    }
    for (mut file, name) in copied {
        let at = place.join(name);
        let copy = || -> std::io::Result<()> {
            if let Some(folder) = Path::new(name).parent().and_then(Path::to_str) {
                folders(place, folder, &give)?;
            }
            std::io::copy(&mut file, &mut File::create(&at)?)?;
            give(&at)
        };
        let mut copy = copy;
        copy().during_on(Operation::CopyElsewhere, &at)?;
    }
    let status = execute(&wanted, user)?;
    let user = user.map(|user| match user {
        User::Real(id) | User::Mapped(id) => id,
    });
    Ok(Report::Went(status, user))
}

#[derive(Clone, Copy)]
enum User {
    /// Another user of the host.
    Real(u32),
    /// The same user of the host, under another number.
    Mapped(u32),
}

/// Enters namespaces in which there are mounts and a host name of one's own.
fn separate(other: bool) -> Result<Option<User>, Fault> {
    let own = UnshareFlags::NEWNS | UnshareFlags::NEWUTS;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() && process::unshare(own).is_ok() {
        return Ok(other.then_some(User::Real(SOMEBODY)));
    }
    process::unshare(own | UnshareFlags::NEWUSER).during(Operation::EnterNamespaces)?;
    let id = if other { SOMEBODY } else { uid.as_raw() };
    mounts::map_ids_as(id, uid.as_raw(), gid.as_raw())?;
    Ok(other.then_some(User::Mapped(id)))
}

/// Makes a folder below the place, and those on the way.
fn folders(
    place: &Path,
    name: &str,
    give: &impl Fn(&Path) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut at = place.to_owned();
    for part in Path::new(name) {
        at.push(part);
        match fs::DirBuilder::new().mode(0o755).create(&at) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.and_then(|()| give(&at))?,
        }
    }
    Ok(())
}

fn execute(wanted: &Elsewhere, user: Option<User>) -> Result<Status, Fault> {
    let file = |name: &str| {
        let path = wanted.place.join(name);
        File::create(&path).during_on(Operation::CopyElsewhere, path)
    };
    let (output, errors) = (file(OUTPUT)?, file(ERRORS)?);
    let text = |text: &OsString| c_string(text).during(Operation::Execute);
    let mut argv = vec![c"kasmforge".to_owned()];
    for argument in &wanted.arguments {
        argv.push(text(argument)?);
    }
    let mut environment = Vec::new();
    for (name, value) in &wanted.environment {
        let mut whole = name.clone();
        whole.push("=");
        whole.push(value);
        environment.push(text(&whole)?);
    }
    let Some(child) = process::fork().during(Operation::Fork)? else {
        let become_it = || -> Result<Errno, Errno> {
            if let Some(User::Real(id)) = user {
                rustix::thread::set_thread_groups(&[])?;
                let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
                rustix::thread::set_thread_res_gid(gid, gid, gid)?;
                rustix::thread::set_thread_res_uid(uid, uid, uid)?;
            }
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if wanted.processors > 0 {
                on_few(wanted.processors)?;
            }
            rustix::process::umask(Mode::from_raw_mode(wanted.mask));
            rustix::process::chdir(&wanted.place)?;
            let null = rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty())?;
            for (from, to) in [(null.as_fd(), 0), (output.as_fd(), 1), (errors.as_fd(), 2)] {
                process::duplicate_onto(std::os::fd::AsRawFd::as_raw_fd(&from), to)?;
            }
            process::close_others_on_execute()?;
            process::default_signals()?;
            Ok(process::execute(c"/proc/self/exe", &argv, &environment))
        };
        let _ = become_it();
        process::exit(127)
    };
    loop {
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(Status::from(status)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).during(Operation::Supervise),
        }
    }
}

/// Keeps this process on the first processors of those it may use.
fn on_few(count: u32) -> Result<(), Errno> {
    let may = rustix::thread::sched_getaffinity(None)?;
    let mut few = CpuSet::new();
    let first = (0..CpuSet::MAX_CPU).filter(|processor| may.is_set(*processor));
    for processor in first.take(usize::try_from(count).unwrap_or(1)) {
        few.set(processor);
    }
    rustix::thread::sched_setaffinity(None, &few)
}
