//! The seccomp filter: a program of the classic packet filter machine, made from the table of
//! calls.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_USER_NOTIF,
};
use rustix::io::Errno;

use crate::calls::{ARCHITECTURES, Architecture, Call, Kind};
use crate::kernel::process::NOTE;
use crate::kernel::seccomp::Instruction;
use crate::program::Trial;

/// Where a filter finds the call's number, in `struct seccomp_data`.
const NUMBER: u32 = 0;
/// Where it finds the architecture.
const ARCHITECTURE: u32 = 4;
/// Where it finds the low half of the first argument; both machines are little-endian.
const ARGUMENTS: u32 = 16;
const ARGUMENT_SIZE: u32 = 8;

/// The flags by which an open may make a file, with a name or without one (`O_TMPFILE` has more
/// bits, one of which is `O_DIRECTORY`'s).
pub(crate) const MAKING: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

/// Writes the filter.
pub(crate) fn filter(trial: &Trial) -> Vec<Instruction> {
    let mut program = vec![load(ARCHITECTURE)];
    for architecture in &ARCHITECTURES {
        let part = for_architecture(architecture, trial);
        program.extend(unless_equal_skip(architecture.audit, part));
    }
    program.push(finish(SECCOMP_RET_KILL_PROCESS));
    program
}

fn for_architecture(architecture: &Architecture, trial: &Trial) -> Vec<Instruction> {
    let mut program = vec![load(NUMBER)];
    if let Some(end) = architecture.end {
        program.push(jump(BPF_JGE, end, 0, 1));
        program.push(finish(fail(Errno::NOSYS)));
    }
    for call in architecture.calls {
        program.extend(unless_equal_skip(call.number, decision(call)));
    }
    let in_trials = architecture.in_trials.iter();
    for call in in_trials.filter(|call| asks(trial, call.kind)) {
        program.extend(unless_equal_skip(call.number, decision(call)));
    }
    program.push(finish(SECCOMP_RET_ALLOW));
    program
}

/// Whether a trial has something to do with a call.
fn asks(trial: &Trial, kind: Kind) -> bool {
    match kind {
        Kind::Execute => trial.attribute,
        Kind::List => trial.reverse_folders,
        _ => trial.clock_ahead != 0,
    }
}

/// What happens to one call; always ends the filter.
fn decision(call: &Call) -> Vec<Instruction> {
    match call.kind {
        Kind::Chown { .. }
        | Kind::Fchown
        | Kind::Fchownat
        | Kind::Stat { .. }
        | Kind::Fstat(_)
        | Kind::Fstatat(_)
        | Kind::Statx
        | Kind::Link
        | Kind::Linkat
        | Kind::Mknod
        | Kind::Mknodat
        | Kind::SetIds(..)
        | Kind::GetId(..)
        | Kind::GetIds(_)
        | Kind::GetGroups
        | Kind::SetGroups
        | Kind::Create { flags: None, .. }
        | Kind::Move
        | Kind::Remount
        | Kind::SetAttribute(_)
        | Kind::GetAttribute(_)
        | Kind::RemoveAttribute(_)
        | Kind::Sleep
        | Kind::Execute
        | Kind::List
        | Kind::Clock
        | Kind::TimeOfDay => vec![finish(SECCOMP_RET_USER_NOTIF)],
        #[cfg(target_arch = "x86_64")]
        Kind::Time => vec![finish(SECCOMP_RET_USER_NOTIF)],
        Kind::Create {
            flags: Some(argument),
            ..
        } => vec![
            load_argument(argument),
            statement(BPF_ALU | BPF_AND | BPF_K, MAKING),
            jump(BPF_JEQ, 0, 1, 0),
            finish(SECCOMP_RET_USER_NOTIF),
            finish(SECCOMP_RET_ALLOW),
        ],
        // Only what is to be done with the end of a child; an action of none is a question.
        Kind::Handle { .. } => vec![
            load_argument(0),
            jump(BPF_JEQ, libc::SIGCHLD.cast_unsigned(), 0, 3),
            load_argument(1),
            jump(BPF_JEQ, 0, 1, 0),
            finish(SECCOMP_RET_USER_NOTIF),
            finish(SECCOMP_RET_ALLOW),
        ],
        Kind::Begin => vec![
            load_argument(0),
            jump(BPF_JEQ, 0, 0, 1),
            finish(SECCOMP_RET_USER_NOTIF),
            finish(SECCOMP_RET_ALLOW),
        ],
        // Nobody is told that this limit was not set: no kernel since 2.4 has heeded it.
        // Where no limit is given, it is only read.
        Kind::SetLimit { resource } => vec![
            load_argument(resource),
            jump(BPF_JEQ, NOTE, 0, 3),
            load_argument(resource + 1),
            jump(BPF_JEQ, 0, 1, 0),
            finish(SECCOMP_RET_ERRNO),
            finish(SECCOMP_RET_ALLOW),
        ],
        Kind::Refused => vec![finish(fail(Errno::PERM))],
        Kind::Missing => vec![finish(fail(Errno::NOSYS))],
    }
}

/// Runs `then`, which must not fall through its end, if the accumulator holds `value`.
///
/// A conditional jump reaches 255 instructions and the part for an architecture is longer, hence
/// the unconditional one.
fn unless_equal_skip(value: u32, then: Vec<Instruction>) -> Vec<Instruction> {
    let length = u32::try_from(then.len()).expect("a filter has at most 4096 instructions");
    let mut program = match u8::try_from(length) {
        Ok(short) => vec![jump(BPF_JEQ, value, 0, short)],
        Err(_) => vec![
            jump(BPF_JEQ, value, 1, 0),
            statement(BPF_JMP | libc::BPF_JA, length),
        ],
    };
    program.extend(then);
    program
}

/// The low half of an argument.
fn load_argument(number: usize) -> Instruction {
    let number = u32::try_from(number).expect("a call has six arguments");
    load(ARGUMENTS + number * ARGUMENT_SIZE)
}

fn load(offset: u32) -> Instruction {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn finish(action: u32) -> Instruction {
    statement(BPF_RET | BPF_K, action)
}

fn fail(error: Errno) -> u32 {
    SECCOMP_RET_ERRNO | error.raw_os_error().cast_unsigned()
}

fn statement(code: u32, value: u32) -> Instruction {
    let code = u16::try_from(code).expect("operation codes have 16 bits");
    libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k: value,
    }
}

fn jump(condition: u32, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        jt: if_true,
        jf: if_false,
        ..statement(BPF_JMP | condition | BPF_K, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the kernel would; panics where the kernel would refuse to load it.
    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(architecture.to_le_bytes());
        data.extend(0_u64.to_le_bytes());
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let (mut accumulator, mut at) = (0_u32, 0_usize);
        loop {
            let instruction = &program[at];
            let code = u32::from(instruction.code);
            at += 1;
            if code == BPF_LD | BPF_W | BPF_ABS {
                let offset = instruction.k as usize;
                let word = data[offset..offset + 4].try_into().expect("four bytes");
                accumulator = u32::from_le_bytes(word);
            } else if code == BPF_ALU | BPF_AND | BPF_K {
                accumulator &= instruction.k;
            } else if code == BPF_JMP | libc::BPF_JA {
                at += instruction.k as usize;
            } else if code == BPF_RET | BPF_K {
                return instruction.k;
            } else {
                let holds = if code == BPF_JMP | BPF_JEQ | BPF_K {
                    accumulator == instruction.k
                } else {
                    assert_eq!(code, BPF_JMP | BPF_JGE | BPF_K);
                    accumulator >= instruction.k
                };
                at += usize::from(if holds {
                    instruction.jt
                } else {
                    instruction.jf
                });
            }
        }
    }

    #[test]
    fn every_call_meets_its_decision() {
        let trial = Trial {
            attribute: true,
            reverse_folders: true,
            clock_ahead: 1,
        };
        let (program, plain) = (filter(&trial), filter(&Trial::default()));
        for architecture in &ARCHITECTURES {
            for call in architecture.in_trials {
                let asked = run(&program, architecture.audit, call.number, [0; 6]);
                assert_eq!(asked, SECCOMP_RET_USER_NOTIF, "{call:?}");
                let asked = run(&plain, architecture.audit, call.number, [0; 6]);
                assert_eq!(asked, SECCOMP_RET_ALLOW, "{call:?}");
            }
            for call in architecture.calls {
                let decide = |arguments| run(&program, architecture.audit, call.number, arguments);
                let with = |at: usize, value: u32| {
                    let mut arguments = [0; 6];
                    arguments[at] = u64::from(value);
                    decide(arguments)
                };
                match call.kind {
                    Kind::Create {
                        flags: Some(at), ..
                    } => {
                        let tmpfile = (libc::O_TMPFILE | libc::O_WRONLY) as u32;
                        assert_eq!(with(at, libc::O_CREAT as u32), SECCOMP_RET_USER_NOTIF);
                        assert_eq!(with(at, tmpfile), SECCOMP_RET_USER_NOTIF);
                        assert_eq!(with(at, libc::O_DIRECTORY as u32), SECCOMP_RET_ALLOW);
                    }
                    Kind::SetLimit { resource } => {
                        assert_eq!(with(resource, NOTE), SECCOMP_RET_ALLOW);
                        assert_eq!(with(resource, 7), SECCOMP_RET_ALLOW);
                        let mut arguments = [0; 6];
                        (arguments[resource], arguments[resource + 1]) = (NOTE.into(), 0x7000);
                        assert_eq!(decide(arguments), SECCOMP_RET_ERRNO);
                    }
                    Kind::Handle { .. } => {
                        let [child, other] = [libc::SIGCHLD, libc::SIGTERM].map(|one| one as u64);
                        assert_eq!(decide([child, 0x7000, 0, 0, 0, 0]), SECCOMP_RET_USER_NOTIF);
                        assert_eq!(decide([child, 0, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
                        assert_eq!(decide([other, 0x7000, 0, 0, 0, 0]), SECCOMP_RET_ALLOW);
                    }
                    Kind::Refused => assert_eq!(decide([1; 6]), fail(Errno::PERM)),
                    Kind::Missing => assert_eq!(decide([1; 6]), fail(Errno::NOSYS)),
                    _ => assert_eq!(decide([0; 6]), SECCOMP_RET_USER_NOTIF),
                }
            }
            let open = 0xfff;
            assert_eq!(
                run(&program, architecture.audit, open, [0; 6]),
                SECCOMP_RET_ALLOW
            );
            if let Some(end) = architecture.end {
                let foreign = run(&program, architecture.audit, end + 1, [0; 6]);
                assert_eq!(foreign, fail(Errno::NOSYS));
            }
        }
        assert_eq!(
            run(&program, 0x0800_0000, 1, [0; 6]),
            SECCOMP_RET_KILL_PROCESS
        );
    }

    #[test]
    fn no_call_stands_in_a_table_twice() {
        for architecture in &ARCHITECTURES {
            let mut numbers: Vec<u32> = architecture.all().map(|call| call.number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), architecture.all().count());
        }
    }
}
