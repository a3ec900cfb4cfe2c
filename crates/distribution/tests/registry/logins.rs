//! Logins as registries ask for them: passwords, and tokens from another server.
//!
//! Needs `openssl`, for keys and signatures.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kasmforge_distribution::Logins;
use tempfile::TempDir;

use super::strange::{Asked, Said, Scripted, plain};
use super::*;

/// The password `correct`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "me:$2y$04$yEivpyHEAXZZEEkSyswkWOHXHYRHUGav6zA20I8ehTNwxQrsUMpMO\n";

fn with(user: &str, password: &str) -> Settings {
    Settings {
        logins: Logins::none().with(user, password),
        ..settings()
    }
}

fn try_push(settings: &Settings, server: &str, repository: &str) -> Result<Pushed, Error> {
    let image = Sample::of(&[noise(1, 4000)]);
    let notes = Notes::default();
    pushed_with(settings, server, repository, &image, &["latest"], &notes)
}

#[test]
fn a_password_is_shown_with_each_request() {
    let folder = TempDir::new().expect("a folder");
    let users = folder.path().join("users");
    fs::write(&users, HTPASSWD).expect("a file");
    let registry = support::Registry::start_with(
        "",
        &format!(
            "auth:\n  htpasswd:\n    realm: it\n    path: {}\n",
            users.display()
        ),
    );
    let name = registry.name();
    let error = try_push(&settings(), &name, "a/b").expect_err("a login is wanted");
    assert!(matches!(error, Error::LoginWanted { .. }), "{error}");
    let error = try_push(&with("me", "wrong"), &name, "a/b").expect_err("it is wrong");
    assert!(matches!(error, Error::LoginRefused { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("wrong"), "{error:?}");
    try_push(&with("me", "correct"), &name, "a/b").expect("pushed");
}

/// Runs `openssl` in a folder, and gives what it prints.
fn openssl(folder: &Path, arguments: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("`openssl` runs: apt-get install openssl");
    let mut pipe = child.stdin.take().expect("a pipe");
    io::Write::write_all(&mut pipe, input).expect("it reads");
    drop(pipe);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "openssl {arguments}");
    output.stdout
}

/// A key, and the certificate that lets a registry believe what it signs.
fn key() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    openssl(
        folder.path(),
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tokens -keyout key.pem -out cert.pem",
        b"",
    );
    folder
}

/// A token as `docker-registry` wants it (a JSON Web Token, RS256): what a user may do where.
fn token(key: &Path, access: &[(String, Vec<String>)]) -> String {
    let certificate = fs::read_to_string(key.join("cert.pem")).expect("the certificate");
    let der: String = certificate
        .lines()
        .filter(|line| !line.starts_with("---"))
        .collect();
    let header = serde_json::json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
    let access: Vec<_> = access
        .iter()
        .map(|(name, actions)| {
            serde_json::json!({ "type": "repository", "name": name, "actions": actions })
        })
        .collect();
    let claims = serde_json::json!({
        "iss": "tokens", "aud": "the registry", "sub": "me", "jti": "1",
        "nbf": 0, "iat": 0, "exp": 4_000_000_000_u64,
        "access": access,
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = openssl(key, "dgst -sha256 -sign key.pem -binary", signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A value as addresses have it, read.
fn decoded(text: &str) -> String {
    let bytes = text.replace('+', " ");
    let mut parts = bytes.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = u8::from_str_radix(&part[..2], 16).expect("two digits");
        decoded.push(char::from(byte));
        decoded.push_str(&part[2..]);
    }
    decoded
}

/// The scopes a request names.
fn scopes(asked: &Asked) -> Vec<String> {
    let query = match asked.method.as_str() {
        "POST" => String::from_utf8_lossy(&asked.body).into_owned(),
        _ => asked.path.split_once('?').unwrap_or_default().1.to_owned(),
    };
    let values = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="));
    values
        .flat_map(|value| {
            decoded(value)
                .split(' ')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Gives tokens: `team/…` to `me`, reading alone to whoever is unknown.
fn give(key: &Path, asked: &Asked) -> Said {
    let password = format!("Basic {}", STANDARD.encode("me:correct"));
    let identity = String::from_utf8_lossy(&asked.body);
    let known = match (asked.authorization.as_deref(), asked.method.as_str()) {
        (Some(shown), _) if shown != password => return plain(401),
        (Some(_), _) => true,
        (None, "POST") if identity.contains("grant_type=refresh_token&") => {
            if !identity.contains("refresh_token=identity%2Ftoken")
                && !identity.contains("refresh_token=identity/token")
            {
                return plain(401);
            }
            true
        }
        (None, _) => false,
    };
    let access: Vec<_> = scopes(asked)
        .iter()
        .map(|scope| {
            let mut parts = scope.split(':').skip(1);
            let name = parts.next().unwrap_or_default().to_owned();
            let mut actions: Vec<String> = parts
                .next()
                .unwrap_or_default()
                .split(',')
                .map(str::to_owned)
                .collect();
            actions.retain(|action| action == "pull" || (known && name.starts_with("team/")));
            (name, actions)
        })
        .collect();
    let body = serde_json::json!({ "token": token(key, &access), "expires_in": 300 });
    (
        200,
        vec![("Content-Type", "application/json".into())],
        body.to_string(),
    )
}

#[test]
fn tokens_are_asked_for_what_is_to_be_done() {
    let key = Arc::new(key());
    let tokens = Scripted::new({
        let key = Arc::clone(&key);
        move |asked| give(key.path(), asked)
    });
    let registry = support::Registry::start_with(
        "",
        &format!(
            "auth:\n  token:\n    realm: http://{}/token\n    service: the registry\n    issuer: \
             tokens\n    rootcertbundle: {}\n",
            tokens.name(),
            key.path().join("cert.pem").display()
        ),
    );
    let name = registry.name();
    let me = with("me", "correct");
    let notes = Notes::default();
    let image = Sample::of(&[noise(1, 4000), noise(2, 5000)]);
    let push = |settings: &Settings, repository: &str| {
        pushed_with(settings, &name, repository, &image, &["latest"], &notes)
    };

    let first = push(&me, "team/desktop").expect("pushed");
    assert_eq!(sent(&first), (9000 + image.config.len()) as u64);
    // A token for both, and the layers need not be sent.
    let second = push(&me, "team/office").expect("pushed");
    assert_eq!(sent(&second), 0);
    let both = tokens.asked().iter().map(scopes).any(|scopes| {
        scopes
            == [
                "repository:team/office:pull,push",
                "repository:team/desktop:pull",
            ]
    });
    assert!(both, "{:?}", tokens.asked());
    // Tokens are kept: one for each repository, and one for both.
    assert_eq!(tokens.asked().len(), 3, "{:?}", tokens.asked());

    let error = push(&settings(), "team/new").expect_err("nobody is logged in");
    assert!(matches!(error, Error::LoginWanted { .. }), "{error}");
    let error = push(&with("me", "wrong"), "team/new").expect_err("it is wrong");
    assert!(matches!(error, Error::LoginRefused { .. }), "{error}");
    let error = push(&me, "closed/desktop").expect_err("it is closed");
    let words =
        "does not allow it to push to `closed/desktop` with the login from the command line";
    assert!(error.to_string().contains(words), "{error}");

    // An identity token, as `docker login` keeps where passwords are not kept.
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("config.json");
    let text = format!(r#"{{"auths": {{"{name}": {{"identitytoken": "identity/token"}}}}}}"#);
    fs::write(&file, text).expect("a file");
    let identity = Settings {
        logins: Logins::read(&[file]).expect("logins"),
        ..settings()
    };
    push(&identity, "team/third").expect("pushed");
}

#[test]
fn a_token_server_without_tls_hears_no_password() {
    let server = Scripted::new(|_| {
        let bearer = "Bearer realm=\"http://192.0.2.1/token\",service=\"it\"";
        (
            401,
            vec![("WWW-Authenticate", bearer.into())],
            String::new(),
        )
    });
    let error = try_push(&with("me", "correct"), &server.name(), "a/b").expect_err("not safe");
    assert!(matches!(error, Error::InsecureRealm { .. }), "{error}");
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.authorization.is_none())
    );
}
