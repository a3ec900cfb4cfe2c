//! The inner half: a process of one thread that makes the root, starts process 1 in it and
//! answers system calls until all inside are dead.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use crate::caller::Identity;
use crate::init::{self, Channel, Word};
use crate::kernel::process;
use crate::kernel::seccomp::Listener;
use crate::message::Message as _;
use crate::mounts::{self, Layers};
use crate::ownership::{Ownership, Record};
use crate::program::{Outcome, Owner, Program, Status};
use crate::supervisor::Supervisor;
use crate::survey;
use crate::wire::{During as _, Fault, Operation, Report, Request};

/// Does what the request on standard input asks and reports on standard output; the program's
/// output goes to standard error.
pub(crate) fn serve() -> ! {
    let report = work().map_or_else(Report::Failed, Report::Done);
    let written =
        own(std::io::stdout()).and_then(|mut stream| stream.write_all(&report.to_bytes()));
    process::exit(i32::from(written.is_err()))
}

/// A standard stream without the buffer of `std::io`.
fn own(stream: impl AsFd) -> std::io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

fn work() -> Result<Outcome, Fault> {
    let request = request()?;
    // The kernel forgets this when rights are given up, hence once more below.
    die_with_caller()?;
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(request.caller) {
        process::exit(1);
    }
    allow_many_descriptors()?;

    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    process::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWPID)
        .during(Operation::EnterNamespaces)?;
    mounts::map_ids(uid.as_raw(), gid.as_raw())?;
    die_with_caller()?;

    mounts::part_from_host()?;
    let place = match request.place {
        Some(place) => place,
        None => mounts::scratch_place()?,
    };
    let layers = mounts::overlay(&place)?;
    let outcome = run_on(&layers, &request.owners, request.program.as_ref());
    let removable = make_removable(&layers.work).during(Operation::Survey);
    outcome.and_then(|outcome| removable.map(|()| outcome))
}

/// Runs the program on the mounted overlay.
fn run_on(layers: &Layers, owners: &[Owner], program: Option<&Program>) -> Result<Outcome, Fault> {
    // Kept for looking at processes: inside, /proc does not show this one.
    rustix::process::chdir("/proc").during(Operation::Prepare)?;
    // Modes of placeholders are exactly what was asked for.
    rustix::process::umask(Mode::empty());

    let trial = program.map(|program| program.trial).unwrap_or_default();
    let begin = |ownership| {
        let root = Identity::of(&rustix::fs::fstat(&layers.merged)?);
        let upper = layers.upper.try_clone().map_err(|_| Errno::MFILE)?;
        Supervisor::new(ownership, root, &trial, upper)
    };
    let supervisor = begin(ownership(layers, owners)?).during(Operation::Prepare)?;
    let (ours, theirs) = Channel::pair().during(Operation::Prepare)?;
    let Some(init) = process::fork().during(Operation::Fork)? else {
        drop(ours);
        init::run(&layers.merged, program, &theirs)
    };
    drop(theirs);
    let followed = ours
        .begin()
        .during(Operation::Supervise)
        .and_then(|()| follow(&ours, supervisor, init));
    if followed.is_err() {
        // Nobody is left to answer: whatever still waits must not wait for ever. It may be
        // dead already, which is as good.
        let _ = rustix::process::kill_process(init, Signal::KILL);
    }
    rustix::process::waitpid(Some(init), WaitOptions::empty()).during(Operation::Supervise)?;
    let (supervisor, status) = followed?;
    survey::survey(layers, supervisor, status)
}

fn request() -> Result<Request, Fault> {
    let mut bytes = Vec::new();
    own(std::io::stdin())
        .and_then(|mut stream| stream.read_to_end(&mut bytes))
        .during(Operation::ReadRequest)?;
    Request::from_bytes(&bytes).map_err(|_| Fault::new(Operation::ReadRequest, "", Errno::BADMSG))
}

fn die_with_caller() -> Result<(), Fault> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).during(Operation::Prepare)
}

/// The record holds a descriptor for each inode in it.
fn allow_many_descriptors() -> Result<(), Fault> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .during(Operation::Prepare)
}

/// Records the owners that files of the lower directory have.
fn ownership(layers: &Layers, owners: &[Owner]) -> Result<Ownership, Fault> {
    let begin = || -> Result<Ownership, Errno> {
        let device = |directory: &OwnedFd| rustix::fs::fstat(directory).map(|stat| stat.st_dev);
        let one_file_system = device(&layers.lower)? == device(&layers.upper)?;
        let merged = device(&layers.merged)?;
        let upper = layers.upper.try_clone().map_err(|_| Errno::MFILE)?;
        Ok(Ownership::new(upper, one_file_system.then_some(merged)))
    };
    let mut ownership = begin().during(Operation::Prepare)?;
    for owner in owners {
        let path = match owner.path.as_os_str().is_empty() {
            true => Path::new("."),
            false => &owner.path,
        };
        let record = Record {
            uid: owner.uid,
            gid: owner.gid,
            device: None,
        };
        rustix::fs::openat2(
            &layers.merged,
            path,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        )
        .and_then(|file| ownership.seed(file, record))
        .during_on(Operation::FindOwned, &owner.path)?;
    }
    Ok(ownership)
}

/// Answers calls and listens to process 1 until it is gone.
fn follow(
    channel: &Channel,
    mut supervisor: Supervisor,
    init: Pid,
) -> Result<(Supervisor, Status), Fault> {
    let mut census = Census::new(init);
    let mut listener: Option<Listener> = None;
    let mut ended = None;
    loop {
        let mut sources = vec![PollFd::new(&channel.0, PollFlags::IN)];
        if let Some(listener) = &listener {
            sources.push(PollFd::new(listener, PollFlags::IN));
        }
        match rustix::event::poll(&mut sources, Some(&BETWEEN_CENSUSES)) {
            Err(Errno::INTR) => continue,
            other => other.during(Operation::Supervise)?,
        };
        if listener.is_some() {
            census.take()?;
        }
        let word = !sources[0].revents().is_empty();
        let call = sources.get(1).map_or(PollFlags::empty(), PollFd::revents);
        if let Some(listener) = &listener
            && call.contains(PollFlags::IN)
        {
            supervisor.serve(listener).during(Operation::Supervise)?;
        } else if !call.is_empty() {
            // All who could call are dead.
            listener = None;
        }
        if !word {
            continue;
        }
        match channel.receive().during(Operation::Supervise)? {
            Some((Word::Listener, Some(descriptor))) => {
                let new = Listener::from(descriptor);
                new.wake_synchronously();
                listener = Some(new);
            }
            Some((Word::Listener, None)) => {
                return Err(Fault::new(Operation::PassListener, "", Errno::BADF));
            }
            Some((Word::Ended(status), _)) => ended = Some(status),
            Some((Word::Failed(fault), _)) => return Err(fault),
            None => {
                return ended
                    .map(|status| (supervisor, status))
                    .ok_or_else(|| Fault::new(Operation::Supervise, "", Errno::CHILD));
            }
        }
    }
}

/// How long the supervisor waits for calls before it counts processes.
const BETWEEN_CENSUSES: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};
/// The most processes that may run at once. No package's scripts start more than some dozens.
const MOST_PROCESSES: usize = 4096;

/// Counts the processes inside now and then. The limits the kernel has for that count a user's
/// processes outside as well, and none of root's.
struct Census {
    folder: PathBuf,
    /// How many a /proc that is not our own shows besides.
    others: Option<usize>,
    next: Instant,
}

impl Census {
    fn new(init: Pid) -> Self {
        Self {
            folder: format!("{}/root/proc", init.as_raw_nonzero()).into(),
            others: None,
            next: Instant::now(),
        }
    }

    fn take(&mut self) -> Result<(), Fault> {
        let now = Instant::now();
        if now < self.next {
            return Ok(());
        }
        self.next = now + Duration::from_millis(200);
        let names = std::fs::read_dir(&self.folder).into_iter().flatten();
        let count = names
            .flatten()
            .filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit())
            .count();
        let others = *self.others.get_or_insert(count);
        if count.saturating_sub(others) > MOST_PROCESSES {
            return Err(Fault::new(Operation::TooManyProcesses, "", Errno::AGAIN));
        }
        Ok(())
    }
}

/// Gives back the right to look into directories that the overlay made without any, so that the
/// caller can remove them.
fn make_removable(directory: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let readable = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    for entry in Dir::read_from(&readable)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            let inner = rustix::fs::openat(&readable, name, flags, Mode::empty())?;
            rustix::fs::fchmod(&inner, Mode::RWXU)?;
            make_removable(&inner)?;
        }
    }
    Ok(())
}
