//! Containers that live for the time of some questions.

use std::collections::BTreeMap;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, HostConfig};
use futures_util::StreamExt as _;

use crate::container::is_running;
use crate::engine::Engine;
use crate::http::{self, Address};
use crate::settings::Creation;
use crate::{Check, Error, Outcome};

/// What an image's configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// The id the engine knows it by.
    pub id: String,
    /// The user its entry point runs as; empty: root.
    pub user: String,
    /// The folder it starts in.
    pub working_directory: String,
    /// The entry point.
    pub entrypoint: Vec<String>,
    /// Its arguments.
    pub command: Vec<String>,
    /// Variables, as `NAME=value`.
    pub environment: Vec<String>,
    /// Ports, as `6901/tcp`, sorted.
    pub ports: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it has a health check.
    pub health_check: bool,
    /// Its layers.
    pub layers: usize,
    /// Bytes, as the engine counts them.
    pub size: u64,
}

/// How a trial's container is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrialSettings {
    /// Environment variables, over the image's.
    pub environment: BTreeMap<String, String>,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// A port that is published on a free port of the loopback device.
    pub port: Option<u16>,
    /// What runs in place of the entry point and its arguments.
    pub command: Option<Vec<String>>,
}

/// What a command in a container did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its exit status.
    pub status: i64,
    /// What it wrote to its standard output.
    pub output: Vec<u8>,
    /// What it wrote to its standard error.
    pub errors: String,
}

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Whether it runs.
    pub running: bool,
    /// How often the engine had to start it again.
    pub restarts: i64,
    /// The status it ended with.
    pub exit_code: i64,
    /// What its own health check says: `starting`, `healthy`, `unhealthy`; nothing if it has none.
    pub health: Option<String>,
}

/// A container of its own, removed with its volumes when this is dropped.
pub struct Trial<'engine> {
    engine: &'engine Engine,
    name: String,
}

impl Engine {
    /// What an image says of itself; `None` if the engine has no such image.
    ///
    /// # Errors
    /// If the engine cannot be asked.
    pub fn image_facts(&self, image: &str) -> Result<Option<ImageFacts>, Error> {
        let found = self.find("look at the image", image, self.docker.inspect_image(image))?;
        Ok(found.map(|found| {
            let config = found.config.unwrap_or_default();
            let mut ports: Vec<String> = config.exposed_ports.unwrap_or_default();
            ports.sort();
            ImageFacts {
                id: found.id.unwrap_or_default(),
                user: config.user.unwrap_or_default(),
                working_directory: config.working_dir.unwrap_or_default(),
                entrypoint: config.entrypoint.unwrap_or_default(),
                command: config.cmd.unwrap_or_default(),
                environment: config.env.unwrap_or_default(),
                ports,
                labels: config.labels.unwrap_or_default().into_iter().collect(),
                health_check: config.healthcheck.is_some(),
                layers: found
                    .root_fs
                    .and_then(|root| root.layers)
                    .map_or(0, |layers| layers.len()),
                size: found
                    .size
                    .and_then(|size| size.try_into().ok())
                    .unwrap_or(0),
            }
        }))
    }

    /// Starts a container of an image. It is restarted by the engine as Kasm's are, so that an
    /// entry point that ends is seen.
    ///
    /// # Errors
    /// If it cannot be created or started.
    pub fn trial(
        &self,
        name: &str,
        image: &str,
        settings: &TrialSettings,
    ) -> Result<Trial<'_>, Error> {
        let variables = settings.environment.iter();
        let ports = settings.port.map(|port| format!("{port}/tcp"));
        let binding = bollard::models::PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(String::new()),
        };
        let (entrypoint, command) = match &settings.command {
            Some(command) => (
                command.first().map(|first| vec![first.clone()]),
                Some(command.iter().skip(1).cloned().collect()),
            ),
            None => (None, None),
        };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            env: Some(
                variables
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
            ),
            entrypoint,
            cmd: command,
            exposed_ports: ports.clone().map(|port| vec![port]),
            host_config: Some(HostConfig {
                shm_size: settings.shm_size.and_then(|size| size.try_into().ok()),
                port_bindings: ports.map(|port| [(port, Some(vec![binding]))].into()),
                restart_policy: Some(bollard::models::RestartPolicy {
                    name: Some(bollard::models::RestartPolicyNameEnum::ON_FAILURE),
                    maximum_retry_count: Some(3),
                }),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let creation = Creation {
            body,
            networks: Vec::new(),
        };
        self.create(name, creation)?;
        let trial = Trial {
            engine: self,
            name: name.to_owned(),
        };
        self.start(name)?;
        Ok(trial)
    }
}

impl Trial<'_> {
    /// The container's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command in it, as the container's user or another.
    ///
    /// # Errors
    /// If the engine refuses: a container that is down runs nothing.
    pub fn exec(&self, user: Option<&str>, command: &[&str]) -> Result<Answer, Error> {
        let docker = &self.engine.docker;
        self.engine
            .wait(async {
                let options = CreateExecOptions {
                    cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
                    user: user.map(str::to_owned),
                    attach_stdout: Some(true),
                    attach_stderr: Some(true),
                    ..CreateExecOptions::default()
                };
                let exec = docker.create_exec(&self.name, options).await?.id;
                let (mut output, mut errors) = (Vec::new(), Vec::new());
                if let StartExecResults::Attached {
                    output: mut stream, ..
                } = docker.start_exec(&exec, None).await?
                {
                    while let Some(part) = stream.next().await {
                        match part? {
                            LogOutput::StdErr { message } => errors.extend_from_slice(&message),
                            other => output.extend_from_slice(&other.into_bytes()),
                        }
                    }
                }
                let status = docker.inspect_exec(&exec).await?.exit_code;
                Ok(Answer {
                    status: status.unwrap_or(-1),
                    output,
                    errors: String::from_utf8_lossy(&errors).into_owned(),
                })
            })
            .map_err(|error| {
                let asked = command.first().copied().unwrap_or_default();
                self.engine.failed("run", asked, error)
            })
    }

    /// How it is now.
    ///
    /// # Errors
    /// If the engine cannot be asked.
    pub fn condition(&self) -> Result<Condition, Error> {
        let found = self.engine.container(&self.name)?;
        let found = found.ok_or_else(|| Error::NoContainer {
            container: self.name.clone(),
        })?;
        let running = is_running(&found);
        let state = found.state.unwrap_or_default();
        Ok(Condition {
            running: running && state.restarting != Some(true),
            restarts: found.restart_count.unwrap_or_default(),
            exit_code: state.exit_code.unwrap_or_default(),
            health: state
                .health
                .and_then(|health| health.status)
                .map(|status| status.to_string())
                .filter(|status| !status.is_empty() && status != "none"),
        })
    }

    /// Asks it a definition's questions.
    ///
    /// # Errors
    /// If the engine cannot be asked.
    pub fn check(&self, checks: &[Check]) -> Result<Vec<Outcome>, Error> {
        self.engine.check(&self.name, checks)
    }

    /// The status an HTTP request to one of its ports is answered with, and the address; with a
    /// login, if one is given. TLS is spoken; certificates are not verified.
    ///
    /// # Errors
    /// If the engine cannot be asked. Nobody answering is `None`.
    pub fn request(
        &self,
        port: u16,
        path: &str,
        login: Option<(&str, &str)>,
    ) -> Result<Option<(u16, Vec<u8>)>, Error> {
        let found = self.engine.container(&self.name)?;
        let reach = found.and_then(|found| self.engine.reach(&found, port));
        Ok(reach.and_then(|reach| {
            let address = Address {
                host: reach.host,
                port: reach.port,
                tls: true,
            };
            http::get(&address, path, login).ok()
        }))
    }

    /// The last lines it wrote.
    ///
    /// # Errors
    /// If the engine cannot be asked.
    pub fn logs(&self, lines: usize) -> Result<Vec<String>, Error> {
        self.engine.logs(&self.name, lines)
    }

    /// Asks it to stop, gives it the engine's ten seconds, and tells the status it ended with: 137
    /// if it had to be killed.
    ///
    /// # Errors
    /// If the engine refuses.
    pub fn stop(&self) -> Result<i64, Error> {
        self.engine.stop(&self.name, None)?;
        Ok(self.condition()?.exit_code)
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        // There is nobody to tell; whoever lists containers sees it.
        if let Err(error) = self.engine.remove_with_volumes(&self.name) {
            tracing::warn!(%error, container = self.name, "a trial's container stays");
        }
    }
}
