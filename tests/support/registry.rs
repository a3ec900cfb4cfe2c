//! A registry of the test's own: Debian's `docker-registry`, and a front door to it that breaks
//! when it is told to.
//!
//! Needs `docker-registry` (`apt-get install --no-install-recommends docker-registry`). Only the
//! standard library and `tempfile` are used, so that any test may include this file as a module.

#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a registry may take to answer on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Runs `$1` with the settings `$2` until nobody holds its standard input any more: until the test
/// drops the registry, or is killed.
const SUPERVISOR: &str = r#"
"$1" serve "$2" >"$2.log" 2>&1 </dev/null &
registry=$!
cat >/dev/null
kill -KILL $registry
"#;

/// A registry that runs.
pub(crate) struct Registry {
    port: u16,
    supervisor: Child,
    folder: TempDir,
}

impl Registry {
    /// Starts one that lets everybody in.
    pub(crate) fn start() -> Self {
        Self::start_with("", "")
    }

    /// Starts one with more settings: below `http`, indented by two blanks, and at the end.
    pub(crate) fn start_with(http: &str, rest: &str) -> Self {
        let mut tries = 0;
        loop {
            // Another program may take the port in between.
            if let Some(registry) = Self::try_start(http, rest) {
                return registry;
            }
            tries += 1;
            assert!(tries < 5, "docker-registry does not start");
        }
    }

    fn try_start(http: &str, rest: &str) -> Option<Self> {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let settings = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: true\nstorage:\n  \
             filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{http}{rest}",
            folder.path().join("data").display()
        );
        fs::write(&settings, text).expect("settings");
        let program = program("docker-registry", "docker-registry");
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "registry"])
            .arg(program)
            .arg(&settings)
            .stdin(Stdio::piped())
            .spawn()
            .expect("`sh` runs");
        let registry = Self {
            port,
            supervisor,
            folder,
        };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = registry.log();
            if log.contains("address already in use") {
                return None;
            }
            assert!(started.elapsed() < START, "docker-registry: {log}");
            thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    /// What references call it.
    pub(crate) fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("config.yml.log")).unwrap_or_default()
    }

    /// The bytes a blob has there, if it has it.
    pub(crate) fn blob(&self, digest: &str) -> Option<PathBuf> {
        let hex = digest.strip_prefix("sha256:")?;
        let path = format!(
            "data/docker/registry/v2/blobs/sha256/{}/{hex}/data",
            &hex[..2]
        );
        let path = self.folder.path().join(path);
        path.is_file().then_some(path)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Where a program is.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "`{name}` is missing; as root:\n    apt-get install --no-install-recommends {package}"
            )
        })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// What a front door does to uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Breaks the first `times` uploads after so many bytes; what came is handed on and breaks off
    /// there, too.
    Broken { after: usize, times: usize },
    /// Breaks every upload of more bytes than these, and hands on whole requests only, as proxies
    /// do.
    Whole { most: usize },
    /// Breaks every upload of more bytes than these; what came is kept.
    Kept { most: usize },
    /// Loses the answers to the first so many ends of uploads.
    Unanswered { times: usize },
}

/// What a front door has seen.
#[derive(Debug, Default)]
struct Seen {
    fault: Option<Fault>,
    faults: usize,
    requests: Vec<String>,
    uploaded: u64,
    /// Where uploads really are, by what the client calls them.
    newest: BTreeMap<String, String>,
}

/// A front door to a registry. It lives as long as the test process.
pub(crate) struct Front {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Front {
    /// Opens one.
    pub(crate) fn to(registry: &Registry, fault: Fault) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("the port");
        let seen = Arc::new(Mutex::new(Seen {
            fault: Some(fault),
            ..Seen::default()
        }));
        let (port, all) = (registry.port, Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&all);
                // Broken connections are what it is for.
                thread::spawn(move || pass(&stream, port, &seen));
            }
        });
        Self { address, seen }
    }

    /// What references call it.
    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    /// How many bytes of blobs came here.
    pub(crate) fn uploaded(&self) -> u64 {
        self.seen.lock().expect("no thread panics").uploaded
    }

    /// How often it broke something.
    pub(crate) fn faults(&self) -> usize {
        self.seen.lock().expect("no thread panics").faults
    }

    /// The requests so far: `PUT /v2/…`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().expect("no thread panics").requests.clone()
    }
}

/// A request's head, read to its empty line.
fn head(reader: &mut BufReader<&TcpStream>) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(line);
    }
}

fn value<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    let mut lines = lines.iter().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

/// The path of an upload without what follows the question mark: what it is called.
fn upload(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}

/// Passes one request on, and its answer back.
fn pass(client: &TcpStream, port: u16, seen: &Mutex<Seen>) -> io::Result<()> {
    let mut reader = BufReader::new(client);
    let lines = head(&mut reader)?;
    let mut words = lines.first().into_iter().flat_map(|line| line.split(' '));
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let length: usize = value(&lines, "content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut path_there = path.clone();
    let breaks = {
        let mut seen = seen.lock().expect("no thread panics");
        seen.requests.push(format!("{method} {path}"));
        if method == "GET"
            && let Some(newest) = seen.newest.get(&upload(&path))
        {
            path_there = newest.clone();
        }
        let patch = method == "PATCH";
        let breaks = match seen.fault {
            Some(Fault::Broken { after, times }) if patch && seen.faults < times => {
                (length > after).then_some(after)
            }
            Some(Fault::Whole { most } | Fault::Kept { most }) if patch && length > most => {
                Some(most)
            }
            Some(Fault::Unanswered { times })
                if method == "PUT" && path.contains("digest=") && seen.faults < times =>
            {
                Some(length)
            }
            _ => None,
        };
        seen.faults += usize::from(breaks.is_some());
        breaks
    };
    let mut body = vec![0; breaks.unwrap_or(length)];
    reader.read_exact(&mut body)?;
    let fault = {
        let mut seen = seen.lock().expect("no thread panics");
        seen.uploaded += if method == "PATCH" {
            body.len() as u64
        } else {
            0
        };
        seen.fault.filter(|_| breaks.is_some())
    };
    if let Some(Fault::Whole { .. }) = fault {
        return Ok(());
    }
    let told = if let Some(Fault::Kept { .. }) = fault {
        body.len()
    } else {
        length
    };
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    write!(server, "{method} {path_there} HTTP/1.1\r\n")?;
    for line in &lines[1..] {
        let name = line.split(':').next().unwrap_or_default();
        let own = ["content-length", "content-range", "connection"];
        if !own.contains(&name.to_ascii_lowercase().as_str()) {
            write!(server, "{line}\r\n")?;
        }
    }
    let counted = value(&lines, "content-length").map(|_| format!("Content-Length: {told}\r\n"));
    write!(
        server,
        "{}Connection: close\r\n\r\n",
        counted.unwrap_or_default()
    )?;
    server.write_all(&body)?;
    if let Some(Fault::Broken { .. }) = fault {
        return Ok(());
    }
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    match fault {
        Some(Fault::Kept { .. }) => {
            let text = String::from_utf8_lossy(&answer);
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let location = value(&lines, "location").unwrap_or_default();
            let place = location.find("/v2/").map(|at| location[at..].to_owned());
            let mut seen = seen.lock().expect("no thread panics");
            seen.newest
                .insert(upload(&path), place.expect("an upload has a place"));
            Ok(())
        }
        Some(_) => Ok(()),
        None => {
            let mut client = client;
            client.write_all(&answer)
        }
    }
}

/// Copies an image from a registry into an OCI layout, with another program than the one under
/// test, and gives the manifest's digest and those of its layers. `skopeo` checks every blob.
pub(crate) fn pulled(reference: &str, to: &Path, more: &[&str]) -> (String, Vec<String>) {
    let skopeo = program("skopeo", "skopeo");
    let ran = Command::new(skopeo)
        .args(["--insecure-policy", "copy", "--quiet", "--preserve-digests"])
        .args(more)
        .arg(format!("docker://{reference}"))
        .arg(format!("oci:{}:it", to.display()))
        .output()
        .expect("`skopeo` runs");
    assert!(ran.status.success(), "{ran:?}");
    let read = |path: PathBuf| {
        let bytes = fs::read(path).expect("a document");
        String::from_utf8(bytes).expect("JSON")
    };
    let digests = |text: &str| -> Vec<String> {
        text.match_indices("\"sha256:")
            .map(|(at, _)| text[at + 1..at + 72].to_owned())
            .collect()
    };
    let manifest = digests(&read(to.join("index.json"))).remove(0);
    let hex = &manifest["sha256:".len()..];
    let layers = digests(&read(to.join("blobs/sha256").join(hex)));
    // The configuration is named first or last, the layers in their order; sets are compared.
    (manifest, layers)
}
