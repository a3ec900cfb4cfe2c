//! One question to a running container.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;

use crate::Error;
use crate::container::is_running;
use crate::desktop::Probe;
use crate::engine::Engine;
use crate::http::request;
use crate::inside::LOOKING;
use crate::picture::Look;

/// How long an image's health check may take that says nothing of it (Docker's own default).
const OWN: Duration = Duration::from_secs(30);

impl Engine {
    /// Looks at a container's screen, if it has one.
    pub(crate) fn screen(&self, container: &ContainerInspectResponse) -> Result<Look, Error> {
        let config = container.config.as_ref();
        let mut variables = config
            .into_iter()
            .flat_map(|config| config.env.iter().flatten());
        if !variables.any(|variable| variable.starts_with("DISPLAY=:")) {
            return Ok(Look::Good);
        }
        self.look(container.id.as_deref().unwrap_or_default())
    }

    /// Asks a container one question. Answers what was seen instead of what should be. A command of the
    /// definition's may take as long as its check may.
    pub(crate) fn probe(
        &self,
        container: &ContainerInspectResponse,
        probe: &Probe,
        within: Duration,
    ) -> Result<Option<String>, Error> {
        let id = container.id.as_deref().unwrap_or_default();
        if !is_running(container) {
            return Ok(Some("the container is not running".to_owned()));
        }
        let command = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        Ok(match probe {
            // The engine's proxy accepts connections for a published port whether or not anything
            // listens behind it, so the container's own table is read.
            Probe::Port(port) => {
                let table = self.run(id, &command(&["cat", "/proc/net/tcp", "/proc/net/tcp6"]))?;
                match listens(&table.output, *port) {
                    true => None,
                    false if table.output.contains("local_address") => {
                        Some(format!("nothing listens on port {port}"))
                    }
                    false => Some(format!(
                        "could not ask for port {port}: {}",
                        brief(&table.output)
                    )),
                }
            }
            Probe::Http {
                port,
                tls,
                path,
                status,
            } => match self.reach(container, *port) {
                None => Some(format!(
                    "port {port} cannot be reached from here: publish it"
                )),
                Some(reach) => match request(&reach, *tls, path) {
                    Ok(found) if found == *status => None,
                    Ok(found) => Some(format!("{path} answers {found}, not {status}")),
                    Err(problem) => Some(format!("{path} does not answer: {problem}")),
                },
            },
            Probe::Command(words) => match self.run_within(id, words, within.max(LOOKING))? {
                ran if ran.status == 0 => None,
                ran => Some(format!(
                    "`{}` ended with status {}: {}",
                    words.join(" "),
                    ran.status,
                    brief(&ran.output)
                )),
            },
            Probe::File(path) => match self.run(id, &command(&["test", "-e", path]))? {
                ran if ran.status == 0 => None,
                ran if ran.status == 1 => Some(format!("{path} does not exist")),
                ran => Some(format!("could not look for {path}: {}", brief(&ran.output))),
            },
            Probe::Process(name) => {
                let processes = self.processes(id)?;
                match processes
                    .iter()
                    .any(|(short, line)| is_called(name, short, line))
                {
                    true => None,
                    false => Some(format!("no process `{name}` runs")),
                }
            }
        })
    }

    /// Runs the image's own health check, as the engine does when its interval is over. Answers what
    /// it said if it does not hold.
    pub(crate) fn own_check(
        &self,
        container: &ContainerInspectResponse,
    ) -> Result<Option<String>, Error> {
        let unknown = || {
            Ok(Some(
                "the image's health check has not passed yet".to_owned(),
            ))
        };
        let Some(config) = &container.config else {
            return unknown();
        };
        let Some(check) = &config.healthcheck else {
            return unknown();
        };
        let test = check.test.as_deref().unwrap_or_default();
        let words = match test.split_first() {
            Some((how, words)) if how == "CMD" => words.to_vec(),
            Some((how, line)) if how == "CMD-SHELL" => {
                let usual = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
                let shell = config.shell.clone().filter(|shell| !shell.is_empty());
                let mut words = shell.unwrap_or_else(usual);
                words.extend_from_slice(line);
                words
            }
            _ => return unknown(),
        };
        let within = check.timeout.and_then(|nanoseconds| {
            let nanoseconds = u64::try_from(nanoseconds).ok()?;
            (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
        });
        let id = container.id.as_deref().unwrap_or_default();
        let ran = self.run_within(id, &words, within.unwrap_or(OWN))?;
        Ok((ran.status != 0).then(|| format!("the image's health check: {}", brief(&ran.output))))
    }
}

/// Whether a table of sockets (proc(5), `/proc/net/tcp`) has one listening on this port. Its
/// columns: number, local address, remote address, state; all hexadecimal, `0A` listens.
fn listens(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next().is_some_and(|local| local.ends_with(&port)) && columns.nth(1) == Some("0A")
    })
}

/// Whether a process has this name: its short name (which the kernel cuts to 15 bytes), or the
/// file name its command line begins with.
fn is_called(name: &str, short: &str, line: &str) -> bool {
    let cut = name.get(..15).unwrap_or(name);
    let program = line.split_whitespace().next().unwrap_or_default();
    short == cut || program.rsplit('/').next() == Some(name)
}

/// The last line of some output.
pub(crate) fn brief(output: &str) -> String {
    output
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
            \x20  0: 00000000:1AF5 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n\
            \x20  1: 0100007F:1F90 0100007F:1AF5 01 00000000:00000000 00:00000000 00000000\n\
            \x20  0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A\n";
        assert!(listens(table, 6901));
        assert!(listens(table, 80));
        assert!(!listens(table, 8080), "connected, not listening");
        assert!(!listens(table, 22));
    }

    #[test]
    fn processes_are_known_by_short_name_and_by_program() {
        assert!(is_called("xfce4-session", "xfce4-session", "xfce4-session"));
        assert!(is_called(
            "a-rather-long-process-name",
            "a-rather-long-p",
            "/x/y"
        ));
        assert!(is_called("Xvnc", "x", "/usr/bin/Xvnc :1"));
        assert!(!is_called("Xvnc", "sh", "sh -c Xvnc"));
    }
}
