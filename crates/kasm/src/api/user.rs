//! The users sessions belong to.

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::client::{Client, Endpoint};
use super::permission::USERS_VIEW;
use super::{Error, Id};

/// A user of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: Id,
    /// The login name, where it is known.
    pub name: Option<String>,
}

impl Client {
    /// The user with this name or id. An id is taken as it is: no permission is needed for that.
    ///
    /// # Errors
    /// If there is no such user, or the server refuses.
    pub fn user(&self, name: &str) -> Result<User, Error> {
        const ENDPOINT: Endpoint = Endpoint::public("get_user", &[USERS_VIEW]);
        if let Some(id) = Id::parse(name) {
            return Ok(User { id, name: None });
        }
        let mut body = Map::new();
        body.insert("target_user".into(), json!({"username": name}));
        let answer = match self.ask(ENDPOINT, body) {
            Err(Error::Refused { .. }) => return Err(self.nobody(name)),
            answer => answer?,
        };
        if answer.get("user").is_none_or(Value::is_null) {
            return Err(self.nobody(name));
        }
        let user = Answer::new(ENDPOINT.name, &answer).field("user")?;
        Ok(User {
            id: user.id("user_id")?,
            name: user.optional_text("username")?,
        })
    }

    fn nobody(&self, name: &str) -> Error {
        Error::NoUser {
            name: self.shown(name),
        }
    }
}
