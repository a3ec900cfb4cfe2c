//! A server that answers as a Kasm server's API is documented to, and misbehaves when it is told to.
//!
//! Ids come with dashes from some endpoints and without from others, refusals come in both manners,
//! each status makes a new login link, and a session starts before it runs. Commands that are
//! executed in sessions are really executed, in a folder that stands for the container's downloads.

#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub(crate) const KEY: &str = "bMjMwTT0JKUQ";
pub(crate) const SECRET: &str = "KUNAvRw4KLHGmldBxhRUD5sAhWkvJVzS";
pub(crate) const USER: &str = "8a12bb7c0d1e4f5a9b6c7d8e9f001122";
const AGENT: &str = "0a4c00dd84a74d349bc55f0b9f61b3c6";

/// Where Kasm's images keep downloads.
const DOWNLOADS: &str = "/home/kasm-user/Downloads";

/// All permissions the fake knows.
const PERMISSIONS: [&str; 9] = [
    "User",
    "Users Auth Session",
    "Users View",
    "Users Modify",
    "Images View",
    "Images Modify",
    "Sessions View",
    "Sessions Modify",
    "Agents View",
];

/// What is done instead of an answer, or with it.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status and body.
    Answer(u16, String),
    /// A refusal with status 200.
    Refuse(&'static str),
    /// To another place.
    Redirect(String),
    /// The connection is closed; whether the request is carried out before.
    Cut { done: bool },
    /// The answer comes late.
    Slow(Duration),
    /// A body that does not end.
    Endless,
}

/// A fault by the endpoint asked for and how often it was, from 0.
type Faults = dyn Fn(&str, usize) -> Option<Fault> + Send + Sync;

pub(crate) struct State {
    pub(crate) permissions: Vec<&'static str>,
    pub(crate) images: Vec<Map<String, Value>>,
    pub(crate) users: Vec<Map<String, Value>>,
    pub(crate) agents: Vec<Value>,
    sessions: BTreeMap<String, Session>,
    /// Every request: its path and its body.
    pub(crate) requests: Vec<(String, Value)>,
    /// Refusals come with status 200.
    pub(crate) softly: bool,
    /// How many looks at a session it takes until it runs.
    pub(crate) looks: usize,
    /// What ends a session instead of letting it run.
    pub(crate) fails: Option<&'static str>,
    /// Whether the downloads of sessions are passed on.
    pub(crate) downloads: bool,
    pub(crate) version: Option<&'static str>,
    /// The container that sessions are said to run in.
    pub(crate) container: String,
    made: u64,
    folder: TempDir,
}

struct Session {
    user: String,
    image: String,
    environment: Value,
    looks: usize,
    token: u64,
    login: String,
}

/// The server. It lives as long as the test process.
pub(crate) struct Fake {
    address: SocketAddr,
    tls: bool,
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// A healthy server that speaks plainly.
    pub(crate) fn new() -> Self {
        Self::with(|_, _| None)
    }

    /// A server with faults.
    pub(crate) fn with(
        faults: impl Fn(&str, usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self::start(Arc::new(faults), None)
    }

    /// A server with a certificate that it signed itself, kept in a folder as `server.pem`.
    pub(crate) fn with_tls(folder: &Path) -> Self {
        let config = certificate(folder);
        Self::start(Arc::new(|_: &str, _| None), Some(Arc::new(config)))
    }

    fn start(faults: Arc<Faults>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("the port");
        let state = Arc::new(Mutex::new(State::new()));
        let shared = Arc::clone(&state);
        let is_tls = tls.is_some();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (faults, state, tls) = (Arc::clone(&faults), Arc::clone(&shared), tls.clone());
                // Whoever goes away in the middle of an answer is not our concern.
                thread::spawn(move || match tls {
                    None => serve(stream, &*faults, &state),
                    Some(config) => {
                        let connection = ServerConnection::new(config).expect("a connection");
                        serve(StreamOwned::new(connection, stream), &*faults, &state)
                    }
                });
            }
        });
        Self {
            address,
            tls: is_tls,
            state,
        }
    }

    pub(crate) fn address(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no answer panics")
    }

    /// The bodies sent to an endpoint so far.
    pub(crate) fn sent(&self, endpoint: &str) -> Vec<Value> {
        let state = self.state();
        let requests = state.requests.iter();
        let wanted = requests.filter(|(path, _)| path.ends_with(&format!("/{endpoint}")));
        wanted.map(|(_, body)| body.clone()).collect()
    }

    /// How many sessions there are.
    pub(crate) fn sessions(&self) -> usize {
        self.state().sessions.len()
    }
}

/// Makes a certificate as Kasm's installer does: signed by itself, for another name.
fn certificate(folder: &Path) -> ServerConfig {
    let (cert, key) = (folder.join("server.pem"), folder.join("server.key"));
    let output = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/C=US/O=Kasm/CN=kasm-server"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("`openssl` runs: apt-get install openssl");
    assert!(output.status.success(), "{output:?}");
    let cert = CertificateDer::from_pem_file(&cert).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&key).expect("a key");
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .expect("a pair")
}

fn serve(stream: impl Read + Write, faults: &Faults, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    let mut cookies = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or_default(),
            "cookie" => cookies = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
    let endpoint = path.rsplit('/').next().unwrap_or_default().to_owned();

    let mut out = reader.into_inner();
    let mut state = state.lock().expect("no answer panics");
    let asked = state
        .requests
        .iter()
        .filter(|(other, _)| *other == path)
        .count();
    state.requests.push((path.clone(), body.clone()));
    let fault = faults(&endpoint, asked);
    match &fault {
        Some(Fault::Answer(status, text)) => return answer(&mut out, *status, text, ""),
        Some(Fault::Refuse(message)) => {
            let text = json!({"error_message": message}).to_string();
            return answer(&mut out, 200, &text, "");
        }
        Some(Fault::Redirect(to)) => {
            return answer(&mut out, 302, "", &format!("Location: {to}\r\n"));
        }
        Some(Fault::Cut { done: false }) => return Ok(()),
        Some(Fault::Endless) => {
            drop(state);
            out.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[")?;
            loop {
                out.write_all(&[b' '; 65536])?;
            }
        }
        _ => {}
    }
    let (status, text) = match path.strip_prefix("/desktop/") {
        Some(rest) => state.file(rest, &cookies),
        None if endpoint == "__healthcheck" => (200, "{\"ok\": true}".into()),
        None => {
            let (status, value) = state.asked(&path, &endpoint, &body);
            (status, value.to_string())
        }
    };
    drop(state);
    match fault {
        Some(Fault::Cut { .. }) => return Ok(()),
        Some(Fault::Slow(pause)) => thread::sleep(pause),
        _ => {}
    }
    answer(&mut out, status, &text, "")
}

fn answer(out: &mut impl Write, status: u16, text: &str, header: &str) -> std::io::Result<()> {
    write!(
        out,
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nConnection: close\r\n\
         {header}Content-Length: {}\r\n\r\n{text}",
        text.len()
    )?;
    out.flush()
}

fn digits(text: &str) -> String {
    text.replace('-', "").to_ascii_lowercase()
}

fn dashed(id: &str) -> String {
    let id = digits(id);
    [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-")
}

impl State {
    fn new() -> Self {
        let user = json!({
            "user_id": USER, "username": "user@kasm.local", "first_name": "A", "last_name": "B",
            "phone": null, "organization": null, "locked": false, "disabled": false,
            "groups": [{"name": "All Users", "group_id": "68d557ac4cac42cca9f31c7c853de0f3"}],
            "kasms": [], "created": "2024-01-02 03:04:05.678901", "last_session": "None",
            "attributes": {
                "user_attributes_id": "77".repeat(16), "ssh_public_key": "", "show_tips": true,
                "theme": "Auto", "preferred_language": "Auto", "preferred_timezone": "Auto",
                "toggle_control_panel": false, "default_image": null, "auto_login_kasm": null,
            },
        });
        let agent = json!({
            "agent_id": AGENT, "hostname": "kasm-agent-1", "status": "running", "enabled": true,
            "cores": 4.0, "memory": 16_000_000_000_u64, "auto_prune_images": "Off",
        });
        Self {
            permissions: PERMISSIONS.to_vec(),
            images: Vec::new(),
            users: vec![user.as_object().cloned().expect("an object")],
            agents: vec![agent],
            sessions: BTreeMap::new(),
            requests: Vec::new(),
            softly: false,
            looks: 2,
            fails: None,
            downloads: true,
            version: Some("1.18.1"),
            container: "5f".repeat(32),
            made: 0,
            folder: TempDir::new().expect("a folder"),
        }
    }

    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("{:016x}{:016x}", 0x5eed_u64, self.made)
    }

    fn refuse(&self, status: u16, message: &str) -> (u16, Value) {
        let status = if self.softly { 200 } else { status };
        (status, json!({"error_message": message}))
    }

    fn may(&self, needs: &[&str]) -> bool {
        needs.iter().all(|one| self.permissions.contains(one))
    }

    fn asked(&mut self, path: &str, endpoint: &str, body: &Value) -> (u16, Value) {
        if body["api_key"] != KEY || body["api_key_secret"] != SECRET {
            return self.refuse(401, "Unauthorized");
        }
        let needs: &[&str] = match endpoint {
            "get_images" => &["Images View"],
            "create_image" | "update_image" | "delete_image" => &["Images Modify"],
            "request_kasm" | "get_kasm_status" | "destroy_kasm" | "keepalive" | "join_kasm" => {
                &["User", "Users Auth Session"]
            }
            "logout_user" => &["Users Auth Session"],
            "get_kasms" => &["Sessions View"],
            "exec_command_kasm" => &["Sessions Modify"],
            "get_user" | "get_users" | "get_attributes" => &["Users View"],
            "create_user"
            | "update_user"
            | "delete_user"
            | "update_user_attributes"
            | "add_user_group"
            | "remove_user_group" => &["Users Modify"],
            "get_agents" => &["Agents View"],
            "system_info" => &[],
            _ => return (404, json!({"error_message": "Not Found"})),
        };
        let admin = matches!(endpoint, "get_agents" | "system_info");
        if path != format!("/api/{}/{endpoint}", if admin { "admin" } else { "public" }) {
            return (404, json!({"error_message": "Not Found"}));
        }
        if !self.may(needs) {
            return self.refuse(403, "Unauthorized");
        }
        match endpoint {
            "get_images" => (200, json!({"images": self.images})),
            "create_image" => self.create(body),
            "update_image" | "delete_image" => self.change(endpoint, body),
            "request_kasm" => self.request(body),
            "get_kasms" => (200, json!({"kasms": self.listed()})),
            "get_kasm_status" | "destroy_kasm" | "exec_command_kasm" | "keepalive" => {
                self.session(endpoint, body)
            }
            "join_kasm" => (200, json!({"kasm_url": "/#/join/1"})),
            "get_agents" => (200, json!({"agents": self.agents})),
            "system_info" => (
                200,
                json!({"system_info": {"api": {"version": self.version}}}),
            ),
            _ => self.user(endpoint, body),
        }
    }

    fn create(&mut self, body: &Value) -> (u16, Value) {
        let Some(target) = body["target_image"].as_object() else {
            return self.refuse(400, "Invalid Request. Missing target_image");
        };
        for name in [
            "run_config",
            "exec_config",
            "volume_mappings",
            "launch_config",
        ] {
            if target.get(name).is_some_and(|value| !value.is_string()) {
                return self.refuse(400, &format!("{name} must be a string"));
            }
        }
        let mut image = target.clone();
        let id = self.fresh();
        image.insert("image_id".into(), json!(id));
        // A number that goes in as one comes back as another.
        if let Some(memory) = image.get("memory").and_then(Value::as_u64) {
            image.insert("memory".into(), json!(memory as f64));
        }
        self.images.push(image.clone());
        (200, json!({"image": image}))
    }

    fn change(&mut self, endpoint: &str, body: &Value) -> (u16, Value) {
        let id = digits(
            body["target_image"]["image_id"]
                .as_str()
                .unwrap_or_default(),
        );
        let found = self.images.iter().position(|image| {
            image["image_id"]
                .as_str()
                .is_some_and(|other| digits(other) == id)
        });
        let Some(found) = found else {
            return self.refuse(400, "Invalid image_id");
        };
        if endpoint == "delete_image" {
            self.images.remove(found);
            return (200, json!({}));
        }
        let target = body["target_image"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        self.images[found].extend(target.into_iter().filter(|(name, _)| name != "image_id"));
        (200, json!({"image": self.images[found]}))
    }

    fn request(&mut self, body: &Value) -> (u16, Value) {
        let text = |name: &str| digits(body[name].as_str().unwrap_or_default());
        let (image, user) = (text("image_id"), text("user_id"));
        let known = |image_: &Map<String, Value>| image_["image_id"].as_str() == Some(&image);
        let Some(found) = self.images.iter().find(|one| known(one)) else {
            return self.refuse(400, "No Default Image Found");
        };
        if found.get("available") == Some(&json!(false)) {
            return (
                200,
                json!({"error_message": "No resources are available to create the requested Kasm. Please try again later or contact an Administrator : Agent does not have the requested image"}),
            );
        }
        let id = self.fresh();
        let login = format!("login-{id}");
        std::fs::create_dir(self.folder.path().join(&id)).expect("a folder");
        self.sessions.insert(
            id.clone(),
            Session {
                user: user.clone(),
                image,
                environment: body["environment"].clone(),
                looks: 0,
                token: 0,
                login: login.clone(),
            },
        );
        let answer = json!({
            "kasm_id": dashed(&id), "username": "user@kasm.local", "user_id": dashed(&user),
            "status": "starting", "share_id": null, "session_token": login,
            "kasm_url": format!("/#/connect/kasm/{id}/{user}/0"),
        });
        (200, answer)
    }

    fn listed(&self) -> Vec<Value> {
        let listed = self.sessions.iter().map(|(id, session)| {
            json!({
                "kasm_id": dashed(id), "user_id": dashed(&session.user),
                "image_id": dashed(&session.image), "hostname": "kasm-agent-1",
                "operational_status": if session.looks > self.looks { "running" } else { "starting" },
                "start_date": "2026-01-02 03:04:05.678901", "expiration_date": "None",
                "user": {"username": "user@kasm.local"},
            })
        });
        listed.collect()
    }

    fn session(&mut self, endpoint: &str, body: &Value) -> (u16, Value) {
        let id = digits(body["kasm_id"].as_str().unwrap_or_default());
        let user = digits(body["user_id"].as_str().unwrap_or_default());
        let found = self.sessions.get(&id);
        let mine = found.is_some_and(|one| endpoint == "keepalive" || one.user == user);
        if !mine {
            return self.refuse(400, &format!("Invalid kasm_id ({id})"));
        }
        match endpoint {
            "destroy_kasm" => {
                self.sessions.remove(&id);
                (200, json!({}))
            }
            "exec_command_kasm" => self.execute(&id, body),
            "keepalive" => (200, json!({})),
            _ => self.status(&id),
        }
    }

    fn status(&mut self, id: &str) -> (u16, Value) {
        let (looks, fails) = (self.looks, self.fails);
        let image = {
            let session = &self.sessions[id];
            let known =
                |image: &&Map<String, Value>| image["image_id"].as_str() == Some(&session.image);
            let found = self.images.iter().find(known).cloned().unwrap_or_default();
            json!({"image_id": session.image, "name": found.get("name"), "friendly_name": found.get("friendly_name")})
        };
        let session = self.sessions.get_mut(id).expect("it was found");
        session.looks += 1;
        session.token += 1;
        if session.looks <= looks {
            let answer = json!({
                "kasm_id": id, "status": "starting",
                "operational_status": "starting",
                "operational_progress": 100 * session.looks / (looks + 1),
                "operational_message": "Creating the container",
            });
            return (200, answer);
        }
        if let Some(message) = fails {
            let answer = json!({
                "kasm_id": id, "status": "error", "operational_status": "error",
                "operational_message": message,
            });
            return (200, answer);
        }
        let link = format!(
            "/#/connect/kasm/{id}/{}/token-{}",
            session.user, session.token
        );
        let answer = json!({
            "current_time": "2026-01-02 03:04:05.678901",
            "kasm_url": link,
            "kasm": {
                "kasm_id": dashed(id), "user_id": dashed(&session.user), "image_id": session.image,
                "image": image, "operational_status": "running", "container_id": self.container,
                "container_ip": "172.20.0.5", "hostname": "kasm-agent-1", "host": "kasm-agent-1",
                "port": 443, "share_id": "abc123", "cores": 2.0, "memory": 2_768_000_000_u64,
                "start_date": "2026-01-02 03:04:05.678901", "keepalive_date": "None",
                "expiration_date": "2026-01-02 05:04:05.678901",
                "port_map": {"vnc": {"port": 443, "path": format!("desktop/{}/vnc", dashed(id))}},
                "client_settings": {"allow_kasm_audio": false}, "token": "t",
            },
        });
        (200, answer)
    }

    fn execute(&self, id: &str, body: &Value) -> (u16, Value) {
        let folder = self.folder.path().join(id);
        let command = body["exec_config"]["cmd"].as_str().unwrap_or_default();
        let command = command.replace(DOWNLOADS, &folder.display().to_string());
        // Nobody hears of its end.
        thread::spawn(move || Command::new("sh").arg("-c").arg(command).output());
        (
            200,
            json!({"kasm": {"kasm_id": dashed(id)}, "current_time": "2026-01-02 03:04:05"}),
        )
    }

    /// What the container's web server answers, for whoever is logged in.
    fn file(&self, rest: &str, cookies: &str) -> (u16, String) {
        let mut parts = rest.split('/');
        let id = digits(parts.next().unwrap_or_default());
        let Some(session) = self.sessions.get(&id) else {
            return (404, String::new());
        };
        let wanted = format!("username=user@kasm.local; session_token={}", session.login);
        if cookies != wanted {
            return (401, String::new());
        }
        let rest: Vec<&str> = parts.collect();
        let ["vnc", "Downloads", "Downloads", file] = rest.as_slice() else {
            return (404, String::new());
        };
        let found = std::fs::read_to_string(self.folder.path().join(&id).join(file));
        match found.ok().filter(|_| self.downloads) {
            Some(text) => (200, text),
            None => (404, String::new()),
        }
    }

    fn user(&mut self, endpoint: &str, body: &Value) -> (u16, Value) {
        let given = match endpoint {
            "update_user_attributes" => &body["target_user_attributes"],
            _ => &body["target_user"],
        };
        if endpoint == "get_users" {
            let users = self.users.iter().map(|user| {
                let mut user = user.clone();
                user["user_id"] = json!(dashed(user["user_id"].as_str().unwrap_or_default()));
                user
            });
            return (200, json!({"users": users.collect::<Vec<_>>()}));
        }
        if endpoint == "create_user" {
            let mut user = self.users[0].clone();
            user.extend(given.as_object().cloned().unwrap_or_default());
            user.remove("password");
            let id = self.fresh();
            user["user_id"] = json!(id);
            self.users.push(user.clone());
            return (200, json!({"user": user}));
        }
        let same = |user: &Map<String, Value>| match given["user_id"].as_str() {
            Some(id) => user["user_id"] == json!(digits(id)),
            None => user["username"] == given["username"],
        };
        let Some(found) = self.users.iter().position(same) else {
            return self.refuse(400, "Invalid user");
        };
        let group = &body["target_group"]["group_id"];
        match endpoint {
            "delete_user" => {
                self.users.remove(found);
                return (200, json!({}));
            }
            "update_user" => {
                let mut fields = given.as_object().cloned().unwrap_or_default();
                fields.retain(|name, _| name != "user_id" && name != "password");
                self.users[found].extend(fields);
            }
            "get_attributes" => {
                return (
                    200,
                    json!({"user_attributes": self.users[found]["attributes"]}),
                );
            }
            "update_user_attributes" => {
                let fields = given.as_object().cloned().unwrap_or_default();
                let attributes = self.users[found]["attributes"].as_object_mut();
                attributes.expect("an object").extend(fields);
                return (200, json!({}));
            }
            "add_user_group" => {
                let groups = self.users[found]["groups"].as_array_mut().expect("a list");
                groups.push(json!({"name": "Another", "group_id": group}));
                return (200, json!({}));
            }
            "remove_user_group" => {
                let groups = self.users[found]["groups"].as_array_mut().expect("a list");
                groups.retain(|one| one["group_id"] != *group);
                return (200, json!({}));
            }
            "logout_user" => return (200, json!({})),
            _ => {}
        }
        (200, json!({"user": self.users[found]}))
    }
}
