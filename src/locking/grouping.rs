//! Which packages of a lock share a layer.

use kasmforge_lock::{Lock, Package};
use kasmforge_plan::layers;
use kasmforge_spec::Workspace;

/// Groups the packages of one stage of a workspace; the stages below it are locked already.
pub(super) fn group<'a>(
    lock: &Lock,
    workspace: &Workspace,
    index: usize,
    architecture: &str,
    packages: impl IntoIterator<Item = &'a Package>,
    earlier: Option<&[Vec<String>]>,
) -> Vec<Vec<String>> {
    let below = workspace.stages[..index].iter();
    let below: Vec<usize> = below
        .filter_map(|stage| lock.workspace(&stage.name, architecture))
        .map(|locked| locked.layers.len())
        .collect();
    let budget = workspace.stages[index].layers.budget;
    layers::group(packages, budget, &below, earlier)
}

/// Groups the own packages of workspaces anew, for every architecture they are locked for, as if the
/// lock had no groups. Stages below that are not among them stay as they are: others share them.
pub(crate) fn regroup(lock: &mut Lock, mut workspaces: Vec<Workspace>) {
    // A stage gets what those below it leave.
    workspaces.sort_by_key(|workspace| workspace.stages.len());
    for workspace in &workspaces {
        let Some(index) = workspace.stages.len().checked_sub(1) else {
            continue;
        };
        for at in 0..lock.workspaces.len() {
            let locked = &lock.workspaces[at];
            if locked.name == workspace.name {
                let own = locked.packages.iter().map(|&at| &lock.packages[at]);
                let groups = group(lock, workspace, index, &locked.architecture, own, None);
                lock.workspaces[at].layers = groups;
            }
        }
    }
}
