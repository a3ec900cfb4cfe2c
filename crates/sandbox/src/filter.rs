//! The seccomp filter: a program of the classic packet filter machine, made from the table of
//! calls.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_USER_NOTIF,
};
use rustix::io::Errno;

use crate::calls::{ARCHITECTURES, Architecture, Call, Kind, Width};
use crate::kernel::seccomp::Instruction;

/// Where a filter finds the call's number, in `struct seccomp_data`.
const NUMBER: u32 = 0;
/// Where it finds the architecture.
const ARCHITECTURE: u32 = 4;
/// Where it finds the low half of the first argument; both machines are little-endian.
const ARGUMENTS: u32 = 16;
const ARGUMENT_SIZE: u32 = 8;

/// Writes the filter.
pub(crate) fn filter() -> Vec<Instruction> {
    let mut program = vec![load(ARCHITECTURE)];
    for architecture in &ARCHITECTURES {
        let part = for_architecture(architecture);
        program.extend(unless_equal_skip(architecture.audit, part));
    }
    program.push(finish(SECCOMP_RET_KILL_PROCESS));
    program
}

fn for_architecture(architecture: &Architecture) -> Vec<Instruction> {
    let mut program = vec![load(NUMBER)];
    if let Some(end) = architecture.end {
        program.push(jump(BPF_JGE, end, 0, 1));
        program.push(finish(fail(Errno::NOSYS)));
    }
    for call in architecture.calls {
        program.extend(unless_equal_skip(call.number, decision(call)));
    }
    program.push(finish(SECCOMP_RET_ALLOW));
    program
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
        | Kind::Linkat => vec![finish(SECCOMP_RET_USER_NOTIF)],
        Kind::Mknod => device_modes(1),
        Kind::Mknodat => device_modes(2),
        Kind::SetUser(count) | Kind::SetGroup(count) => other_ids(count, call.width),
        Kind::Nothing => vec![finish(SECCOMP_RET_ERRNO)],
        Kind::Refused => vec![finish(fail(Errno::PERM))],
        Kind::Missing => vec![finish(fail(Errno::NOSYS))],
    }
}

/// Asks about devices only: fifos, sockets and files need nobody's leave.
fn device_modes(argument: u32) -> Vec<Instruction> {
    vec![
        load(ARGUMENTS + argument * ARGUMENT_SIZE),
        statement(BPF_ALU | BPF_AND | BPF_K, libc::S_IFMT),
        jump(BPF_JEQ, libc::S_IFCHR, 2, 0),
        jump(BPF_JEQ, libc::S_IFBLK, 1, 0),
        finish(SECCOMP_RET_ALLOW),
        finish(SECCOMP_RET_USER_NOTIF),
    ]
}

/// Asks about ids that are neither 0 nor "leave it"; a change to what one is succeeds at once.
fn other_ids(count: usize, width: Width) -> Vec<Instruction> {
    let mut program = Vec::new();
    for argument in 0..count {
        let argument = u32::try_from(argument).expect("at most three arguments");
        program.extend([
            load(ARGUMENTS + argument * ARGUMENT_SIZE),
            statement(BPF_ALU | BPF_AND | BPF_K, width.mask()),
            jump(BPF_JEQ, 0, 2, 0),
            jump(BPF_JEQ, width.mask(), 1, 0),
            finish(SECCOMP_RET_USER_NOTIF),
        ]);
    }
    program.push(finish(SECCOMP_RET_ERRNO));
    program
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
        let program = filter();
        let minus_one = u64::from(u32::MAX);
        for architecture in &ARCHITECTURES {
            for call in architecture.calls {
                let decide = |arguments| run(&program, architecture.audit, call.number, arguments);
                match call.kind {
                    Kind::Mknod | Kind::Mknodat => {
                        let with = |mode: u32| {
                            let mode = u64::from(mode);
                            match call.kind {
                                Kind::Mknod => decide([0, mode, 0, 0, 0, 0]),
                                _ => decide([0, 0, mode, 0, 0, 0]),
                            }
                        };
                        assert_eq!(with(libc::S_IFCHR | 0o600), SECCOMP_RET_USER_NOTIF);
                        assert_eq!(with(libc::S_IFBLK | 0o666), SECCOMP_RET_USER_NOTIF);
                        assert_eq!(with(libc::S_IFIFO | 0o600), SECCOMP_RET_ALLOW);
                        assert_eq!(with(0o644), SECCOMP_RET_ALLOW);
                    }
                    Kind::SetUser(count) | Kind::SetGroup(count) => {
                        assert_eq!(decide([0; 6]), SECCOMP_RET_ERRNO);
                        assert_eq!(decide([minus_one; 6]), SECCOMP_RET_ERRNO);
                        for at in 0..count {
                            let mut arguments = [0; 6];
                            arguments[at] = 33;
                            assert_eq!(decide(arguments), SECCOMP_RET_USER_NOTIF, "{call:?}");
                        }
                    }
                    Kind::Nothing => assert_eq!(decide([1; 6]), SECCOMP_RET_ERRNO),
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
            let mut numbers: Vec<u32> = architecture.calls.iter().map(|call| call.number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), architecture.calls.len());
        }
    }
}
