//! Whether a container is healthy.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use bollard::models::{ContainerInspectResponse, ContainerState, HealthStatusEnum};

use crate::container::Reach;
use crate::desktop::{Check, Health, Probe};
use crate::engine::Engine;
use crate::error::Reason;
use crate::http::{Address, answer};
use crate::inside::LOOKING;
use crate::picture::Look;
use crate::probe::brief;
use crate::{Error, UpgradeEvent};

/// How many questions are asked of a container at once.
const AT_ONCE: usize = 4;
/// How often it is asked whether the desktop answers before the container is looked at again.
const KNOCKS: usize = 8;
/// The pause between two such questions.
const KNOCK: Duration = Duration::from_millis(20);
/// The pause between two looks, at first.
const SHORT: Duration = Duration::from_millis(20);
/// The pause between two looks, when it takes longer.
const LONG: Duration = Duration::from_millis(500);
/// After this, it takes longer.
const SOON: Duration = Duration::from_secs(10);
/// How long a container of which nothing can be asked must run to count as healthy.
const SETTLED: Duration = Duration::from_secs(3);

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
                    let problem = self.probe(&found, &check.probe, check.within)?;
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
        let mut open = vec![Question::Own];
        open.extend(health.checks.iter().map(Question::Check));
        open.extend(health.picture.then_some(Question::Screen));
        let mut told = Vec::new();
        let mut asked = !health.checks.is_empty();
        loop {
            // An engine that is restarted meanwhile starts the container again by its policy.
            let container = self
                .steadily(progress, || self.container(id))
                .map_err(engine)?;
            let container = container.ok_or(Reason::Gone)?;
            let state = container.state.clone().unwrap_or_default();
            still_running(&container, &state, restarts)?;
            let own = own_health(&state)?;
            if own != Own::Starting {
                open.retain(|question| !matches!(question, Question::Own));
                asked |= own == Own::Healthy;
            }
            let mut waiting = Vec::new();
            if let Some(port) = health.desktop_port {
                let reach = self.reach(&container, port).filter(|reach| reach.published);
                asked |= reach.is_some();
                match &reach {
                    _ if answered.is_some() => {}
                    Some(reach) => match soon(reach) {
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
                    None => match self
                        .probe(&container, &Probe::Port(port), LOOKING)
                        .map_err(engine)?
                    {
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
            if !early {
                let answers = self.answers_of(&container, &open).map_err(engine)?;
                let mut still = Vec::new();
                for (question, answer) in open.into_iter().zip(answers) {
                    match answer {
                        Answer::Holds => {
                            asked = true;
                            if let Some(check) = question.name() {
                                progress(UpgradeEvent::Passed { check });
                            }
                        }
                        Answer::Unknown(why) => {
                            asked = true;
                            progress(UpgradeEvent::NotLooked { why });
                        }
                        Answer::Not(seen) => {
                            if let Question::Check(check) = question {
                                if started.elapsed() >= check.within {
                                    let name = check.name.clone();
                                    return Err(Reason::Check { name, seen });
                                }
                                waiting.push(format!("{}: {seen}", check.name));
                            } else {
                                waiting.push(seen);
                            }
                            still.push(question);
                        }
                    }
                }
                open = still;
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
            sleep(if early || started.elapsed() < SOON {
                SHORT
            } else {
                LONG
            });
        }
    }

    /// Asks a container several questions, some at once: each is a program that starts in there.
    fn answers_of(
        &self,
        container: &ContainerInspectResponse,
        questions: &[Question<'_>],
    ) -> Result<Vec<Answer>, Error> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut answers = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(question) = questions.get(index) else {
                    return answers;
                };
                answers.push((index, self.answer_to(container, question)));
            }
        };
        let mut answers = thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE.min(questions.len()))
                .map(|_| scope.spawn(work))
                .collect();
            let done = workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
            done.flatten().collect::<Vec<_>>()
        });
        answers.sort_by_key(|(index, _)| *index);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn answer_to(
        &self,
        container: &ContainerInspectResponse,
        question: &Question<'_>,
    ) -> Result<Answer, Error> {
        let problem = match question {
            Question::Own => self.own_check(container)?,
            Question::Check(check) => self.probe(container, &check.probe, check.within)?,
            Question::Screen => match self.screen(container)? {
                Look::Good => None,
                Look::Unknown(why) => return Ok(Answer::Unknown(why)),
                Look::Bad(problem) => Some(problem),
            },
        };
        Ok(problem.map_or(Answer::Holds, Answer::Not))
    }
}

/// What must hold for a container to be healthy, beside that it answers.
enum Question<'a> {
    /// The image's own health check: the engine runs it first when a whole interval is over, so
    /// until then it is run from here.
    Own,
    Check(&'a Check),
    Screen,
}

impl Question<'_> {
    /// What is told when it holds.
    fn name(&self) -> Option<String> {
        match self {
            Self::Own => Some("the image's health check".to_owned()),
            Self::Check(check) => Some(check.name.clone()),
            Self::Screen => None,
        }
    }
}

enum Answer {
    Holds,
    /// It does not; what was seen instead.
    Not(String),
    /// It cannot be known, and is taken for good; why.
    Unknown(String),
}

/// Asks a desktop for some time whether it answers: as long as nothing does, people wait.
fn soon(reach: &Reach) -> Option<Address> {
    (0..KNOCKS).find_map(|knock| {
        if knock > 0 {
            sleep(KNOCK);
        }
        answer(reach)
    })
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
