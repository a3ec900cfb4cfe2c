//! `registry.toml`.

use kasmforge_spec::{Memory, REGISTRY, registry};

fn memory(text: &str) -> Memory {
    [(REGISTRY, text), ("icon.svg", "")].into_iter().collect()
}

#[test]
fn it_says_what_the_registry_is_called_and_where_it_is() {
    let text = "name = \"Desktops\"\ndescription = \"Ours\"\nurl = \"https://desktops.example\"\n\
                icon = \"icon.svg\"\ncontact = \"https://desktops.example/help\"\n\
                compatibility = [\"1.17.x\"]\ndefault-channel = \"stable\"\n";
    let registry = registry(&memory(text))
        .expect("it is right")
        .expect("it is there");
    assert_eq!(registry.name, "Desktops");
    assert_eq!(registry.url, "https://desktops.example/");
    assert_eq!(registry.icon.value, "icon.svg");
    assert_eq!(registry.compatibility, ["1.17.x"]);
    let channel = registry.default_channel.map(|channel| channel.value);
    assert_eq!(channel.as_deref(), Some("stable"));
}

#[test]
fn there_may_be_none() {
    let sources: Memory = [("workspaces/core.toml", "")].into_iter().collect();
    assert!(registry(&sources).expect("nothing is wrong").is_none());
}

#[test]
fn all_its_mistakes_are_told() {
    let text = "nmae = \"x\"\ndescription = 1\nurl = \"https://desktops.example/1.1/\"\n\
                icon = \"logo.png\"\ncompatibility = [\"1.17\"]\n";
    let report = registry(&memory(text)).expect_err("it is wrong");
    insta::assert_snapshot!(report.to_string(), @r#"
    registry.toml:1:1: the file lacks the key `contact` (it belongs here)
    registry.toml:1:1: unknown key `nmae` in the file (nothing reads this key)
      help: did you mean `name`?
      help: the keys of the file are: `name`, `description`, `url`, `icon`, `contact`, `compatibility`, `default-channel`
    registry.toml:2:15: `description` must be a string (this is a whole number)
      help: write it in quotation marks: `"1"`
    registry.toml:3:7: `https://desktops.example/1.1/` is not the address of a registry (Kasm appends the schema's version and `list.json` itself)
      help: write `"https://desktops.example/"`
    registry.toml:4:8: `logo.png` does not exist (no such file)
      help: the path is relative to the project's folder
    registry.toml:5:18: `1.17` is not a version of Kasm as registries write it (`1.17.x` is the form: two numbers, then `.x`)
    "#);
}
