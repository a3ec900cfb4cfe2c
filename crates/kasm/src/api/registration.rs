//! What a server is to know of a workspace, and the way there from what it knows.
//!
//! A registration names only the fields it wants to rule; what an administrator set besides
//! (groups, volumes, limits) stays. The server keeps configurations as texts of JSON and memory in
//! bytes, and gives some of it back in other types: fields are compared by what they mean.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::client::{Client, Endpoint, masked};
use super::field::{Kind, kind, meant};
use super::image::{CREATE_IMAGE, UPDATE_IMAGE};
use super::{Error, Id, Image};

/// How a session's container is named inside unless the definition says how it is run: so do Kasm's
/// own workspaces.
const RUN_CONFIG: &str = "{\"hostname\":\"kasm\"}";

/// What a session gets unless the definition says so: the defaults of Kasm's registry.
const CORES: f64 = 2.0;
const MEMORY: u64 = 2_768_000_000;

/// What a server is to know of a workspace.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// The image, with its tag, exactly as the agent's engine names it.
    pub name: String,
    /// The name people see.
    pub friendly_name: String,
    /// One sentence for people.
    pub description: Option<String>,
    /// The address of an icon, as a browser of the web interface asks for it.
    pub icon: Option<String>,
    /// The registry the agent asks for the image, `https://ghcr.io/`; none: the agent has it.
    pub docker_registry: Option<String>,
    /// The cores of a session.
    pub cores: Option<f64>,
    /// The bytes of memory of a session.
    pub memory: Option<u64>,
    /// Categories people find it in.
    pub categories: Vec<String>,
    /// How the agent runs the container: a JSON object.
    pub run_config: Option<Value>,
    /// What the agent executes at events: a JSON object.
    pub exec_config: Option<Value>,
    /// Markdown for people.
    pub notes: Option<String>,
    /// Whether people see it. `None`: when it is created they do, later as an administrator says.
    pub enabled: Option<bool>,
    /// Further fields of the server's, by its names, as what they mean: configurations as JSON
    /// values, memory in bytes.
    pub further: BTreeMap<&'static str, Value>,
}

/// Which of the server's workspaces is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection<'a> {
    /// The one with this id.
    Id(&'a Id),
    /// The one for the image or, if there is none, for another tag of it under the same name, or
    /// with the name people see.
    Fitting,
}

/// One field that is to be otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The field.
    pub field: &'static str,
    /// What the server has; null if nothing.
    pub from: Value,
    /// What it is to have.
    pub to: Value,
}

/// What a registration would do.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// There is no such workspace yet.
    Create {
        /// All fields.
        changes: Vec<Change>,
    },
    /// It is otherwise.
    Update {
        /// The workspace.
        id: Id,
        /// What differs.
        changes: Vec<Change>,
    },
    /// It is so already.
    Nothing {
        /// The workspace.
        id: Id,
    },
}

/// What a registration did.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// What it did.
    pub plan: Plan,
    /// The workspace.
    pub id: Id,
    /// Whether the server believes that an agent has the image, if it says so.
    pub available: Option<bool>,
}

struct Field {
    name: &'static str,
    value: Value,
    /// Whether it is said only when the workspace is created.
    initial: bool,
}

impl Registration {
    fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        let mut add = |name, value: Option<Value>, initial| {
            fields.extend(value.map(|value| Field {
                name,
                value,
                initial,
            }));
        };
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        add("name", Some(json!(self.name)), false);
        add("friendly_name", Some(json!(self.friendly_name)), false);
        add("description", text(&self.description), false);
        // The server wants an icon, and shows its own where this is none.
        let icon = self.icon.as_ref().unwrap_or(&self.name);
        add("image_src", Some(json!(icon)), self.icon.is_none());
        add("image_type", Some(json!("Container")), true);
        add("docker_registry", text(&self.docker_registry), false);
        let cores = self.cores.unwrap_or(CORES);
        add("cores", Some(json!(cores)), self.cores.is_none());
        let memory = self.memory.unwrap_or(MEMORY);
        add("memory", Some(json!(memory)), self.memory.is_none());
        let categories = (!self.categories.is_empty()).then(|| json!(self.categories));
        add("categories", categories, false);
        let usual = || serde_json::from_str(RUN_CONFIG).expect("it is JSON");
        let run_config = self.run_config.clone().unwrap_or_else(usual);
        add("run_config", Some(run_config), self.run_config.is_none());
        add("exec_config", self.exec_config.clone(), false);
        add("notes", text(&self.notes), false);
        let enabled = self.enabled.unwrap_or(true);
        add("enabled", Some(json!(enabled)), self.enabled.is_none());
        add("available", Some(json!(true)), false);
        for (name, value) in &self.further {
            add(*name, Some(value.clone()), false);
        }
        fields
    }

    /// What differs from what a server has; all that is to be said, if it has nothing.
    #[must_use]
    pub fn changes(&self, found: Option<&Image>) -> Vec<Change> {
        self.fields()
            .into_iter()
            .filter_map(|field| {
                let from = match found {
                    Some(_) if field.initial => return None,
                    Some(image) => meant(kind(field.name), image.fields.get(field.name)),
                    None => Value::Null,
                };
                let to = meant(kind(field.name), Some(&field.value));
                (from != to).then_some(Change {
                    field: field.name,
                    from,
                    to: field.value,
                })
            })
            .collect()
    }

    /// The one of the server's workspaces that is this one.
    ///
    /// # Errors
    /// If several could be, or the one named is not there.
    pub fn find<'a>(
        &self,
        selection: Selection<'_>,
        images: &'a [Image],
    ) -> Result<Option<&'a Image>, Error> {
        if let Selection::Id(id) = selection {
            let found = images.iter().find(|image| image.id == *id);
            return found.map(Some).ok_or_else(|| Error::NoImage {
                wanted: format!("with the id {id}"),
            });
        }
        let friendly = |image: &&Image| image.friendly_name.as_deref() == Some(&self.friendly_name);
        let exact = |image: &&Image| image.name == self.name;
        let tagless = |image: &&Image| repository(&image.name) == repository(&self.name);
        let candidates: [Vec<&Image>; 4] = [
            images.iter().filter(exact).filter(friendly).collect(),
            images.iter().filter(exact).collect(),
            images.iter().filter(tagless).filter(friendly).collect(),
            images.iter().filter(friendly).collect(),
        ];
        match candidates
            .iter()
            .find(|found| !found.is_empty())
            .map(Vec::as_slice)
        {
            None => Ok(None),
            Some([one]) => Ok(Some(one)),
            Some(several) => Err(Error::Ambiguous {
                ids: several.iter().map(|image| image.id.to_string()).collect(),
            }),
        }
    }
}

/// What a registration would do, given what the server has.
///
/// # Errors
/// If several workspaces could be meant, or the one named is not there.
pub fn plan(
    registration: &Registration,
    selection: Selection<'_>,
    images: &[Image],
) -> Result<Plan, Error> {
    let found = registration.find(selection, images)?;
    let changes = registration.changes(found);
    Ok(match found {
        None => Plan::Create { changes },
        Some(image) if changes.is_empty() => Plan::Nothing {
            id: image.id.clone(),
        },
        Some(image) => Plan::Update {
            id: image.id.clone(),
            changes,
        },
    })
}

/// The request a plan would send, with the key masked: its path and its body.
#[must_use]
pub fn masked_request(plan: &Plan) -> Option<(String, Value)> {
    let (endpoint, body) = request(plan)?;
    let path = format!("/api/{}/{}", endpoint.area, endpoint.name);
    Some((path, masked(&body)))
}

/// Creates or changes the workspace on the server, and looks whether it is so afterwards.
///
/// # Errors
/// If the server refuses, or says something else afterwards.
pub fn register(
    client: &Client,
    registration: &Registration,
    selection: Selection<'_>,
) -> Result<Done, Error> {
    let images = client.images()?;
    let plan = plan(registration, selection, &images)?;
    let Some((endpoint, body)) = request(&plan) else {
        let found = registration.find(selection, &images)?;
        let image = found.expect("nothing is to do because it is there");
        return Ok(Done {
            id: image.id.clone(),
            available: image.available,
            plan,
        });
    };
    let told = client.write_image(endpoint, body)?;
    let images = client.images()?;
    let id = match &plan {
        Plan::Update { id, .. } | Plan::Nothing { id } => Some(id.clone()),
        Plan::Create { .. } => told,
    };
    let selection = id.as_ref().map_or(Selection::Fitting, Selection::Id);
    let found = registration.find(selection, &images)?;
    let image = found.ok_or_else(|| Error::NoImage {
        wanted: format!("for {}, although it was created", registration.name),
    })?;
    let otherwise = registration.changes(Some(image));
    // A server may only learn from its agents whether they have the image.
    let otherwise = otherwise
        .iter()
        .filter(|change| change.field != "available");
    let otherwise: Vec<String> = otherwise
        .map(|change| format!("`{}` is {}, not {}", change.field, change.from, change.to))
        .map(|text| client.shown(&text))
        .collect();
    if !otherwise.is_empty() {
        return Err(Error::NotKept { found: otherwise });
    }
    Ok(Done {
        id: image.id.clone(),
        available: image.available,
        plan,
    })
}

fn request(plan: &Plan) -> Option<(Endpoint, Map<String, Value>)> {
    let (endpoint, id, changes) = match plan {
        Plan::Create { changes } => (CREATE_IMAGE, None, changes),
        Plan::Update { id, changes } => (UPDATE_IMAGE, Some(id), changes),
        Plan::Nothing { .. } => return None,
    };
    let mut target = Map::new();
    if let Some(id) = id {
        target.insert("image_id".into(), json!(id.as_str()));
    }
    for change in changes {
        let value = match kind(change.field) {
            Kind::Text => json!(change.to.to_string()),
            _ => change.to.clone(),
        };
        target.insert(change.field.into(), value);
    }
    let mut body = Map::new();
    body.insert("target_image".into(), Value::Object(target));
    Some((endpoint, body))
}

/// An image's name without its tag.
fn repository(name: &str) -> &str {
    let end = name.rfind('/').unwrap_or(0);
    match name[end..].find(':') {
        Some(tag) => &name[..end + tag],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn registration() -> Registration {
        Registration {
            name: "kasmforge/desktop:latest".into(),
            friendly_name: "Desktop".into(),
            description: Some("A desktop".into()),
            icon: None,
            docker_registry: None,
            cores: Some(2.0),
            memory: Some(3_072_000_000),
            categories: vec!["Office".into(), "Desktop".into()],
            run_config: Some(json!({"hostname": "kasm", "shm_size": "512m"})),
            exec_config: None,
            notes: None,
            enabled: None,
            further: BTreeMap::from([("volume_mappings", json!({"/a": {"bind": "/b"}}))]),
        }
    }

    fn image(id: u8, fields: Value) -> Image {
        let Value::Object(fields) = fields else {
            panic!("an object")
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        Image {
            id: Id::parse(&format!("{id:032x}")).expect("an id"),
            name: text("name").unwrap_or_default(),
            friendly_name: text("friendly_name"),
            enabled: None,
            available: None,
            cores: None,
            memory: None,
            fields,
        }
    }

    #[test]
    fn what_a_server_writes_otherwise_is_no_change() {
        let found = image(
            1,
            json!({
                "name": "kasmforge/desktop:latest", "friendly_name": "Desktop",
                "description": "A desktop", "cores": "2", "memory": 3_072_000_000.0,
                "categories": "[\"Desktop\", \"Office\"]", "available": true,
                "run_config": {"shm_size": "512m", "hostname": "kasm"},
                "volume_mappings": "{\"/a\": {\"bind\":\"/b\"}}", "docker_registry": "",
            }),
        );
        assert_eq!(registration().changes(Some(&found)), []);
        let plan = plan(&registration(), Selection::Fitting, &[found]).expect("one");
        assert!(matches!(plan, Plan::Nothing { .. }), "{plan:?}");
    }

    #[test]
    fn configurations_travel_as_texts_and_memory_in_bytes() {
        let plan = plan(&registration(), Selection::Fitting, &[]).expect("none");
        let (path, body) = masked_request(&plan).expect("a request");
        assert_eq!(path, "/api/public/create_image");
        assert_eq!(body["api_key_secret"], "[masked]");
        let target = &body["target_image"];
        assert_eq!(
            target["run_config"],
            "{\"hostname\":\"kasm\",\"shm_size\":\"512m\"}"
        );
        assert_eq!(target["memory"], 3_072_000_000_u64);
        assert_eq!(target["image_type"], "Container");
    }

    #[test]
    fn another_tag_of_the_same_workspace_is_an_update() {
        let old = image(
            1,
            json!({"name": "kasmforge/desktop:1.0", "friendly_name": "Desktop"}),
        );
        let other = image(
            2,
            json!({"name": "kasmforge/desktop:1.0", "friendly_name": "Other"}),
        );
        let plan = plan(&registration(), Selection::Fitting, &[other, old]).expect("one");
        let Plan::Update { id, changes } = plan else {
            panic!("{plan:?}")
        };
        assert_eq!(id.as_str(), format!("{:032x}", 1));
        let name = changes
            .iter()
            .find(|change| change.field == "name")
            .expect("it changes");
        assert_eq!(name.from, "kasmforge/desktop:1.0");
        // What was never said is left to the administrator.
        assert!(changes.iter().all(|change| change.field != "enabled"));
    }

    #[test]
    fn two_that_fit_are_not_guessed_between() {
        let one = |id| image(id, json!({"name": "kasmforge/desktop:latest"}));
        let error = plan(&registration(), Selection::Fitting, &[one(1), one(2)]);
        assert!(matches!(error, Err(Error::Ambiguous { .. })), "{error:?}");
        let second = one(2);
        let id = second.id.clone();
        let plan = plan(&registration(), Selection::Id(&id), &[one(1), second]).expect("named");
        assert!(matches!(plan, Plan::Update { id: found, .. } if found == id));
    }

    #[test]
    fn tags_end_names() {
        for (name, without) in [
            ("a/b:1", "a/b"),
            ("localhost:5000/a", "localhost:5000/a"),
            ("localhost:5000/a:1", "localhost:5000/a"),
            ("a", "a"),
        ] {
            assert_eq!(repository(name), without);
        }
    }
}
