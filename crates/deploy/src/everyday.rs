//! What is asked of a desktop between upgrades: how it stands, what it writes, a command in it.

use std::io::Read;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::container::is_running;
use crate::desktop::Health;
use crate::engine::{Engine, status};
use crate::http::Address;
use crate::ledger::Step;
use crate::{Error, Reference};

/// How often a terminal's size is looked at.
const RESIZE: Duration = Duration::from_millis(500);
/// How much of the input is handed on at once.
const INPUT: usize = 8192;
/// A log that is followed ends only with its container.
const FOLLOW: Duration = Duration::from_secs(365 * 24 * 3600);

/// How a desktop stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its container's name.
    pub container: String,
    /// The engine's word for its state: `running`, `exited`, …
    pub state: String,
    /// Whether it runs.
    pub running: bool,
    /// What its image's health check says: `healthy`, `starting`, `unhealthy`; `None` without one.
    pub health: Option<String>,
    /// Its image's id.
    pub image: String,
    /// The name its image was given when it was created.
    pub reference: String,
    /// Its generation.
    pub generation: u64,
    /// When it was started, as the engine tells it (RFC 3339).
    pub started: Option<String>,
    /// How it ended, if it does not run.
    pub exit_status: Option<i64>,
    /// Where the desktop answers.
    pub address: Option<Address>,
    /// How many connections people have to it, if that can be told.
    pub clients: Option<usize>,
    /// The container that `rollback` would go back to.
    pub previous: Option<String>,
    /// An upgrade that is under way or was interrupted.
    pub interrupted: Option<Step>,
}

/// A command in a container.
pub struct Execution<'a> {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The user; the container's own if absent.
    pub user: Option<String>,
    /// The folder; the image's own if absent.
    pub directory: Option<String>,
    /// Variables: `NAME=value`.
    pub environment: Vec<String>,
    /// Gives the command a terminal; answers its size, in columns and lines.
    pub terminal: Option<&'a dyn Fn() -> (u16, u16)>,
    /// What the command reads.
    pub input: Option<Box<dyn Read + Send>>,
}

/// Where a piece of output was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a terminal.
    Output,
    /// Standard error.
    Error,
}

impl Engine {
    /// How a desktop stands; `None` if there is no such container.
    ///
    /// # Errors
    /// If the engine cannot be asked.
    pub fn standing(&self, name: &str, health: &Health) -> Result<Option<Standing>, Error> {
        let Some(container) = self.container(name)? else {
            return Ok(None);
        };
        let state = container.state.clone().unwrap_or_default();
        let running = is_running(&container);
        let (mut address, mut clients) = (None, None);
        if let Some(port) = health.desktop_port.filter(|_| running) {
            address = self.address(name, port)?;
            clients = self.clients(name, port).ok();
        }
        let word = |one: &dyn ToString| one.to_string();
        Ok(Some(Standing {
            container: name.to_owned(),
            state: state
                .status
                .as_ref()
                .map(|one| word(one))
                .unwrap_or_default(),
            running,
            health: state
                .health
                .as_ref()
                .and_then(|health| health.status.as_ref())
                .map(|one| word(one))
                .filter(|one| !matches!(one.as_str(), "" | "none")),
            image: container.image.clone().unwrap_or_default(),
            reference: container
                .config
                .as_ref()
                .and_then(|config| config.image.clone())
                .unwrap_or_default(),
            generation: Self::generation_of(&container, name),
            started: state.started_at.as_ref().map(|one| word(one)),
            exit_status: state.exit_code.filter(|_| !running),
            address,
            clients,
            previous: self.previous(name)?,
            interrupted: self.interruption(name)?,
        }))
    }

    /// The names of the containers that were created from an image of this repository, sorted,
    /// without earlier generations of desktops.
    ///
    /// # Errors
    /// If the engine cannot be asked.
    pub fn containers_of(&self, reference: &Reference) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for name in self.container_names()? {
            let Some(container) = self.container(&name)? else {
                continue;
            };
            let image = container.config.and_then(|config| config.image);
            let same = image
                .and_then(|image| Reference::parse(&image).ok())
                .is_some_and(|image| image.repository == reference.repository);
            if same && !name.contains("-kf-") {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Stops a desktop, as gently as it was created to be. An engine does not start it again
    /// until somebody does.
    ///
    /// # Errors
    /// If there is no such container or it cannot be stopped.
    pub fn stop_desktop(&self, name: &str) -> Result<(), Error> {
        let found = self.container(name)?;
        found.ok_or_else(|| Error::NoContainer {
            container: name.to_owned(),
        })?;
        self.stop(name, None)
    }

    /// The last lines of a file in a container, running or not; none if there is no such file.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn lines_of(&self, name: &str, path: &str, lines: usize) -> Result<Vec<String>, Error> {
        let found = self.container(name)?;
        found.ok_or_else(|| Error::NoContainer {
            container: name.to_owned(),
        })?;
        Ok(self.last_lines_of(name, path, lines))
    }

    /// Hands on what a container writes, from its last lines on, until it ends or `sink` says no.
    ///
    /// # Errors
    /// If there is no such container or its log cannot be read.
    pub fn follow(
        &self,
        container: &str,
        lines: Option<usize>,
        sink: &mut dyn FnMut(Stream, &[u8]) -> bool,
    ) -> Result<(), Error> {
        let tail = lines.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::default()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .tail(&tail)
            .build();
        let docker = self.docker.clone().with_timeout(FOLLOW);
        self.wait(async {
            let mut stream = Box::pin(docker.logs(container, Some(options)));
            while let Some(part) = stream.next().await {
                match part {
                    Ok(part) => {
                        if !hand_on(&part, sink) {
                            return Ok(());
                        }
                    }
                    Err(error) if status(&error) == Some(404) => {
                        return Err(Error::NoContainer {
                            container: container.to_owned(),
                        });
                    }
                    Err(error) => return Err(self.failed("read the log of", container, error)),
                }
            }
            Ok(())
        })
    }

    /// Runs a command in a container and hands on what it writes. Answers its exit status.
    ///
    /// # Errors
    /// If the container does not run or the engine refuses.
    pub fn execute(
        &self,
        container: &str,
        execution: Execution<'_>,
        sink: &mut dyn FnMut(Stream, &[u8]) -> bool,
    ) -> Result<i64, Error> {
        let found = self.container(container)?;
        let found = found.ok_or_else(|| Error::NoContainer {
            container: container.to_owned(),
        })?;
        if !is_running(&found) {
            return Err(Error::Stopped {
                container: container.to_owned(),
            });
        }
        let Execution {
            command,
            user,
            directory,
            environment,
            terminal,
            input,
        } = execution;
        let asked = command.first().cloned().unwrap_or_default();
        let options = CreateExecOptions {
            cmd: Some(command),
            user,
            working_dir: directory,
            env: Some(environment),
            tty: Some(terminal.is_some()),
            attach_stdin: Some(input.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let docker = self.docker.clone().with_timeout(FOLLOW);
        let run = async {
            let exec = docker.create_exec(container, options).await?.id;
            let start = StartExecOptions {
                tty: terminal.is_some(),
                ..StartExecOptions::default()
            };
            if let StartExecResults::Attached {
                mut output,
                input: mut to,
            } = docker.start_exec(&exec, Some(start)).await?
            {
                let mut from = input.map(reader);
                let mut size = None;
                loop {
                    if let Some(now) = terminal.map(|terminal| terminal())
                        && size != Some(now)
                    {
                        size = Some(now);
                        let (width, height) = now;
                        let resize = ResizeExecOptions { height, width };
                        // It may have ended already.
                        let _ = docker.resize_exec(&exec, resize).await;
                    }
                    tokio::select! {
                        part = output.next() => match part {
                            None => break,
                            Some(part) => if !hand_on(&part?, sink) { break },
                        },
                        piece = next(&mut from), if from.is_some() => match piece {
                            Some(piece) => {
                                if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
                                    from = None;
                                }
                            }
                            None => {
                                from = None;
                                // It may have ended already.
                                let _ = to.shutdown().await;
                            }
                        },
                        () = tokio::time::sleep(RESIZE), if terminal.is_some() => {}
                    }
                }
            }
            Ok(docker.inspect_exec(&exec).await?.exit_code.unwrap_or(-1))
        };
        self.ask("run", &asked, run)
    }
}

fn hand_on(part: &LogOutput, sink: &mut dyn FnMut(Stream, &[u8]) -> bool) -> bool {
    match part {
        LogOutput::StdErr { message } => sink(Stream::Error, message),
        LogOutput::StdOut { message } | LogOutput::Console { message } => {
            sink(Stream::Output, message)
        }
        LogOutput::StdIn { .. } => true,
    }
}

/// Reads on a thread of its own: a terminal cannot be asked whether somebody will type.
fn reader(mut input: Box<dyn Read + Send>) -> mpsc::UnboundedReceiver<Vec<u8>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut buffer = [0; INPUT];
        while let Ok(count @ 1..) = input.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn next(from: &mut Option<mpsc::UnboundedReceiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match from {
        Some(from) => from.recv().await,
        None => None,
    }
}
