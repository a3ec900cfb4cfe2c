//! A mirror in this process that misbehaves on demand, and archives signed by keys made here.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use kasmforge_archive::{Event, Progress, Retry, Settings};
use kasmforge_digest::Digest;
use kasmforge_store::Store;

pub(crate) mod archive;

/// How the mirror treats the next request for a path.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Answers with this status.
    Status(u16),
    /// Closes the connection after this many bytes of the body.
    Cut(usize),
    /// Sends the right length, with this byte changed.
    Flip(usize),
    /// Sends all as if it were shorter.
    Truncate(usize),
    /// Points elsewhere.
    Redirect(String),
}

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) path: String,
    pub(crate) from: usize,
    pub(crate) status: u16,
    /// The bytes of the body that were sent.
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct State {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<BTreeMap<String, VecDeque<Fault>>>,
    served: Mutex<Vec<Served>>,
    no_ranges: AtomicBool,
    stop: AtomicBool,
    /// How many requests wait at the gate, the most that ever did, and how many open it.
    gate: Mutex<(usize, usize, usize)>,
    arrived: Condvar,
}

/// A mirror on a port of its own.
pub(crate) struct Mirror {
    pub(crate) address: String,
    state: Arc<State>,
}

impl Mirror {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let _ = serve(&stream.expect("a connection"), &shared);
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.state
            .files
            .lock()
            .expect("lock")
            .insert(path.into(), bytes.into());
    }

    pub(crate) fn remove(&self, path: &str) {
        self.state.files.lock().expect("lock").remove(path);
    }

    pub(crate) fn fault(&self, path: &str, fault: Fault) {
        let mut faults = self.state.faults.lock().expect("lock");
        faults.entry(path.into()).or_default().push_back(fault);
    }

    pub(crate) fn faults(&self, path: &str, fault: &Fault, times: usize) {
        for _ in 0..times {
            self.fault(path, fault.clone());
        }
    }

    pub(crate) fn knows_no_ranges(&self) {
        self.state.no_ranges.store(true, Ordering::Relaxed);
    }

    /// Holds answers back until this many requests are there at once (or ten seconds are over).
    pub(crate) fn hold_until(&self, requests: usize) {
        self.state.gate.lock().expect("lock").2 = requests;
    }

    /// The most requests that were there at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state.gate.lock().expect("lock").1
    }

    /// The requests since the last call.
    pub(crate) fn served(&self) -> Vec<Served> {
        std::mem::take(&mut *self.state.served.lock().expect("lock"))
    }

    /// The bytes of bodies sent since the last call.
    pub(crate) fn bytes(&self) -> usize {
        self.served().iter().map(|served| served.bytes).sum()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, so that its thread ends and the port closes.
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
    }
}

/// Answers the requests of one connection.
fn serve(stream: &TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let path = decode(lines[0].split(' ').nth(1).expect("a path"));
        let header = |name: &str| {
            lines.iter().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        assert_ne!(header("accept-encoding").as_deref(), Some("gzip"));
        gate(state);
        let fault = {
            let mut faults = state.faults.lock().expect("lock");
            faults.get_mut(&path).and_then(VecDeque::pop_front)
        };
        let file = state.files.lock().expect("lock").get(&path).cloned();
        let from = header("range")
            .filter(|_| !state.no_ranges.load(Ordering::Relaxed))
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse()
                    .ok()
            })
            .unwrap_or(0_usize);
        let (mut status, mut head, mut body) = (404, String::new(), Vec::new());
        if let Some(mut file) = file {
            if let Some(Fault::Flip(at)) = fault {
                file[at] ^= 1;
            }
            if let Some(Fault::Truncate(length)) = fault {
                file.truncate(length);
            }
            let etag = format!("\"{}\"", Digest::of(&file).short());
            let whole = file.len();
            (status, body) = if header("if-none-match") == Some(etag.clone()) {
                (304, Vec::new())
            } else if from >= whole && from > 0 {
                (416, Vec::new())
            } else if from > 0 {
                head = format!("Content-Range: bytes {from}-{}/{whole}\r\n", whole - 1);
                (206, file.split_off(from))
            } else {
                (200, file)
            };
            head.push_str(&format!("ETag: {etag}\r\n"));
        }
        if let Some(Fault::Status(other)) = fault {
            (status, head, body) = (other, String::new(), b"in trouble".to_vec());
        }
        if let Some(Fault::Redirect(to)) = &fault {
            (status, head, body) = (302, format!("Location: {to}\r\n"), Vec::new());
        }
        let sent = match fault {
            Some(Fault::Cut(after)) => after.min(body.len()),
            _ => body.len(),
        };
        state.served.lock().expect("lock").push(Served {
            path,
            from,
            status,
            bytes: sent,
        });
        let length = body.len();
        write!(
            &mut &*stream,
            "HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\n{head}\r\n"
        )?;
        (&mut &*stream).write_all(&body[..sent])?;
        if sent < length {
            return stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn gate(state: &State) {
    let mut gate = state.gate.lock().expect("lock");
    gate.0 += 1;
    gate.1 = gate.1.max(gate.0);
    state.arrived.notify_all();
    let (mut gate, _) = state
        .arrived
        .wait_timeout_while(gate, Duration::from_secs(10), |gate| gate.1 < gate.2)
        .expect("lock");
    gate.0 -= 1;
}

fn decode(path: &str) -> String {
    path.replace("%2b", "+").replace("%25", "%")
}

/// Keeps what happened, in words.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<String>>);

impl Log {
    /// What happened since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("lock"))
    }

    /// The warnings since the last call.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let warning = |line: String| line.strip_prefix("warning: ").map(str::to_owned);
        self.take().into_iter().filter_map(warning).collect()
    }
}

impl Progress for Log {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Warning(warning) => format!("warning: {warning}"),
            Event::Retrying { name, cause, .. } => format!("retrying {name}: {cause}"),
            Event::Advanced { bytes } => format!("advanced {bytes}"),
            Event::Restarted { bytes } => format!("restarted {bytes}"),
            Event::Started { files, bytes } => format!("started {files} {bytes}"),
            other => format!("{other:?}"),
        };
        self.0.lock().expect("lock").push(line);
    }
}

/// The present of all tests: 2026-11-21.
pub(crate) fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().expect("a time")
}

/// Settings that do not wait long.
pub(crate) fn settings() -> Settings {
    Settings {
        retry: Retry {
            attempts: 3,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(2),
        },
        ..Settings::at(now())
    }
}

pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let store = Store::open(&folder.path().join("store")).expect("a new store");
    (folder, store)
}

/// Bytes that do not repeat.
pub(crate) fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut value = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..length)
        .map(|_| {
            value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            value.to_be_bytes()[0]
        })
        .collect()
}

/// An error and its sources on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// Files in a store's folder, whatever their depth.
pub(crate) fn files(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            if path.is_dir() { files(&path) } else { 1 }
        })
        .sum()
}
