//! The hosts that run containers, and the server's version: undocumented, read as far as they are
//! there.

use serde_json::{Map, Value};

use super::answer::Answer;
use super::client::{Client, Endpoint};
use super::permission::{AGENTS_VIEW, SYSTEM_VIEW};
use super::{Error, Id};

/// The pruning of an agent that keeps all images.
pub const NO_PRUNING: &str = "Off";

/// A host that runs containers.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its id.
    pub id: Option<Id>,
    /// Its host.
    pub host: Option<String>,
    /// The server's word for its state.
    pub status: Option<String>,
    /// Whether it takes sessions.
    pub enabled: Option<bool>,
    /// Its cores.
    pub cores: Option<f64>,
    /// Its memory in bytes.
    pub memory: Option<u64>,
    /// What it does to images that no workspace names: `Off`, `Normal`, `Aggressive`.
    pub pruning: Option<String>,
}

impl Client {
    /// The agents.
    ///
    /// # Errors
    /// If the server refuses or answers otherwise.
    pub fn agents(&self) -> Result<Vec<Agent>, Error> {
        const ENDPOINT: Endpoint = Endpoint::admin("get_agents", &[AGENTS_VIEW]);
        let answer = self.ask(ENDPOINT, Map::new())?;
        let answer = Answer::new(ENDPOINT.name, &answer);
        answer
            .list("agents")?
            .into_iter()
            .map(|agent| {
                let pruning = ["auto_prune_images", "prune_images_mode"];
                let pruning = pruning
                    .into_iter()
                    .find_map(|name| agent.optional_text(name).transpose());
                Ok(Agent {
                    id: agent
                        .optional_text("agent_id")?
                        .and_then(|id| Id::parse(&id)),
                    host: agent.optional_text("hostname")?,
                    status: agent.optional_text("status")?,
                    enabled: agent.optional_flag("enabled")?,
                    cores: agent.optional_number("cores")?,
                    memory: agent.optional_count("memory")?,
                    pruning: pruning.transpose()?,
                })
            })
            .collect()
    }

    /// The server's version, if it tells it.
    ///
    /// # Errors
    /// If the server cannot be asked, or refuses.
    pub fn version(&self) -> Result<Option<String>, Error> {
        const ENDPOINT: Endpoint = Endpoint::admin("system_info", &[SYSTEM_VIEW]);
        let answer = self.ask(ENDPOINT, Map::new())?;
        Ok(version(&answer))
    }
}

/// The version in an answer nobody documents: at one of the places it may stand.
fn version(answer: &Value) -> Option<String> {
    let places = [
        "/version",
        "/system_info/version",
        "/system_info/api/version",
        "/api/version",
        "/system_info/api_version",
        "/api_version",
    ];
    let found = places
        .into_iter()
        .find_map(|place| answer.pointer(place)?.as_str())?;
    let is_version = found.len() <= 32
        && found.starts_with(|c: char| c.is_ascii_digit())
        && found
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c));
    is_version.then(|| found.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::version;

    #[test]
    fn a_version_is_one_or_none() {
        assert_eq!(
            version(&json!({"system_info": {"api": {"version": "1.18.1"}}})).as_deref(),
            Some("1.18.1")
        );
        assert_eq!(version(&json!({"version": "<b>"})), None);
        assert_eq!(version(&json!({"version": 5})), None);
        assert_eq!(version(&json!({})), None);
    }
}
