//! One workspace of a list.

use super::super::json::{Node, Value};
use super::super::near::nearest;
use super::super::source::is_file_name;
use super::super::{CATEGORIES, MOST_CATEGORIES, Schema};
use super::fields::{self, Field, Kind, field, texts};
use super::{At, Ledger, config, quoted};

/// The keys of both schemas; what generators add besides is known, too.
const COMMON: [Field; 18] = [
    ("friendly_name", true, Kind::Text),
    ("description", true, Kind::Text),
    ("image_src", true, Kind::Text),
    ("architecture", true, Kind::List),
    ("compatibility", true, Kind::List),
    ("categories", false, Kind::List),
    ("docker_registry", false, Kind::Text),
    ("run_config", false, Kind::Object),
    ("exec_config", false, Kind::Object),
    ("notes", false, Kind::Text),
    ("cores", false, Kind::Whole),
    ("memory", false, Kind::Whole),
    ("gpu_count", false, Kind::Whole),
    ("cpu_allocation_method", false, Kind::Text),
    ("sha", true, Kind::Text),
    ("require_gpu", false, Kind::Boolean),
    ("enabled", false, Kind::Boolean),
    ("image_type", false, Kind::Text),
];

/// What only 1.0 has.
const OLDER: [Field; 2] = [
    ("name", true, Kind::Text),
    ("uncompressed_size_mb", true, Kind::Whole),
];

/// An element of 1.1's `compatibility`. Some registries repeat `cores` and `memory` here.
const VERSION: [Field; 6] = [
    ("version", true, Kind::Text),
    ("image", true, Kind::Text),
    ("uncompressed_size_mb", true, Kind::Whole),
    ("available_tags", false, Kind::List),
    ("cores", false, Kind::Whole),
    ("memory", false, Kind::Whole),
];

/// No image has so many MB: a larger number is bytes.
const LARGEST_MB: u64 = 1_000_000;
/// No desktop is so small: a smaller number is GB.
const SMALLEST_MB: u64 = 50;
/// No session has so many MB of memory: a larger number is bytes.
const MOST_MEMORY_MB: u64 = 4_000_000;
/// No session runs in so few MB of memory: a smaller number is GB.
const LEAST_MEMORY_MB: u64 = 64;

/// Judges one workspace.
pub(super) fn judge(node: &Node, at: &At, schema: Schema, ledger: &mut Ledger) {
    let mut keys = COMMON.to_vec();
    match schema {
        Schema::V10 => keys.extend(OLDER),
        // It is gone in 1.1; whoever leaves it there is told of the move below.
        Schema::V11 => keys.extend(OLDER.map(|(key, ..)| (key, false, Kind::Anything))),
    }
    fields::judge(node, at, "a workspace", &keys, ledger);
    if !matches!(node.value, Value::Object(_)) {
        return;
    }
    names(node, at, ledger);
    architectures(node, at, ledger);
    categories(node, at, ledger);
    sizes(node, at, ledger);
    choices(node, at, ledger);
    config::judge(node, at, ledger);
    match schema {
        Schema::V10 => {
            image(node, at, "name", ledger);
            older_versions(node, at, ledger);
        }
        Schema::V11 => {
            moved(node, at, ledger);
            versions(node, at, ledger);
        }
    }
}

fn names(node: &Node, at: &At, ledger: &mut Ledger) {
    for key in ["friendly_name", "description"] {
        if let Some((value, at)) = field(node, at, key, Kind::Text)
            && value.text().is_some_and(|text| text.trim().is_empty())
        {
            let message = format!("`{}` is empty", at.path);
            ledger.error("empty", &at, message, "people read this");
        }
    }
    if let Some((value, at)) = field(node, at, "image_src", Kind::Text) {
        let name = value.text().unwrap_or_default();
        if !is_file_name(name) {
            let message = format!("`image_src` is not the name of a file: {}", quoted(name));
            ledger
                .error("icon-not-a-name", &at, message, "looked for in `icons/`")
                .help("write the name alone, as in `chromium.png`");
        }
    }
    if let Some((value, at)) = field(node, at, "sha", Kind::Text) {
        let text = value.text().unwrap_or_default();
        if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = "`sha` is not a SHA-1 in hexadecimal";
            ledger.error("sha-malformed", &at, message, "40 digits are wanted");
        }
    }
}

fn architectures(node: &Node, at: &At, ledger: &mut Ledger) {
    const KNOWN: [&str; 2] = ["amd64", "arm64"];
    let Some(list) = texts(node, at, "architecture", ledger) else {
        return;
    };
    if list.is_empty()
        && let Some((_, at)) = field(node, at, "architecture", Kind::List)
    {
        let message = "the workspace has no architecture";
        ledger.error("architecture-none", &at, message, "no server installs it");
    }
    for (text, at) in list {
        if KNOWN.contains(&text) {
            continue;
        }
        let message = format!("{} is not an architecture Kasm knows", quoted(text));
        let finding = ledger.error("architecture-unknown", &at, message, "`amd64` or `arm64`");
        match text.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" | "x64" => finding.help("write `\"amd64\"`"),
            "aarch64" | "arm64v8" | "armv8" => finding.help("write `\"arm64\"`"),
            other => match nearest(other, &KNOWN) {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None => finding,
            },
        };
    }
}

fn categories(node: &Node, at: &At, ledger: &mut Ledger) {
    let Some(list) = texts(node, at, "categories", ledger) else {
        return;
    };
    for (text, at) in &list {
        if CATEGORIES.contains(text) {
            continue;
        }
        let message = format!("{} is not one of Kasm's categories", quoted(text));
        let label = "a filter of its own";
        let finding = ledger.warning("category-unknown", at, message, label);
        if let Some(near) = nearest(text, &CATEGORIES) {
            finding.help(format!("did you mean `{near}`?"));
        } else {
            finding.help(format!("they are: {}", CATEGORIES.join(", ")));
        }
    }
    if let Some((_, at)) = list.get(MOST_CATEGORIES) {
        let message = format!("a workspace has at most {MOST_CATEGORIES} categories");
        ledger.warning("categories-too-many", at, message, "one more");
    }
}

fn sizes(node: &Node, at: &At, ledger: &mut Ledger) {
    size(node, at, ledger);
    memory(node, at, ledger);
}

fn size(node: &Node, at: &At, ledger: &mut Ledger) {
    let Some((value, at)) = field(node, at, "uncompressed_size_mb", Kind::Whole) else {
        return;
    };
    let number = value.whole().unwrap_or_default();
    if number > LARGEST_MB {
        let message = format!("`{}` is in bytes, where MB are wanted", at.path);
        ledger
            .error("size-in-bytes", &at, message, "more than 1,000 GB")
            .help(format!("write `{}`", number.div_ceil(1_000_000)));
    } else if number < SMALLEST_MB {
        let message = format!("`{}` is too small for a desktop", at.path);
        let finding = ledger.warning("size-in-gigabytes", &at, message, "MB are wanted");
        if number > 0 {
            finding.help(format!("if this is GB, write `{}`", number * 1000));
        }
    }
}

fn memory(node: &Node, at: &At, ledger: &mut Ledger) {
    let Some((value, at)) = field(node, at, "memory", Kind::Whole) else {
        return;
    };
    let number = value.whole().unwrap_or_default();
    if number > MOST_MEMORY_MB {
        let message = format!("`{}` is in bytes, where MB are wanted", at.path);
        ledger
            .error("memory-in-bytes", &at, message, "more than 4,000 GB")
            .help(format!(
                "write `{}`; the API alone has bytes",
                number / 1_000_000
            ));
    } else if number < LEAST_MEMORY_MB {
        let message = format!("`{}` is too small for a session", at.path);
        ledger.warning("memory-in-gigabytes", &at, message, "MB are wanted");
    }
}

fn choices(node: &Node, at: &At, ledger: &mut Ledger) {
    const METHODS: [&str; 3] = ["Inherit", "Quotas", "Shares"];
    if let Some((value, at)) = field(node, at, "cpu_allocation_method", Kind::Text) {
        let text = value.text().unwrap_or_default();
        if !METHODS.contains(&text) {
            let message = format!("{} is no way to share out CPUs", quoted(text));
            let label = "`Inherit`, `Quotas` or `Shares`";
            let finding = ledger.error("cpu-allocation-unknown", &at, message, label);
            if let Some(near) = nearest(text, &METHODS) {
                finding.help(format!("did you mean `{near}`?"));
            }
        }
    }
    if let Some((value, at)) = field(node, at, "docker_registry", Kind::Text) {
        let text = value.text().unwrap_or_default();
        if text.contains("docker.io") && text != "https://index.docker.io/v1/" {
            let message = "Docker Hub has another address for images";
            ledger
                .warning("docker-registry", &at, message, "agents cannot log in here")
                .help("write `https://index.docker.io/v1/`");
        } else if !text.starts_with("https://") && !text.starts_with("http://") {
            let message = "`docker_registry` is not an address";
            ledger
                .warning("docker-registry", &at, message, "`https://` is wanted")
                .help("as in `https://index.docker.io/v1/` or `https://ghcr.io/`");
        }
    }
}

/// Judges the name of an image: it must be one, and have a tag.
fn image(node: &Node, at: &At, key: &str, ledger: &mut Ledger) {
    let Some((value, at)) = field(node, at, key, Kind::Text) else {
        return;
    };
    let text = value.text().unwrap_or_default();
    let bare = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    if let Some(bare) = bare {
        let message = format!("{} is an address, not the name of an image", quoted(text));
        ledger
            .error("image-malformed", &at, message, "no engine pulls this")
            .help(format!("write `{bare}`"));
        return;
    }
    let (path, digest) = text
        .split_once('@')
        .map_or((text, None), |(path, digest)| (path, Some(digest)));
    let last = path.rsplit('/').next().unwrap_or_default();
    let (name, tag) = last
        .split_once(':')
        .map_or((last, None), |(name, tag)| (name, Some(tag)));
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte))
    };
    if !plain(path) || name.is_empty() || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let message = format!("{} is not the name of an image", quoted(text));
        ledger
            .error(
                "image-malformed",
                &at,
                message,
                "`group/name:tag` is wanted",
            )
            .help("repositories have small letters only");
    } else if tag.is_none_or(str::is_empty) {
        let message = format!("the image {} has no tag", quoted(text));
        let finding = ledger.error("image-without-tag", &at, message, "a tag is wanted");
        finding.help("without one the workspace stays at \"Installing\" for ever");
        finding.help(match digest {
            Some(_) => "a digest does not do in its place".to_owned(),
            None => format!("write `{}:latest`", path.trim_end_matches(':')),
        });
    }
}

/// Judges a line of Kasm's versions.
fn version(text: &str, at: &At, ledger: &mut Ledger) {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = parts.iter().take_while(|part| number(part)).count();
    if parts.len() == 3 && numbers == 2 && parts[2] == "x" {
        return;
    }
    let message = format!("{} is not a version as servers compare it", quoted(text));
    let finding = ledger.error("version-malformed", at, message, "`1.17.x` is the form");
    if numbers >= 2 {
        finding.help(format!("write `\"{}.{}.x\"`", parts[0], parts[1]));
    }
}

fn older_versions(node: &Node, at: &At, ledger: &mut Ledger) {
    let Some((list, at)) = field(node, at, "compatibility", Kind::List) else {
        return;
    };
    none_named(list, &at, ledger);
    for (index, element) in list.elements().iter().enumerate() {
        let here = at.below(&format!("[{index}]"), element.span.clone());
        match &element.value {
            Value::String(text) => version(text, &here, ledger),
            Value::Object(_) => {
                let message = format!("`{}` must be a string in schema 1.0", here.path);
                let label = "this is schema 1.1's form";
                let finding = ledger.error("schema-mixed", &here, message, label);
                if let Some(text) = element.get("version").and_then(|one| one.value.text()) {
                    finding.help(format!("write `\"{text}\"`"));
                }
            }
            _ => {
                let message = format!("`{}` must be a string", here.path);
                let label = format!("this is {}", element.noun());
                ledger.error("wrong-type", &here, message, label);
            }
        }
    }
}

fn versions(node: &Node, at: &At, ledger: &mut Ledger) {
    let Some((list, at)) = field(node, at, "compatibility", Kind::List) else {
        return;
    };
    none_named(list, &at, ledger);
    for (index, element) in list.elements().iter().enumerate() {
        let here = at.below(&format!("[{index}]"), element.span.clone());
        if let Value::String(text) = &element.value {
            let message = format!("`{}` must be an object in schema 1.1", here.path);
            let label = "this is schema 1.0's form";
            ledger
                .error("schema-mixed", &here, message, label)
                .help(format!(
                    "write `{{\"version\": {}, \"image\": …, \"uncompressed_size_mb\": …}}`",
                    serde_json::Value::from(text.as_str())
                ));
            continue;
        }
        fields::judge(element, &here, "a version", &VERSION, ledger);
        if let Some((value, at)) = field(element, &here, "version", Kind::Text) {
            version(value.text().unwrap_or_default(), &at, ledger);
        }
        image(element, &here, "image", ledger);
        sizes(element, &here, ledger);
        texts(element, &here, "available_tags", ledger);
    }
}

fn none_named(list: &Node, at: &At, ledger: &mut Ledger) {
    if list.elements().is_empty() {
        let message = "the workspace works with no version of Kasm";
        ledger.error("compatibility-none", at, message, "no server installs it");
    }
}

/// What schema 1.1 has in `compatibility`.
fn moved(node: &Node, at: &At, ledger: &mut Ledger) {
    for (key, to) in [
        ("name", "image"),
        ("uncompressed_size_mb", "uncompressed_size_mb"),
    ] {
        if let Some(member) = node.get(key) {
            let here = at.below(key, member.key_span.clone());
            let message = format!("`{key}` is not read in schema 1.1");
            ledger
                .warning("schema-mixed", &here, message, "schema 1.0 has it here")
                .help(format!("it is `compatibility[].{to}` now"));
        }
    }
}
