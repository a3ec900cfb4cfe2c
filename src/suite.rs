//! The contract of desktop images as questions to a running container: what `kasmforge checks` asks.
//!
//! The questions know nothing of how an image was made, so that any image can be asked them. Whoever
//! does not have a part is told `absent`, which is no failure: Kasm's images have no health check,
//! ours have no second port. So is all that needs a display of an image that neither names one nor
//! exposes its port: what desktops are built upon.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kasmforge_deploy::{Check, Engine, Error, ImageFacts, Trial, TrialSettings};

use crate::exit;

/// The port desktops are at, and the user Kasm's proxy is.
const PORT: u16 = 6901;
const USER: &str = "kasm_user";
/// A password that no image can know.
const PASSWORD: &str = "a-password-of-the-checks";
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// How long windows are left to draw themselves before a picture is taken.
const SETTLED: Duration = Duration::from_secs(3);
/// How many more looks a screen that changes is given.
const SETTLING: u32 = 10;
/// How long a killed service may stay away.
const COMEBACK: Duration = Duration::from_secs(60);

/// What is examined.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject {
    /// The image, as the engine knows it.
    pub(crate) image: String,
    /// The definition's own questions.
    pub(crate) checks: Vec<Check>,
    /// Variables it is started with.
    pub(crate) environment: BTreeMap<String, String>,
    /// The size of `/dev/shm`.
    pub(crate) shm_size: Option<u64>,
    /// How long the desktop may take to come up.
    pub(crate) within: Duration,
}

/// How a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it must be.
    Holds,
    /// Not as it must be.
    Fails,
    /// The image does not have what is asked for, and need not.
    Absent,
}

impl Verdict {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Absent => "absent",
        }
    }
}

/// One question and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    /// What was seen, where that says more than the verdict.
    pub(crate) seen: String,
}

/// All answers.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) lines: Vec<Line>,
    /// Seconds from the start to the first answer of the desktop.
    pub(crate) desktop_seconds: Option<f64>,
    pub(crate) size: u64,
    pub(crate) layers: usize,
    /// A PNG or a JPEG.
    pub(crate) screenshot: Option<Vec<u8>>,
}

/// Asks an image everything, and tells each answer as it comes.
///
/// # Errors
/// If the engine does not have the image, or goes away.
pub(crate) fn examine(
    engine: &Engine,
    subject: &Subject,
    tell: &mut dyn FnMut(&Line),
) -> anyhow::Result<Report> {
    let facts = engine.image_facts(&subject.image)?;
    let facts = facts.ok_or_else(|| {
        anyhow::anyhow!(
            "the engine has no image `{0}`; `docker pull {0}` gets it, or `kasmforge load`",
            subject.image
        )
    })?;
    let mut examination = Examination {
        display: has_display(&facts),
        report: Report {
            size: facts.size,
            layers: facts.layers,
            ..Report::default()
        },
        tell,
    };
    let name = |what: &str| format!("kasmforge-checks-{what}-{}", std::process::id());
    examination.configuration(&facts);
    let asked = examination.at_rest(engine, subject, &facts, &name("rest"));
    examination.finished("image", asked)?;
    let asked = examination.running(engine, subject, &facts, &name("run"));
    examination.finished("desktop", asked)?;
    Ok(examination.report)
}

/// Whether an image says that it has a desktop.
fn has_display(facts: &ImageFacts) -> bool {
    let names = |one: &String| one.starts_with("DISPLAY=") || one.starts_with("NO_VNC_PORT=");
    facts.environment.iter().any(names) || facts.ports.iter().any(|port| port == "6901/tcp")
}

struct Examination<'a> {
    display: bool,
    report: Report,
    tell: &'a mut dyn FnMut(&Line),
}

impl Examination<'_> {
    fn line(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        verdict: Verdict,
        seen: impl Into<String>,
    ) {
        let line = Line {
            group,
            name: name.into(),
            verdict,
            seen: seen.into(),
        };
        (self.tell)(&line);
        self.report.lines.push(line);
    }

    fn must(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        holds: bool,
        seen: impl Into<String>,
    ) {
        let verdict = if holds {
            Verdict::Holds
        } else {
            Verdict::Fails
        };
        self.line(group, name, verdict, seen);
    }

    /// What must hold where there is a display.
    fn shown(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        holds: bool,
        seen: impl Into<String>,
    ) {
        if self.display {
            self.must(group, name, holds, seen);
        } else {
            self.line(group, name, Verdict::Absent, "the image has no display");
        }
    }

    /// A container that ends while it is asked fails that; only an engine that is gone ends everything.
    fn finished(&mut self, group: &'static str, asked: Result<(), Error>) -> Result<(), Error> {
        match asked {
            Err(error) if !error.is_gone() => {
                self.must(group, "can be asked everything", false, exit::chain(&error));
                Ok(())
            }
            other => other,
        }
    }

    /// What the image's configuration says.
    fn configuration(&mut self, facts: &ImageFacts) {
        const GROUP: &str = "structure";
        let label = facts.labels.get("com.kasmweb.image").map(String::as_str);
        self.must(
            GROUP,
            "label com.kasmweb.image=true",
            label == Some("true"),
            label.unwrap_or("no such label"),
        );
        let user = facts.user.split(':').next().unwrap_or_default();
        self.must(
            GROUP,
            "runs as uid 1000",
            user == "1000" || user == "kasm-user",
            format!("user `{}`", facts.user),
        );
        self.must(
            GROUP,
            "works in /home/kasm-user",
            facts.working_directory == "/home/kasm-user",
            &facts.working_directory,
        );
        self.shown(
            GROUP,
            "exposes 6901",
            facts.ports.iter().any(|port| port == "6901/tcp"),
            facts.ports.join(" "),
        );
        for (variable, of_display) in [
            ("HOME", false),
            ("DISPLAY", true),
            ("STARTUPDIR", false),
            ("VNC_RESOLUTION", true),
            ("NO_VNC_PORT", true),
            ("LANG", false),
        ] {
            let prefix = format!("{variable}=");
            let found = facts
                .environment
                .iter()
                .find(|one| one.starts_with(&prefix));
            let name = format!("sets {variable}");
            let seen = found.map_or("", String::as_str);
            match of_display {
                true => self.shown(GROUP, name, found.is_some(), seen),
                false => self.must(GROUP, name, found.is_some(), seen),
            }
        }
        let verdict = if facts.health_check {
            Verdict::Holds
        } else {
            Verdict::Absent
        };
        self.line(GROUP, "has a health check", verdict, "");
    }

    /// What is in the image before anything has run.
    fn at_rest(
        &mut self,
        engine: &Engine,
        subject: &Subject,
        facts: &ImageFacts,
        name: &str,
    ) -> Result<(), Error> {
        const GROUP: &str = "image";
        let settings = TrialSettings {
            command: Some(["sleep", "600"].map(str::to_owned).to_vec()),
            ..TrialSettings::default()
        };
        let trial = match engine.trial(name, &subject.image, &settings) {
            Ok(trial) => trial,
            Err(error) => {
                self.must(
                    GROUP,
                    "runs a command in place of its entry point",
                    false,
                    error.to_string(),
                );
                return Ok(());
            }
        };
        let root = |script: &str| {
            let answer = trial.exec(Some("0"), &["sh", "-c", script])?;
            Ok::<_, Error>(String::from_utf8_lossy(&answer.output).trim().to_owned())
        };
        for (index, program) in facts.entrypoint.iter().enumerate() {
            // The last word of Kasm's chain is in no image: it is handed on and ignored.
            let ignored = index > 0 && program.ends_with("/kasm_startup.sh");
            let there = trial
                .exec(Some("0"), &["sh", "-c", "command -v \"$0\"", program])?
                .status
                == 0;
            if program.starts_with('/') && !ignored {
                self.must(GROUP, format!("entry point {program}"), there, "");
            }
        }
        for path in [
            "/dockerstartup/kasm_default_profile.sh",
            "/dockerstartup/vnc_startup.sh",
            "/home/kasm-default-profile",
            "/usr/bin/desktop_ready",
            "/usr/bin/filter_ready",
        ] {
            let there = root(&format!("test -e {path} && echo yes"))? == "yes";
            let verdict = if there {
                Verdict::Holds
            } else {
                Verdict::Absent
            };
            self.line(GROUP, format!("has {path}"), verdict, "");
        }
        for (what, script) in [
            (
                "no private key",
                "grep -rlsE '^-----BEGIN ([A-Z]+ )*PRIVATE KEY-----' /etc /home /root /opt /usr/local /var /usr/share \
                 --exclude-dir=doc --exclude-dir=perl5 --exclude-dir=nodejs 2>/dev/null | head -n 3",
            ),
            (
                "no lock of an X server",
                "ls -d /tmp/.X*-lock /tmp/.X11-unix/X* 2>/dev/null",
            ),
            (
                "no machine-id",
                "cat /etc/machine-id /var/lib/dbus/machine-id 2>/dev/null | grep -v uninitialized",
            ),
            (
                "no known hosts, no shell history",
                "find /root /home -name known_hosts -o -name '.*_history' 2>/dev/null | head -n 3",
            ),
            (
                "no lists of apt's",
                "find /var/lib/apt/lists -type f ! -name lock 2>/dev/null | head -n 3",
            ),
        ] {
            let found = root(script)?;
            let seen = found.split_whitespace().collect::<Vec<_>>().join(" ");
            self.must(GROUP, what, found.is_empty(), seen);
        }
        Ok(())
    }

    /// What the running container does.
    fn running(
        &mut self,
        engine: &Engine,
        subject: &Subject,
        facts: &ImageFacts,
        name: &str,
    ) -> Result<(), Error> {
        let mut environment = subject.environment.clone();
        environment.insert("VNC_PW".to_owned(), PASSWORD.to_owned());
        let started = Instant::now();
        let trial = engine.trial(
            name,
            &subject.image,
            &TrialSettings {
                environment,
                shm_size: Some(subject.shm_size.unwrap_or(512 << 20)),
                port: Some(PORT),
                command: None,
            },
        )?;
        self.comes_up(&trial, subject, started)?;
        self.users(&trial)?;
        self.logins(&trial)?;
        for outcome in trial.check(&subject.checks)? {
            let seen = outcome.problem.clone().unwrap_or_default();
            self.must("definition", outcome.name, outcome.problem.is_none(), seen);
        }
        self.health(&trial, facts, subject)?;
        self.report.screenshot = screenshot(&trial)?;
        let verdict = match self.report.screenshot {
            Some(_) => Verdict::Holds,
            None => Verdict::Absent,
        };
        self.line("desktop", "a screenshot can be taken", verdict, "");
        self.kills(&trial)?;
        let status = trial.stop()?;
        self.must(
            "stop",
            "ends by itself within ten seconds",
            status != 137,
            format!("status {status}"),
        );
        Ok(())
    }

    fn comes_up(
        &mut self,
        trial: &Trial<'_>,
        subject: &Subject,
        started: Instant,
    ) -> Result<(), Error> {
        let mut answered = None;
        while self.display && answered.is_none() && started.elapsed() < subject.within {
            answered = trial.request(PORT, "/", None)?.map(|(status, _)| status);
            let condition = trial.condition()?;
            if condition.restarts > 0 || !condition.running {
                break;
            }
            sleep(PAUSE);
        }
        if matches!(answered, Some(200 | 401)) {
            self.report.desktop_seconds = Some(started.elapsed().as_secs_f64());
        }
        let seen = match answered {
            Some(status) => format!("HTTP status {status}"),
            None => trial
                .logs(1)?
                .pop()
                .unwrap_or_else(|| "nothing answers".to_owned()),
        };
        self.shown(
            "desktop",
            "answers over TLS on 6901",
            matches!(answered, Some(200 | 401)),
            seen,
        );
        let condition = trial.condition()?;
        let seen = format!("{} restarts", condition.restarts);
        self.must(
            "desktop",
            "does not restart",
            condition.running && condition.restarts == 0,
            seen,
        );
        Ok(())
    }

    fn users(&mut self, trial: &Trial<'_>) -> Result<(), Error> {
        const GROUP: &str = "users";
        let ask = |script: &str| {
            Ok::<_, Error>(match trial.exec(None, &["sh", "-c", script]) {
                Ok(answer) => (
                    answer.status == 0,
                    String::from_utf8_lossy(&answer.output).trim().to_owned(),
                ),
                Err(error) => (false, error.to_string()),
            })
        };
        for (what, script) in [
            ("commands run as uid 1000", "id; test \"$(id -u)\" = 1000"),
            (
                "kasm-user is uid 1000",
                "getent passwd kasm-user; test \"$(id -u kasm-user)\" = 1000",
            ),
            (
                "the home can be written",
                "echo \"$HOME\"; test -w \"$HOME\"",
            ),
            (
                "the home is filled",
                "ls -d \"$HOME/.bashrc\" \"$HOME/Desktop\" >/dev/null",
            ),
            ("a bash is there", "command -v bash"),
        ] {
            let (holds, seen) = ask(script)?;
            self.must(GROUP, what, holds, seen);
        }
        let root = trial.exec(Some("0"), &["id", "-u"])?;
        self.must(
            GROUP,
            "commands run as root, too",
            root.output.starts_with(b"0"),
            "",
        );
        Ok(())
    }

    fn logins(&mut self, trial: &Trial<'_>) -> Result<(), Error> {
        const GROUP: &str = "logins";
        let mut ask = |what: &str, login: Option<(&str, &str)>, wanted: u16| {
            if !self.display {
                self.shown(GROUP, what, false, "");
                return Ok(());
            }
            // A server that is slow to answer on a busy machine has refused nobody yet.
            let started = Instant::now();
            let status = loop {
                let answer = trial.request(PORT, "/", login)?;
                if answer.is_some() || started.elapsed() > COMEBACK {
                    break answer.map(|(status, _)| status);
                }
                sleep(PAUSE);
            };
            let seen = status.map_or("no answer".to_owned(), |status| {
                format!("HTTP status {status}")
            });
            self.must(GROUP, what, status == Some(wanted), seen);
            Ok::<_, Error>(())
        };
        ask("without a password: refused", None, 401)?;
        ask("with a wrong one: refused", Some((USER, "wrong")), 401)?;
        ask("kasm_user with VNC_PW: let in", Some((USER, PASSWORD)), 200)
    }

    fn health(
        &mut self,
        trial: &Trial<'_>,
        facts: &ImageFacts,
        subject: &Subject,
    ) -> Result<(), Error> {
        if !facts.health_check {
            self.line(
                "health",
                "says that it is healthy",
                Verdict::Absent,
                "the image has no health check",
            );
            return Ok(());
        }
        let started = Instant::now();
        let mut health = trial.condition()?.health;
        while health.as_deref() != Some("healthy") && started.elapsed() < subject.within {
            sleep(PAUSE);
            health = trial.condition()?.health;
        }
        let holds = health.as_deref() == Some("healthy");
        self.must(
            "health",
            "says that it is healthy",
            holds,
            health.unwrap_or_default(),
        );
        Ok(())
    }

    /// Kills each service and sees it come back, with PID 1 where it was and commands running.
    fn kills(&mut self, trial: &Trial<'_>) -> Result<(), Error> {
        const GROUP: &str = "kill";
        for victim in victims(trial)? {
            // What died with the one before it may still be on its way back.
            let started = Instant::now();
            let mut before = alive(trial, &victim)?;
            while before.is_empty() && victim.expected && started.elapsed() < COMEBACK {
                sleep(PAUSE);
                before = alive(trial, &victim)?;
            }
            if before.is_empty() {
                if victim.expected {
                    let name = format!("{} runs", victim.name);
                    self.must(
                        GROUP,
                        name,
                        false,
                        format!("not for {} s", COMEBACK.as_secs()),
                    );
                }
                continue;
            }
            let pids = before.join(" ");
            let first = before.first().cloned().unwrap_or_default();
            trial.exec(Some("0"), &["kill", "-KILL", &first])?;
            let started = Instant::now();
            let back = loop {
                let now = alive(trial, &victim)?;
                let condition = trial.condition()?;
                if condition.restarts > 0 || !condition.running {
                    break false;
                }
                if now.iter().any(|pid| !before.contains(pid)) {
                    break true;
                }
                if started.elapsed() > COMEBACK {
                    break false;
                }
                sleep(PAUSE);
            };
            let condition = trial.condition()?;
            let seen = if condition.restarts > 0 || !condition.running {
                "the container ended with it".to_owned()
            } else if back {
                String::new()
            } else {
                format!("gone for {} s (was {pids})", COMEBACK.as_secs())
            };
            self.must(GROUP, format!("{} comes back", victim.name), back, seen);
            if !condition.running {
                return Ok(());
            }
        }
        let exec = trial
            .exec(None, &["true"])
            .is_ok_and(|answer| answer.status == 0);
        self.must(GROUP, "commands run after all that", exec, "");
        let started = Instant::now();
        let mut status = None;
        while self.display && status != Some(200) && started.elapsed() < COMEBACK {
            sleep(PAUSE);
            status = trial
                .request(PORT, "/", Some((USER, PASSWORD)))?
                .map(|(status, _)| status);
        }
        let seen = status.map_or("no answer".to_owned(), |status| {
            format!("HTTP status {status}")
        });
        self.shown(
            GROUP,
            "the desktop answers after all that",
            status == Some(200),
            seen,
        );
        Ok(())
    }
}

/// Something that is killed: a service of s6, or a process by its name.
struct Victim {
    name: String,
    /// A script that prints its process ids.
    find: String,
    /// Whether it ran when it was listed.
    expected: bool,
}

/// The services of an image: those s6 keeps, and what every desktop has.
fn victims(trial: &Trial<'_>) -> Result<Vec<Victim>, Error> {
    let list = "cd /tmp/kasmforge/services 2>/dev/null && for one in */; do \
                test -e \"$one/complete\" || echo \"${one%/}\"; done";
    let listed = trial.exec(None, &["sh", "-c", list])?;
    let services = String::from_utf8_lossy(&listed.output).into_owned();
    let services = services.lines().map(|name| Victim {
        name: name.to_owned(),
        find: format!("s6-svstat -o pid /tmp/kasmforge/services/{name} | grep -v -e -1"),
        expected: true,
    });
    let mut victims: Vec<Victim> = services.collect();
    // Of images with another supervisor these are what people see die.
    for (name, process) in [
        ("the X server", "Xvnc|Xtigervnc|Xkasmvnc"),
        ("the session", "xfce4-session"),
        ("the window manager", "xfwm4"),
    ] {
        let mut victim = Victim {
            name: name.to_owned(),
            find: format!("pgrep -x '{process}'"),
            expected: false,
        };
        victim.expected = !alive(trial, &victim)?.is_empty();
        victims.push(victim);
    }
    Ok(victims)
}

fn alive(trial: &Trial<'_>, victim: &Victim) -> Result<Vec<String>, Error> {
    let Ok(answer) = trial.exec(None, &["sh", "-c", &victim.find]) else {
        return Ok(Vec::new());
    };
    let output = String::from_utf8_lossy(&answer.output);
    Ok(output.split_whitespace().map(str::to_owned).collect())
}

/// A picture of the screen, once it stays as it is: what is half drawn says little.
fn screenshot(trial: &Trial<'_>) -> Result<Option<Vec<u8>>, Error> {
    sleep(SETTLED);
    let mut last = picture(trial)?;
    // Something may always move, or blink.
    for _ in 0..SETTLING {
        if last.is_none() {
            break;
        }
        sleep(Duration::from_secs(1));
        let next = picture(trial)?;
        if next == last {
            break;
        }
        last = next;
    }
    Ok(last)
}

/// A picture of the screen as it is: by the image's own program, or by KasmVNC's API.
fn picture(trial: &Trial<'_>) -> Result<Option<Vec<u8>>, Error> {
    if let Ok(answer) = trial.exec(None, &["kasmforge-screenshot"])
        && answer.output.starts_with(b"\x89PNG")
    {
        return Ok(Some(answer.output));
    }
    let picture = trial.request(PORT, "/api/get_screenshot", Some((USER, PASSWORD)))?;
    Ok(picture.and_then(|(status, body)| {
        (status == 200 && body.starts_with(b"\xff\xd8")).then_some(body)
    }))
}
