//! The registry's site, and its judge: held to what Kasm publishes, and to what people get wrong.

use std::collections::BTreeMap;
use std::sync::Mutex;

use kasmforge_kasm::registry::{
    Checked, Entry, IconFormat, Level, Package, Picture, Registry, Run, Schema, Site, Source,
    SourceError, check, import, site,
};
use serde_json::{Value, json};

fn svg(colour: &str) -> Picture {
    Picture {
        format: IconFormat::Svg,
        bytes: format!("<svg viewBox=\"0 0 9 9\"><rect fill=\"{colour}\"/></svg>").into(),
    }
}

/// Chromium, with everything that the published entry says.
fn chromium() -> Entry {
    let exec = |word: &str| {
        json!({ "cmd": format!(
            "bash -c '/dockerstartup/custom_startup.sh --{word} --url \"$KASM_URL\"'"
        ) })
    };
    Entry {
        name: "chromium".into(),
        friendly_name: "Chromium".into(),
        description: "Chromium is a free and open-source browser, primarily developed and \
                      maintained by Google."
            .into(),
        icon: svg("blue"),
        screenshot: None,
        architecture: vec!["amd64".into(), "arm64".into()],
        compatibility: vec!["1.13.x".into(), "1.14.x".into(), "1.17.x".into()],
        image: "kasmweb/chromium:develop".into(),
        docker_registry: "https://index.docker.io/v1/".into(),
        available_tags: vec!["develop".into()],
        size: 2_169_000_001,
        categories: vec!["Browser".into()],
        run_config: json!({ "hostname": "kasm" }),
        exec_config: json!({ "go": exec("go"), "assign": exec("assign") }),
        notes: None,
        cores: None,
        memory: None,
        gpu_count: None,
        require_gpu: None,
        cpu_allocation_method: None,
        contents: vec![Package {
            name: "chromium".into(),
            version: "131.0-1".into(),
            asked_for: true,
        }],
        origin: "debian trixie, as of 2026-11-20".into(),
        digest: "sha256:0000".into(),
        run: Run {
            container: "kasm-chromium".into(),
            ports: vec!["6901:6901".into()],
            shm_size: Some(512 << 20),
            desktop_port: "6901".into(),
        },
    }
}

fn registry(entries: Vec<Entry>) -> Registry {
    Registry {
        name: "Kasm Technologies".into(),
        description: "The official store for Kasm supported workspaces.".into(),
        url: "https://registry.example/".into(),
        contact: "https://registry.example/support".into(),
        icon: svg("red"),
        modified: 1_744_121_171,
        default_channel: None,
        entries,
    }
}

fn made(entries: Vec<Entry>) -> Site {
    site(&registry(entries)).expect("the site is made")
}

fn document(site: &Site, path: &str) -> Value {
    serde_json::from_slice(&site.files[path]).expect("it is JSON")
}

/// The kind of each value, down to the leaves: what a reader of the format goes by.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("boolean"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(list) => list.iter().map(shape).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect(),
    }
}

// The lists that the registry template published, of April 2025.
const PUBLISHED_1_0: &str = include_str!("published/1.0.json");
const PUBLISHED_1_1: &str = include_str!("published/1.1.json");

#[test]
fn both_schemas_are_those_that_kasm_publishes() {
    let site = made(vec![chromium()]);
    for (schema, text) in [("1.0", PUBLISHED_1_0), ("1.1", PUBLISHED_1_1)] {
        let mut ours = document(&site, &format!("{schema}/list.json"));
        let mut published: Value = serde_json::from_str(text).expect("it is JSON");
        // The versions of Kasm that are named are another matter than how they are named.
        let versions = |list: &mut Value| {
            let versions = list["workspaces"][0]["compatibility"].as_array_mut();
            versions.expect("a list").truncate(1);
        };
        versions(&mut ours);
        versions(&mut published);
        assert_eq!(shape(&ours), shape(&published), "{schema}");
        // What the entry says is said in the same words, but for icon, hash and newest version.
        for key in published["workspaces"][0]
            .as_object()
            .expect("an entry")
            .keys()
        {
            if !["image_src", "sha", "compatibility"].contains(&key.as_str()) {
                let (ours, published) = (&ours["workspaces"][0], &published["workspaces"][0]);
                assert_eq!(ours[key], published[key], "{schema} {key}");
            }
        }
    }
    let newer = document(&site, "1.1/list.json");
    assert_eq!(
        newer["workspaces"][0]["compatibility"],
        json!([{
            "version": "1.17.x",
            "image": "kasmweb/chromium:develop",
            "uncompressed_size_mb": 2170,
            "available_tags": ["develop"],
        }])
    );
    assert_eq!(newer["default_channel"], "develop");
    assert_eq!(newer["modified"], 1_744_121_171_000_i64);
    assert_eq!(
        document(&site, "1.1/versions.json"),
        json!({ "versions": ["1.17.x"] })
    );
    assert_eq!(site.files["versions.txt"], b"1.0\n1.1\n");
}

#[test]
fn what_is_made_is_right() {
    let mut other = chromium();
    other.name = "gimp".into();
    other.friendly_name = "GIMP".into();
    other.notes = Some("Some *notes*".into());
    other.cores = Some(2);
    other.memory = Some(2768);
    other.gpu_count = Some(0);
    other.cpu_allocation_method = Some("Quotas".into());
    let site = made(vec![chromium(), other]);
    let checked = check(&site, None).expect("it is a registry");
    assert_eq!(checked.findings, []);
    assert_eq!(checked.lists, [(Schema::V10, 2), (Schema::V11, 2)]);
}

#[test]
fn a_workspace_for_old_servers_only_is_not_in_the_new_list() {
    let mut old = chromium();
    old.compatibility = vec!["1.13.x".into()];
    let site = made(vec![old]);
    assert_eq!(document(&site, "1.0/list.json")["workspacecount"], 1);
    assert_eq!(document(&site, "1.1/list.json")["workspacecount"], 0);
    assert_eq!(
        document(&site, "1.1/list.json")["default_channel"],
        Value::Null
    );
}

#[test]
fn the_sha_changes_with_whatever_a_server_is_told() {
    let sha = |entry: Entry| {
        let site = made(vec![entry]);
        document(&site, "1.1/list.json")["workspaces"][0]["sha"].clone()
    };
    let first = sha(chromium());
    let mut icon = chromium();
    icon.icon = svg("green");
    let mut size = chromium();
    size.size += 1_000_000;
    let mut contents = chromium();
    contents.contents.clear();
    assert_ne!(first, sha(icon));
    assert_ne!(first, sha(size));
    assert_eq!(first, sha(contents), "only people are told of the contents");
}

#[test]
fn what_a_definition_says_stays_text() {
    let evil = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}";
    let mut entry = chromium();
    entry.friendly_name = evil.into();
    entry.description = evil.into();
    entry.categories = vec![evil.into()];
    entry.notes = Some(format!(
        "{evil}\n\n[a](javascript:alert(1)) ![b](https://x.example/y.png)"
    ));
    entry.origin = evil.into();
    entry.contents[0].version = evil.into();
    let mut registry = registry(vec![entry]);
    registry.name = evil.into();
    registry.description = evil.into();
    let site = site(&registry).expect("the site is made");
    for (path, bytes) in &site.files {
        if !path.ends_with(".html") {
            continue;
        }
        let page = String::from_utf8_lossy(bytes);
        for word in [
            "<script>alert",
            "<img src=x",
            "onerror=alert(1)>{",
            "javascript:",
            " 49",
        ] {
            let page = page.replace("&lt;img src=x onerror=alert(1)&gt;{", "");
            assert!(!page.contains(word), "{path}: {word}");
        }
        // Only the page for what is not there names its own site: it may be served for any path.
        let own = page.replace("&#x2f;", "/");
        let own = own.replace("src=\"https://registry.example/", "");
        assert!(!own.contains("src=\"http"), "{path} loads something");
        let scripts = page.matches("<script").count();
        assert!(scripts <= 1, "{path} has {scripts} scripts");
    }
}

// ---- The judge --------------------------------------------------------------------------------

/// A registry in memory.
#[derive(Clone)]
struct Memory(BTreeMap<String, Vec<u8>>);

impl Memory {
    fn right() -> Self {
        let mut site = made(vec![chromium()]);
        // Without the folders that hashes are of, as most registries are.
        site.files.retain(|path, _| !path.contains("/workspaces/"));
        Self(site.files)
    }

    /// The list of a schema, changed by a function.
    fn with(mut self, schema: &str, change: impl FnOnce(&mut Value)) -> Self {
        let path = format!("{schema}/list.json");
        let mut list: Value = serde_json::from_slice(&self.0[&path]).expect("it is JSON");
        change(&mut list);
        let text = serde_json::to_string_pretty(&list).expect("it has a text");
        self.0.insert(path, text.into());
        self
    }
}

impl Source for Memory {
    fn name(&self, path: &str) -> String {
        path.to_owned()
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(path).cloned())
    }

    fn is_near(&self) -> bool {
        true
    }
}

fn judged(memory: &Memory) -> Checked {
    check(memory, None).expect("it is a registry")
}

/// The findings in short: `error code path`.
fn told(checked: &Checked) -> Vec<String> {
    let findings = checked.findings.iter().map(|finding| {
        let level = match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        format!("{level} {} {}", finding.code, finding.path)
    });
    findings.collect()
}

#[test]
fn each_mistake_is_found_where_it_is() {
    type Change = fn(&mut Value);
    let cases: Vec<(&str, Change, &str)> = vec![
        (
            "1.1",
            |list| list["list_url"] = Value::Null,
            "error wrong-type list_url",
        ),
        (
            "1.1",
            |list| list["icon"] = Value::Null,
            "error wrong-type icon",
        ),
        (
            "1.1",
            |list| list["list_url"] = json!("/list.json"),
            "error list-url-not-whole list_url",
        ),
        (
            "1.1",
            |list| list["list_url"] = json!("https://registry.example/1.1/"),
            "error list-url-not-root list_url",
        ),
        (
            "1.1",
            |list| list["list_url"] = json!("https://registry.example"),
            "error list-url-no-slash list_url",
        ),
        (
            "1.0",
            |list| list["workspacecount"] = json!(7),
            "error count-wrong workspacecount",
        ),
        (
            "1.0",
            |list| list["modified"] = json!(1_744_121_171),
            "warning modified-in-seconds modified",
        ),
        (
            "1.0",
            |list| list["workspaces"][0]["name"] = json!("kasmweb/chromium"),
            "error image-without-tag workspaces[0].name",
        ),
        (
            "1.0",
            |list| list["workspaces"][0]["name"] = json!("registry.example:5000/chromium"),
            "error image-without-tag workspaces[0].name",
        ),
        (
            "1.0",
            |list| list["workspaces"][0]["name"] = json!("https://registry.example/chromium:1"),
            "error image-malformed workspaces[0].name",
        ),
        (
            "1.0",
            |list| list["workspaces"][0]["uncompressed_size_mb"] = json!("2170"),
            "error wrong-type workspaces[0].uncompressed_size_mb",
        ),
        (
            "1.0",
            |list| list["workspaces"][0]["uncompressed_size_mb"] = json!(2.17),
            "error wrong-type workspaces[0].uncompressed_size_mb",
        ),
        (
            "1.0",
            |list| list["workspaces"][0]["uncompressed_size_mb"] = json!(2_170_000_000_u64),
            "error size-in-bytes workspaces[0].uncompressed_size_mb",
        ),
        (
            "1.1",
            |list| {
                list["workspaces"][0]["compatibility"][0]["uncompressed_size_mb"] = json!(3);
            },
            "warning size-in-gigabytes workspaces[0].compatibility[0].uncompressed_size_mb",
        ),
        (
            "1.1",
            |list| list["workspaces"][0]["memory"] = json!(2_768_000_000_u64),
            "error memory-in-bytes workspaces[0].memory",
        ),
        (
            "1.1",
            |list| list["workspaces"][0]["categories"] = json!(["browser"]),
            "warning category-unknown workspaces[0].categories[0]",
        ),
        (
            "1.1",
            |list| {
                list["workspaces"][0]["categories"] =
                    json!(["Browser", "Office", "Games", "Privacy"]);
            },
            "warning categories-too-many workspaces[0].categories[3]",
        ),
        (
            "1.1",
            |list| list["workspaces"][0]["architecture"] = json!(["x86_64"]),
            "error architecture-unknown workspaces[0].architecture[0]",
        ),
        (
            "1.1",
            |list| list["workspaces"][0]["image_src"] = json!("absent.png"),
            "error icon-missing workspaces[0].image_src",
        ),
        (
            "1.1",
            |list| list["workspaces"][0]["image_src"] = json!("../../etc/passwd"),
            "error icon-not-a-name workspaces[0].image_src",
        ),
        (
            "1.1",
            |list| list["workspaces"][0]["run_config"] = json!("{\"hostname\": \"kasm\"}"),
            "error wrong-type workspaces[0].run_config",
        ),
        (
            "1.1",
            |list| list["workspaces"][0]["run_config"] = json!({ "shm-size": "1g" }),
            "warning config-unknown workspaces[0].run_config.shm-size",
        ),
        (
            "1.1",
            |list| list["workspaces"][0]["exec_config"] = json!({ "go": "bash" }),
            "error wrong-type workspaces[0].exec_config.go",
        ),
        (
            "1.1",
            |list| list["workspaces"][0]["compatability"] = json!(["1.17.x"]),
            "warning unknown-key workspaces[0].compatability",
        ),
        (
            "1.1",
            |list| list["workspaces"][0]["compatibility"] = json!(["1.17.x"]),
            "error schema-mixed workspaces[0].compatibility[0]",
        ),
        (
            "1.0",
            |list| list["workspaces"][0]["compatibility"] = json!([{ "version": "1.17.x" }]),
            "error schema-mixed workspaces[0].compatibility[0]",
        ),
        (
            "1.0",
            |list| list["workspaces"][0]["compatibility"] = json!(["1.17"]),
            "error version-malformed workspaces[0].compatibility[0]",
        ),
        (
            "1.0",
            |list| list["workspaces"][0]["sha"] = json!("abc"),
            "error sha-malformed workspaces[0].sha",
        ),
        (
            "1.0",
            |list| list["workspaces"][0]["cpu_allocation_method"] = json!("quotas"),
            "error cpu-allocation-unknown workspaces[0].cpu_allocation_method",
        ),
        (
            "1.0",
            |list| {
                list["workspaces"][0]["docker_registry"] = json!("https://hub.docker.com/docker.io")
            },
            "warning docker-registry workspaces[0].docker_registry",
        ),
        (
            "1.1",
            |list| list["default_channel"] = json!("stable"),
            "error default-channel default_channel",
        ),
        (
            "1.1",
            |list| list["channels"] = json!([]),
            "error channel-missing channels",
        ),
        (
            "1.1",
            |list| {
                let mut other = list["workspaces"][0].clone();
                other["friendly_name"] = json!("Other");
                other["compatibility"][0]
                    .as_object_mut()
                    .expect("an object")
                    .remove("available_tags");
                list["workspaces"]
                    .as_array_mut()
                    .expect("a list")
                    .push(other);
                list["workspacecount"] = json!(2);
            },
            "error channels-mixed workspaces[1].compatibility[0].available_tags",
        ),
    ];
    for (schema, change, expected) in cases {
        let checked = judged(&Memory::right().with(schema, change));
        let told = told(&checked);
        assert!(
            told.iter().any(|one| one == expected),
            "{expected}: {told:?}"
        );
        let finding =
            &checked.findings[told.iter().position(|one| one == expected).expect("found")];
        let text = &checked.texts[finding.text].text;
        assert!(text.get(finding.span.clone()).is_some(), "{expected}");
    }
    let mut gone = Memory::right();
    gone.0.remove("1.0/list.json");
    assert_eq!(told(&judged(&gone)), ["error schema-version-missing "]);
    let mut broken = Memory::right();
    broken
        .0
        .insert("1.0/list.json".into(), b"{\"name\": \"a\",}".to_vec());
    assert_eq!(told(&judged(&broken)), ["error not-json "]);
}

#[test]
fn the_published_lists_themselves_are_right_but_for_the_icon() {
    for text in [PUBLISHED_1_0, PUBLISHED_1_1] {
        let files = [("list.json".to_owned(), text.as_bytes().to_vec())];
        let told = told(&judged(&Memory(files.into())));
        assert_eq!(told, ["error icon-missing workspaces[0].image_src"]);
    }
}

#[test]
fn a_hash_that_stays_is_found() {
    let before = Memory::right();
    let now = before.clone().with("1.1", |list| {
        list["workspaces"][0]["description"] = json!("Another");
    });
    let told_of = |now: &Memory| told(&check(now, Some(&before)).expect("a registry"));
    assert_eq!(told_of(&now), ["error sha-unchanged workspaces[0].sha"]);
    assert_eq!(told_of(&before), Vec::<String>::new());
    let mut icon = before.clone();
    icon.0
        .insert("1.1/icons/chromium.svg".into(), svg("pink").bytes);
    assert_eq!(told_of(&icon), ["error sha-unchanged workspaces[0].sha"]);
    // Beside the folder that it is of, a hash is computed again.
    let mut site = made(vec![chromium()]);
    let path = "1.1/workspaces/chromium/workspace.json";
    site.files.get_mut(path).expect("it is there").push(b'\n');
    assert_eq!(
        told(&check(&site, None).expect("a registry")),
        ["error sha-wrong workspaces[0].sha"]
    );
}

#[test]
fn an_entry_says_what_its_own_document_says() {
    let site = made(vec![chromium()]);
    assert_eq!(
        told(&judged(&Memory(site.files.clone()))),
        Vec::<String>::new()
    );
    let memory = Memory(site.files).with("1.0", |list| {
        let entry = list["workspaces"][0].as_object_mut().expect("an entry");
        entry.insert("description".into(), json!("Another"));
        entry.insert("cores".into(), json!(4));
        entry.remove("exec_config");
    });
    let checked = judged(&memory);
    let mut said: Vec<_> = checked
        .findings
        .iter()
        .map(|finding| format!("{}: {}", finding.path, finding.message))
        .collect();
    said.sort();
    let file = "1.0/workspaces/chromium/workspace.json";
    assert_eq!(
        said,
        [
            format!("workspaces[0].cores: `cores` is not in {file}"),
            format!("workspaces[0].description: `description` is not what {file} says"),
            format!("workspaces[0]: this has no `exec_config`, but {file} has"),
        ]
    );
    assert!(
        checked
            .findings
            .iter()
            .all(|one| one.code == "entry-differs")
    );
    // A document that is none is shown in its own text.
    let mut broken = made(vec![chromium()]).files;
    broken.insert(file.into(), b"{\n  \"name\": 1,\n}\n".to_vec());
    let checked = judged(&Memory(broken));
    let finding = checked.findings.iter().find(|one| one.code == "not-json");
    let finding = finding.expect("it is found");
    assert_eq!(checked.texts[finding.text].name, file);
    // Far away, and without such folders, one question is the only one.
    let far = Far {
        memory: Memory::right(),
        asked: Mutex::new(Vec::new()),
    };
    check(&far, None).expect("a registry");
    let asked = far.asked.into_inner().expect("nobody panics");
    let folders = asked.iter().filter(|path| path.contains("/workspaces/"));
    assert_eq!(
        folders.collect::<Vec<_>>(),
        [
            "1.0/workspaces/chromium/workspace.json",
            "1.1/workspaces/chromium/workspace.json"
        ]
    );
}

/// A registry where each question costs something, and what it was asked.
struct Far {
    memory: Memory,
    asked: Mutex<Vec<String>>,
}

impl Source for Far {
    fn name(&self, path: &str) -> String {
        path.to_owned()
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        self.asked
            .lock()
            .expect("nobody panics")
            .push(path.to_owned());
        self.memory.read(path)
    }

    fn is_near(&self) -> bool {
        false
    }
}

#[test]
fn entries_are_imported_from_both_schemas() {
    let older = import("a", PUBLISHED_1_0, None).expect("an entry");
    let newer = import("a", PUBLISHED_1_1, Some("chromium")).expect("an entry");
    assert_eq!(older.image.as_deref(), Some("kasmweb/chromium:develop"));
    assert_eq!(newer.image, older.image);
    assert_eq!(older.compatibility, ["1.13.x", "1.14.x"]);
    assert_eq!(newer.compatibility, ["1.17.x"]);
    assert_eq!(newer.available_tags, ["develop"]);
    assert_eq!(newer.run_config, Some(json!({ "hostname": "kasm" })));
    assert_eq!(newer.left_out, Vec::<String>::new());
    let error = import("a.json", PUBLISHED_1_1, Some("Firefox")).expect_err("absent");
    assert_eq!(
        error.to_string(),
        "a.json has no workspace `Firefox`; it has: Chromium"
    );
    let error = import("a.json", "{\n  'x': 1}", None).expect_err("no JSON");
    assert_eq!(
        error.to_string(),
        "a.json:2:3: this is not JSON: a key in double quotation marks is wanted here"
    );
}
