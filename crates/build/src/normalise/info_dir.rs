//! Texinfo's index of what is in `/usr/share/info`.
//!
//! `install-info` puts each new entry where it belongs by the alphabet, but compares no further than
//! the shorter of two names: `dir` and `dirname` stand in the order they came in, which is that of a
//! folder.
//!
//! ```text
//! any text, then
//! * Menu:
//!
//! Title of a section
//! * Name: (file)Node.        What it is about,
//!                              on as many lines as it takes.
//! * …
//!
//! Title of another
//! ```

/// The line after which sections begin.
const MENU: &[u8] = b"* Menu:";

/// The index with its sections, and the entries in each, in the order of their names; `None` if it is
/// not made like one.
pub(super) fn steady(index: &[u8]) -> Option<Vec<u8>> {
    let mut lines = index.split_inclusive(|byte| *byte == b'\n');
    let mut sorted = Vec::with_capacity(index.len());
    loop {
        let line = lines.next()?;
        sorted.extend(line);
        if line.trim_ascii_end() == MENU {
            break;
        }
    }
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut between = true;
    for line in lines {
        if !line.ends_with(b"\n") {
            return None;
        }
        if line.trim_ascii().is_empty() {
            between = true;
            continue;
        }
        if line.starts_with(b"* ") && !between {
            sections.last_mut()?.entries.push(vec![line]);
        } else if line[0].is_ascii_whitespace() && !between {
            sections.last_mut()?.entries.last_mut()?.push(line);
        } else if between && line[0].is_ascii_graphic() && line[0] != b'*' {
            let (title, entries) = (line, Vec::new());
            sections.push(Section { title, entries });
            between = false;
        } else {
            return None;
        }
    }
    sections.sort_by_cached_key(|section| by_name(section.title));
    for Section { title, mut entries } in sections {
        if entries.is_empty() {
            return None;
        }
        sorted.push(b'\n');
        sorted.extend(title);
        entries.sort_by_cached_key(|lines| {
            let name = lines[0].split(|byte| *byte == b':').next();
            (by_name(name.unwrap_or_default()), lines.clone())
        });
        sorted.extend(entries.into_iter().flatten().flatten());
    }
    Some(sorted)
}

/// A title, and entries of a line or more each.
struct Section<'a> {
    title: &'a [u8],
    entries: Vec<Vec<&'a [u8]>>,
}

/// As `install-info` compares, but whole, and never equal unless it is the same.
fn by_name(name: &[u8]) -> (Vec<u8>, &[u8]) {
    (name.to_ascii_lowercase(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "The topmost node.\n\nFile: dir,\tNode: Top\n\n  This gives a menu.\n\n* Menu:\n";

    /// The menus that install-info 6.8 made of the same five files in two orders.
    const ARRIVALS: [&str; 2] = [
        "
Basics
* File permissions: (coreutils)File permissions.
                                Access modes.

basics of Emacs
* Forms: (forms).               Emacs package for editing data bases by 
                                  filling in forms.

Compression
* Gzip: (gzip).                 General (de)compression of files (lzw).

Individual utilities
* diff: (diffutils)Invoking diff.               Compare 2 files line by line.
* diff3: (diffutils)Invoking diff3.             Compare 3 files line by line.
* dirname: (coreutils)dirname invocation.       Strip last file name component.
* dir: (coreutils)dir invocation.               List directories briefly.
* ln: (coreutils)ln invocation.                 Make links between files.
",
        "
Basics
* File permissions: (coreutils)File permissions.
                                Access modes.

basics of Emacs
* Forms: (forms).               Emacs package for editing data bases by 
                                  filling in forms.

Compression
* Gzip: (gzip).                 General (de)compression of files (lzw).

Individual utilities
* diff3: (diffutils)Invoking diff3.             Compare 3 files line by line.
* dir: (coreutils)dir invocation.               List directories briefly.
* diff: (diffutils)Invoking diff.               Compare 2 files line by line.
* dirname: (coreutils)dirname invocation.       Strip last file name component.
* ln: (coreutils)ln invocation.                 Make links between files.
",
    ];

    fn of(menu: &str) -> Option<String> {
        let steady = steady(format!("{HEAD}{menu}").as_bytes())?;
        Some(String::from_utf8(steady).expect("text"))
    }

    #[test]
    fn whatever_came_first_the_index_is_the_same() {
        let one = of(ARRIVALS[0]).expect("an index");
        assert_eq!(of(ARRIVALS[1]), Some(one.clone()));
        assert_eq!(steady(one.as_bytes()), Some(one.clone().into_bytes()));
        let names: Vec<&str> = one
            .lines()
            .filter(|line| line.starts_with("* ") && *line != "* Menu:")
            .map(|line| line.split(':').next().unwrap_or_default())
            .collect();
        let expected = [
            "* File permissions",
            "* Forms",
            "* Gzip",
            "* diff",
            "* diff3",
            "* dir",
            "* dirname",
            "* ln",
        ];
        assert_eq!(names, expected);
        // Nothing is lost, and nothing added.
        let lines = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(Into::into).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&one), lines(&format!("{HEAD}{}", ARRIVALS[0])));
        // Sections in another order, and further apart.
        let (first, rest) = ARRIVALS[0].trim_end().split_once("\n\n").expect("sections");
        assert_eq!(of(&format!("\n{rest}\n\n{first}\n\n")), Some(one));
    }

    #[test]
    fn what_is_no_index_stays_as_it_is() {
        assert_eq!(steady(b""), None);
        assert_eq!(steady(b"Basics\n* a: (a).\n"), None);
        for menu in [
            "* a: (a).\n",
            "\n  about\n",
            "\nBasics\n",
            "\nBasics\n  about\n",
            "\nBasics\nMore basics\n* a: (a).\n",
            "\nBasics\n* a: (a).\n\n* b: (b).\n",
            "\nBasics\n* a: (a).\nafter\n",
            "\nBasics\n* a: (a).",
            "\nBasics\n* a: (a).\n\n\u{1f}\nLocal Variables:\n",
        ] {
            assert_eq!(of(menu), None, "{menu:?}");
        }
        assert_eq!(of(""), Some(HEAD.into()));
    }
}
