//! Registries through the command: made from a project, checked on disk and over HTTP, imported, and
//! the gallery looked at in a real browser.
//!
//! Images are not built here: what a build leaves in the store is written by hand, because the
//! registry reads sizes and digests from it, and nothing else. The last test needs
//! `apt-get install chromium chromium-driver`; its screenshots are kept below `target/test-output`.

mod support {
    pub(crate) mod browser;
    pub(crate) mod engine;
    pub(crate) mod oracle;
    pub(crate) mod project;
    pub(crate) mod server;
}

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use insta::assert_snapshot;
use serde_json::{Value, json};
use support::browser::Browser;
use support::oracle::architecture;
use support::project::{Project, Ran};
use support::server::Server;

const REGISTRY: &str = "name = \"Example desktops\"\n\
    description = \"Desktops for everybody at Example, the same on every machine.\"\n\
    url = \"https://desktops.example/\"\nicon = \"files/icon.svg\"\n\
    contact = \"https://desktops.example/help\"\n";

const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 64 64\">\
    <rect width=\"64\" height=\"64\" rx=\"14\" fill=\"COLOUR\"/>\
    <path d=\"M14 44 L28 22 L38 36 L44 28 L52 44 Z\" fill=\"#fff\" opacity=\".85\"/></svg>";

/// A digest for whatever wants one.
fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// A project whose registry lists these workspaces: names, and what stands in `[kasm]`.
struct Shop {
    project: Project,
}

impl Shop {
    fn of(workspaces: &[(&str, &str)]) -> Self {
        let project = Project::with_own_store();
        project.file("registry.toml", REGISTRY.as_bytes());
        project.file(
            "files/icon.svg",
            ICON.replace("COLOUR", "#2a5bc4").as_bytes(),
        );
        for (name, kasm) in workspaces {
            let text = format!(
                "description = \"The workspace {name}, for people who like it\"\n\
                 [debian]\nsuite = \"trixie\"\n[packages]\ninstall = [\"{name}\"]\n\
                 [image]\nrepository = \"registry.example/desktops/{name}\"\n\
                 [deploy]\nports = [\"127.0.0.1:7001:6901\"]\nshm-size = \"512m\"\n{kasm}"
            );
            project.define(name, &text);
        }
        let shop = Self { project };
        shop.lock(workspaces);
        shop
    }

    /// What a build notes in the lock.
    fn lock(&self, workspaces: &[(&str, &str)]) {
        let mut text = format!(
            "format = 1\n\n[[archive]]\nname = \"debian trixie\"\nrelease = \"{}\"\n\
             date = \"2026-11-20T00:12:42Z\"\n",
            digest('a')
        );
        let architecture = architecture();
        let mut names: Vec<&str> = workspaces.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        for name in &names {
            text.push_str(&format!(
                "\n[[workspace]]\nname = \"{name}\"\narchitecture = \"{architecture}\"\n\
                 request = \"{}\"\nimage = \"{}\"\npackages = [\n    \"libc6\",\n    \"{name}\",\n]\n\
                 layers = [\n    [\"libc6\"],\n    [\"{name}\"],\n]\n",
                digest('b'),
                digest('c'),
            ));
        }
        names.push("libc6");
        names.sort_unstable();
        for name in names {
            text.push_str(&format!(
                "\n[[package]]\nname = \"{name}\"\nversion = \"2.41-12\"\n\
                 architecture = \"{architecture}\"\narchive = \"debian trixie\"\n\
                 path = \"pool/main/{name}.deb\"\nsize = 1\nsha256 = \"{}\"\n\
                 installed-size = 1\ndepends = []\n",
                digest('d').trim_start_matches("sha256:")
            ));
        }
        self.project.file("kasmforge.lock", text.as_bytes());
    }

    /// What a build leaves in the store: a record, and an archive of the length it names.
    fn built(&self, name: &str, size: u64) {
        let folder = self.project.store().join("images").join(name);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("image.tar"), b"x").expect("an archive");
        let record = json!({
            "workspace": name,
            "architecture": architecture(),
            "references": [format!("registry.example/desktops/{name}:latest")],
            "manifest": digest('c'),
            "config": digest('e'),
            "created": 1,
            "layers": [
                { "diff_id": digest('1'), "size": size - 1, "created_by": "", "stage": name, "packages": [] },
                { "diff_id": digest('2'), "size": 1, "created_by": "", "stage": name, "packages": [] },
            ],
            "archive": folder.join("image.tar"),
            "length": 1,
            "parts": [],
            "normalised": [],
        });
        fs::write(folder.join("latest.json"), record.to_string()).expect("a record");
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.project.run(arguments)
    }

    fn public(&self) -> PathBuf {
        self.project.path().join("public")
    }

    /// Makes the registry, which must succeed.
    fn make(&self) -> PathBuf {
        let ran = self.run(&["registry", "build"]);
        assert_eq!(ran.status, 0, "{}", ran.errors);
        self.public()
    }

    /// What the command says when it refuses to make the registry.
    fn refused(&self) -> String {
        let ran = self.run(&["registry", "build"]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert_eq!(ran.output, "");
        assert!(!self.public().exists(), "something was written");
        let here = self.project.path().display().to_string();
        ran.errors.replace(&here, "[project]").trim_end().to_owned()
    }
}

/// A picture in PNG (ISO/IEC 15948): from dark to light, from left to right.
fn png(width: u32, height: u32) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], content: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(content);
        let length = u32::try_from(content.len()).expect("it is short");
        [
            &length.to_be_bytes(),
            kind.as_slice(),
            content,
            &crc.sum().to_be_bytes(),
        ]
        .concat()
    };
    let mut row = vec![0];
    row.extend((0..width).map(|x| u8::try_from(x * 255 / width).expect("at most 255")));
    let rows = row.repeat(usize::try_from(height).expect("it is low"));
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&rows).expect("a vector takes all");
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    // Eight bits, grey, and the only methods there are.
    header.extend([8, 0, 0, 0, 0]);
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"IDAT", &encoder.finish().expect("a vector takes all")),
        chunk(b"IEND", &[]),
    ]
    .concat()
}

fn kasm(friendly: &str, more: &str) -> String {
    format!(
        "[kasm]\nfriendly-name = \"{friendly}\"\nicon = \"../files/icon.svg\"\n\
         categories = [\"Browser\"]\n{more}"
    )
}

/// Every file below a folder: bytes and mode.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let mode = fs::metadata(&path)
                .expect("it is there")
                .permissions()
                .mode();
            let name = path.strip_prefix(root).expect("below").to_owned();
            if path.is_dir() {
                files.insert(name, (mode, Vec::new()));
                folders.push(path);
            } else {
                files.insert(name, (mode, fs::read(&path).expect("readable")));
            }
        }
    }
    files
}

fn list(public: &Path, schema: &str) -> Value {
    let text = fs::read_to_string(public.join(schema).join("list.json")).expect("a list");
    serde_json::from_str(&text).expect("it is JSON")
}

#[test]
fn a_registry_is_made_of_definitions_lock_and_images() {
    let more = "cores = 2\nmemory = \"2768m\"\nrun-config = { hostname = \"kasm\" }\n";
    let shop = Shop::of(&[("chromium", &kasm("Chromium", more)), ("base", "")]);
    shop.built("chromium", 2_169_000_001);
    let ran = shop.run(&["registry", "build", "--json"]);
    assert_eq!(ran.status, 0, "{}", ran.errors);
    let told: Value = serde_json::from_str(&ran.output).expect("it is JSON");
    assert_eq!(told["workspaces"][0]["uncompressed_size_mb"], 2170);
    assert_eq!(told["left_out"][0]["name"], "base");
    let (older, newer) = (list(&shop.public(), "1.0"), list(&shop.public(), "1.1"));
    assert_eq!(older["list_url"], "https://desktops.example/");
    assert_eq!(older["icon"], "https://desktops.example/icon.svg");
    // The newest Release of the lock, in milliseconds.
    assert_eq!(older["modified"], 1_795_133_562_000_i64);
    let entry = &older["workspaces"][0];
    assert_eq!(entry["name"], "registry.example/desktops/chromium:latest");
    assert_eq!(entry["docker_registry"], "https://registry.example/");
    assert_eq!(entry["uncompressed_size_mb"], 2170);
    assert_eq!(
        (&entry["cores"], &entry["memory"]),
        (&json!(2), &json!(2768))
    );
    assert_eq!(entry["architecture"], json!([architecture()]));
    assert_eq!(entry["run_config"], json!({ "hostname": "kasm" }));
    assert_eq!(entry["exec_config"], json!({}));
    let version = &newer["workspaces"][0]["compatibility"][0];
    assert_eq!(
        version["image"],
        "registry.example/desktops/chromium:latest"
    );
    assert!(shop.public().join("1.1/icons/chromium.svg").is_file());
    let checked = shop.run(&[
        "registry",
        "check",
        shop.public().to_str().expect("text"),
        "--strict",
    ]);
    assert_eq!(checked.status, 0, "{}", checked.errors);
    // Made again in its place, and not where something else is.
    shop.make();
    fs::write(shop.project.path().join("public/versions.txt"), "1.0\n").expect("a file");
    shop.make();
    fs::remove_dir_all(shop.public().join("1.0")).expect("gone");
    let refused = shop.run(&["registry", "build"]);
    refused.failed_with(&["holds something else than a registry", "--out"]);
}

#[test]
fn the_same_input_makes_the_same_bytes() {
    let shop = Shop::of(&[
        ("chromium", &kasm("Chromium", "")),
        ("gimp", &kasm("GIMP", "notes = \"*Draws*\"\n")),
    ]);
    // Built in another order than listed.
    shop.built("gimp", 900_000_000);
    shop.built("chromium", 2_000_000_000);
    let first = tree(&shop.make());
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_kasmforge"))
        .arg("-C")
        .arg(shop.project.path())
        .arg("--store")
        .arg(shop.project.store())
        .args(["registry", "build", "--out"])
        .arg(shop.project.path().join("again"))
        .env_remove("SOURCE_DATE_EPOCH")
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("TZ", "Pacific/Kiritimati");
    let ran = Ran::of(&mut command);
    assert_eq!(ran.status, 0, "{}", ran.errors);
    let second = tree(&shop.project.path().join("again"));
    for (path, found) in &first {
        assert_eq!(second.get(path), Some(found), "{}", path.display());
    }
    assert_eq!(first.len(), second.len());
}

#[test]
fn what_a_registry_lacks_is_told() {
    let shop = Shop::of(&[("chromium", &kasm("Chromium", ""))]);
    assert_snapshot!(shop.refused(), @"error: `chromium` has not been built, and its size is taken from the built image; run `kasmforge build chromium`, or leave it out with --skip-unbuilt");
    shop.built("chromium", 2_000_000_000);
    fs::remove_file(shop.project.path().join("registry.toml")).expect("gone");
    assert_snapshot!(shop.refused(), @r#"
    error: there is no registry.toml in [project]; it says what the registry is called and where it is served:

      name = "Example desktops"
      description = "Desktops for everybody at Example"
      url = "https://desktops.example/"
      icon = "icon.svg"
      contact = "https://desktops.example/help"
    "#);
}

#[test]
fn what_an_entry_lacks_is_shown_at_its_place() {
    let shop = Shop::of(&[
        (
            "chromium",
            "[kasm]\nfriendly-name = \"Chromium\"\ncategories = [\"Surfing\"]\n",
        ),
        (
            "gimp",
            &kasm(
                "GIMP",
                "available-tags = [\"latest\"]\nscreenshot = \"../files/icon.svg\"\n",
            ),
        ),
    ]);
    shop.project
        .file("files/icon.svg", b"<svg viewBox='0 0 3 4'/>");
    shop.built("chromium", 2_000_000_000);
    shop.built("gimp", 2_000_000_000);
    assert_snapshot!(shop.refused(), @r#"
    warning: `Surfing` is not one of Kasm's categories
      --> workspaces/chromium.toml:13:15
       |
    13 | categories = ["Surfing"]
       |               ^^^^^^^^^ servers show a filter of its own for it
       |
       = help: they are: Browser, Communication, Desktop, Development, Games, Multimedia, Office, Privacy, Productivity, Remote Access

    error: `chromium` has no `available-tags`, but `gimp` has
      --> workspaces/chromium.toml:12:17
       |
    12 | friendly-name = "Chromium"
       |                 ^^^^^^^^^^ shown in no channel
       |
       = help: give `available-tags` to all listed workspaces, or to none

    error: a workspace of the registry needs `icon` in `[kasm]`
      --> workspaces/chromium.toml:12:17
       |
    12 | friendly-name = "Chromium"
       |                 ^^^^^^^^^^ listed because of this
       |
       = help: give a square PNG or SVG, or take `friendly-name` away

    error: `files/icon.svg` is no good icon
      --> workspaces/gimp.toml:13:8
       |
    13 | icon = "../files/icon.svg"
       |        ^^^^^^^^^^^^^^^^^^^ it is not square: 3 × 4

    error: `files/icon.svg` is no good screenshot
      --> workspaces/gimp.toml:16:14
       |
    16 | screenshot = "../files/icon.svg"
       |              ^^^^^^^^^^^^^^^^^^^ it is neither PNG nor JPEG nor WebP

    error: `files/icon.svg` is no good icon
     --> registry.toml:4:8
      |
    4 | icon = "files/icon.svg"
      |        ^^^^^^^^^^^^^^^^ it is not square: 3 × 4

    5 mistakes; nothing was written
    "#);
}

/// What comes with kasmforge is a registry that no server refuses, and nothing in it is doubtful.
#[test]
fn the_shipped_workspaces_make_a_registry() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shop = Shop::of(&[]);
    for (path, (_, bytes)) in tree(&here.join("workspaces")) {
        if here.join("workspaces").join(&path).is_file() {
            let path = Path::new("workspaces").join(path);
            shop.project.file(path.to_str().expect("text"), &bytes);
        }
    }
    for file in ["registry.toml", "kasmforge.lock"] {
        let bytes = fs::read(here.join(file)).expect(file);
        shop.project.file(file, &bytes);
    }
    let lock: toml::Table = fs::read_to_string(here.join("kasmforge.lock"))
        .expect("a lock")
        .parse()
        .expect("it is TOML");
    let mut listed = 0;
    for workspace in lock["workspace"].as_array().expect("workspaces") {
        if workspace["architecture"].as_str() == Some(architecture().as_str()) {
            shop.built(workspace["name"].as_str().expect("a name"), 900_000_000);
            listed += 1;
        }
    }
    let ran = shop.run(&["registry", "build", "--skip-unbuilt", "--json"]);
    assert_eq!(ran.status, 0, "{}", ran.errors);
    let told: Value = serde_json::from_str(&ran.output).expect("it is JSON");
    let made = told["workspaces"].as_array().expect("workspaces").len();
    let left_out = told["left_out"].as_array().expect("workspaces").len();
    assert!(made > 10 && made <= listed, "{made} of {listed}");
    let definitions = fs::read_dir(here.join("workspaces")).expect("definitions");
    let definitions = definitions.filter(|entry| {
        let path = entry.as_ref().expect("an entry").path();
        path.extension().is_some_and(|ending| ending == "toml")
    });
    assert_eq!(made + left_out, definitions.count());
    let public = shop.public().display().to_string();
    let checked = shop.run(&["registry", "check", &public, "--strict"]);
    assert_eq!(checked.status, 0, "{checked:?}");
}

#[test]
fn a_screenshot_is_looked_at_before_it_is_shown() {
    let more = "screenshot = \"../files/shot.png\"\n";
    let shop = Shop::of(&[("chromium", &kasm("Chromium", more))]);
    shop.built("chromium", 2_000_000_000);
    assert_snapshot!("a_screenshot_that_is_not_there", shop.refused());
    let mut large = png(64, 36);
    large.resize((4 << 20) + 1, 0);
    for (name, bytes) in [
        ("a_screenshot_that_is_too_large", large),
        ("a_screenshot_that_is_no_picture", b"<html>".to_vec()),
    ] {
        shop.project.file("files/shot.png", &bytes);
        assert_snapshot!(name, shop.refused());
    }
    let right = png(64, 36);
    shop.project.file("files/shot.png", &right);
    let public = shop.make();
    let shown = public.join("workspaces/chromium-screenshot.png");
    assert_eq!(fs::read(shown).expect("it is there"), right);
    let page = fs::read_to_string(public.join("workspaces/chromium.html")).expect("a page");
    assert!(page.contains("chromium-screenshot.png\" alt=\"Screenshot of Chromium\""));
    // It is for people: what Kasm's servers read does not change by it.
    let list = fs::read_to_string(public.join("1.1/list.json")).expect("a list");
    assert!(!list.contains("screenshot"), "{list}");
}

#[test]
fn any_registry_is_checked_on_disk_and_over_http() {
    let shop = Shop::of(&[("chromium", &kasm("Chromium", ""))]);
    shop.built("chromium", 2_000_000_000);
    let public = shop.make();
    let before = shop.project.path().join("before");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(&public)
        .arg(&before)
        .status();
    assert!(copied.expect("`cp` runs").success());
    // As somebody would write it who does it by hand, in one line.
    let mut wrong = list(&public, "1.1");
    wrong["list_url"] = Value::Null;
    let entry = &mut wrong["workspaces"][0];
    entry["description"] = json!("Another");
    entry["categories"] = json!(["Browsers"]);
    entry["compatibility"][0]["image"] = json!("registry.example/desktops/chromium");
    entry["compatibility"][0]["uncompressed_size_mb"] = json!("2170");
    fs::write(public.join("1.1/list.json"), wrong.to_string()).expect("written");
    fs::remove_file(public.join("1.0/icons/chromium.svg")).expect("gone");
    let server = Server::of(&public);
    let (address, previous) = (server.address(), before.display().to_string());
    let ran = shop.run(&["registry", "check", &address, "--previous", &previous]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert_snapshot!(ran.errors.replace(&address, "[registry]"), @r#"
    error: the icon `chromium.svg` is not there
      --> [registry]/1.0/list.json:13:20
       |
    13 |       "image_src": "chromium.svg",
       |                    ^^^^^^^^^^^^^^ named here
       |
       = help: [registry]/1.0/icons/chromium.svg is what a server fetches; names are case-sensitive
       = help: this is `workspaces[0].image_src`

    error: `list_url` must be a string
     --> [registry]/1.1/list.json:1:217
      |
    1 | ...","icon":"https://desktops.example/icon.svg","list_url":null,"modified":1795133562000,"name":"Example desktops","workspacecount":1...
      |                                                            ^^^^ this is null
      |
      = help: a server answers "Invalid registry schema" to null here
      = help: this is `list_url`

    error: `categories` is not what [registry]/1.1/workspaces/chromium/workspace.json says
     --> [registry]/1.1/list.json:1:345
      |
    1 | ...paces":[{"architecture":["amd64"],"categories":["Browsers"],"compatibility":[{"image":"registry.example/desktops/chromium","uncomp...
      |                                                   ^^^^^^^^^^^^ only the list has this
      |
      = help: there it is `["Browser"]`
      = help: this is `workspaces[0].categories`

    warning: `Browsers` is not one of Kasm's categories
     --> [registry]/1.1/list.json:1:346
      |
    1 | ...kspaces":[{"architecture":["amd64"],"categories":["Browsers"],"compatibility":[{"image":"registry.example/desktops/chromium","unco...
      |                                                      ^^^^^^^^^^ a filter of its own
      |
      = help: did you mean `Browser`?
      = help: this is `workspaces[0].categories[0]`

    error: `compatibility` is not what [registry]/1.1/workspaces/chromium/workspace.json says
     --> [registry]/1.1/list.json:1:374
      |
    1 | ...y":[{"image":"registry.example/desktops/chromium...compressed_size_mb":2000,"version":"1.19.x"}],"d...
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^...^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ only the list has this
      |
      = help: there it is `[{"image":"registry.example/desktops/chromium:latest","uncom…`
      = help: this is `workspaces[0].compatibility`

    error: the image `registry.example/desktops/chromium` has no tag
     --> [registry]/1.1/list.json:1:384
      |
    1 | ...["Browsers"],"compatibility":[{"image":"registry.example/desktops/chromium","uncompressed_size_mb":"2170","version":"1.16.x"},{"im...
      |                                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ a tag is wanted
      |
      = help: without one the workspace stays at "Installing" for ever
      = help: write `registry.example/desktops/chromium:latest`
      = help: this is `workspaces[0].compatibility[0].image`

    error: `workspaces[0].compatibility[0].uncompressed_size_mb` must be a whole number
     --> [registry]/1.1/list.json:1:444
      |
    1 | ...ry.example/desktops/chromium","uncompressed_size_mb":"2170","version":"1.16.x"},{"image":"registry.example/desktops/chromium:lates...
      |                                                         ^^^^^^ this is a string
      |
      = help: write `2170` without quotation marks
      = help: this is `workspaces[0].compatibility[0].uncompressed_size_mb`

    error: `description` is not what [registry]/1.1/workspaces/chromium/workspace.json says
     --> [registry]/1.1/list.json:1:789
      |
    1 | ...size_mb":2000,"version":"1.19.x"}],"description":"Another","docker_registry":"https://registry.example/","exec_config":{},"friendl...
      |                                                     ^^^^^^^^^ only the list has this
      |
      = help: there it is `"The workspace chromium, for people who like it"`
      = help: this is `workspaces[0].description`

    error: `categories` changed, but `sha` did not
     --> [registry]/1.1/list.json:1:938
      |
    1 | ...romium.svg","run_config":{},"sha":"58ef76c7d7da52971eeeda989f4c43033ced2046"}]}
      |                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ the same as before
      |
      = help: servers notice a change by `sha` alone: compute it again
      = help: this is `workspaces[0].sha`

    error: servers refuse this registry, or workspaces of it
    "#);
    assert_snapshot!(ran.output.replace(&address, "[registry]"), @"[registry]: schema 1.0 with 1 workspace, schema 1.1 with 1 workspace; 8 errors, 1 warning");
    let json = shop.run(&[
        "registry",
        "check",
        public.to_str().expect("text"),
        "--json",
    ]);
    let told: Value = serde_json::from_str(&json.output).expect("it is JSON");
    let codes: Vec<&str> = told["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter_map(|finding| finding["code"].as_str())
        .collect();
    for code in [
        "wrong-type",
        "image-without-tag",
        "icon-missing",
        "category-unknown",
    ] {
        assert!(codes.contains(&code), "{code}: {codes:?}");
    }
    let nothing = shop.run(&["registry", "check", &format!("{address}/1.0/icons")]);
    nothing.failed_with(&["there is no registry", "1.1/list.json"]);
}

#[test]
fn an_entry_becomes_a_definition() {
    let shop = Shop::of(&[
        ("chromium", &kasm("Chromium", "memory = \"2g\"\n")),
        ("other", ""),
    ]);
    shop.built("chromium", 2_000_000_000);
    let public = shop.make();
    let from = public.join("1.1/list.json");
    let from = from.to_str().expect("text");
    let printed = shop.run(&["registry", "import", from]);
    assert_eq!(printed.status, 0, "{printed:?}");
    assert_snapshot!(printed.output, @r#"
    description = "The workspace chromium, for people who like it"

    [kasm]
    friendly-name = "Chromium"
    categories = ["Browser"]
    icon = "chromium.svg"
    architecture = ["amd64"]
    compatibility = ["1.16.x", "1.17.x", "1.18.x", "1.19.x"]
    docker-registry = "https://registry.example/"
    memory = "2048m"

    # [image]
    # repository = "registry.example/desktops/chromium"
    # tags = ["latest"]
    "#);
    let written = shop.run(&["registry", "import", from, "other", "--write"]);
    assert_eq!(written.status, 0, "{written:?}");
    let folder = shop.project.path().join("workspaces");
    assert!(folder.join("other/icon.svg").is_file());
    let text = fs::read_to_string(folder.join("other.toml")).expect("the definition");
    assert!(
        text.contains("[kasm]\nfriendly-name = \"Chromium\"\n"),
        "{text}"
    );
    // What was imported makes the same entry again.
    shop.built("other", 2_000_000_000);
    fs::remove_file(folder.join("chromium.toml")).expect("gone");
    let (was, is) = (list(&public, "1.1"), list(&shop.make(), "1.1"));
    for key in [
        "friendly_name",
        "categories",
        "memory",
        "compatibility",
        "architecture",
    ] {
        let of = |list: &Value| {
            let mut value = list["workspaces"][0][key].clone();
            if key == "compatibility" {
                value[0]["image"] = Value::Null;
                value.as_array_mut().expect("a list").truncate(1);
            }
            value
        };
        assert_eq!(of(&was), of(&is), "{key}");
    }
    let again = shop.run(&["registry", "import", from, "other", "--write"]);
    again.failed_with(&["has a `[kasm]` table already"]);
}

// ---- The gallery ------------------------------------------------------------------------------

/// The contrast of each text on a page to what is behind it (WCAG 2.2, 1.4.3): those below 4.5.
const LOW_CONTRAST: &str = "
    const rgb = (text) => (text.match(/[0-9.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const colour = rgb(getComputedStyle(e).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const low = [];
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!own || !element.getClientRects().length || element.tagName === 'SCRIPT') continue;
        const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) low.push(`${element.tagName} ${element.className}: ${ratio.toFixed(2)}`);
    }
    return low;";

/// Controls without a name, pictures without an alternative, headings that skip a level.
const UNSOUND: &str = "
    const wrong = [];
    for (const field of document.querySelectorAll('input, select')) {
        if (!field.labels.length) wrong.push(`no label: ${field.outerHTML}`);
    }
    for (const picture of document.images) {
        if (!picture.hasAttribute('alt')) wrong.push(`no alt: ${picture.src}`);
        if (!picture.complete || !picture.naturalWidth) wrong.push(`not shown: ${picture.src}`);
    }
    for (const control of document.querySelectorAll('a, button')) {
        if (!control.textContent.trim()) wrong.push(`no name: ${control.outerHTML}`);
    }
    let last = 0;
    for (const heading of document.querySelectorAll('h1, h2, h3, h4, h5, h6')) {
        const level = Number(heading.tagName[1]);
        if (level > last + 1) wrong.push(`${heading.tagName} after H${last}`);
        last = level;
    }
    if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1');
    if (document.querySelectorAll('main').length !== 1) wrong.push('not one main');
    for (const id of document.querySelectorAll('[id]')) {
        if (document.querySelectorAll(`#${CSS.escape(id.id)}`).length > 1) wrong.push(`id ${id.id}`);
    }
    if (document.documentElement.scrollWidth > innerWidth) {
        wrong.push(`wider than the screen: ${document.documentElement.scrollWidth}`);
    }
    return wrong;";

const SHOWN: &str = "return [...document.querySelectorAll('.card')].filter((c) => !c.hidden)
    .map((c) => c.querySelector('h2').textContent);";

fn gallery() -> Shop {
    let evil =
        "\\\"><script>document.title='evil'</script><img src=x onerror=document.title='evil'>";
    let of = |friendly: &str, category: &str, more: &str| {
        kasm(friendly, more).replace("Browser", category)
    };
    let notes =
        "notes = \"Needs **2 GB** of shared memory.\\n\\n- one\\n- two\\n\\n<b>no HTML</b>\"\n";
    let sheet = "cores = 2\nmemory = \"2768m\"\ncompatibility = [\"1.17.x\", \"1.18.x\"]\n";
    let both = "architecture = [\"amd64\", \"arm64\"]\n";
    let workspaces = [
        ("chromium", of("Chromium", "Browser", both)),
        (
            "desktop",
            of(
                "Desktop",
                "Desktop",
                &format!("{sheet}{notes}screenshot = \"../files/desktop.webp\"\n"),
            ),
        ),
        ("evil", of(evil, "Games", notes)),
        (
            "gimp",
            of(
                "GIMP",
                "Multimedia",
                &format!("{both}screenshot = \"../files/gimp.png\"\n"),
            ),
        ),
        ("libreoffice", of("LibreOffice", "Office", sheet)),
        ("remmina", of("Remmina", "Remote Access", "")),
        ("thunderbird", of("Thunderbird", "Communication", both)),
    ];
    let named: Vec<(&str, &str)> = workspaces
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let shop = Shop::of(&named);
    // One that comes with kasmforge, and one larger than any page.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("workspaces/desktop/screenshot.webp");
    let shipped = fs::read(shipped).expect("a screenshot");
    shop.project.file("files/desktop.webp", &shipped);
    shop.project.file("files/gimp.png", &png(2560, 1440));
    for (index, (name, _)) in workspaces.iter().enumerate() {
        shop.built(name, 700_000_000 + 300_000_000 * index as u64);
    }
    shop
}

#[test]
fn the_gallery_is_sound_in_a_real_browser() {
    let shop = gallery();
    let public = shop.make();
    let browser = Browser::start();
    let pages = [
        "index.html",
        "workspaces/desktop.html",
        "workspaces/evil.html",
        "workspaces/gimp.html",
    ];
    let url = |page: &str| format!("file://{}", public.join(page).display());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-output/registry");
    for (name, width, height, dark) in [
        ("desktop", 1280, 900, false),
        ("desktop-dark", 1280, 900, true),
        ("phone", 360, 740, false),
    ] {
        browser.screen(width, height, dark);
        for page in pages {
            browser.visit(&url(page));
            browser.until("all pictures are there", |browser| {
                browser.script(
                    "for (const i of document.images) i.loading = 'eager';
                    return [...document.images].every((i) => i.complete);",
                ) == json!(true)
            });
            assert_eq!(browser.script(UNSOUND), json!([]), "{name} {page}");
            assert_eq!(browser.script(LOW_CONTRAST), json!([]), "{name} {page}");
            assert_ne!(
                browser.script("return document.title;"),
                "evil",
                "{name} {page}"
            );
            let stem = page.replace('/', "-").replace(".html", "");
            browser.keep(&kept.join(format!("{stem}-{name}.png")));
        }
    }
    browser.screen(1280, 900, false);
    browser.visit(&url("index.html"));
    search(&browser);
    // What was asked for stands in the address: opened again, it is asked for again.
    let address = browser.script("return location.href;");
    browser.visit(&url("workspaces/desktop.html"));
    browser.visit(address.as_str().expect("an address"));
    assert_eq!(browser.script(SHOWN), json!(["Chromium"]));
    keyboard(&browser);
}

/// Searching and filtering, and what a screen reader is told of it.
fn search(browser: &Browser) {
    let count = "return document.getElementById('count').textContent;";
    assert_eq!(browser.script(count), "7 workspaces");
    let ask = |field: &str, value: &str| {
        browser.script(&format!(
            "const field = document.querySelector(`{field}`);
             if (field.type === 'radio') field.checked = true; else field.value = '{value}';
             field.dispatchEvent(new Event('input', {{ bubbles: true }}));"
        ));
    };
    ask("#query", "chrom");
    assert_eq!(browser.script(SHOWN), json!(["Chromium"]));
    assert_eq!(browser.script(count), "1 of 7 workspaces");
    ask("#query", "");
    ask("#architecture", "arm64");
    assert_eq!(
        browser.script(SHOWN),
        json!(["Chromium", "GIMP", "Thunderbird"])
    );
    ask("[name=category][value=Office]", "");
    assert_eq!(browser.script(SHOWN), json!([]));
    let nothing = "return !document.getElementById('nothing').hidden;";
    assert_eq!(browser.script(nothing), json!(true));
    browser.script("document.getElementById('reset').click();");
    assert_eq!(browser.script(count), "7 workspaces");
    ask("[name=category][value=Browser]", "");
    assert_eq!(browser.script(SHOWN), json!(["Chromium"]));
    let live = "return document.getElementById('count').getAttribute('role');";
    assert_eq!(browser.script(live), "status");
}

/// Everything can be reached and used by keys, in the order it stands in.
fn keyboard(browser: &Browser) {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    let focused =
        "const e = document.activeElement; return e.id || e.name || e.textContent.trim();";
    browser.script("document.activeElement.blur(); getSelection().removeAllRanges();");
    let mut reached = Vec::new();
    for _ in 0..6 {
        browser.press(&[TAB]);
        reached.push(
            browser
                .script(focused)
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    assert_eq!(
        reached,
        [
            "Skip to content",
            "Example desktops",
            "query",
            "architecture",
            "category",
            "Chromium"
        ]
    );
    browser.press(&[ENTER]);
    browser.until("the page of Chromium opens", |browser| {
        browser.script("return document.querySelector('h1').textContent;") == "Chromium"
    });
}
