//! Answers about who a process is, and whose what it makes is.

use rustix::io::Errno;

use super::{Supervisor, split};
use crate::caller::Caller;
use crate::calls::{Form, Ids, Role, Width};
use crate::filter::MAKING;
use crate::identity::Identity;
use crate::kernel::seccomp::Answer;
use crate::ownership::Record;
use crate::program::IdentityChange;

/// The most groups a process may be in (`NGROUPS_MAX`).
const MOST_GROUPS: usize = 65_536;

impl Supervisor {
    fn identity(&self, caller: &Caller) -> Identity {
        self.identities.of(caller.id()).cloned().unwrap_or_default()
    }

    pub(super) fn set_ids(
        &mut self,
        caller: &Caller,
        ids: Ids,
        form: Form,
        wanted: &[Option<u32>],
    ) -> Answer {
        let old = self.identity(caller);
        let set = old.with_ids(ids, form, wanted).and_then(|new| {
            if new != old {
                self.note(caller, ids, wanted);
                self.identities.set(caller.id(), new)?;
            }
            Ok(())
        });
        match (set, form) {
            (Ok(()), Form::Files) => Answer::Value(old.files(ids).into()),
            (result, _) => result.into(),
        }
    }

    /// Keeps in mind, for people, that a program went on as somebody else.
    fn note(&mut self, caller: &Caller, ids: Ids, wanted: &[Option<u32>]) {
        let Some(other) = wanted.iter().flatten().find(|id| **id != 0).copied() else {
            return;
        };
        self.identity_changes.insert(IdentityChange {
            program: caller.executable(),
            arguments: caller.arguments(),
            uid: (ids == Ids::User).then_some(other),
            gid: (ids == Ids::Group).then_some(other),
        });
    }

    pub(super) fn get_id(&self, caller: &Caller, ids: Ids, role: Role) -> Answer {
        match self.identities.of(caller.id()) {
            Some(identity) => Answer::Value(identity.get(ids, role).into()),
            None => Answer::Continue,
        }
    }

    pub(super) fn get_ids(
        &self,
        caller: &Caller,
        ids: Ids,
        addresses: [u64; 3],
        width: Width,
    ) -> Answer {
        let Some(identity) = self.identities.of(caller.id()) else {
            return Answer::Continue;
        };
        let mut answers = identity.all(ids).into_iter().zip(addresses);
        answers
            .try_for_each(|(id, address)| caller.write(address, &bytes(&[id], width)))
            .into()
    }

    pub(super) fn get_groups(
        &self,
        caller: &Caller,
        count: i32,
        address: u64,
        width: Width,
    ) -> Answer {
        // Without supplementary groups, whatever the caller of all this has.
        let none = Identity::default();
        let identity = self.identities.of(caller.id()).unwrap_or(&none);
        let groups = identity.groups();
        let Ok(room) = usize::try_from(count) else {
            return Answer::Fail(Errno::INVAL);
        };
        if room != 0 && room < groups.len() {
            return Answer::Fail(Errno::INVAL);
        }
        if room != 0
            && !groups.is_empty()
            && let Err(error) = caller.write(address, &bytes(groups, width))
        {
            return Answer::Fail(error);
        }
        Answer::Value(i64::try_from(groups.len()).unwrap_or(i64::MAX))
    }

    pub(super) fn set_groups(
        &mut self,
        caller: &Caller,
        count: i32,
        address: u64,
        width: Width,
    ) -> Answer {
        let mut set = || -> Result<(), Errno> {
            let count = usize::try_from(count).map_err(|_| Errno::INVAL)?;
            if count > MOST_GROUPS {
                return Err(Errno::INVAL);
            }
            let size = width.bytes();
            let list = caller.bytes(address, count * size)?;
            let groups = list.chunks_exact(size).map(|group| {
                let mut whole = [0; 4];
                whole[..size].copy_from_slice(group);
                u32::from_le_bytes(whole)
            });
            let new = self.identity(caller).with_groups(groups.collect())?;
            self.identities.set(caller.id(), new)
        };
        set().into()
    }

    /// Awaits what a process with an identity of its own is about to make.
    pub(super) fn create(
        &mut self,
        caller: &Caller,
        valid: impl Fn() -> Result<(), Errno>,
        at: i32,
        address: u64,
        flags: u32,
    ) -> Answer {
        let Some(identity) = self.identities.of(caller.id()) else {
            return Answer::Continue;
        };
        let owner = identity.owner();
        if owner == (0, 0) {
            return Answer::Continue;
        }
        // A file without a name gets one by a link, or none; programs take the other way.
        if flags & MAKING & !(libc::O_CREAT as u32) != 0 {
            return Answer::Fail(Errno::OPNOTSUPP);
        }
        let mut expect = || -> Result<(), Errno> {
            let path = caller.path(address, false)?;
            let path = path.as_bytes();
            // A folder may be named with slashes behind it.
            let end = path.iter().rposition(|byte| *byte != b'/');
            let (directory, name) = split(&path[..end.map_or(0, |end| end + 1)])
                .filter(|(_, name)| !name.is_empty())
                .ok_or(Errno::NOENT)?;
            let directory = crate::wire::c_string(directory)?;
            let directory = caller.resolve(at, &directory, true, self.root)?;
            valid()?;
            let (maker, name) = (caller.id(), name.to_owned());
            self.awaiting.expect(maker, directory, name, owner);
            Ok(())
        };
        // If anything is wrong with it, the kernel will say so to the caller.
        let _ = expect();
        Answer::Continue
    }

    /// Whether a process may change an owner, by the rules of chown(2).
    pub(super) fn may_give(
        &self,
        caller: &Caller,
        old: Record,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<(), Errno> {
        let Some(identity) = self.identities.of(caller.id()) else {
            return Ok(());
        };
        let (own, _) = identity.owner();
        let allowed = identity.is_root()
            || (old.uid == own
                && uid.is_none_or(|uid| uid == old.uid)
                && gid.is_none_or(|gid| gid == old.gid || identity.is_in(gid)));
        if allowed { Ok(()) } else { Err(Errno::PERM) }
    }
}

/// Ids as a caller of that width takes them.
fn bytes(ids: &[u32], width: Width) -> Vec<u8> {
    ids.iter()
        .flat_map(|id| id.to_le_bytes()[..width.bytes()].to_vec())
        .collect()
}
