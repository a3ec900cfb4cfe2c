//! The schema is the format: what it names is what is read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::wrong;

/// Every key of a table and of the tables in it.
fn keys(schema: &Value, root: &Value, found: &mut BTreeSet<String>) {
    let schema = match schema["$ref"].as_str().and_then(|at| at.strip_prefix('#')) {
        Some(at) => root.pointer(at).expect("references lead somewhere"),
        None => schema,
    };
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        found.insert(key.clone());
        keys(value, root, found);
    }
    for inner in ["items", "additionalProperties"] {
        keys_of(&schema[inner], root, found);
    }
    for inner in schema["allOf"].as_array().into_iter().flatten() {
        keys(inner, root, found);
    }
}

fn keys_of(schema: &Value, root: &Value, found: &mut BTreeSet<String>) {
    if schema.is_object() {
        keys(schema, root, found);
    }
}

#[test]
fn it_names_every_key_and_nothing_else() {
    let schema: Value = serde_json::from_str(&kasmforge_spec::schema()).expect("it is JSON");
    let mut found = BTreeSet::new();
    keys(&schema, &schema, &mut found);
    let expected: BTreeSet<String> = "name description extends use debian packages files users \
        services slim image layers deploy kasm checks suite components security updates \
        sources-in-image backports foreign-architectures pin packages version never priority archives uri keyring signed-by certificates trusted install remove recommends deb debconf url \
        sha256 package question type value target source text extract symlink directory owner \
        group mode uid gid home shell groups command user after restart ready port socket file \
        documentation manuals locales python-bytecode tests hardware-database repository tags working-directory entrypoint \
        environment ports volumes labels healthcheck stop-signal interval timeout start-period \
        retries budget container shm-size memory health-timeout desktop-port keep home-volume \
        picture friendly-name \
        categories icon cores notes run-config exec-config http process within tls path status \
        screenshot architecture compatibility docker-registry available-tags gpu-count require-gpu \
        cpu-allocation-method launch-config volume-mappings persistent-profile-path \
        session-time-limit filter-policy-id zone-id restrict-network-names hidden enabled"
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(found, expected);
    // The reader of definitions knows the same keys.
    let told = wrong("nonsense = 1");
    for key in schema["properties"].as_object().expect("a table").keys() {
        assert!(told.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn it_is_the_same_each_time_and_knows_no_null() {
    let schema = kasmforge_spec::schema();
    assert_eq!(schema, kasmforge_spec::schema());
    assert!(!schema.contains("null"), "TOML has no null");
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    assert_eq!(schema["additionalProperties"], Value::Bool(false));
    let file = &schema["definitions"]["RawFile"];
    assert_eq!(file["required"], serde_json::json!(["target"]));
    assert_eq!(file["properties"]["mode"]["type"], "string");
}
