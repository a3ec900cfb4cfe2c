//! An https server with a certificate of its own authority, for those who know a login.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::certificates;
use super::oracle::base64;

/// The server. It lives as long as the test process.
pub(crate) struct Private {
    address: SocketAddr,
    certificates: Arc<TempDir>,
    logins: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

/// What a server does with a request.
#[derive(Clone)]
struct Manners {
    folder: PathBuf,
    /// The logins that are welcome; everybody is where there is none.
    known: Vec<String>,
    /// Sends whoever wants something of the pool on to this server.
    onward: Option<String>,
}

impl Private {
    /// Serves a folder to whoever sends one of these users and passwords, or one of these tokens.
    pub(crate) fn of(folder: &Path, users: &[(&str, &str)], tokens: &[&str]) -> Self {
        Self::start(
            [127, 0, 0, 1],
            &Arc::new(make_certificates()),
            Manners {
                folder: folder.to_owned(),
                known: logins(users, tokens),
                onward: None,
            },
        )
    }

    /// A server of this machine's usual address, with a certificate by the same authority: it wants a
    /// login, and sends whoever wants a package on to this one.
    pub(crate) fn sending_on(&self, folder: &Path, users: &[(&str, &str)]) -> Self {
        Self::start(
            [127, 0, 0, 1],
            &self.certificates,
            Manners {
                folder: folder.to_owned(),
                known: logins(users, &[]),
                onward: Some(self.address()),
            },
        )
    }

    /// A server of another host that wants no login.
    pub(crate) fn open_elsewhere(folder: &Path) -> Self {
        Self::start(
            [127, 0, 0, 2],
            &Arc::new(make_certificates()),
            Manners {
                folder: folder.to_owned(),
                known: Vec::new(),
                onward: None,
            },
        )
    }

    fn start(host: [u8; 4], certificates: &Arc<TempDir>, manners: Manners) -> Self {
        let at = |name: &str| certificates.path().join(name);
        let chain = CertificateDer::pem_file_iter(at("server.pem"))
            .expect("the certificate")
            .map(|one| one.expect("a certificate"))
            .collect();
        let key = PrivateKeyDer::from_pem_file(at("server.key")).expect("its key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate and its key");
        let config = Arc::new(config);
        let (logins, requests) = (Arc::default(), Arc::default());
        let listener = TcpListener::bind((IpAddr::from(host), 0)).expect("a free port");
        let address = listener.local_addr().expect("the port");
        let (heard, asked) = (Arc::clone(&logins), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
                let stream = StreamOwned::new(connection, stream);
                let manners = manners.clone();
                let (heard, asked) = (Arc::clone(&heard), Arc::clone(&asked));
                // Whoever does not trust us goes away, which is what some tests want.
                thread::spawn(move || answer(stream, &manners, &heard, &asked));
            }
        });
        Self {
            address,
            certificates: Arc::clone(certificates),
            logins,
            requests,
        }
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate of who vouches for it.
    pub(crate) fn authority(&self) -> PathBuf {
        self.certificates.path().join("ca.pem")
    }

    /// How many requests came with a login, right or wrong.
    pub(crate) fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Logins as a request's header has them.
fn logins(users: &[(&str, &str)], tokens: &[&str]) -> Vec<String> {
    let basic = |(user, password): &(&str, &str)| {
        format!("Basic {}", base64(&format!("{user}:{password}")))
    };
    let bearer = tokens.iter().map(|token| format!("Bearer {token}"));
    users.iter().map(basic).chain(bearer).collect()
}

fn answer(
    stream: StreamOwned<ServerConnection, std::net::TcpStream>,
    manners: &Manners,
    heard: &AtomicUsize,
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if stream.by_ref().read_line(&mut request)? == 0 {
            return Ok(());
        }
        asked.fetch_add(1, Ordering::SeqCst);
        let mut login = None;
        loop {
            let mut header = String::new();
            if stream.read_line(&mut header)? <= 2 {
                break;
            }
            let (name, value) = header.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("authorization") {
                heard.fetch_add(1, Ordering::SeqCst);
                login = Some(value.trim().to_owned());
            }
        }
        let path = request
            .split(' ')
            .nth(1)
            .unwrap_or("/")
            .trim_start_matches('/');
        let known = &manners.known;
        let welcome = known.is_empty() || login.is_some_and(|login| known.contains(&login));
        let onward = manners
            .onward
            .as_ref()
            .filter(|_| path.starts_with("pool/"));
        let mut more = String::new();
        let (status, body) = match (onward, fs::read(manners.folder.join(path))) {
            _ if !welcome => ("401 Unauthorized", Vec::new()),
            (Some(server), _) => {
                more = format!("Location: {server}/{path}\r\n");
                ("302 Found", Vec::new())
            }
            (None, Ok(bytes)) => ("200 OK", bytes),
            (None, Err(_)) => ("404 Not Found", Vec::new()),
        };
        let length = body.len();
        let out = stream.get_mut();
        write!(
            out,
            "HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n"
        )?;
        out.write_all(&body)?;
        out.flush()?;
    }
}

/// Certificates for this machine's own addresses.
fn make_certificates() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    certificates::make(folder.path(), "IP:127.0.0.1,IP:127.0.0.2");
    folder
}
