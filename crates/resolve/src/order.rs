//! The canonical order of packages: what is needed goes before what needs it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// One package's place in the order: what it must follow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// What it pre-depends on.
    pub(crate) before_unpacking: Vec<usize>,
    /// What it depends on.
    pub(crate) before_configuring: Vec<usize>,
}

/// Orders nodes whose indexes say which goes first where nothing else does.
///
/// Packages that need each other in a circle stand together; within the circle pre-dependencies
/// are kept to, and then the indexes. Every walk keeps its own stack: real circles are short, but
/// an index may hold one of any length.
pub(crate) fn canonical(nodes: &[Node]) -> Vec<usize> {
    let component = components(nodes);
    let count = component.iter().max().map_or(0, |last| last + 1);
    let mut members = vec![Vec::new(); count];
    for (node, &component) in component.iter().enumerate() {
        members[component].push(node);
    }
    // A circle stands where its first member would.
    let ranks: Vec<usize> = members.iter().map(|nodes| nodes[0]).collect();
    let edges = nodes.iter().enumerate().flat_map(|(node, needs)| {
        let needs = needs
            .before_unpacking
            .iter()
            .chain(&needs.before_configuring);
        needs.map(move |&need| (need, node))
    });
    let edges = edges
        .map(|(need, node)| (component[need], component[node]))
        .filter(|(need, node)| need != node);
    let circles = sorted(&ranks, edges);
    let mut order = Vec::with_capacity(nodes.len());
    let mut place = vec![usize::MAX; nodes.len()];
    for circle in circles {
        let circle = &members[circle];
        for (at, &node) in circle.iter().enumerate() {
            place[node] = at;
        }
        let edges = circle.iter().enumerate().flat_map(|(at, &node)| {
            let needs = nodes[node].before_unpacking.iter();
            needs.map(move |&need| (need, at))
        });
        let edges = edges
            .filter(|&(need, at)| component[need] == component[circle[at]] && need != circle[at])
            .map(|(need, at)| (place[need], at));
        order.extend(sorted(circle, edges).into_iter().map(|at| circle[at]));
    }
    order
}

/// Orders items by edges (first before second), then by rank; where edges go in a circle, the item
/// of the lowest rank goes first regardless.
fn sorted(ranks: &[usize], edges: impl Iterator<Item = (usize, usize)>) -> Vec<usize> {
    let edges: BTreeSet<_> = edges.collect();
    let mut after = vec![Vec::new(); ranks.len()];
    let mut waits = vec![0_usize; ranks.len()];
    for (first, second) in edges {
        after[first].push(second);
        waits[second] += 1;
    }
    let mut left: BTreeSet<_> = (0..ranks.len()).map(|item| (ranks[item], item)).collect();
    let ready = (0..ranks.len()).filter(|&item| waits[item] == 0);
    let mut ready: BinaryHeap<_> = ready.map(|item| Reverse((ranks[item], item))).collect();
    let mut order = Vec::with_capacity(ranks.len());
    while let Some(next) = ready
        .pop()
        .map(|Reverse(next)| next)
        .or_else(|| left.first().copied())
    {
        if !left.remove(&next) {
            continue;
        }
        order.push(next.1);
        for &item in &after[next.1] {
            waits[item] -= 1;
            if waits[item] == 0 {
                ready.push(Reverse((ranks[item], item)));
            }
        }
    }
    order
}

/// Gives each node the number of its strongly connected component (Tarjan's algorithm).
fn components(nodes: &[Node]) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
    let need = |node: usize, at: usize| {
        let Node {
            before_unpacking,
            before_configuring,
        } = &nodes[node];
        let past = at.checked_sub(before_unpacking.len());
        past.map_or_else(|| before_unpacking.get(at), |at| before_configuring.get(at))
            .copied()
    };
    let mut index = vec![UNSEEN; nodes.len()];
    let mut low = vec![0; nodes.len()];
    let mut component = vec![UNSEEN; nodes.len()];
    let (mut seen, mut found) = (0, 0);
    let mut open = Vec::new();
    for start in 0..nodes.len() {
        if index[start] != UNSEEN {
            continue;
        }
        let mut walk = vec![(start, 0)];
        while let Some((node, at)) = walk.pop() {
            if at == 0 {
                index[node] = seen;
                low[node] = seen;
                seen += 1;
                open.push(node);
            }
            match need(node, at) {
                Some(next) if index[next] == UNSEEN => {
                    walk.push((node, at + 1));
                    walk.push((next, 0));
                }
                Some(next) => {
                    if component[next] == UNSEEN {
                        low[node] = low[node].min(index[next]);
                    }
                    walk.push((node, at + 1));
                }
                None => {
                    if low[node] == index[node] {
                        while let Some(member) = open.pop() {
                            component[member] = found;
                            if member == node {
                                break;
                            }
                        }
                        found += 1;
                    }
                    if let Some(&(parent, _)) = walk.last() {
                        low[parent] = low[parent].min(low[node]);
                    }
                }
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(before_unpacking: &[usize], before_configuring: &[usize]) -> Node {
        Node {
            before_unpacking: before_unpacking.to_vec(),
            before_configuring: before_configuring.to_vec(),
        }
    }

    #[test]
    fn needs_go_first_and_indexes_break_ties() {
        let nodes = [
            node(&[], &[3]),
            node(&[], &[]),
            node(&[], &[]),
            node(&[2], &[]),
        ];
        assert_eq!(canonical(&nodes), [1, 2, 3, 0]);
    }

    #[test]
    fn a_circle_stays_together_and_keeps_to_pre_dependencies() {
        // 1 and 3 need each other, 1 pre-depends on 3; 0 needs 1, and 2 nothing.
        let nodes = [
            node(&[], &[1]),
            node(&[3], &[]),
            node(&[], &[]),
            node(&[], &[1]),
        ];
        assert_eq!(canonical(&nodes), [3, 1, 0, 2]);
    }

    #[test]
    fn a_circle_of_pre_dependencies_begins_at_its_lowest_index() {
        let count = 100_000;
        let nodes: Vec<_> = (0..count)
            .map(|at| node(&[(at + 1) % count], &[]))
            .collect();
        let order = canonical(&nodes);
        assert_eq!((order[0], order[1], order[count - 1]), (0, count - 1, 1));
    }
}
