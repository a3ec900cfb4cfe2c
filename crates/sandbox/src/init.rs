//! Process 1 of the sandbox, and the step from there to the program.

use std::ffi::{CString, OsStr, OsString};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

use crate::filter;
use crate::kernel::{process, seccomp};
use crate::message::{Malformed, Message};
use crate::mounts;
use crate::program::{Program, Status};
use crate::wire::{During as _, Fault, Operation, c_string};

/// Descriptors a program may have without asking for more, as systemd gives them.
const OPEN_FILES: (u64, u64) = (1024, 524_288);
/// The stack a program gets, as every Linux gives it.
const STACK: u64 = 8 << 20;

/// What the processes inside tell the supervisor.
pub(crate) enum Word {
    /// The descriptor sent along is the filter's listener.
    Listener,
    /// The program has ended.
    Ended(Status),
    /// The program could not be started.
    Failed(Fault),
}

impl Message for Word {
    fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Listener => 0_u8.put(to),
            Self::Ended(status) => {
                1_u8.put(to);
                status.put(to);
            }
            Self::Failed(fault) => {
                2_u8.put(to);
                fault.put(to);
            }
        }
    }
    fn take(from: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(match u8::take(from)? {
            0 => Self::Listener,
            1 => Self::Ended(Status::take(from)?),
            2 => Self::Failed(Fault::take(from)?),
            _ => return Err(Malformed),
        })
    }
}

/// One end of the way between the supervisor and the processes inside.
pub(crate) struct Channel(pub(crate) OwnedFd);

impl Channel {
    /// Makes both ends.
    pub(crate) fn pair() -> Result<(Self, Self), Errno> {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(a), Self(b)))
    }

    /// Sends a word, a descriptor with it if there is one.
    pub(crate) fn send(&self, word: &Word, with: Option<&seccomp::Listener>) -> Result<(), Errno> {
        let bytes = word.to_bytes();
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut room);
        let descriptors: Vec<_> = with.iter().map(|listener| listener.as_fd()).collect();
        if !descriptors.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        let text = [IoSlice::new(&bytes)];
        rustix::net::sendmsg(&self.0, &text, &mut ancillary, SendFlags::NOSIGNAL).map(drop)
    }

    /// Receives a word. None once all who could say one are gone.
    pub(crate) fn receive(&self) -> Result<Option<(Word, Option<OwnedFd>)>, Errno> {
        let mut bytes = [0; 2 * 4096];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut room);
        let result = rustix::net::recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if result.bytes == 0 {
            return Ok(None);
        }
        if result.flags.contains(ReturnFlags::TRUNC) {
            return Err(Errno::MSGSIZE);
        }
        let mut descriptor = None;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                descriptor = descriptors.next();
            }
        }
        let word = Word::from_bytes(&bytes[..result.bytes]).map_err(|_| Errno::BADMSG)?;
        Ok(Some((word, descriptor)))
    }

    /// Tells the other end that it may begin.
    pub(crate) fn begin(&self) -> Result<(), Errno> {
        rustix::io::write(&self.0, b"!").map(drop)
    }

    /// Waits for the other end's leave. False if it is gone.
    fn may_begin(&self) -> bool {
        matches!(rustix::io::read(&self.0, &mut [0_u8; 1]), Ok(1))
    }
}

/// Is process 1: prepares the root, starts the program, buries orphans until the program has
/// ended. Its own end is the end of every process left.
pub(crate) fn run(root: &OwnedFd, program: Option<&Program>, channel: &Channel) -> ! {
    let word = follow(root, program, channel).map_or_else(Word::Failed, Word::Ended);
    let code = i32::from(channel.send(&word, None).is_err());
    process::exit(code)
}

fn follow(root: &OwnedFd, program: Option<&Program>, channel: &Channel) -> Result<Status, Fault> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .during(Operation::Prepare)?;
    // Had the supervisor died before that line, nobody would give leave.
    if !channel.may_begin() {
        process::exit(1);
    }
    mounts::furnish(root)?;
    mounts::enter(root)?;
    let Some(child) = process::fork().during(Operation::Fork)? else {
        match start(program, channel) {
            Ok(()) => process::exit(0),
            Err(fault) => {
                // With nobody left to hear it there is nothing else to do.
                let _ = channel.send(&Word::Failed(fault), None);
                process::exit(127)
            }
        }
    };
    wait_for(child).during(Operation::Supervise)
}

/// Buries whoever dies, until the child does.
fn wait_for(child: Pid) -> Result<Status, Errno> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return Ok(Status::from(status)),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

impl From<WaitStatus> for Status {
    fn from(status: WaitStatus) -> Self {
        match status.terminating_signal() {
            Some(signal) => Self::Signaled(signal),
            None => Self::Exited(status.exit_status().unwrap_or_default()),
        }
    }
}

/// Becomes the program; returns only without one.
///
/// The program gets namespaces of its own once more. Mounts inherited over the border of a user
/// namespace are locked, so it cannot take off what was laid over parts of the host's /proc, and
/// it has no rights over the supervisor.
fn start(program: Option<&Program>, channel: &Channel) -> Result<(), Fault> {
    surroundings(program.map(|program| program.host_name.as_str())).during(Operation::SetUp)?;
    mounts::map_ids(0, 0)?;
    if let Some(program) = program {
        rustix::process::chdir(&program.directory)
            .during_on(Operation::ChangeDirectory, &program.directory)?;
    }
    let trial = program.map(|program| program.trial).unwrap_or_default();
    let listener = seccomp::install(&filter::filter(&trial)).during(Operation::InstallFilter)?;
    channel
        .send(&Word::Listener, Some(&listener))
        .during(Operation::PassListener)?;
    drop(listener);
    match program {
        Some(program) => Err(execute(program)),
        None => Ok(()),
    }
}

fn surroundings(host_name: Option<&str>) -> Result<(), Errno> {
    rustix::process::setsid()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    process::duplicate_onto(std::os::fd::AsRawFd::as_raw_fd(&null), libc::STDIN_FILENO)?;
    process::duplicate_onto(libc::STDERR_FILENO, libc::STDOUT_FILENO)?;
    drop(null);
    process::close_others_on_execute()?;

    let own = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWNET;
    match process::unshare(own | UnshareFlags::NEWCGROUP) {
        // A kernel without control groups.
        Err(Errno::INVAL) => process::unshare(own)?,
        other => other?,
    }
    if let Some(name) = host_name {
        process::set_host_name(name)?;
    }
    process::raise_loopback()?;

    rustix::process::umask(Mode::from_raw_mode(0o022));
    limit(Resource::Core, (0, 0))?;
    limit(Resource::Nofile, OPEN_FILES)?;
    limit(Resource::Stack, (STACK, u64::MAX))?;
    process::default_signals()
}

/// Sets a limit, as far as the caller's own allow.
fn limit(resource: Resource, (soft, hard): (u64, u64)) -> Result<(), Errno> {
    let ceiling = rustix::process::getrlimit(resource).maximum;
    let hard = ceiling.map_or(hard, |ceiling| ceiling.min(hard));
    rustix::process::setrlimit(
        resource,
        Rlimit {
            current: Some(soft.min(hard)),
            maximum: (hard != u64::MAX).then_some(hard),
        },
    )
}

/// Becomes the program; what comes back is why not.
fn execute(program: &Program) -> Fault {
    let name = program.argv.first().cloned().unwrap_or_default();
    let failed = |error| Fault::new(Operation::Execute, &name, error);
    let texts = || -> Result<(Vec<CString>, Vec<CString>), Errno> {
        let argv = program
            .argv
            .iter()
            .map(c_string)
            .collect::<Result<_, _>>()?;
        let environment = program
            .environment
            .iter()
            .map(|(name, value)| {
                let mut text = name.clone();
                text.push("=");
                text.push(value);
                c_string(text)
            })
            .collect::<Result<_, _>>()?;
        Ok((argv, environment))
    };
    let (argv, environment) = match texts() {
        Ok(texts) => texts,
        Err(error) => return failed(error),
    };
    let mut error = Errno::NOENT;
    for path in candidates(&name, &program.environment) {
        let Ok(path) = c_string(path) else { continue };
        match process::execute(&path, &argv, &environment) {
            Errno::NOENT | Errno::NOTDIR => {}
            // As a shell does: something that may not be run does not hide what may.
            other => error = other,
        }
    }
    failed(error)
}

/// The paths a program's name may stand for.
fn candidates(name: &OsStr, environment: &[(OsString, OsString)]) -> Vec<OsString> {
    if name.as_bytes().contains(&b'/') {
        return vec![name.to_owned()];
    }
    environment
        .iter()
        .find(|(variable, _)| variable == "PATH")
        .map(|(_, folders)| {
            std::env::split_paths(folders)
                .map(|folder| Path::new(&folder).join(name).into_os_string())
                .collect()
        })
        .unwrap_or_default()
}
