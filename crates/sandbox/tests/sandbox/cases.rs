//! The cases. Each tells what it saw, for comparison between users.

mod records;
mod running;
mod walls;

use crate::bench::Bench;

pub(crate) use self::walls::hold;

type Case = fn(&Bench) -> String;

pub(crate) const ALL: &[(&str, Case)] = &[
    ("owners are recorded and shown", records::owners),
    (
        "setuid bits go and stay as the kernel wants it",
        records::setuid,
    ),
    ("device nodes are recorded and shown", records::devices),
    (
        "owners of the lower directory survive copying up",
        records::lower_owners,
    ),
    (
        "files of several links are told apart",
        records::linked_lower_owners,
    ),
    ("groups are inherited", records::inherited_groups),
    (
        "removals can be read from the upper directory",
        records::removals,
    ),
    ("capabilities are as real root's", records::capabilities),
    ("a root within the root", records::chroot),
    ("paths that a mount gave another meaning", records::mounts),
    ("nothing of the host is visible", walls::isolation),
    ("nothing of the host can be changed", walls::host_unchanged),
    (
        "surroundings are the same for everybody",
        walls::surroundings,
    ),
    ("nothing outlives the program", walls::orphans),
    ("many processes", running::many_processes),
    ("children end at any time", running::children_end),
    (
        "who waits for the clock alone need not",
        running::spared_waiting,
    ),
    ("endings", running::endings),
    ("output comes as it is written", running::output),
    ("another identity is told", records::identity),
    ("what another identity makes is its own", records::makers),
    (
        "access control lists are recorded and shown",
        records::lists,
    ),
    ("a clock that is ahead", running::clock),
    ("folders in reverse", running::reversed),
    ("who wrote what", running::writers),
    ("every way out is shut", walls::escapes),
    ("calls that reach past every wall", walls::calls),
    ("too many processes, too many words", walls::floods),
    ("programs of i386", records::i386),
    ("nothing outlives the caller", walls::caller_dies),
];
