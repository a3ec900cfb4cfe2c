//! Users and groups: the files passwd(5), group(5), shadow(5) and gshadow(5) as values.

use std::collections::BTreeMap;

use kasmforge_lock::Ids;

/// The ids Debian gives out dynamically to system users (policy 9.2.2).
const DYNAMIC: std::ops::RangeInclusive<u32> = 100..=999;

/// The four files, as lines of fields. What is no line of the format stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub(crate) passwd: Vec<Vec<String>>,
    pub(crate) group: Vec<Vec<String>>,
    pub(crate) shadow: Vec<Vec<String>>,
    pub(crate) gshadow: Vec<Vec<String>>,
}

/// The files, by their paths in an image.
pub(crate) const FILES: [&str; 4] = ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"];

/// What changes when ids are given their locked numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Renumbering {
    pub(crate) users: BTreeMap<u32, u32>,
    pub(crate) groups: BTreeMap<u32, u32>,
}

impl Accounts {
    /// Reads the four files, in the order of [`FILES`]; an absent one is empty.
    pub(crate) fn parse(files: [Option<Vec<u8>>; 4]) -> Self {
        let mut parsed = files.into_iter().map(|file| {
            let text = String::from_utf8_lossy(&file.unwrap_or_default()).into_owned();
            text.lines()
                .filter(|line| !line.is_empty())
                .map(|line| line.split(':').map(str::to_owned).collect())
                .collect()
        });
        let mut next = || parsed.next().unwrap_or_default();
        Self {
            passwd: next(),
            group: next(),
            shadow: next(),
            gshadow: next(),
        }
    }

    /// The four texts, in the order of [`FILES`].
    pub(crate) fn render(&self) -> [String; 4] {
        [&self.passwd, &self.group, &self.shadow, &self.gshadow].map(|lines| {
            lines
                .iter()
                .map(|fields| format!("{}\n", fields.join(":")))
                .collect()
        })
    }

    /// The id of a user by name.
    pub(crate) fn uid(&self, name: &str) -> Option<u32> {
        field(&self.passwd, name, 2)
    }

    /// The primary group of a user by name.
    pub(crate) fn primary_gid(&self, name: &str) -> Option<u32> {
        field(&self.passwd, name, 3)
    }

    /// The id of a group by name.
    pub(crate) fn gid(&self, name: &str) -> Option<u32> {
        field(&self.group, name, 2)
    }

    /// The system users and groups that were given ids dynamically.
    pub(crate) fn dynamic_ids(&self) -> Ids {
        let dynamic = |lines: &[Vec<String>]| {
            lines
                .iter()
                .filter_map(|fields| {
                    let id = fields.get(2)?.parse().ok()?;
                    DYNAMIC.contains(&id).then(|| (fields[0].clone(), id))
                })
                .collect()
        };
        Ids {
            users: dynamic(&self.passwd),
            groups: dynamic(&self.group),
        }
    }

    /// Gives system users and groups the ids a lock has for them. Names the lock does not know
    /// keep theirs, or take the next free one when a locked name needs it.
    pub(crate) fn renumber(&mut self, locked: &Ids) -> Renumbering {
        let present = self.dynamic_ids();
        let users = assign(&present.users, &locked.users);
        let groups = assign(&present.groups, &locked.groups);
        for fields in &mut self.passwd {
            replace(fields, 2, &users);
            replace(fields, 3, &groups);
        }
        for fields in &mut self.group {
            replace(fields, 2, &groups);
        }
        Renumbering { users, groups }
    }

    /// Adds a user with a group of its own, or changes the one of that name.
    pub(crate) fn add_user(&mut self, user: &NewUser<'_>) {
        let NewUser {
            name,
            uid,
            gid,
            home,
            shell,
            ..
        } = *user;
        if !self
            .group
            .iter()
            .any(|fields| fields.get(2).is_some_and(|id| *id == gid.to_string()))
        {
            put(&mut self.group, [name, "x", &gid.to_string(), ""]);
            put(&mut self.gshadow, [name, "!", "", ""]);
        }
        put(
            &mut self.passwd,
            [
                name,
                "x",
                &uid.to_string(),
                &gid.to_string(),
                name,
                home,
                shell,
            ],
        );
        let days = user.day.to_string();
        put(
            &mut self.shadow,
            [name, "!", &days, "0", "99999", "7", "", "", ""],
        );
    }

    /// Makes a user a member of a group; `false` if there is no such group.
    pub(crate) fn join(&mut self, user: &str, group: &str) -> bool {
        let mut found = false;
        for (lines, exists) in [(&mut self.group, true), (&mut self.gshadow, false)] {
            for fields in lines
                .iter_mut()
                .filter(|fields| fields[0] == group && fields.len() > 3)
            {
                found |= exists;
                let mut members: Vec<&str> = fields[3]
                    .split(',')
                    .filter(|member| !member.is_empty())
                    .collect();
                if !members.contains(&user) {
                    members.push(user);
                }
                fields[3] = members.join(",");
            }
        }
        found
    }
}

/// A user to be added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewUser<'a> {
    pub(crate) name: &'a str,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: &'a str,
    pub(crate) shell: &'a str,
    /// Days since 1970 at which the password counts as changed.
    pub(crate) day: i64,
}

fn field(lines: &[Vec<String>], name: &str, index: usize) -> Option<u32> {
    lines
        .iter()
        .find(|fields| fields[0] == name)?
        .get(index)?
        .parse()
        .ok()
}

fn put<const N: usize>(lines: &mut Vec<Vec<String>>, fields: [&str; N]) {
    let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    match lines.iter_mut().find(|line| line[0] == fields[0]) {
        Some(line) => *line = fields,
        None => lines.push(fields),
    }
}

fn replace(fields: &mut [String], index: usize, changes: &BTreeMap<u32, u32>) {
    let new = fields
        .get(index)
        .and_then(|id| id.parse().ok())
        .and_then(|id| changes.get(&id));
    if let Some(new) = new {
        fields[index] = new.to_string();
    }
}

/// Which present ids change, and to what.
fn assign(present: &BTreeMap<String, u32>, locked: &BTreeMap<String, u32>) -> BTreeMap<u32, u32> {
    let taken: Vec<u32> = present
        .keys()
        .filter_map(|name| locked.get(name))
        .copied()
        .collect();
    let mut changes = BTreeMap::new();
    let mut used: Vec<u32> = taken.clone();
    // Ids that other workspaces' users hold in the lock stay theirs.
    used.extend(locked.values());
    for (name, id) in present {
        let new = match locked.get(name) {
            Some(new) => *new,
            None if used.contains(id) => {
                let free = DYNAMIC
                    .clone()
                    .find(|id| !used.contains(id) && !present.values().any(|other| other == id));
                free.unwrap_or(*id)
            }
            None => *id,
        };
        used.push(new);
        if new != *id {
            changes.insert(*id, new);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nold:x:100:101::/:/x\nnew:x:101:102::/:/x\n";
    const GROUP: &str = "root:x:0:\naudio:x:29:\nold:x:101:\nnew:x:102:\n";

    fn accounts() -> Accounts {
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        Accounts::parse([bytes(PASSWD), bytes(GROUP), None, bytes("audio:*::\n")])
    }

    #[test]
    fn parse_then_render_is_the_identity() {
        assert_eq!(
            accounts().render()[..2],
            [PASSWD.to_owned(), GROUP.to_owned()]
        );
    }

    #[test]
    fn locked_ids_are_given_and_the_rest_makes_way() {
        let mut changed = accounts();
        let locked = Ids {
            users: BTreeMap::from([("new".into(), 100)]),
            groups: BTreeMap::from([("new".into(), 102)]),
        };
        let renumbering = changed.renumber(&locked);
        assert_eq!(renumbering.users, BTreeMap::from([(101, 100), (100, 102)]));
        assert!(renumbering.groups.is_empty());
        assert_eq!(
            (changed.uid("new"), changed.uid("old")),
            (Some(100), Some(102))
        );
    }

    #[test]
    fn the_ids_that_are_there_are_a_fixed_point() {
        let mut again = accounts();
        let ids = again.dynamic_ids();
        assert_eq!(again.renumber(&ids), Renumbering::default());
        assert_eq!(again, accounts());
    }

    #[test]
    fn a_user_has_a_group_and_joins_others() {
        let mut accounts = accounts();
        let user = NewUser {
            name: "me",
            uid: 1000,
            gid: 1000,
            home: "/home/me",
            shell: "/bin/sh",
            day: 3,
        };
        accounts.add_user(&user);
        assert!(accounts.join("me", "audio"));
        assert!(!accounts.join("me", "video"));
        let [passwd, group, shadow, gshadow] = accounts.render();
        assert!(
            passwd.ends_with("me:x:1000:1000:me:/home/me:/bin/sh\n"),
            "{passwd}"
        );
        assert!(
            group.contains("audio:x:29:me\n") && group.contains("me:x:1000:\n"),
            "{group}"
        );
        assert_eq!(shadow, "me:!:3:0:99999:7:::\n");
        assert_eq!(gshadow, "audio:*::me\nme:!::\n");
    }
}
