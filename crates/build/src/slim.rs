//! What is left out of packages, and how dpkg inside the image is told.

use kasmforge_spec::Slim;
use kasmforge_tree::TreePath;

/// Where dpkg reads its configuration from.
pub(crate) const DPKG_CONFIGURATION: &str = "etc/dpkg/dpkg.cfg.d/kasmforge-slim";

/// Whether a path of a package goes into the image.
///
/// Copyright files always do: licences ask for them.
pub(crate) fn keeps(slim: &Slim, path: &TreePath) -> bool {
    let path = path.as_bytes();
    let below = |folder: &str| path.starts_with(folder.as_bytes());
    if below("usr/share/doc/") {
        let is_folder_of_package = path.iter().filter(|byte| **byte == b'/').count() == 3;
        return slim.documentation || path.ends_with(b"/copyright") || is_folder_of_package;
    }
    if below("usr/share/man/") || below("usr/share/info/") {
        return slim.manuals;
    }
    if [
        "usr/share/doc-base/",
        "usr/share/lintian/",
        "usr/share/linda/",
        "usr/share/gtk-doc/",
        "usr/share/help/",
    ]
    .iter()
    .any(|folder| below(folder))
    {
        return slim.documentation;
    }
    if let Some(rest) = path.strip_prefix(b"usr/share/locale/") {
        return keeps_locale(slim, rest);
    }
    if let Some(name) = path.strip_suffix(b".gresource")
        && (below("usr/share/gtk-3.0/emoji/") || below("usr/share/gtk-4.0/emoji/"))
    {
        let name = name.rsplit(|byte| *byte == b'/').next();
        return keeps_locale(slim, name.unwrap_or_default());
    }
    if below("usr/lib/udev/hwdb.d/") {
        return slim.hardware_database;
    }
    if let Some(module) = path.strip_prefix(b"usr/lib/python3") {
        return slim.tests || !is_test(module);
    }
    true
}

/// Whether what follows `usr/lib/python3` in a path is a test: of a module in Debian's folder of
/// modules, or of the standard library, whose tests are the module `test`.
fn is_test(module: &[u8]) -> bool {
    let mut names = module.split(|byte| *byte == b'/').skip(1);
    let in_library = module.starts_with(b".") && names.clone().next() == Some(b"test");
    let folders = module.split(|byte| *byte == b'/').count().saturating_sub(2);
    // A folder `tests`, not a file of that name.
    (in_library && folders > 0) || names.by_ref().take(folders).any(|name| name == b"tests")
}

/// Whether a path below `usr/share/locale/` is of a language that is kept.
fn keeps_locale(slim: &Slim, rest: &[u8]) -> bool {
    let Some(kept) = &slim.locales else {
        return true;
    };
    let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
    // locale.alias is a file every program with translations may read.
    if name == b"locale.alias" {
        return true;
    }
    let language = name
        .split(|byte| b"_.@".contains(byte))
        .next()
        .unwrap_or_default();
    kept.iter().any(|wanted| {
        let wanted = wanted.as_bytes();
        wanted == name || wanted == language
    })
}

/// The same rules as dpkg's path-exclude and path-include, so that packages installed later inside
/// the image are slimmed alike. `None` when nothing is left out.
pub(crate) fn dpkg_configuration(slim: &Slim) -> Option<String> {
    let mut lines = Vec::new();
    if !slim.documentation {
        lines.push("path-exclude=/usr/share/doc/*/*".to_owned());
        lines.push("path-include=/usr/share/doc/*/copyright".to_owned());
        for folder in ["doc-base", "gtk-doc", "help", "linda", "lintian"] {
            lines.push(format!("path-exclude=/usr/share/{folder}/*"));
        }
    }
    if !slim.manuals {
        lines.push("path-exclude=/usr/share/man/*".to_owned());
        lines.push("path-exclude=/usr/share/info/*".to_owned());
    }
    if let Some(kept) = &slim.locales {
        lines.push("path-exclude=/usr/share/locale/*/*".to_owned());
        for language in kept {
            lines.push(format!("path-include=/usr/share/locale/{language}/*"));
            lines.push(format!("path-include=/usr/share/locale/{language}[_@.]*/*"));
        }
        lines.push("path-exclude=/usr/share/gtk-?.0/emoji/*.gresource".to_owned());
        for language in kept {
            for end in ["", "[_@]*"] {
                lines.push(format!(
                    "path-include=/usr/share/gtk-?.0/emoji/{language}{end}.gresource"
                ));
            }
        }
    }
    if !slim.tests {
        lines.push("path-exclude=/usr/lib/python3*/tests/*".to_owned());
        lines.push("path-exclude=/usr/lib/python3.*/test/*".to_owned());
    }
    if !slim.hardware_database {
        for folder in ["/usr/lib", "/lib"] {
            lines.push(format!("path-exclude={folder}/udev/hwdb.d/*"));
        }
    }
    (!lines.is_empty()).then(|| {
        let rules = lines.join("\n");
        format!("# Written by kasmforge from the definition's [slim].\n{rules}\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_asked_for() {
        let slim = Slim {
            documentation: false,
            manuals: false,
            locales: Some(vec!["en".into(), "pt_BR".into()]),
            python_bytecode: true,
            tests: false,
            hardware_database: false,
        };
        for (path, kept) in [
            ("usr/share/doc/bash", true),
            ("usr/share/doc/bash/copyright", true),
            ("usr/share/doc/bash/README", false),
            ("usr/share/doc/bash/examples/copyright", true),
            ("usr/share/man/man1/bash.1.gz", false),
            ("usr/share/locale/en_GB/LC_MESSAGES/bash.mo", true),
            ("usr/share/locale/en@quot/LC_MESSAGES/bash.mo", true),
            ("usr/share/locale/eno/LC_MESSAGES/bash.mo", false),
            ("usr/share/locale/pt_BR/LC_MESSAGES/bash.mo", true),
            ("usr/share/locale/pt/LC_MESSAGES/bash.mo", false),
            ("usr/share/locale/locale.alias", true),
            ("usr/bin/bash", true),
            ("usr/share/help/C/app/index.page", false),
            ("usr/share/gtk-3.0/emoji/en.gresource", true),
            ("usr/share/gtk-3.0/emoji/pt.gresource", false),
            ("usr/share/gtk-3.0/gtkbuilder.rng", true),
            ("usr/lib/udev/hwdb.d/20-usb.hwdb", false),
            ("usr/lib/udev/rules.d/60-input-id.rules", true),
            ("usr/lib/python3/dist-packages/numpy/tests/a.py", false),
            (
                "usr/lib/python3/dist-packages/numpy/_core/tests/data/b",
                false,
            ),
            ("usr/lib/python3/dist-packages/numpy/testing/a.py", true),
            ("usr/lib/python3/dist-packages/tests", true),
            ("usr/lib/python3.13/test/support/a.py", false),
            ("usr/lib/python3.13/unittest/case.py", true),
            ("usr/lib/python3/dist-packages/test/a.py", true),
        ] {
            let path: TreePath = path.parse().expect("clean");
            assert_eq!(keeps(&slim, &path), kept, "{path}");
        }
    }
}
