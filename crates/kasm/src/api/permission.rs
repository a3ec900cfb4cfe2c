//! What an API key may do, and what it must be able to do.
//!
//! A key begins without any permission. No endpoint says which it has, so each is found out by a
//! question that changes nothing: a list, or a call about a session or workspace that cannot exist.
//! A server that refuses for want of permission says so; with the permission it says that there is
//! no such thing.

use serde_json::{Map, Value, json};

use super::client::{Client, Endpoint};
use super::{Error, Id};

/// Shorter texts are not hidden in what is shown.
pub(crate) const SHORTEST_SECRET: usize = 6;

/// A permission of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// Its name in the server's web interface.
    pub name: &'static str,
    /// Its number in the server's database, where that is known.
    pub id: Option<u32>,
}

impl Permission {
    const fn new(name: &'static str, id: Option<u32>) -> Self {
        Self { name, id }
    }
}

pub(crate) const USER: Permission = Permission::new("User", Some(100));
pub(crate) const GLOBAL_ADMIN: Permission = Permission::new("Global Admin", Some(200));
pub(crate) const USERS_AUTH_SESSION: Permission = Permission::new("Users Auth Session", Some(352));
pub(crate) const USERS_VIEW: Permission = Permission::new("Users View", None);
pub(crate) const IMAGES_VIEW: Permission = Permission::new("Images View", None);
pub(crate) const IMAGES_MODIFY: Permission = Permission::new("Images Modify", None);
pub(crate) const SESSIONS_VIEW: Permission = Permission::new("Sessions View", None);
pub(crate) const SESSIONS_MODIFY: Permission = Permission::new("Sessions Modify", None);
pub(crate) const AGENTS_VIEW: Permission = Permission::new("Agents View", None);
pub(crate) const SYSTEM_VIEW: Permission = Permission::new("System View", None);

/// What acting for a user takes.
pub(crate) const AS_USER: &[Permission] = &[USER, USERS_AUTH_SESSION];

/// Permissions as a person gives them: `User (100) and Images View`.
pub(crate) fn named(permissions: &[Permission]) -> String {
    let names = permissions.iter().map(|permission| match permission.id {
        Some(id) => format!("{} ({id})", permission.name),
        None => permission.name.to_owned(),
    });
    let mut text = names.collect::<Vec<_>>().join(" and ");
    if permissions.iter().all(|one| one.id.is_none()) && !permissions.is_empty() {
        text.push_str(&format!(
            ", or {} ({})",
            GLOBAL_ADMIN.name,
            GLOBAL_ADMIN.id.unwrap_or_default()
        ));
    }
    text
}

/// One question about permissions, and its answer.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The permissions that are asked about together.
    pub permissions: &'static [Permission],
    /// What of this program takes them.
    pub purpose: &'static str,
    /// The answer.
    pub verdict: Verdict,
}

impl Probe {
    /// The permissions' names with their numbers.
    #[must_use]
    pub fn names(&self) -> String {
        let names = self.permissions.iter().map(|one| match one.id {
            Some(id) => format!("{} ({id})", one.name),
            None => one.name.to_owned(),
        });
        names.collect::<Vec<_>>().join(" + ")
    }
}

/// Whether a key has permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has them all.
    Held,
    /// At least one is missing.
    Missing,
    /// The server answered otherwise.
    Unknown(String),
}

/// What is asked to find out.
struct Question {
    permissions: &'static [Permission],
    purpose: &'static str,
    endpoint: Endpoint,
    body: Value,
    /// Whether the answer must be a success: a list is given, not refused.
    list: bool,
}

impl Client {
    /// Finds out what the key may do. Nothing is changed.
    ///
    /// # Errors
    /// If the server cannot be asked at all.
    pub fn permissions(&self) -> Result<Vec<Probe>, Error> {
        questions()
            .into_iter()
            .map(|question| {
                let Value::Object(body) = question.body else {
                    unreachable!("questions are objects");
                };
                let verdict = self.verdict(question.endpoint, body, question.list)?;
                Ok(Probe {
                    permissions: question.permissions,
                    purpose: question.purpose,
                    verdict,
                })
            })
            .collect()
    }

    fn verdict(
        &self,
        endpoint: Endpoint,
        body: Map<String, Value>,
        list: bool,
    ) -> Result<Verdict, Error> {
        match self.ask(endpoint, body) {
            Ok(_) => Ok(Verdict::Held),
            Err(Error::Denied { .. }) => Ok(Verdict::Missing),
            // There is no such thing: so it would have been allowed.
            Err(Error::Refused { .. }) if !list => Ok(Verdict::Held),
            Err(
                error @ (Error::Refused { .. }
                | Error::Status { .. }
                | Error::Shape { .. }
                | Error::NotJson { .. }),
            ) => Ok(Verdict::Unknown(error.to_string())),
            Err(error) => Err(error),
        }
    }
}

fn questions() -> Vec<Question> {
    let nobody = Id::nil().to_string();
    let question = |permissions, purpose, endpoint, body, list| Question {
        permissions,
        purpose,
        endpoint,
        body,
        list,
    };
    vec![
        question(
            &[IMAGES_VIEW],
            "kasm check, images, register",
            Endpoint::public("get_images", &[IMAGES_VIEW]),
            json!({}),
            true,
        ),
        question(
            &[IMAGES_MODIFY],
            "kasm register, unregister",
            Endpoint::public("update_image", &[IMAGES_MODIFY]),
            json!({"target_image": {"image_id": nobody}}),
            false,
        ),
        question(
            AS_USER,
            "kasm session start, status, wait, stop; kasm verify",
            Endpoint::public("get_kasm_status", AS_USER),
            json!({"kasm_id": nobody, "user_id": nobody, "skip_agent_check": true}),
            false,
        ),
        question(
            &[SESSIONS_VIEW],
            "kasm session list",
            Endpoint::public("get_kasms", &[SESSIONS_VIEW]),
            json!({}),
            true,
        ),
        question(
            &[SESSIONS_MODIFY],
            "kasm session exec; kasm verify",
            Endpoint::public("exec_command_kasm", &[SESSIONS_MODIFY]),
            json!({
                "kasm_id": nobody,
                "user_id": nobody,
                "exec_config": {"cmd": "true", "workdir": "/", "privileged": false},
            }),
            false,
        ),
        question(
            &[USERS_VIEW],
            "users by name instead of id",
            Endpoint::public("get_user", &[USERS_VIEW]),
            json!({"target_user": {"user_id": nobody}}),
            false,
        ),
        question(
            &[AGENTS_VIEW],
            "agents and their pruning in kasm check",
            Endpoint::admin("get_agents", &[AGENTS_VIEW]),
            json!({}),
            true,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::{AS_USER, IMAGES_MODIFY, named};

    #[test]
    fn permissions_are_named_with_their_numbers() {
        assert_eq!(named(AS_USER), "User (100) and Users Auth Session (352)");
        assert_eq!(
            named(&[IMAGES_MODIFY]),
            "Images Modify, or Global Admin (200)"
        );
    }
}
