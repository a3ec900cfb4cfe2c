//! What busybox cannot do, done by this executable inside.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Error, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

const CAPABILITY: &str = "security.capability";

pub(crate) fn run(name: &str, arguments: &[&str]) {
    match (name, arguments) {
        // As useradd does: a new file gets the owner and mode of the open old one.
        ("replace", [old, text]) => {
            let metadata = File::open(old)
                .and_then(|file| file.metadata())
                .expect("the old");
            let new = format!("{old}+");
            let mut file = File::create(&new).expect("the new");
            fchown(&file, Some(metadata.uid()), Some(metadata.gid())).expect("its owner");
            file.set_permissions(metadata.permissions())
                .expect("its mode");
            file.write_all(text.as_bytes()).expect("its text");
            fs::rename(new, old).expect("its place");
        }
        ("owner-of-open", [path]) => {
            let metadata = File::open(path)
                .and_then(|file| file.metadata())
                .expect("a file");
            super::say(&format!("{}:{}\n", metadata.uid(), metadata.gid()));
        }
        ("set-capability", [path, value]) => {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(*path, CAPABILITY, &bytes(value), flags).expect("an attribute");
        }
        ("get-capability", [path]) => {
            let mut room = [0; 64];
            let length =
                rustix::fs::getxattr(*path, CAPABILITY, &mut room[..]).expect("an attribute");
            let text: String = room[..length]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            super::say(&format!("{text}\n"));
        }
        ("set-attribute", [path, name, value]) => {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(*path, *name, &bytes(value), flags).expect("an attribute");
        }
        ("get-attribute", [path, name]) => {
            let mut room = [0; 256];
            let length = rustix::fs::getxattr(*path, *name, &mut room[..]).expect("an attribute");
            let text: Vec<_> = room[..length].iter().map(|b| format!("{b:02x}")).collect();
            super::say(&format!("{}\n", text.concat()));
        }
        ("now", []) => {
            #[expect(clippy::disallowed_methods, reason = "the clock is what is tested")]
            let now = std::time::SystemTime::now();
            let since = now
                .duration_since(std::time::UNIX_EPOCH)
                .expect("after 1970");
            super::say(&format!("{}\n", since.as_secs()));
        }
        ("wait", [seconds]) => {
            let seconds = seconds.parse().expect("a number");
            let left = rustix::thread::nanosleep(&rustix::thread::Timespec {
                tv_sec: seconds,
                tv_nsec: 0,
            });
            assert!(matches!(left, rustix::thread::NanosleepRelativeResult::Ok));
        }
        ("become", [uid, gid, program, rest @ ..]) => {
            let status = Command::new(program)
                .args(rest)
                .uid(uid.parse().expect("a number"))
                .gid(gid.parse().expect("a number"))
                .status()
                .expect("a program");
            assert!(status.success());
        }
        // A system call by its number, with numbers and, behind an `@`, texts: what became of it.
        ("call", [number, rest @ ..]) => {
            let texts: Vec<CString> = rest
                .iter()
                .filter_map(|one| CString::new(one.strip_prefix('@')?).ok())
                .collect();
            let mut texts = texts.iter();
            let mut arguments = [0; 6];
            for (place, one) in arguments.iter_mut().zip(rest) {
                *place = match one.strip_prefix('@') {
                    Some(_) => texts.next().expect("a text").as_ptr() as libc::c_long,
                    None => one.parse().expect("a number"),
                };
            }
            let [a, b, c, d, e, f] = arguments;
            let number: libc::c_long = number.parse().expect("a number");
            #[expect(unsafe_code, reason = "calls that no library would make")]
            // SAFETY: the texts outlive the call, and what else is given are numbers.
            let returned = unsafe { libc::syscall(number, a, b, c, d, e, f) };
            let error = Error::last_os_error();
            super::say(&match returned {
                -1 => format!("{}\n", error.raw_os_error().unwrap_or_default()),
                _ => format!("done {returned}\n"),
            });
        }
        ("connect", [name]) => {
            let address = SocketAddr::from_abstract_name(name).expect("an address");
            match UnixStream::connect_addr(&address) {
                Ok(_) => super::say("connected\n"),
                Err(error) => super::say(&format!("{}\n", error.kind())),
            }
        }
        _ => panic!("no applet {name} {arguments:?}"),
    }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    hexadecimal
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("digits"))
        .map(|pair| u8::from_str_radix(pair, 16).expect("digits"))
        .collect()
}
