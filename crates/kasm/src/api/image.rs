//! The workspaces a server has: it calls them images.

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::client::{Client, Endpoint};
use super::permission::{IMAGES_MODIFY, IMAGES_VIEW};
use super::{Error, Id};

/// A workspace of the server.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its id.
    pub id: Id,
    /// The image an engine is asked for, with its tag.
    pub name: String,
    /// The name people see.
    pub friendly_name: Option<String>,
    /// Whether people see it.
    pub enabled: Option<bool>,
    /// Whether an agent has the image, as the server believes.
    pub available: Option<bool>,
    /// The cores of a session.
    pub cores: Option<f64>,
    /// The bytes of memory of a session.
    pub memory: Option<u64>,
    /// All fields, as the server gives them.
    pub fields: Map<String, Value>,
}

pub(crate) const GET_IMAGES: Endpoint = Endpoint::public("get_images", &[IMAGES_VIEW]);
pub(crate) const CREATE_IMAGE: Endpoint =
    Endpoint::public("create_image", &[IMAGES_MODIFY]).once("`kasmforge kasm images`");
// It says how all fields are to be, so the second time changes nothing.
pub(crate) const UPDATE_IMAGE: Endpoint = Endpoint::public("update_image", &[IMAGES_MODIFY]);
const DELETE_IMAGE: Endpoint =
    Endpoint::public("delete_image", &[IMAGES_MODIFY]).once("`kasmforge kasm images`");

impl Client {
    /// The workspaces.
    ///
    /// # Errors
    /// If the server refuses or answers otherwise.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let answer = self.ask(GET_IMAGES, Map::new())?;
        let images = Answer::new(GET_IMAGES.name, &answer).list("images")?;
        let mut images: Vec<Image> = images.iter().map(read).collect::<Result<_, _>>()?;
        images.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(images)
    }

    /// Deletes a workspace. Sessions that run go on.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn delete_image(&self, id: &Id) -> Result<(), Error> {
        let mut body = Map::new();
        body.insert("target_image".into(), json!({"image_id": id.as_str()}));
        self.ask(DELETE_IMAGE, body).map(drop)
    }

    /// Creates or changes a workspace, and gives its id where the server tells it.
    pub(crate) fn write_image(
        &self,
        endpoint: Endpoint,
        body: Map<String, Value>,
    ) -> Result<Option<Id>, Error> {
        let answer = self.ask(endpoint, body)?;
        let answer = Answer::new(endpoint.name, &answer);
        let Some(image) = answer.optional("image") else {
            return Ok(None);
        };
        image.id("image_id").map(Some)
    }
}

fn read(image: &Answer<'_>) -> Result<Image, Error> {
    Ok(Image {
        id: image.id("image_id")?,
        // A workspace that is a link or a server has no image.
        name: image.optional_text("name")?.unwrap_or_default(),
        friendly_name: image.optional_text("friendly_name")?,
        enabled: image.optional_flag("enabled")?,
        available: image.optional_flag("available")?,
        cores: image.optional_number("cores")?,
        memory: image.optional_count("memory")?,
        fields: image.value().as_object().cloned().unwrap_or_default(),
    })
}
