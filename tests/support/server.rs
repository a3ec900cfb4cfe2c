//! A server that misbehaves when it is told to.

#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

/// What a [`Server`] does with the bytes it answers with, by the path asked for.
type Change = dyn Fn(&str, &mut Vec<u8>) + Send + Sync;

/// An HTTP server for a folder, on a port of this machine. It lives as long as the test process.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves a folder as it is.
    pub(crate) fn of(folder: &Path) -> Self {
        Self::changing(folder, |_, _| {})
    }

    /// Serves a folder, each answer changed on its way.
    pub(crate) fn changing(
        folder: &Path,
        change: impl Fn(&str, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let folder = folder.to_owned();
        Self::start(
            move |path| fs::read(folder.join(path)).ok(),
            Box::new(change),
        )
    }

    /// Serves files of another server, each answer changed on its way.
    ///
    /// The other is asked with `curl`, so that no code under test lies between.
    pub(crate) fn between(
        upstream: &str,
        change: impl Fn(&str, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        let upstream = upstream.trim_end_matches('/').to_owned();
        let get = move |path: &str| {
            let output = Command::new("curl")
                .args(["--silent", "--fail", "--location", "--retry", "5"])
                .arg(format!("{upstream}/{path}"))
                .output()
                .expect("`curl` runs: apt-get install curl");
            output.status.success().then_some(output.stdout)
        };
        Self::start(get, Box::new(change))
    }

    fn start(
        get: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
        change: Box<Change>,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("the port");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (get, change, log) = (Arc::new(get), Arc::new(change), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (get, change, log) = (Arc::clone(&get), Arc::clone(&change), Arc::clone(&log));
                // Whoever goes away in the middle of an answer is not our concern.
                thread::spawn(move || answer(&stream, &*get, &**change, &log));
            }
        });
        Self { address, asked }
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The paths it was asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no answer panics").clone()
    }
}

/// Answers the requests of one connection.
fn answer(
    stream: &TcpStream,
    get: &dyn Fn(&str) -> Option<Vec<u8>>,
    change: &Change,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or("/");
        let path = path.trim_start_matches('/');
        asked
            .lock()
            .expect("no answer panics")
            .push(path.to_owned());
        let (status, body) = match get(&decoded(path)) {
            Some(mut bytes) => {
                change(path, &mut bytes);
                ("200 OK", bytes)
            }
            None => ("404 Not Found", Vec::new()),
        };
        write!(
            out,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        out.write_all(&body)?;
    }
}

/// A path without `%2b` and its like.
fn decoded(path: &str) -> String {
    let mut text = String::new();
    let mut parts = path.split('%');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let code = part
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&part[2..]);
            }
            None => {
                text.push('%');
                text.push_str(part);
            }
        }
    }
    text
}
