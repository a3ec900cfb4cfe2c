//! Servers that answer as they are told to: what registries say that are not Debian's, and what
//! nobody should say.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// A request, as far as these servers look.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// An answer: a status, headers and a body.
pub(crate) type Said = (u16, Vec<(&'static str, String)>, String);

type Script = dyn Fn(&Asked) -> Said + Send + Sync;

/// A server that answers by a script. It lives as long as the test process.
pub(crate) struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    pub(crate) fn new(script: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("the port");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                // Whoever goes away in the middle of an answer is not our concern.
                thread::spawn(move || answer(&stream, &*script, &log));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no script panics").clone()
    }
}

fn answer(stream: &TcpStream, script: &Script, log: &Mutex<Vec<Asked>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let mut asked = Asked {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        authorization: None,
        body: Vec::new(),
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => asked.authorization = Some(value.trim().into()),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body)?;
    log.lock().expect("no script panics").push(asked.clone());
    let (status, headers, body) = script(&asked);
    let mut text = format!(
        "HTTP/1.1 {status} It\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut out = stream;
    write!(
        out,
        "{text}\r\n{}",
        if asked.method == "HEAD" { "" } else { &body }
    )
}

pub(crate) fn plain(status: u16) -> Said {
    (status, Vec::new(), String::new())
}

fn refusal(status: u16, code: &str, message: &str) -> Said {
    let errors = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    let kind = ("Content-Type", "application/json".to_owned());
    (status, vec![kind], errors.to_string())
}

/// What a registry says of everything but what the script is about.
fn usual(asked: &Asked) -> Said {
    match asked.method.as_str() {
        "GET" if asked.path == "/v2/" => plain(200),
        "POST" => (
            202,
            vec![("Location", "/v2/x/upload/1".into())],
            String::new(),
        ),
        "PATCH" => (
            202,
            vec![("Location", "/v2/x/upload/2".into())],
            String::new(),
        ),
        "PUT" => plain(201),
        _ => plain(404),
    }
}

fn small() -> Sample {
    Sample::of(&[noise(1, 3000)])
}

fn error(server: &str) -> String {
    let failed = pushed_with(
        &settings(),
        server,
        "team/desktop",
        &small(),
        &["latest"],
        &Notes::default(),
    );
    let error: &dyn std::error::Error = &failed.expect_err("refused");
    error.to_string().replace(server, "[host]")
}

/// What a server is, how it answers, and the words that must be told of it.
type Refusal = (
    &'static str,
    fn(&Asked) -> Option<Said>,
    &'static [&'static str],
);

#[test]
fn refusals_are_told_with_what_helps() {
    let cases: [Refusal; 9] = [
        (
            "no registry",
            |asked| (asked.path == "/v2/").then(|| (404, vec![], "<html>".into())),
            &["[host] is no registry of images: http://[host]/v2/ answers 404"],
        ),
        (
            "a page for everything",
            |_| {
                Some((
                    200,
                    vec![("Content-Type", "text/html".into())],
                    String::new(),
                ))
            },
            &["is no registry of images", "answers 200"],
        ),
        (
            "a name",
            |asked| {
                (asked.method == "POST")
                    .then(|| refusal(400, "NAME_INVALID", "invalid repository name"))
            },
            &[
                "does not take the name `team/desktop` (it says: invalid repository name)",
                "a project or an account",
            ],
        ),
        (
            "no right",
            |asked| {
                (asked.method == "POST")
                    .then(|| refusal(403, "DENIED", "requested access is denied."))
            },
            &[
                "does not allow it to push to `team/desktop` without a login (it says: requested \
                 access is denied)",
            ],
        ),
        (
            "a digest",
            |asked| {
                (asked.method == "PUT")
                    .then(|| refusal(400, "DIGEST_INVALID", "provided digest did not match"))
            },
            &["refuses the layer sha256:", "`kasmforge store --verify`"],
        ),
        (
            "a size",
            |asked| (asked.method == "PATCH").then(|| plain(413)),
            &["of 3000 bytes", "client_max_body_size"],
        ),
        (
            "a manifest",
            |asked| {
                asked
                    .path
                    .contains("/manifests/sha256")
                    .then(|| refusal(400, "MANIFEST_INVALID", "unknown media type"))
                    .filter(|_| asked.method == "PUT")
            },
            &["does not take the image's manifest (it says: unknown media type)"],
        ),
        (
            "blobs that are gone again",
            |asked| {
                (asked.method == "PUT" && asked.path.contains("/manifests/"))
                    .then(|| refusal(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"))
            },
            &["took every layer of `team/desktop` and then did not find them"],
        ),
        (
            "something else",
            |asked| (asked.method == "POST").then(|| plain(418)),
            &["[host] answers 418 to beginning an upload"],
        ),
    ];
    for (what, script, words) in cases {
        let server = Scripted::new(move |asked| script(asked).unwrap_or_else(|| usual(asked)));
        let told = error(&server.name());
        for word in words {
            assert!(told.contains(word), "{what}: `{word}` is not in: {told}");
        }
    }
}

#[test]
fn a_busy_registry_is_waited_for() {
    // Whatever is asked, it is too much the first time, and goes wrong the second.
    let times = Mutex::new(BTreeMap::<String, u32>::new());
    let server = Scripted::new(move |asked| {
        let mut times = times.lock().expect("no script panics");
        let count = times.entry(format!("{} {}", asked.method, asked.path));
        let count = count.and_modify(|count| *count += 1).or_insert(1);
        let soon = vec![("Retry-After", "0".into())];
        match count {
            1 => (429, soon, String::new()),
            2 => (503, soon, String::new()),
            _ => usual(asked),
        }
    });
    pushed(&server.name(), "team/desktop", &small(), &Notes::default());
}

#[test]
fn blobs_a_registry_only_said_to_have_are_sent() {
    let put = Mutex::new(0);
    let server = Scripted::new(move |asked| match asked.method.as_str() {
        "HEAD" if asked.path.contains("/blobs/") => plain(200),
        "PUT" if asked.path.contains("/manifests/") => {
            let mut put = put.lock().expect("no script panics");
            *put += 1;
            if *put == 1 {
                refusal(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
            } else {
                plain(201)
            }
        }
        _ => usual(asked),
    });
    let done = pushed(&server.name(), "team/desktop", &small(), &Notes::default());
    assert_eq!(done.layers[0].fate, Fate::Sent { bytes: 3000 });
}

#[test]
fn another_digest_is_told() {
    let other = Digest::of(b"other").to_string();
    let server = Scripted::new(move |asked| match asked.method.as_str() {
        "PUT" if asked.path.contains("/manifests/") => (
            201,
            vec![("Docker-Content-Digest", other.clone())],
            String::new(),
        ),
        _ => usual(asked),
    });
    assert!(error(&server.name()).contains("something on the way to it changes what is sent"));
}

#[test]
fn a_login_stays_with_the_registry_it_is_for() {
    // The blobs go to another server, as with registries that keep them in the cloud.
    let elsewhere = Arc::new(Scripted::new(|asked| match asked.method.as_str() {
        "PATCH" => (202, vec![("Location", "/upload/2".into())], String::new()),
        "PUT" => plain(201),
        _ => plain(404),
    }));
    let other = elsewhere.name();
    let server = Scripted::new(move |asked| match asked.method.as_str() {
        _ if asked.authorization.is_none() => {
            let basic = ("WWW-Authenticate", "Basic realm=\"it\"".to_owned());
            (401, vec![basic], String::new())
        }
        "POST" => (
            202,
            vec![("Location", format!("http://{other}/upload/1?secret=2"))],
            String::new(),
        ),
        "HEAD" if asked.path.contains("/blobs/") => plain(404),
        _ => usual(asked),
    });
    let settings = Settings {
        logins: kasmforge_distribution::Logins::none().with("me", "wordOnlyTheRegistryMayHear"),
        ..settings()
    };
    pushed_with(
        &settings,
        &server.name(),
        "team/desktop",
        &small(),
        &["latest"],
        &Notes::default(),
    )
    .expect("pushed");
    let there = elsewhere.asked();
    assert!(there.iter().any(|asked| asked.body.len() == 3000));
    assert!(
        there.iter().all(|asked| asked.authorization.is_none()),
        "{there:?}"
    );
    assert!(
        server
            .asked()
            .iter()
            .any(|asked| asked.authorization.is_some())
    );
}
