//! What a running container is asked from within: by commands, and by its processes.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::TopOptionsBuilder;
use futures_util::StreamExt as _;

use crate::Error;
use crate::engine::Engine;

/// How long a command that only looks may take.
pub(crate) const LOOKING: Duration = Duration::from_secs(60);
/// The status of a command that was not waited for any longer; the one of timeout(1).
const TOO_LONG: i64 = 124;

/// Lists processes from within a container: short name, tab, command line (proc(5)). One that ends
/// meanwhile is left out.
const LIST: &str = "for one in /proc/[0-9]*; do
    { read -r name <\"$one/comm\" && words=$(tr '\\0' ' ' <\"$one/cmdline\"); } 2>/dev/null &&
        printf '%s\\t%s\\n' \"$name\" \"$words\"
done; true";

/// What a command in a container did.
pub(crate) struct Ran {
    pub(crate) status: i64,
    pub(crate) output: String,
}

/// A command for a container.
struct Command<'a> {
    words: &'a [String],
    /// `None`: the container's own user.
    user: Option<&'a str>,
    /// Whether what it writes to its standard error is heard, too.
    errors: bool,
    within: Duration,
}

impl Engine {
    /// Runs a command in a container, as the container's user.
    pub(crate) fn run(&self, container: &str, words: &[String]) -> Result<Ran, Error> {
        self.run_within(container, words, LOOKING)
    }

    /// Runs a command in a container, as the container's user. What takes longer goes on in there,
    /// and is answered for by status 124.
    pub(crate) fn run_within(
        &self,
        container: &str,
        words: &[String],
        within: Duration,
    ) -> Result<Ran, Error> {
        let (status, output) = self.collect(
            container,
            &Command {
                words,
                user: None,
                errors: true,
                within,
            },
        )?;
        Ok(Ran {
            status,
            output: String::from_utf8_lossy(&output).into_owned(),
        })
    }

    /// What a command in a container writes to its standard output.
    pub(crate) fn output(&self, container: &str, words: &[String]) -> Result<Vec<u8>, Error> {
        let command = Command {
            words,
            user: None,
            errors: false,
            within: LOOKING,
        };
        Ok(self.collect(container, &command)?.1)
    }

    /// What a command writes to its standard output that root runs in a container, and its status.
    pub(crate) fn output_for_root(
        &self,
        container: &str,
        words: &[String],
    ) -> Result<(i64, Vec<u8>), Error> {
        let command = Command {
            words,
            user: Some("0"),
            errors: false,
            within: LOOKING,
        };
        self.collect(container, &command)
    }

    fn collect(&self, container: &str, command: &Command<'_>) -> Result<(i64, Vec<u8>), Error> {
        let asked = command.words.first().map_or(container, String::as_str);
        let mut output = Vec::new();
        let ran = self.wait(async {
            let options = CreateExecOptions {
                cmd: Some(command.words.to_vec()),
                user: command.user.map(str::to_owned),
                attach_stdout: Some(true),
                attach_stderr: Some(command.errors),
                ..CreateExecOptions::default()
            };
            let exec = self.docker.create_exec(container, options).await?.id;
            let heard = async {
                if let StartExecResults::Attached {
                    output: mut stream, ..
                } = self.docker.start_exec(&exec, None).await?
                {
                    while let Some(part) = stream.next().await {
                        output.extend_from_slice(&LogOutput::into_bytes(part?));
                    }
                }
                Ok::<(), bollard::errors::Error>(())
            };
            match tokio::time::timeout(command.within, heard).await {
                Ok(heard) => heard?,
                Err(_) => return Ok(None),
            }
            let exec = self.docker.inspect_exec(&exec).await?;
            Ok(Some(exec.exit_code.unwrap_or(-1)))
        });
        match ran {
            Ok(Some(status)) => Ok((status, output)),
            Ok(None) => {
                let seconds = command.within.as_secs_f64();
                output.extend_from_slice(format!("\nno end within {seconds} s").as_bytes());
                Ok((TOO_LONG, output))
            }
            Err(error) => Err(self.failed("run", asked, error)),
        }
    }

    /// The processes of a container: their short names and their command lines.
    pub(crate) fn processes(&self, container: &str) -> Result<Vec<(String, String)>, Error> {
        match self.processes_by_engine(container) {
            Err(error) if !error.is_gone() => self.processes_by_itself(container)?.ok_or(error),
            other => other,
        }
    }

    /// As the container tells them; `None` if it cannot.
    fn processes_by_itself(&self, container: &str) -> Result<Option<Vec<(String, String)>>, Error> {
        let words = ["sh", "-c", LIST].map(str::to_owned);
        let ran = self.run(container, &words)?;
        let lines = ran.output.lines().filter_map(|line| line.split_once('\t'));
        let all: Vec<_> = lines
            .map(|(short, line)| (short.to_owned(), line.trim_end().to_owned()))
            .collect();
        Ok((ran.status == 0 && !all.is_empty()).then_some(all))
    }

    /// As the engine tells them, which asks the `ps` of its own machine. Not every one has it.
    fn processes_by_engine(&self, container: &str) -> Result<Vec<(String, String)>, Error> {
        let options = TopOptionsBuilder::default()
            .ps_args("-eo pid,comm,args")
            .build();
        let top = self.docker.top_processes(container, Some(options));
        let top = self.ask("list the processes of", container, top)?;
        let mut rows = top.processes.unwrap_or_default();
        Ok(rows
            .iter_mut()
            .filter_map(|row| match row.as_mut_slice() {
                [_, short, line, ..] => Some((std::mem::take(short), std::mem::take(line))),
                _ => None,
            })
            .collect())
    }
}
