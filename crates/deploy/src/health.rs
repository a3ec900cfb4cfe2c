//! Whether a container is healthy.

use std::thread::sleep;
use std::time::{Duration, Instant};

use bollard::models::{ContainerInspectResponse, ContainerState, HealthStatusEnum};
use ureq::Agent;
use ureq::tls::TlsConfig;

use crate::container::{Reach, is_running};
use crate::desktop::{Check, Health, Probe};
use crate::engine::Engine;
use crate::error::Reason;
use crate::picture::Look;
use crate::{Error, UpgradeEvent};

/// How long one HTTP request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// No answer that is read is larger: a picture of a large screen.
const BODY: u64 = 64 << 20;
/// The pause between two looks, at first.
const SHORT: Duration = Duration::from_millis(100);
/// The pause between two looks, when it takes longer.
const LONG: Duration = Duration::from_millis(500);
/// After this, it takes longer.
const SOON: Duration = Duration::from_secs(5);
/// How long a container of which nothing can be asked must run to count as healthy.
const SETTLED: Duration = Duration::from_secs(3);

/// Where a desktop is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The check's name.
    pub name: String,
    /// What was seen instead; `None`: it holds.
    pub problem: Option<String>,
    /// How long after the first look it was decided.
    pub after: Duration,
}

/// A container that became healthy.
pub(crate) struct Healthy {
    /// When the desktop first answered; when all was well, if it could not be asked.
    pub(crate) answered: Instant,
    pub(crate) address: Option<Address>,
}

impl Engine {
    /// Asks a running container the given questions, each until it holds or its time is over.
    ///
    /// # Errors
    /// If there is no such container or the engine goes away.
    pub fn check(&self, container: &str, checks: &[Check]) -> Result<Vec<Outcome>, Error> {
        let started = Instant::now();
        let missing = || Error::NoContainer {
            container: container.to_owned(),
        };
        checks
            .iter()
            .map(|check| {
                loop {
                    let found = self.container(container)?.ok_or_else(missing)?;
                    let problem = self.probe(&found, &check.probe)?;
                    let after = started.elapsed();
                    if problem.is_none() || after >= check.within {
                        return Ok(Outcome {
                            name: check.name.clone(),
                            problem,
                            after,
                        });
                    }
                    sleep(LONG);
                }
            })
            .collect()
    }

    /// Where the desktop of a container is, if it answers: any of 200 and 401, with TLS or not.
    ///
    /// # Errors
    /// If there is no such container or the engine goes away.
    pub fn address(&self, container: &str, desktop_port: u16) -> Result<Option<Address>, Error> {
        let missing = || Error::NoContainer {
            container: container.to_owned(),
        };
        let found = self.container(container)?.ok_or_else(missing)?;
        Ok(self
            .reach(&found, desktop_port)
            .filter(|reach| reach.published)
            .and_then(|reach| answer(&reach)))
    }

    /// Waits until a container that was started is healthy. `restarts`: how often its restart
    /// policy had to start it before; once more is a failure.
    pub(crate) fn wait_until_healthy(
        &self,
        id: &str,
        restarts: i64,
        health: &Health,
        progress: &mut dyn FnMut(UpgradeEvent),
    ) -> Result<Healthy, Reason> {
        let engine = |error: Error| Reason::Engine(Box::new(error));
        let started = Instant::now();
        let (mut answered, mut address) = (None, None);
        let mut open: Vec<&Check> = health.checks.iter().collect();
        let mut told = Vec::new();
        let mut looked = !health.picture;
        loop {
            // An engine that is restarted meanwhile starts the container again by its policy.
            let container = self
                .steadily(progress, || self.container(id))
                .map_err(engine)?;
            let container = container.ok_or(Reason::Gone)?;
            let state = container.state.clone().unwrap_or_default();
            still_running(&container, &state, restarts)?;
            let mut waiting = Vec::new();

            let own = own_health(&state)?;
            if own == Own::Starting {
                waiting.push("the image's health check has not passed yet".to_owned());
            }
            let mut asked = own == Own::Healthy || !health.checks.is_empty();
            if let Some(port) = health.desktop_port {
                let reach = self.reach(&container, port).filter(|reach| reach.published);
                asked |= reach.is_some();
                match &reach {
                    _ if answered.is_some() => {}
                    Some(reach) => match answer(reach) {
                        Some(found) => {
                            progress(UpgradeEvent::Answering {
                                address: found.clone(),
                            });
                            answered = Some(Instant::now());
                            address = Some(found);
                        }
                        None => waiting
                            .push(format!("nothing answers at {}:{}", reach.host, reach.port)),
                    },
                    // Not published: the desktop is for others in its network.
                    None => match self.probe(&container, &Probe::Port(port)).map_err(engine)? {
                        None => {
                            asked = true;
                            answered = Some(Instant::now());
                        }
                        Some(problem) => waiting.push(problem),
                    },
                }
            }
            // Each question takes its time, and a desktop that does not answer yet would not pass
            // them: until then only that is asked, so that it is seen when it answers.
            let early = health.desktop_port.is_some() && answered.is_none();
            let mut still = Vec::new();
            for check in open {
                if early {
                    still.push(check);
                    continue;
                }
                match self.probe(&container, &check.probe).map_err(engine)? {
                    None => progress(UpgradeEvent::Passed {
                        check: check.name.clone(),
                    }),
                    Some(seen) if started.elapsed() >= check.within => {
                        return Err(Reason::Check {
                            name: check.name.clone(),
                            seen,
                        });
                    }
                    Some(seen) => {
                        waiting.push(format!("{}: {seen}", check.name));
                        still.push(check);
                    }
                }
            }
            open = still;
            if !looked && !early {
                match self.screen(&container).map_err(engine)? {
                    Look::Good => looked = true,
                    Look::Unknown(why) => {
                        progress(UpgradeEvent::NotLooked { why });
                        looked = true;
                    }
                    Look::Bad(problem) => waiting.push(problem),
                }
                asked |= looked;
            }

            if waiting.is_empty() && (asked || started.elapsed() >= SETTLED) {
                // What was asked meanwhile may have taken seconds.
                let container = self.container(id).map_err(engine)?.ok_or(Reason::Gone)?;
                still_running(
                    &container,
                    &container.state.clone().unwrap_or_default(),
                    restarts,
                )?;
                let now = Instant::now();
                return Ok(Healthy {
                    answered: answered.unwrap_or(now),
                    address,
                });
            }
            if started.elapsed() >= health.timeout {
                return Err(Reason::Timeout {
                    after: health.timeout,
                    waiting,
                });
            }
            if waiting != told {
                progress(UpgradeEvent::Waiting {
                    waiting: waiting.clone(),
                });
                told = waiting;
            }
            sleep(if started.elapsed() < SOON {
                SHORT
            } else {
                LONG
            });
        }
    }

    /// Looks at a container's screen, if it has one.
    fn screen(&self, container: &ContainerInspectResponse) -> Result<Look, Error> {
        let config = container.config.as_ref();
        let mut variables = config
            .into_iter()
            .flat_map(|config| config.env.iter().flatten());
        if !variables.any(|variable| variable.starts_with("DISPLAY=:")) {
            return Ok(Look::Good);
        }
        self.look(container.id.as_deref().unwrap_or_default())
    }

    /// Asks a container one question. Answers what was seen instead of what should be.
    fn probe(
        &self,
        container: &ContainerInspectResponse,
        probe: &Probe,
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
            Probe::Command(words) => match self.run(id, words)? {
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
}

#[derive(PartialEq, Eq)]
enum Own {
    /// The image has no health check.
    None,
    Starting,
    Healthy,
}

/// What the image's own health check says.
fn own_health(state: &ContainerState) -> Result<Own, Reason> {
    let Some(health) = &state.health else {
        return Ok(Own::None);
    };
    match health.status {
        Some(HealthStatusEnum::STARTING) => Ok(Own::Starting),
        Some(HealthStatusEnum::HEALTHY) => Ok(Own::Healthy),
        Some(HealthStatusEnum::UNHEALTHY) => {
            let last = health
                .log
                .iter()
                .flatten()
                .filter_map(|run| run.output.as_deref())
                .next_back();
            Err(Reason::Unhealthy {
                said: brief(last.unwrap_or_default()),
            })
        }
        _ => Ok(Own::None),
    }
}

fn still_running(
    container: &ContainerInspectResponse,
    state: &ContainerState,
    restarts: i64,
) -> Result<(), Reason> {
    let status = state.exit_code.unwrap_or_default();
    if container.restart_count.unwrap_or_default() > restarts || state.restarting == Some(true) {
        return Err(Reason::Restarted { status });
    }
    if state.running != Some(true) {
        return Err(Reason::Exited {
            status,
            out_of_memory: state.oom_killed == Some(true),
        });
    }
    Ok(())
}

/// Asks a desktop for its first page, with TLS, then without.
fn answer(reach: &Reach) -> Option<Address> {
    let tls = [true, false]
        .into_iter()
        .find(|tls| matches!(request(reach, *tls, "/"), Ok(200 | 401)))?;
    Some(Address {
        host: reach.host.clone(),
        port: reach.port,
        tls,
    })
}

/// The status an HTTP request is answered with.
fn request(reach: &Reach, tls: bool, path: &str) -> Result<u16, ureq::Error> {
    let address = Address {
        host: reach.host.clone(),
        port: reach.port,
        tls,
    };
    Ok(get(&address, path, None)?.0)
}

/// The status and the body an HTTP request is answered with, perhaps with a login. Redirects are
/// answers, not invitations. Of a body no more is read than a picture has.
pub(crate) fn get(
    address: &Address,
    path: &str,
    login: Option<(&str, &str)>,
) -> Result<(u16, Vec<u8>), ureq::Error> {
    // A desktop makes its own certificate at its first start.
    let tls_config = TlsConfig::builder().disable_verification(true).build();
    let agent: Agent = Agent::config_builder()
        .tls_config(tls_config)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST))
        .build()
        .into();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut request = agent.get(format!("{address}{slash}{path}"));
    if let Some((user, password)) = login {
        request = request.header("Authorization", basic(user, password));
    }
    let mut response = request.call()?;
    let status = response.status().as_u16();
    let body = match login {
        Some(_) => response
            .body_mut()
            .with_config()
            .limit(BODY)
            .read_to_vec()?,
        None => Vec::new(),
    };
    Ok((status, body))
}

/// A login as HTTP's basic scheme writes it (RFC 7617), in base64 (RFC 4648).
fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "Basic ".to_owned();
    for chunk in format!("{user}:{password}").as_bytes().chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            text.push(match index <= chunk.len() {
                true => char::from(DIGITS[(bits >> (18 - 6 * index) & 63) as usize]),
                false => '=',
            });
        }
    }
    text
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
fn brief(output: &str) -> String {
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

    /// The vectors of RFC 7617 and RFC 4648.
    #[test]
    fn logins_are_written_as_the_standard_has_it() {
        assert_eq!(
            basic("Aladdin", "open sesame"),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(basic("", ""), "Basic Og==");
        assert_eq!(basic("fo", ""), "Basic Zm86");
        assert_eq!(basic("a", "bc"), "Basic YTpiYw==");
    }

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

    #[test]
    fn addresses_are_urls() {
        let address = |host: &str, tls| {
            Address {
                host: host.into(),
                port: 6901,
                tls,
            }
            .to_string()
        };
        assert_eq!(address("127.0.0.1", true), "https://127.0.0.1:6901");
        assert_eq!(address("::1", false), "http://[::1]:6901");
    }
}
