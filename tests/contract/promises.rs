//! The lines of docs/contract.md that can be seen from outside.

use crate::Case;
use crate::bench::{Bench, PASSWORD};

pub(crate) const CASES: &[Case] = &[
    (
        "kasmforge checks tells an image that holds from one that does not",
        checks,
    ),
    ("the image is configured as Kasm's are", image),
    ("users, paths and modes", paths),
    ("logins, files and sound", web),
    ("kasm_viewer may look and nothing else", viewer),
    ("the display's settings take effect", display),
    (
        "an application in kiosk manner, KASM_URL, APP_ARGS, --go and --assign",
        application,
    ),
    ("DISABLE_CUSTOM_STARTUP", disabled),
    ("Kasm's API is told what happens", callbacks),
    ("the egress protocol", egress),
    (
        "profile sync, when its program is there and when it is not",
        profile,
    ),
    ("hooks can be run by the agent", hooks),
    (
        "the container ends with a service only where it is asked to",
        fail_secure,
    ),
    ("what is secret is born at first start", secrets),
];

fn image(bench: &Bench) {
    let output = bench.docker(&[
        "inspect",
        "--format",
        "{{json .Config}}",
        "kasmforge/bench:latest",
    ]);
    let config: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(config["User"], "1000");
    assert_eq!(config["WorkingDir"], "/home/kasm-user");
    assert_eq!(
        config["Entrypoint"],
        serde_json::json!([
            "/dockerstartup/kasm_default_profile.sh",
            "/dockerstartup/vnc_startup.sh",
            "/dockerstartup/kasm_startup.sh",
        ])
    );
    assert_eq!(config["Cmd"], serde_json::json!(["--wait"]));
    assert_eq!(config["Labels"]["com.kasmweb.image"], "true");
    assert!(config["ExposedPorts"]["6901/tcp"].is_object());
    let environment = config["Env"].as_array().expect("a list");
    for variable in [
        "DISPLAY=:1",
        "HOME=/home/kasm-user",
        "STARTUPDIR=/dockerstartup",
        "KASM_VNC_PATH=/usr/share/kasmvnc",
        "NO_VNC_PORT=6901",
        "VNC_RESOLUTION=1280x720",
        "VNC_COL_DEPTH=24",
        "MAX_FRAME_RATE=24",
        "KASMVNC_AUTO_RECOVER=true",
        "START_XFCE4=1",
        "LANG=en_US.UTF-8",
        "LC_ALL=en_US.UTF-8",
        "TZ=Etc/UTC",
        "OMP_WAIT_POLICY=PASSIVE",
        "GOMP_SPINCOUNT=0",
        "PULSE_RUNTIME_PATH=/var/run/pulse",
    ] {
        assert!(
            environment.iter().any(|one| one == variable),
            "{variable}: {environment:?}"
        );
    }
}

fn paths(bench: &Bench) {
    let desktop = bench.start(&["--env", "START_XFCE4=0"]);
    desktop.until_healthy();
    assert_eq!(
        desktop.inside("id"),
        "uid=1000(kasm-user) gid=1000(kasm-user) groups=1000(kasm-user)"
    );
    assert_eq!(
        desktop.inside("stat -c '%u:%g %a' /home/kasm-user"),
        "1000:0 755"
    );
    for program in [
        "/dockerstartup/kasm_default_profile.sh",
        "/dockerstartup/vnc_startup.sh",
        "/dockerstartup/custom_startup.sh",
        "/dockerstartup/kasm_post_run_root.sh",
        "/dockerstartup/kasm_post_run_user.sh",
        "/dockerstartup/kasm_pre_shutdown_root.sh",
        "/dockerstartup/kasm_pre_shutdown_user.sh",
        "/dockerstartup/maximize_window.sh",
        "/dockerstartup/trustdesktop.sh",
        "/usr/bin/desktop_ready",
        "/usr/bin/filter_ready",
    ] {
        desktop.inside(&format!(
            "test -x {program} && test -O / || test \"$(stat -Lc '%U %a' {program})\" = 'root 755'"
        ));
    }
    for log in [
        "vnc_startup",
        "no_vnc_startup",
        "window_manager_startup",
        "wm",
    ] {
        desktop.inside(&format!("test -e /dockerstartup/{log}.log"));
    }
    desktop.inside(". /dockerstartup/generate_container_user");
    desktop.inside("desktop_ready && filter_ready");
    desktop.inside("test -d /home/kasm-default-profile && test -f /usr/share/kasmvnc/www/vnc.html");
}

fn web(bench: &Bench) {
    let desktop = bench.start(&["--env", "START_XFCE4=0"]);
    desktop.until_healthy();
    let base = "https://127.0.0.1:6901";
    let user = format!("-u kasm_user:{PASSWORD}");
    for (arguments, status) in [
        (format!("{base}/"), "401"),
        (format!("-I {base}/vnc.html"), "401"),
        (format!("-u kasm_user:wrong {base}/"), "401"),
        (format!("-u root:{PASSWORD} {base}/"), "401"),
        (format!("-H 'Authorization: Basic !' {base}/"), "401"),
        (format!("{user} {base}/vnc.html"), "200"),
        (format!("{user} {base}/nothing"), "404"),
        // Nothing above the folder.
        (
            format!("{user} --path-as-is {base}/Downloads/../../../../etc/passwd"),
            "404",
        ),
        (
            format!("{user} --path-as-is {base}/Downloads/%2e%2e/%2e%2e/.bashrc"),
            "404",
        ),
        (
            format!("{user} -T /etc/hostname {base}/Uploads/..%2fescaped"),
            "404",
        ),
        (format!("{user} -T /etc/hostname {base}/elsewhere"), "404"),
        (format!("{user} http://127.0.0.1:6901/"), "000"),
    ] {
        assert_eq!(desktop.http(&arguments), status, "{arguments}");
    }
    assert!(
        desktop
            .inside(&format!("curl -sk {user} {base}/vnc.html"))
            .contains("kasmforge/panel.js")
    );
    assert!(
        desktop
            .inside(&format!("curl -sk {user} {base}/vnc.html"))
            .contains("kasmforge_loads")
    );

    // A question that lacks the password leaves the connection open for the next.
    assert_eq!(
        desktop.inside(&format!(
            "curl -sk -w '%{{http_code}} %{{num_connects}} ' {base}/ {base}/vnc.html"
        )),
        "401 1 401 0"
    );

    desktop.inside("head -c 3000000 /dev/urandom >/tmp/sent; cp /tmp/sent ~/Downloads/'a b.bin'");
    for name in ["a.bin", "a (1).bin"] {
        assert_eq!(
            desktop.http(&format!("{user} -T /tmp/sent {base}/Uploads/a.bin")),
            "201"
        );
        desktop.inside(&format!("cmp /tmp/sent ~/Uploads/'{name}'"));
    }
    assert_eq!(
        desktop.http(&format!("{user} {base}/Downloads/a%20b.bin")),
        "200"
    );
    desktop.inside("cmp /tmp/sent /tmp/answer");
    assert_eq!(
        desktop.http(&format!("{user} {base}/Downloads/Downloads/a%20b.bin")),
        "200"
    );
    let files = desktop.inside(&format!("curl -sk {user} {base}/kasmforge/files.json"));
    let files: serde_json::Value = serde_json::from_str(&files).expect("JSON");
    assert_eq!(
        files["downloads"][0],
        serde_json::json!({"name": "a b.bin", "size": 3_000_000})
    );
    assert_eq!(files["uploads"].as_array().map(Vec::len), Some(2));

    let closed = bench.start(&[
        "--env",
        "START_XFCE4=0",
        "--env",
        "KASM_SVC_UPLOADS=0",
        "--env",
        "KASM_SVC_DOWNLOADS=0",
    ]);
    closed.until_healthy();
    closed.inside("cp /etc/hostname ~/Downloads/");
    assert_eq!(
        closed.http(&format!("{user} {base}/Downloads/hostname")),
        "403"
    );
    assert_eq!(
        closed.http(&format!("{user} -T /etc/hostname {base}/Uploads/x")),
        "403"
    );
}

/// A VNC client of a few lines: logs in, asks for another size of the screen, types into nothing.
const CLIENT: &str = r#"
import base64, os, socket, ssl, struct, subprocess, time
def session(user, password):
    context = ssl._create_unverified_context()
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", 6901)))
    s.settimeout(20)
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    s.sendall(f"GET /websockify HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\nAuthorization: Basic {login}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += s.recv(1)
    assert b" 101 " in head.split(b"\r\n")[0], head
    def send(data):
        mask = os.urandom(4)
        body = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        assert len(data) < 126
        s.sendall(bytes([0x82, 0x80 | len(data)]) + mask + body)
    def receive(count):
        data = b""
        while len(data) < count:
            kind, size = s.recv(1)[0], s.recv(1)[0]
            if size == 126: size = struct.unpack(">H", s.recv(2))[0]
            elif size == 127: size = struct.unpack(">Q", s.recv(8))[0]
            part = b""
            while len(part) < size: part += s.recv(size - len(part))
            if kind & 15 in (0, 2): data += part
        return data
    receive(12); send(b"RFB 003.008\n"); receive(2); send(b"\x01"); receive(4); send(b"\x01"); receive(24)
    # In pieces, as networks have it: DesktopSize and ExtendedDesktopSize, then another size.
    encodings = struct.pack(">BxH3i", 2, 3, 0, -223, -308)
    send(encodings[:5]); send(encodings[5:])
    send(struct.pack(">BBHHHH", 3, 0, 0, 0, 10, 10))
    send(struct.pack(">BxHHBx", 251, 1024, 700, 1) + struct.pack(">IHHHHI", 0, 0, 0, 1024, 700, 0))
    send(struct.pack(">BxxxI", 6, 4) + b"text")
    send(struct.pack(">BBHHHH", 3, 0, 0, 0, 10, 10))
    receive(4)
    time.sleep(1.5)
    shown = subprocess.run(["xdpyinfo"], capture_output=True, text=True).stdout
    s.close()
    return next(line.split()[1] for line in shown.splitlines() if "dimensions" in line)
"#;

fn viewer(bench: &Bench) {
    let desktop = bench.start(&[
        "--env",
        "START_XFCE4=0",
        "--env",
        "VNC_VIEW_ONLY_PW=only-looking",
    ]);
    desktop.until_healthy();
    let size = |user: &str, password: &str| {
        desktop.python(&format!("{CLIENT}\nprint(session({user:?}, {password:?}))"))
    };
    assert_eq!(size("kasm_viewer", "only-looking"), "1280x720");
    assert_eq!(size("kasm_user", PASSWORD), "1024x700");
    let base = "https://127.0.0.1:6901";
    assert_eq!(
        desktop.http(&format!("-u kasm_viewer:{PASSWORD} {base}/")),
        "401"
    );
    assert_eq!(
        desktop.http(&format!("-u kasm_viewer:only-looking {base}/vnc.html")),
        "200"
    );
    assert_eq!(
        desktop.http(&format!(
            "-u kasm_viewer:only-looking -T /etc/hostname {base}/Uploads/x"
        )),
        "403"
    );
    // As with Kasm, the same password unless it is given one.
    let desktop = bench.start(&["--env", "START_XFCE4=0"]);
    desktop.until_healthy();
    assert_eq!(
        desktop.http(&format!("-u kasm_viewer:{PASSWORD} {base}/")),
        "200"
    );
}

fn display(bench: &Bench) {
    let desktop = bench.start(&[
        "--env",
        "START_XFCE4=0",
        "--env",
        "VNC_RESOLUTION=1024x768",
        "--env",
        "VNC_COL_DEPTH=16",
        "--env",
        "MAX_FRAME_RATE=12",
        "--env",
        "KASM_SVC_SEND_CUT_TEXT=-SendCutText 0",
        "--env",
        "KASM_SVC_ACCEPT_CUT_TEXT=-AcceptCutText 0",
    ]);
    desktop.until_healthy();
    let shown = desktop.inside("xdpyinfo");
    assert!(
        shown.contains("1024x768 pixels") && shown.contains("depth of root window:    16 planes"),
        "{shown}"
    );
    let words = desktop.inside("tr '\\0' ' ' </proc/$(pgrep -x 'Xvnc|Xtigervnc')/cmdline");
    for flag in [
        "-FrameRate 12",
        "-SendCutText=0",
        "-SendPrimary=0",
        "-AcceptCutText=0",
    ] {
        assert!(words.contains(flag), "{flag}: {words}");
    }
}

fn application(bench: &Bench) {
    let desktop = bench.start(&["--env", "KASM_URL=https://example.org/?a=b&c"]);
    desktop.until_healthy();
    let log = "cat /tmp/application.log 2>/dev/null || true";
    // The desktop is healthy before its application has started.
    desktop.until("it runs", "test -s /tmp/application.log");
    assert_eq!(
        desktop.inside(log),
        "--default two words https://example.org/?a=b&c"
    );
    // Closed, it comes back.
    desktop.inside("pkill -x notepad");
    desktop.until(
        "it runs again",
        "test \"$(wc -l </tmp/application.log)\" = 2",
    );
    // A second start by the agent opens an address; without one it does nothing.
    desktop.inside(
        "/dockerstartup/custom_startup.sh --go; /dockerstartup/custom_startup.sh --assign --url ''",
    );
    desktop.inside("(/dockerstartup/custom_startup.sh --go --url https://go.example & ) >/dev/null 2>&1; (/dockerstartup/custom_startup.sh -a -u https://assign.example & ) >/dev/null 2>&1");
    desktop.until(
        "both are open",
        "test \"$(wc -l </tmp/application.log)\" = 4",
    );
    let all = desktop.inside(log);
    assert!(
        all.contains("--default two words https://go.example")
            && all.contains("--default two words https://assign.example"),
        "{all}"
    );
    desktop.stops();

    let desktop = bench.start(&[
        "--env",
        "LAUNCH_URL=about:blank",
        "--env",
        "APP_ARGS=--mine",
        "--env",
        "START_XFCE4=0",
    ]);
    desktop.until_healthy();
    desktop.until("it runs", "test -s /tmp/application.log");
    assert_eq!(desktop.inside(log), "--mine about:blank");
}

fn disabled(bench: &Bench) {
    let desktop = bench.start(&[
        "--env",
        "DISABLE_CUSTOM_STARTUP=1",
        "--env",
        "START_XFCE4=0",
    ]);
    desktop.until_healthy();
    desktop.until_told("custom_startup.sh ended with status 0, which counts as done");
    desktop.inside("test ! -e /tmp/application.log");
}

/// Kasm's API, as far as a container speaks to it: whatever is posted is printed.
const API: &str = r#"
import http.server, json, ssl, subprocess
subprocess.run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=api -keyout /tmp/k -out /tmp/c".split(), check=True)
class Api(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print(self.path, json.dumps(json.loads(body)), flush=True)
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("0.0.0.0", 4433), Api)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("/tmp/c", "/tmp/k")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// A desktop that belongs to a session of Kasm's, and the server that hears of it.
fn session<'a>(
    bench: &'a Bench,
    arguments: &[&str],
) -> (crate::bench::Container<'a>, crate::bench::Container<'a>) {
    let api = bench.start_with(&["--entrypoint", "python3"], &["-c", API]);
    api.until("the API listens", "ss -ltn | grep -q :4433");
    let host = format!(
        "KASM_API_HOST={}",
        api.inspect("{{.NetworkSettings.IPAddress}}")
    );
    let all = [
        &[
            "--env",
            &host,
            "--env",
            "KASM_API_PORT=4433",
            "--env",
            "KASM_API_JWT=token-1",
            "--env",
            "KASM_ID=id-1",
            "--env",
            "KASM_USER_NAME=an \"odd\" \\ name",
            "--env",
            "START_XFCE4=0",
            "--env",
            "DISABLE_CUSTOM_STARTUP=1",
        ],
        arguments,
    ]
    .concat();
    (bench.start(&all), api)
}

fn callbacks(bench: &Bench) {
    let (desktop, api) = session(bench, &[]);
    desktop.until_healthy();
    api.until_told("/api/kasm_session_log?token=token-1");
    api.until_told("started container id");
    desktop.inside("pkill -9 -x 'Xvnc|Xtigervnc'");
    api.until_told("display was ended by signal 9");
    let line = api
        .log()
        .lines()
        .find(|line| line.contains("signal 9"))
        .expect("it was told")
        .to_owned();
    let body: serde_json::Value =
        serde_json::from_str(line.split_once(' ').expect("a path").1).expect("JSON");
    assert_eq!(body[0]["application"], "Session");
    assert_eq!(body[0]["kasm_id"], "id-1");
    assert_eq!(body[0]["kasm_user_name"], "an \"odd\" \\ name");
    assert!(
        body[0]["ingest_date"]
            .as_str()
            .is_some_and(|date| date.ends_with('Z'))
    );
    // No process shows the token to others.
    assert!(
        !desktop
            .inside("cat /proc/*/cmdline | tr '\\0' ' '")
            .contains("token-1")
    );
    // A server that does not answer holds nothing up.
    let alone = bench.start(&[
        "--env",
        "KASM_API_HOST=203.0.113.1",
        "--env",
        "KASM_API_PORT=443",
        "--env",
        "KASM_API_JWT=x",
        "--env",
        "START_XFCE4=0",
    ]);
    alone.until_healthy();
    alone.stops();
}

fn egress(bench: &Bench) {
    let (desktop, api) = session(
        bench,
        &[
            "--env",
            "KASM_SVC_EGRESS=1",
            "--env",
            "KASMFORGE_EGRESS_STATUS=/tmp/.egress_status",
        ],
    );
    desktop.until("it waits", "pgrep -f 20-egress");
    desktop.inside("echo ready >/tmp/.egress_status");
    desktop.until_healthy();
    api.until_told("/api/set_kasm_session_status?token=token-1 {\"status\": \"running\"}");
    drop((desktop, api));
    let desktop = bench.start(&[
        "--env",
        "KASM_SVC_EGRESS=1",
        "--env",
        "KASMFORGE_EGRESS_SECONDS=1",
        "--env",
        "START_XFCE4=0",
    ]);
    desktop.until_told("the egress gateway was not ready within 1 s");
    desktop.until("the display comes all the same", "xset q");
    assert!(
        desktop
            .inside("kasmforge-health || true")
            .contains("the egress gateway is not ready")
    );
    desktop.never_restarted();
}

fn profile(bench: &Bench) {
    let (desktop, api) = session(bench, &["--env", "KASM_PROFILE_LDR=1"]);
    desktop.until_told("the image has no /usr/bin/kasm-profile-sync");
    api.until_told("{\"status\": \"running\"}");
    desktop.until_healthy();
    drop((desktop, api));
    let program = bench.file(
        "profile-sync",
        "#!/bin/sh\necho \"$@\" >>/tmp/synced\n",
        0o755,
    );
    let volume = format!("{program}:/usr/bin/kasm-profile-sync");
    let (desktop, api) = session(
        bench,
        &[
            "--env",
            "KASM_PROFILE_LDR=1",
            "--env",
            "KASM_PROFILE_CHUNK_SIZE=5",
            "--volume",
            &volume,
        ],
    );
    desktop.until_healthy();
    let host = api.inspect("{{.NetworkSettings.IPAddress}}");
    let rest = format!("--remote {host} --port 4433 -c 5 --token token-1");
    assert_eq!(
        desktop.inside("cat /tmp/synced"),
        format!("--download /home/kasm-user --insecure {rest}")
    );
    desktop.inside("/dockerstartup/kasm_pre_shutdown_user.sh");
    assert_eq!(
        desktop.inside("tail -n 1 /tmp/synced"),
        format!(
            "--upload /home/kasm-user --insecure --filter .vnc,.cache,Downloads,Uploads,.config/*/Singleton* {rest}"
        )
    );
    api.until_told("{\"destroyed\": true}");
    drop((desktop, api));
    let program = bench.file(
        "profile-sync-fails",
        "#!/bin/sh\necho the bucket is gone >&2\nexit 5\n",
        0o755,
    );
    let volume = format!("{program}:/usr/bin/kasm-profile-sync");
    let (desktop, _api) = session(bench, &["--env", "KASM_PROFILE_LDR=1", "--volume", &volume]);
    desktop.until_told("the profile could not be loaded (kasm-profile-sync ended with status 5: the bucket is gone)");
    desktop.until_healthy();
    desktop.never_restarted();
}

fn hooks(bench: &Bench) {
    let desktop = bench.start(&["--env", "START_XFCE4=0"]);
    // At once: the agent does not wait for the desktop.
    let (done, text) = desktop.exec(
        &["--user", "0"],
        "/dockerstartup/kasm_post_run_root.sh && /dockerstartup/kasm_pre_shutdown_root.sh",
    );
    assert!(done, "{text}");
    desktop.inside("/dockerstartup/kasm_post_run_user.sh");
    desktop.until_healthy();
    desktop.inside("/dockerstartup/kasm_pre_shutdown_user.sh");
    let (done, text) = desktop.exec(&["--user", "0"], "kasmforge-health");
    assert!(done, "health can be asked by root: {text}");
    desktop.until_healthy();
    desktop.stops();
}

fn fail_secure(bench: &Bench) {
    for (variable, victim) in [
        ("DLP_PROCESS_FAIL_SECURE=1", "python3"),
        ("KASMVNC_AUTO_RECOVER=false", "Xvnc|Xtigervnc"),
    ] {
        let desktop = bench.start(&[
            "--env",
            variable,
            "--env",
            "START_XFCE4=0",
            "--env",
            "DISABLE_CUSTOM_STARTUP=1",
            "--restart",
            "no",
        ]);
        desktop.until_healthy();
        desktop.inside(&format!("pkill -9 -o -x '{victim}'"));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while desktop.inspect("{{.State.Running}}") == "true" {
            assert!(
                std::time::Instant::now() < deadline,
                "{variable}: it runs on"
            );
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        assert_eq!(
            desktop.inspect("{{.State.ExitCode}}"),
            "1",
            "{}",
            desktop.log()
        );
        assert!(desktop.log().contains(variable), "{}", desktop.log());
    }
}

fn secrets(bench: &Bench) {
    let (one, other) = (
        bench.start(&["--env", "START_XFCE4=0"]),
        bench.start(&["--env", "START_XFCE4=0"]),
    );
    one.until_healthy();
    other.until_healthy();
    for secret in [
        "cat /etc/machine-id",
        "openssl pkey -in ~/.vnc/self.pem -pubout",
    ] {
        let (a, b) = (one.inside(secret), other.inside(secret));
        assert!(!a.is_empty() && a != b, "{secret}");
    }
    assert_eq!(
        one.inside("stat -c %a ~/.vnc/self.pem \"$XDG_RUNTIME_DIR/kasmforge/password\"")
            .replace('\n', " "),
        "600 600"
    );
    // Nobody reads a password from a process.
    assert!(
        !one.inside("cat /proc/*/cmdline /proc/1/environ | tr '\\0' ' '")
            .contains(PASSWORD)
    );
}

/// By reference, as any image is: ours holds; the same with another entry point and label does not.
fn checks(bench: &Bench) {
    let picture = bench.project.path().join("shot.png").display().to_string();
    let told = bench.kasmforge(&[
        "checks",
        "--image",
        "kasmforge/bench:latest",
        "--screenshot",
        &picture,
    ]);
    assert_eq!(told["passed"], true, "{told}");
    assert!(std::fs::read(&picture).is_ok_and(|picture| picture.starts_with(b"\x89PNG")));

    let desktop = bench.start(&["--env", "START_XFCE4=0"]);
    let changes = [
        "--change",
        "ENTRYPOINT [\"false\"]",
        "--change",
        "LABEL com.kasmweb.image=no",
        "--change",
        "USER 0",
    ];
    let commit = [
        &["commit"],
        &changes[..],
        &[&desktop.name, "kasmforge-tests/bad:latest"],
    ]
    .concat();
    assert!(bench.docker(&commit).status.success());
    let output = bench.try_kasmforge(&[
        "checks",
        "--image",
        "kasmforge-tests/bad:latest",
        "--within",
        "10",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON on stdout");
    let lines = told["lines"].as_array().expect("lines");
    let failed: Vec<&str> = lines
        .iter()
        .filter(|line| line["verdict"] == "fails")
        .filter_map(|line| line["name"].as_str())
        .collect();
    for name in [
        "label com.kasmweb.image=true",
        "runs as uid 1000",
        "answers over TLS on 6901",
        "does not restart",
    ] {
        assert!(failed.contains(&name), "{name}: {failed:?}");
    }
    let output = bench.try_kasmforge(&["checks", "--image", "kasmforge-tests/absent"]);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1)
            && talk.contains("the engine has no image `kasmforge-tests/absent`"),
        "{talk}"
    );
}
