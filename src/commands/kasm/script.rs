//! A workspace's checks as a shell script for a session's container.
//!
//! The server executes commands without telling how they end. So the script writes what it saw
//! into a file of the session's download folder, which the server passes on with the rest of the
//! container's web server, and the file is read from there. It appears under its name when it is
//! whole: a line `NUMBER ok` or `NUMBER no WHAT` for each check, then `end`.

use std::fmt::Write as _;

use kasmforge_kasm::api::Id;
use kasmforge_spec::{Check, Probe};

use super::session::quoted;

/// The folder that Kasm's web interface offers downloads from.
const FOLDER: &str = "/home/kasm-user/Downloads";

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: String,
    /// What was seen instead; `None`: it holds.
    pub(super) problem: Option<String>,
}

/// The name of the file with the results: another for each session, as homes may outlive them.
pub(super) fn file(session: &Id) -> String {
    format!("kasmforge-verify-{session}.txt")
}

/// The command that runs the checks.
pub(super) fn command(checks: &[Check], session: &Id) -> String {
    let file = format!("{FOLDER}/{}", file(session));
    let mut script = format!(
        "mkdir -p {FOLDER}; exec >{file}.part 2>/dev/null\n\
         until_true() {{ n=$1; left=$2; while :; do seen=; if $3; then echo \"$n ok\"; return; fi; \
         [ \"$left\" -le 0 ] && break; left=$((left - 1)); sleep 1; done; echo \"$n no $seen\"; }}\n"
    );
    for (number, check) in checks.iter().enumerate() {
        let _ = writeln!(script, "check_{number}() {{ {}; }}", probe(&check.probe));
        let _ = writeln!(
            script,
            "until_true {number} {} check_{number}",
            check.within
        );
    }
    let _ = write!(script, "echo end; mv {file}.part {file}");
    quoted(&["sh".into(), "-c".into(), script])
}

/// The command that removes the file again: a home may outlive its session.
pub(super) fn removal(session: &Id) -> String {
    quoted(&[
        "rm".into(),
        "-f".into(),
        format!("{FOLDER}/{}", file(session)),
    ])
}

/// A shell function's body: true if the check holds, else `seen` says what was.
fn probe(probe: &Probe) -> String {
    match probe {
        Probe::Port(port) => format!(
            "seen='nothing listens on port {port}'; \
             grep -Eq '^ *[0-9]+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A ' \
             /proc/net/tcp /proc/net/tcp6"
        ),
        Probe::Http {
            port,
            tls,
            path,
            status,
        } => http(*port, *tls, path, *status),
        Probe::Command(words) => format!(
            "{} >/dev/null; s=$?; seen=\"it ended with status $s\"; [ $s = 0 ]",
            quoted(words)
        ),
        Probe::File(path) => {
            let path = quoted(std::slice::from_ref(path));
            format!("seen='it does not exist'; [ -e {path} ]")
        }
        Probe::Process(name) => {
            // The kernel keeps the first 15 bytes of a name.
            let short: String = name.chars().take(15).collect();
            let word = |text: &str| quoted(&[text.to_owned()]);
            format!(
                "seen='no such process runs'; for p in /proc/[0-9]*; do \
                 read -r c <$p/comm; [ \"$c\" = {} ] && return 0; \
                 a=$(tr '\\0' '\\n' <$p/cmdline | head -n 1); [ \"${{a##*/}}\" = {} ] && return 0; \
                 done; false",
                word(&short),
                word(name)
            )
        }
    }
}

/// Asks with whatever the image has: curl, else openssl, else bash.
fn http(port: u16, tls: bool, path: &str, status: u16) -> String {
    let scheme = if tls { "https" } else { "http" };
    let word = |text: &str| quoted(&[text.to_owned()]);
    let url = word(&format!("{scheme}://127.0.0.1:{port}{path}"));
    let path = word(path);
    let request = "GET %s HTTP/1.0\\r\\nHost: 127.0.0.1\\r\\n\\r\\n";
    let other = match tls {
        true => format!(
            "command -v openssl >/dev/null || {{ seen='the image has neither curl nor openssl to \
             ask with'; return 1; }}; s=$(printf '{request}' {path} | timeout 5 openssl s_client \
             -quiet -connect 127.0.0.1:{port} | head -n 1 | cut -d ' ' -f 2)"
        ),
        false => format!(
            "command -v bash >/dev/null || {{ seen='the image has neither curl nor bash to ask \
             with'; return 1; }}; s=$(timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; \
             printf \"{request}\" \"$1\" >&3; head -n 1 <&3' - {path} | cut -d ' ' -f 2)"
        ),
    };
    format!(
        "if command -v curl >/dev/null; then \
         s=$(curl -ks -m 5 -o /dev/null -w '%{{http_code}}' {url}); else {other}; fi; \
         seen=\"it answers ${{s:-nothing}}, not {status}\"; [ \"$s\" = {status} ]"
    )
}

/// Reads the results; `None` if they are not those of these checks.
pub(super) fn read(text: &str, checks: &[Check]) -> Option<Vec<Seen>> {
    let mut lines = text.lines();
    let mut all = Vec::new();
    for (number, check) in checks.iter().enumerate() {
        let line = lines.next()?;
        let rest = line.strip_prefix(&format!("{number} "))?;
        let problem = match rest.split_once(' ').unwrap_or((rest, "")) {
            ("ok", "") => None,
            ("no", seen) => Some(seen.chars().filter(|c| !c.is_control()).collect()),
            _ => return None,
        };
        all.push(Seen {
            name: check.name.clone(),
            problem,
        });
    }
    (lines.next() == Some("end") && lines.next().is_none()).then_some(all)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::process::Command;

    use kasmforge_spec::{Files, Location};

    use super::*;

    fn check(name: &str, probe: Probe) -> Check {
        Check {
            name: name.into(),
            probe,
            within: 0,
            at: Location {
                file: Files::default().add("", ""),
                span: 0..0,
            },
        }
    }

    /// Runs the script as a container would, with another folder.
    fn ran(checks: &[Check]) -> Vec<Seen> {
        let folder = tempfile::TempDir::new().expect("a folder");
        let session = Id::parse(&"a".repeat(32)).expect("an id");
        let here = folder.path().display().to_string();
        let command = command(checks, &session).replace(FOLDER, &here);
        let status = Command::new("sh").args(["-c", &command]).status();
        assert!(status.expect("sh runs").success());
        let text = fs::read_to_string(folder.path().join(file(&session))).expect("results");
        let seen = read(&text, checks).unwrap_or_else(|| panic!("{text}"));
        let removal = removal(&session).replace(FOLDER, &here);
        assert!(
            Command::new("sh")
                .args(["-c", &removal])
                .status()
                .expect("sh runs")
                .success()
        );
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
        seen
    }

    #[test]
    fn checks_are_made_by_a_shell() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let open = listener.local_addr().expect("it").port();
        let closed = {
            let other = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            other.local_addr().expect("it").port()
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let this = std::env::current_exe().expect("this program");
        let this = this
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let seen = ran(&[
            check("open", Probe::Port(open)),
            check("closed", Probe::Port(closed)),
            check(
                "true",
                Probe::Command(words(&["test", "it's", "=", "it's"])),
            ),
            check("false", Probe::Command(words(&["sh", "-c", "exit 3"]))),
            check("there", Probe::File("/etc".into())),
            check("not there", Probe::File("/not/it's".into())),
            check("runs", Probe::Process(this)),
            check("runs not", Probe::Process("no-such-process".into())),
        ]);
        let problems: Vec<_> = seen.iter().map(|one| one.problem.as_deref()).collect();
        let nothing = format!("nothing listens on port {closed}");
        assert_eq!(
            problems,
            [
                None,
                Some(nothing.as_str()),
                None,
                Some("it ended with status 3"),
                None,
                Some("it does not exist"),
                None,
                Some("no such process runs"),
            ]
        );
    }

    #[test]
    fn http_is_asked_with_what_there_is() {
        use std::io::{Read as _, Write as _};
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("it").port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer);
                let _ = stream.write_all(b"HTTP/1.0 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
            }
        });
        let http = |status| Probe::Http {
            port,
            tls: false,
            path: "/it's%20a?b&c".into(),
            status,
        };
        let seen = ran(&[check("right", http(401)), check("wrong", http(200))]);
        assert_eq!(seen[0].problem, None);
        assert_eq!(seen[1].problem.as_deref(), Some("it answers 401, not 200"));
    }

    #[test]
    fn other_texts_are_no_results() {
        let checks = [check("one", Probe::Port(1))];
        for text in [
            "",
            "0 ok",
            "1 ok\nend",
            "0 ok\nend\nmore",
            "<html>",
            "0 okay\nend",
        ] {
            assert_eq!(read(text, &checks), None, "{text}");
        }
        assert!(read("0 no it\u{1b}[1m\nend\n", &checks).is_some());
    }
}
