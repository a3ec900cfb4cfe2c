//! What a build would do, and why: told without doing it.

use kasmforge_lock::Lock;
use kasmforge_plan::explain::{self, StepChange};
use kasmforge_plan::{Plan, Step};
use kasmforge_store::{Error, Store};
use serde::{Deserialize, Serialize};

use crate::{BuildError, Made, Request, configure, record, unpack};

/// The steps of a build, each with what would become of it.
#[derive(Debug, Clone, Serialize)]
pub struct Planned {
    /// The workspace.
    pub workspace: String,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// Packages whose files would be fetched.
    pub fetched: Vec<String>,
    /// How many bytes that would be.
    pub bytes: u64,
    /// Packages that would be unpacked, those that are fetched included.
    pub unpacked: Vec<String>,
    /// All other steps, in the order they are done.
    pub steps: Vec<PlannedStep>,
    /// What differs from the workspace's last build; `None` if there was none.
    pub differences: Option<Vec<StepChange>>,
}

/// A step of a build.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStep {
    /// Its name.
    pub name: String,
    /// Its key, in hexadecimal digits.
    pub key: String,
    /// Whether an earlier build did it.
    pub reused: bool,
}

/// The steps of a workspace's last build, as they were planned.
#[derive(Serialize, Deserialize)]
struct LastSteps {
    steps: Vec<Step>,
}

/// The file of a workspace's folder that holds them.
const STEPS: &str = "steps.json";

/// Tells what [`crate::build`] would do with this request and lock.
///
/// Ids of system users that the lock does not know yet are known only after scripts ran; until then
/// the steps above the packages are told with the keys they have without them.
///
/// # Errors
/// When the definition, the lock or the store cannot be read.
pub fn planned(store: &Store, request: &Request<'_>, lock: &Lock) -> Result<Planned, BuildError> {
    let made = Made::of(store, request, lock)?;
    let plan = made.plan(request, lock)?;
    let name = &request.workspace.name;
    let image = record::find(store, name, &plan.image.key)?.is_some();
    let mut planned = Planned {
        workspace: name.clone(),
        architecture: request.architecture.into(),
        fetched: Vec::new(),
        bytes: 0,
        unpacked: Vec::new(),
        steps: Vec::new(),
        differences: differences(store, name, &plan),
    };
    for unpack in plan.stages.iter().flat_map(|stage| &stage.packages) {
        if image || unpack::is_kept(store, &unpack.key) {
            continue;
        }
        let package = &lock.packages[unpack.package];
        planned.unpacked.push(package.name.clone());
        if !store.has_blob(&package.sha256, Some(package.size)) {
            planned.fetched.push(package.name.clone());
            planned.bytes += package.size;
        }
    }
    for step in plan.steps() {
        let reused = image
            || if step.kind.starts_with("configure") {
                configure::is_kept(store, &step.key)
            } else {
                store.outcome::<serde::de::IgnoredAny>(&step.key)?.is_some()
                    && step.name != plan.image.name
            };
        planned.steps.push(PlannedStep {
            name: step.name.clone(),
            key: step.key.hex(),
            reused,
        });
    }
    Ok(planned)
}

/// What differs from the steps of a workspace's last build.
fn differences(store: &Store, workspace: &str, plan: &Plan) -> Option<Vec<StepChange>> {
    let path = store.root().join("images").join(workspace).join(STEPS);
    let last: LastSteps = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let now: Vec<Step> = plan.steps().cloned().collect();
    Some(explain::differences(&last.steps, &now))
}

/// Notes the steps of a build, so that the next one can tell what changed; gives what differs from
/// the one before.
pub(crate) fn note(
    store: &Store,
    workspace: &str,
    plan: &Plan,
) -> Result<Option<Vec<StepChange>>, Error> {
    let differences = differences(store, workspace, plan);
    if differences.as_ref().is_none_or(|all| !all.is_empty()) {
        let path = store.image_folder(workspace)?.join(STEPS);
        let steps = LastSteps {
            steps: plan.steps().cloned().collect(),
        };
        let bytes = serde_json::to_vec(&steps).map_err(|error| Error::Write {
            path: path.clone(),
            source: std::io::Error::other(error),
        })?;
        store.write_file(&path, &bytes)?;
    }
    Ok(differences)
}
