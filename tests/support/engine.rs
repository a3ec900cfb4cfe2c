//! A private Docker engine for tests, and nothing left behind.
//!
//! [`Engine::start`] runs Debian's `dockerd` with its own socket, data, bridge, mount namespace
//! and process namespace. The process namespace is what makes the end certain: when it goes, the
//! engine, its containerd, every shim and every container go with it. A supervising shell waits on
//! a pipe that only the test holds: it cleans up when the [`Engine`] is dropped, and also when the
//! test process is killed or ends without dropping its statics.
//!
//! Needs root, `dockerd` (Debian: `apt-get install --no-install-recommends docker.io`) and `ip`
//! (`iproute2`). Published ports work without any packet filter, through the engine's own proxy.
//! Only the standard library is used, so that any test may include this file as a module.

#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long an engine may take to answer. A cold one on a busy machine needs seconds.
const START: Duration = Duration::from_secs(120);
/// How long it may take to end, containers and all.
const STOP: Duration = Duration::from_secs(60);

/// What the supervising shell does: `$1` the engine's folder, `$2` the bridge, `$3` its network.
///
/// The bridge is made by hand because the engine names its own one `docker0`, and two engines
/// cannot share it. `--kill-child` and the process namespace end every process of the engine.
const SUPERVISOR: &str = r#"
home=$1 bridge=$2 network=$3
ip link add "$bridge" type bridge &&
ip addr add "$network" dev "$bridge" &&
ip link set "$bridge" up || exit 1
unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
    dockerd --host "unix://$home/docker.sock" --data-root "$home/data" \
    --exec-root "$home/exec" --pidfile "$home/dockerd.pid" --bridge "$bridge" \
    --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$bridge" \
    --config-file "$home/daemon.json" </dev/null &
engine=$!
( while kill -0 $engine 2>/dev/null; do sleep 0.2; done; echo "the engine has ended" ) &
cat >/dev/null
# The namespace's first process dies by a signal it cannot refuse; all others die with it.
kill -KILL $(cat /proc/$engine/task/$engine/children) 2>/dev/null || kill -KILL $engine 2>/dev/null
wait
ip link delete "$bridge" 2>/dev/null
find /sys/fs/cgroup -depth -type d \( -path "*/$bridge" -o -path "*/$bridge/*" \) -exec rmdir {} + 2>/dev/null
[ -e "$home/keep" ] && exit
umount "$home/data" 2>/dev/null
rm -rf "$home"
"#;

static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running engine of the test's own.
pub(crate) struct Engine {
    /// The engine's unix socket.
    pub(crate) socket: PathBuf,
    folder: PathBuf,
    /// The bridge's name and its address with its mask.
    bridge: [String; 2],
    /// Ends the engine; `None` for one that somebody else started.
    supervisor: Option<Child>,
}

impl Engine {
    /// Starts an engine and waits until it answers.
    ///
    /// # Panics
    /// If a tool is missing or the engine does not come up; the text says what to install, or
    /// ends with the engine's last words.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts an engine whose disk holds so many megabytes, in memory.
    ///
    /// # Panics
    /// As [`Engine::start`].
    pub(crate) fn start_on_disk_of(megabytes: u32) -> Self {
        Self::start_with(Some(megabytes))
    }

    /// An engine that runs already: another version, or another product.
    pub(crate) fn existing(socket: PathBuf) -> Self {
        Self {
            socket,
            folder: PathBuf::new(),
            bridge: [String::new(), String::new()],
            supervisor: None,
        }
    }

    fn start_with(disk: Option<u32>) -> Self {
        for (tool, package) in [
            ("dockerd", "docker.io"),
            ("ip", "iproute2"),
            ("unshare", "util-linux"),
        ] {
            assert!(
                on_path(tool),
                "this test runs a real Docker engine, and `{tool}` is missing; as root:\n    \
                 apt-get install --no-install-recommends {package}"
            );
        }
        let uid = Command::new("id")
            .arg("-u")
            .output()
            .expect("`id` runs")
            .stdout;
        assert_eq!(
            String::from_utf8_lossy(&uid).trim(),
            "0",
            "a Docker engine is started by root only"
        );

        // Short, because a unix socket's path holds 108 bytes at most.
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("kf{:x}-{number:x}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).expect("a folder for the engine");
        fs::write(folder.join("daemon.json"), "{}").expect("the engine's settings");
        if let Some(megabytes) = disk {
            let data = folder.join("data");
            fs::create_dir_all(&data).expect("a folder for the disk");
            let mounted = Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "disk"])
                .arg(&data)
                .status();
            assert!(mounted.is_ok_and(|status| status.success()), "a disk");
        }
        let bridge = [name, free_network(number)];
        let supervisor = Some(supervise(&folder, &bridge));
        let mut engine = Self {
            socket: folder.join("docker.sock"),
            folder,
            bridge,
            supervisor,
        };
        engine.wait_until_it_answers();
        engine
    }

    fn wait_until_it_answers(&mut self) {
        let started = Instant::now();
        loop {
            if self
                .get("/_ping")
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
            {
                return;
            }
            let log = self.log();
            let ended = log.contains("the engine has ended")
                || self
                    .supervisor
                    .as_mut()
                    .is_some_and(|one| one.try_wait().is_ok_and(|status| status.is_some()));
            if ended || started.elapsed() > START {
                let lines: Vec<_> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(25)..].join("\n");
                panic!("the Docker engine did not come up; its last words:\n{tail}");
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Ends the engine and all its containers, as a machine's power cut does; what it keeps on
    /// disk stays.
    pub(crate) fn cut_power(&mut self) {
        fs::write(self.folder.join("keep"), "").expect("a mark");
        self.end();
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_file(self.folder.join("dockerd.pid"));
        // On a machine this is below /run, which is empty after its start. Left here, the engine takes
        // whatever has containerd's former process number for its containerd.
        let _ = fs::remove_dir_all(self.folder.join("exec"));
    }

    /// Starts it again after [`Engine::cut_power`], and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        fs::remove_file(self.folder.join("keep")).expect("the mark");
        self.supervisor = Some(supervise(&self.folder, &self.bridge));
        self.wait_until_it_answers();
    }

    /// The engine's address, as `DOCKER_HOST` wants it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// What the engine wrote so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Asks the engine's API; the answer is head and body as they came.
    ///
    /// # Errors
    /// If the engine cannot be reached.
    pub(crate) fn get(&self, path: &str) -> std::io::Result<String> {
        self.request("GET", path, &[])
    }

    /// Sends a request with a body.
    ///
    /// # Errors
    /// If the engine cannot be reached.
    pub(crate) fn request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(STOP))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Ends the engine now.
    pub(crate) fn stop(self) {}
}

impl Engine {
    fn end(&mut self) {
        let Some(mut supervisor) = self.supervisor.take() else {
            return;
        };
        drop(supervisor.stdin.take());
        let started = Instant::now();
        while started.elapsed() < STOP {
            match supervisor.try_wait() {
                Ok(None) => sleep(Duration::from_millis(20)),
                _ => return,
            }
        }
        let _ = supervisor.kill();
        let _ = supervisor.wait();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let keep = self.folder.join("keep");
        if self.supervisor.is_some() {
            self.end();
        } else if keep.exists() {
            // Its power was cut, with its disk kept.
            let _ = Command::new("umount")
                .arg(self.folder.join("data"))
                .output();
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn supervise(folder: &Path, bridge: &[String; 2]) -> Child {
    let log = fs::File::create(folder.join("log")).expect("the engine's log");
    Command::new("sh")
        .args(["-c", SUPERVISOR, "engine"])
        .arg(folder)
        .args(bridge)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().expect("the log, twice"))
        .stderr(log)
        // Whatever signal ends the test's group, the supervisor lives on to clean up.
        .process_group(0)
        .spawn()
        .expect("`sh` runs")
}

/// A TCP port of this machine that nothing uses now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|folder| Path::new(&folder).join(tool).is_file())
}

/// The bridge's address and mask, in a network this machine has no route to yet.
fn free_network(number: u32) -> String {
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let first = std::process::id().wrapping_mul(7).wrapping_add(number);
    (0..250)
        .map(|step| first.wrapping_add(step) % 250 + 1)
        // The table writes addresses as little-endian hexadecimal: 10.213.5.0 is 0005D50A.
        .find(|third| !routes.contains(&format!("00{third:02X}D50A")))
        .map(|third| format!("10.213.{third}.1/24"))
        .expect("one of 250 networks is free")
}
