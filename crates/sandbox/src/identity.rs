//! Who a process goes on as, after it asked to be somebody else.
//!
//! A namespace of one uid has nobody else to become. So a process that changes its ids stays what
//! it is for the kernel, and the supervisor answers what it asks about itself as if it had
//! changed, by the rules of credentials(7). What it makes is recorded as that user's.
//!
//! Who is who must pass on to whatever a process starts, however it is started and whoever dies
//! meanwhile. The kernel does that: the number of an identity is kept as the soft limit of a
//! resource that no kernel looks at any more ([`NOTE`](crate::kernel::process::NOTE)).

use rustix::io::Errno;

use crate::calls::{Form, Ids, Role};
use crate::kernel::process;

/// Notes from here on are no numbers of identities: the limit as the host has it.
const MOST: u64 = 1 << 20;

/// The three ids of a kind, and the one that counts for files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Three {
    real: u32,
    effective: u32,
    saved: u32,
    files: u32,
}

/// Who a process is. By default root, as everybody is at first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    user: Three,
    group: Three,
    groups: Vec<u32>,
}

impl Identity {
    /// Whether it has all rights.
    pub(crate) const fn is_root(&self) -> bool {
        self.user.effective == 0
    }

    /// Who owns what it makes: the user and the group.
    pub(crate) const fn owner(&self) -> (u32, u32) {
        (self.user.files, self.group.files)
    }

    /// Whether it may give files to this group.
    pub(crate) fn is_in(&self, group: u32) -> bool {
        self.group.files == group || self.groups.contains(&group)
    }

    pub(crate) fn get(&self, ids: Ids, role: Role) -> u32 {
        let three = self.three(ids);
        match role {
            Role::Real => three.real,
            Role::Effective => three.effective,
        }
    }

    /// The real, the effective and the saved id.
    pub(crate) const fn all(&self, ids: Ids) -> [u32; 3] {
        let three = self.three(ids);
        [three.real, three.effective, three.saved]
    }

    pub(crate) fn groups(&self) -> &[u32] {
        &self.groups
    }

    const fn three(&self, ids: Ids) -> Three {
        match ids {
            Ids::User => self.user,
            Ids::Group => self.group,
        }
    }

    /// This identity with other ids, as `setuid` and its kin give them. `None` leaves one as it is.
    pub(crate) fn with_ids(
        &self,
        ids: Ids,
        form: Form,
        wanted: &[Option<u32>],
    ) -> Result<Self, Errno> {
        let old = self.three(ids);
        let may = |id: u32, own: &[u32]| self.is_root() || own.contains(&id);
        let of = |at: usize| wanted.get(at).copied().flatten();
        let mut new = old;
        match form {
            Form::All => {
                let id = of(0).ok_or(Errno::INVAL)?;
                if self.is_root() {
                    new = Three {
                        real: id,
                        effective: id,
                        saved: id,
                        files: id,
                    };
                } else if [old.real, old.saved].contains(&id) {
                    (new.effective, new.files) = (id, id);
                } else {
                    return Err(Errno::PERM);
                }
            }
            Form::Two => {
                let (real, effective) = (of(0), of(1));
                let allowed = real.is_none_or(|id| may(id, &[old.real, old.effective]))
                    && effective.is_none_or(|id| may(id, &[old.real, old.effective, old.saved]));
                if !allowed {
                    return Err(Errno::PERM);
                }
                new.real = real.unwrap_or(old.real);
                new.effective = effective.unwrap_or(old.effective);
                new.files = new.effective;
                if real.is_some() || effective.is_some_and(|id| id != old.real) {
                    new.saved = new.effective;
                }
            }
            Form::Three => {
                let own = [old.real, old.effective, old.saved];
                if !wanted.iter().flatten().all(|id| may(*id, &own)) {
                    return Err(Errno::PERM);
                }
                new.real = of(0).unwrap_or(old.real);
                new.effective = of(1).unwrap_or(old.effective);
                new.saved = of(2).unwrap_or(old.saved);
                new.files = new.effective;
            }
            // It never fails: whoever calls it compares what it returns.
            Form::Files => {
                let own = [old.real, old.effective, old.saved, old.files];
                if let Some(id) = of(0).filter(|id| may(*id, &own)) {
                    new.files = id;
                }
            }
        }
        let mut identity = self.clone();
        match ids {
            Ids::User => identity.user = new,
            Ids::Group => identity.group = new,
        }
        Ok(identity)
    }

    /// The id that counts for files, which `setfsuid` returns.
    pub(crate) const fn files(&self, ids: Ids) -> u32 {
        self.three(ids).files
    }

    /// This identity in other groups.
    pub(crate) fn with_groups(&self, groups: Vec<u32>) -> Result<Self, Errno> {
        if !self.is_root() {
            return Err(Errno::PERM);
        }
        Ok(Self {
            groups,
            ..self.clone()
        })
    }
}

/// All identities there are.
#[derive(Default)]
pub(crate) struct Identities {
    /// By their numbers, less one: zero is root's, which every process has that never changed.
    known: Vec<Identity>,
}

impl Identities {
    /// Whether nobody has ever changed, so that nothing needs a closer look.
    pub(crate) const fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Who a process is. None for root, as it was at first.
    pub(crate) fn of(&self, pid: u32) -> Option<&Identity> {
        if self.is_empty() {
            return None;
        }
        // A process that has died needs no answer.
        let note = process::note(pid).ok().filter(|note| *note < MOST)?;
        let number = usize::try_from(note).ok()?.checked_sub(1)?;
        self.known.get(number)
    }

    /// Has a process, and whatever it starts, go on as somebody.
    pub(crate) fn set(&mut self, pid: u32, identity: Identity) -> Result<(), Errno> {
        if identity == Identity::default() {
            return process::set_note(pid, 0);
        }
        let at = match self.known.iter().position(|known| *known == identity) {
            Some(at) => at,
            None => {
                self.known.push(identity);
                self.known.len() - 1
            }
        };
        let number = at as u64 + 1;
        if number >= MOST {
            return Err(Errno::AGAIN);
        }
        process::set_note(pid, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(from: &Identity, form: Form, wanted: &[Option<u32>]) -> Result<[u32; 3], Errno> {
        from.with_ids(Ids::User, form, wanted)
            .map(|new| new.all(Ids::User))
    }

    #[test]
    fn ids_change_as_the_kernel_has_it() {
        let root = Identity::default();
        let all = |id| root.with_ids(Ids::User, Form::All, &[Some(id)]);
        let postgres = all(105).expect("root may");
        assert_eq!(postgres.all(Ids::User), [105, 105, 105]);
        assert_eq!(changed(&postgres, Form::All, &[Some(0)]), Err(Errno::PERM));
        assert_eq!(
            changed(&postgres, Form::Three, &[None, Some(105), None]),
            Ok([105, 105, 105])
        );
        // For a while only, and back.
        let for_now = root
            .with_ids(Ids::User, Form::Three, &[None, Some(7), None])
            .expect("root may");
        assert_eq!(for_now.all(Ids::User), [0, 7, 0]);
        assert_eq!(for_now.owner(), (7, 0));
        assert_eq!(changed(&for_now, Form::All, &[Some(0)]), Ok([0, 0, 0]));
        assert_eq!(changed(&for_now, Form::All, &[Some(8)]), Err(Errno::PERM));
        // The saved id follows the effective one.
        assert_eq!(
            changed(&root, Form::Two, &[Some(3), Some(4)]),
            Ok([3, 4, 4])
        );
        assert_eq!(changed(&root, Form::Two, &[None, Some(4)]), Ok([0, 4, 4]));
        let files = root.with_ids(Ids::Group, Form::Files, &[Some(9)]);
        assert_eq!(files.expect("it never fails").owner(), (0, 9));
        let files = postgres.with_ids(Ids::User, Form::Files, &[Some(9)]);
        assert_eq!(files.expect("it never fails"), postgres);
        assert!(postgres.with_groups(vec![1]).is_err());
        assert!(root.with_groups(vec![1]).expect("root may").is_in(1));
    }
}
