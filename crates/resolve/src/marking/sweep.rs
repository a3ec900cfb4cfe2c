//! Taking back what nothing leads to any more.

use super::Marking;

impl Marking<'_> {
    /// Empties the slots of what was put in for something that was then given up. What is
    /// recommended or suggested by something that stays is left, as apt has it.
    pub(super) fn sweep(&mut self) {
        let mut marked = vec![false; self.states.len()];
        let touched = self.touched.clone();
        let mut waiting: Vec<u32> = touched
            .iter()
            .copied()
            .filter(|&slot| self.is_wanted(slot))
            .collect();
        while let Some(slot) = waiting.pop() {
            if std::mem::replace(&mut marked[slot as usize], true) {
                continue;
            }
            let Some(id) = self.state(slot).install else {
                continue;
            };
            let clauses = self.clauses(id).unwrap_or_default();
            let followed = clauses.iter().filter(|clause| !clause.forbids());
            for &id in followed
                .flat_map(|clause| &clause.aims)
                .flat_map(|aim| &aim.targets)
            {
                let target = self.slot(id);
                if self.state(target).install == Some(id) {
                    waiting.push(target);
                }
            }
        }
        for slot in touched {
            if !marked[slot as usize] {
                self.mark_delete(slot);
            }
        }
    }

    fn is_wanted(&self, slot: u32) -> bool {
        let state = self.state(slot);
        let Some(id) = state.install else {
            return false;
        };
        let package = self.universe.package(id);
        !state.auto
            || state.protected
            || state.current.is_some()
            || self.universe.is_essential(package.name_number())
            || package.is_important()
    }
}
