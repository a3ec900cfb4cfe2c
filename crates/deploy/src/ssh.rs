//! An engine on another machine, behind ssh.
//!
//! As the `docker` command does it: `docker system dial-stdio`, run there by `ssh`, speaks to the
//! engine on its standard input and output. Each connection of ours gets one such process, and the
//! connection's socket *is* its input and output, so nothing is copied here. Keys, agents, jump
//! hosts and questions for passwords are ssh's own matter.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How long ssh may take to reach the machine, in seconds.
const CONNECT_SECONDS: u32 = 30;
/// How long a connection waits for the next request where nobody could end it, in seconds.
const PERSIST_SECONDS: u32 = 60;

/// Whom to ask, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshHost {
    /// The user; ssh's own default if absent.
    pub user: Option<String>,
    /// The machine, or a name of ssh's configuration.
    pub host: String,
    /// The port; ssh's own default if absent.
    pub port: Option<u16>,
    /// The engine's socket there; the one of Docker's own default there if absent.
    pub socket: Option<String>,
}

impl std::fmt::Display for SshHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
    }
}

impl SshHost {
    /// Runs what speaks to the engine there.
    fn dial(&self, control: &Path) -> Command {
        let mut command = self.ssh(control, &[]);
        command.arg("docker");
        if let Some(socket) = &self.socket {
            command.arg("--host").arg(format!("unix://{socket}"));
        }
        command.args(["system", "dial-stdio"]);
        command
    }

    /// Ends the connection that the others go through.
    fn end(&self, control: &Path) -> io::Result<ExitStatus> {
        let mut command = self.ssh(control, &["-O", "exit"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).status()
    }

    /// `ssh`, as far as the host's name.
    fn ssh(&self, control: &Path, options: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(["-T", "-o"])
            .arg(format!("ConnectTimeout={CONNECT_SECONDS}"))
            // Each request is a connection, but only the first one's is made anew: the others go through
            // it. It waits in the background between them.
            .args(["-o", "ControlMaster=auto", "-o"])
            .arg(format!("ControlPersist={PERSIST_SECONDS}"))
            .arg("-o")
            .arg(format!("ControlPath={}", control.display()));
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(options).args(["--", &self.host]);
        command
    }
}

/// A socket of this machine behind which a far engine answers.
pub(crate) struct Relay {
    host: SshHost,
    folder: PathBuf,
    ended: Arc<AtomicBool>,
}

impl Relay {
    /// Opens the socket, in a folder only this user may enter.
    pub(crate) fn open(host: &SshHost) -> io::Result<Self> {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("kf-ssh-{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let relay = Self {
            host: host.clone(),
            folder,
            ended: Arc::default(),
        };
        let listener = UnixListener::bind(relay.socket())?;
        let (host, ended) = (host.clone(), Arc::clone(&relay.ended));
        let (control, said) = (relay.control(), relay.said_path());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream
                    && let Err(error) = dial(&host, stream, &control, &said)
                {
                    // The client sees its connection closed; this is why.
                    let _ = fs::write(&said, format!("could not run `ssh`: {error}\n"));
                }
            }
        });
        Ok(relay)
    }

    /// The socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// The socket of the connection that the others go through.
    fn control(&self) -> PathBuf {
        self.folder.join("control")
    }

    /// What ssh, or the far `docker`, complained about last.
    pub(crate) fn said(&self) -> Option<String> {
        let text = fs::read_to_string(self.said_path()).ok()?;
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(line.to_owned())
    }

    fn said_path(&self) -> PathBuf {
        self.folder.join("said")
    }
}

fn dial(host: &SshHost, stream: UnixStream, control: &Path, said: &Path) -> io::Result<()> {
    let said = File::options().create(true).append(true).open(said)?;
    let input: OwnedFd = stream.try_clone()?.into();
    let output: OwnedFd = stream.into();
    let mut child = host
        .dial(control)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(said))
        .spawn()?;
    // It ends when either side closes; somebody must take note of that.
    std::thread::spawn(move || child.wait());
    Ok(())
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The listener looks up at the next connection.
        let _ = UnixStream::connect(self.socket());
        // There may be none; it would end by itself, only later.
        let _ = self.host.end(&self.control());
        let _ = fs::remove_dir_all(&self.folder);
    }
}
