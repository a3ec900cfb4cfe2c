//! The caller's half: starts the inner one and listens.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::elsewhere;
use crate::error::Error;
use crate::inside;
use crate::message::Message as _;
use crate::program::{Outcome, Owner, Program, Root};
use crate::wire::{Place, Report, Request};

/// The name under which an executable starts itself to be the inner half.
const INNER_NAME: &str = "kasmforge-sandbox";
/// The most that a program may say. Nobody reads a thousandth of it, and a script that never
/// stops talking would never end.
const MOST_OUTPUT: u64 = 256 << 20;
/// This very executable, even if its file has been replaced meanwhile.
pub(crate) const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// Whether [`enter_if_asked`] has been called, so that a second half will be one.
static PREPARED: AtomicBool = AtomicBool::new(false);

/// Becomes the sandbox's inner half if this process was started as one, and then never returns.
///
/// Must be the first thing `main` does: the inner half has to be a process of one thread, and
/// what `main` does is none of its business.
pub fn enter_if_asked() {
    let mut arguments = std::env::args_os();
    match (arguments.next(), arguments.next()) {
        (Some(name), None) if name == INNER_NAME => inside::serve(),
        (Some(name), None) if name == elsewhere::NAME => elsewhere::serve(),
        _ => {}
    }
    PREPARED.store(true, Ordering::Relaxed);
}

/// Runs a program in a root of our own and waits for its end, and that of all it started.
///
/// `owners` names the paths of the lower directory that do not belong to root. `output` is given
/// what the program writes to standard output and standard error, as it comes.
///
/// The program sees nothing of the host but its kernel: no files, processes, network, host name
/// or users. It is root with all rights over its root directory; it may give files away and make
/// device nodes, which is recorded and told in the [`Outcome`], and may start what it likes, none
/// of which outlives it. If the calling process dies, so does everything inside.
///
/// # Errors
///
/// If the program could not be started or followed. A program that fails is an [`Outcome`].
pub fn run(
    root: &Root<'_>,
    owners: &[Owner],
    program: &Program,
    output: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<Outcome, Error> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|source| Error::Directory {
            path: path.to_owned(),
            source,
        })
    };
    let place = Place {
        lower: absolute(root.lower)?,
        upper: absolute(root.upper)?,
        work: absolute(root.work)?,
    };
    ask(
        &Request {
            caller: own_id(),
            place: Some(place),
            owners: owners.to_vec(),
            program: Some(program.clone()),
        },
        output,
    )
}

/// Tries whether this host lets this user run anything in a sandbox.
///
/// It does all that [`run`] does but execute a program, on a root in memory.
///
/// # Errors
///
/// What [`run`] would say, above all [`Error::Forbidden`] with the setting to change.
pub fn probe() -> Result<(), Error> {
    ask(
        &Request {
            caller: own_id(),
            place: None,
            owners: Vec::new(),
            program: None,
        },
        &mut |_| {},
    )
    .map(drop)
}

/// Tries the same on a file system: whether it carries an overlay.
///
/// The folder must be empty and this user's; what is made in it stays, for the caller to remove.
///
/// # Errors
///
/// What [`run`] would say, above all [`Error::Overlay`].
pub fn probe_in(folder: &Path) -> Result<(), Error> {
    let make = |name: &str| {
        let path = folder.join(name);
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(Error::Directory { path, source }),
        }
    };
    for name in ["dev", "proc", "run", "sys", "tmp"] {
        make(&format!("lower/{name}"))?;
    }
    let place = Place {
        lower: make("lower")?,
        upper: make("upper")?,
        work: make("work")?,
    };
    ask(
        &Request {
            caller: own_id(),
            place: Some(place),
            owners: Vec::new(),
            program: None,
        },
        &mut |_| {},
    )
    .map(drop)
}

fn own_id() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// A child that does not outlive its use, even by a panic.
struct Inner(Child);

impl Inner {
    fn wait(mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // It has usually ended by itself, and then neither does anything.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(request: &Request, output: &mut (dyn FnMut(&[u8]) + Send)) -> Result<Outcome, Error> {
    if !PREPARED.load(Ordering::Relaxed) {
        return Err(Error::NotPrepared);
    }
    let listen = |error: Errno| Error::Listen(error.into());
    let (report_from, report_to) = pipe().map_err(listen)?;
    let (output_from, output_to) = pipe().map_err(listen)?;
    let child = Command::new(OWN_EXECUTABLE)
        .arg0(INNER_NAME)
        .env_clear()
        .stdin(letter(&request.to_bytes()).map_err(Error::Launch)?)
        .stdout(report_to)
        .stderr(output_to)
        .spawn()
        .map_err(Error::Launch)?;
    let inner = Inner(child);
    let mut said = 0;
    let mut counted = |bytes: &[u8]| {
        said += bytes.len() as u64;
        output(bytes);
        said <= MOST_OUTPUT
    };
    let report = listen_to(report_from, output_from, &mut counted).map_err(Error::Listen)?;
    let Some(report) = report else {
        return Err(Error::TooMuchOutput {
            most: MOST_OUTPUT >> 20,
        });
    };
    let status = inner.wait().map_err(Error::Listen)?;
    match Report::from_bytes(&report) {
        Ok(Report::Done(outcome)) => Ok(outcome),
        Ok(Report::Failed(fault)) => {
            tracing::debug!(?fault, "the sandbox could not do its work");
            Err(fault.into())
        }
        Err(_) => Err(Error::Lost(status)),
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
}

/// Puts bytes where a child can read them from its standard input at its leisure.
fn letter(bytes: &[u8]) -> io::Result<Stdio> {
    use std::io::Seek as _;
    let descriptor = rustix::fs::memfd_create(INNER_NAME, rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(descriptor);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Passes the program's output on until it and the report have ended; returns the report. None if
/// `pass_on` wants no more.
fn listen_to(
    report: OwnedFd,
    output: OwnedFd,
    pass_on: &mut (dyn FnMut(&[u8]) -> bool + Send),
) -> io::Result<Option<Vec<u8>>> {
    let mut sources = [Some(File::from(report)), Some(File::from(output))];
    let mut whole_report = Vec::new();
    let mut room = vec![0; 64 * 1024];
    loop {
        let open: Vec<usize> = (0..sources.len())
            .filter(|number| sources[*number].is_some())
            .collect();
        if open.is_empty() {
            return Ok(Some(whole_report));
        }
        let mut waiting: Vec<PollFd<'_>> = sources
            .iter()
            .flatten()
            .map(|file| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN))
            .collect();
        match rustix::event::poll(&mut waiting, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let ready: Vec<bool> = waiting.iter().map(|fd| !fd.revents().is_empty()).collect();
        for number in open
            .into_iter()
            .zip(ready)
            .filter_map(|(number, ready)| ready.then_some(number))
        {
            let Some(file) = &mut sources[number] else {
                continue;
            };
            match (file.read(&mut room), number) {
                (Ok(0), _) => sources[number] = None,
                (Ok(count), 0) => whole_report.extend_from_slice(&room[..count]),
                (Ok(count), _) => {
                    if !pass_on(&room[..count]) {
                        return Ok(None);
                    }
                }
                (Err(error), _) if error.kind() == io::ErrorKind::Interrupted => {}
                (Err(error), _) => return Err(error),
            }
        }
    }
}
