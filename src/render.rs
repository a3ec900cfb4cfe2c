//! Shows a definition's mistakes as blocks of source, the way rustc does.

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use kasmforge_spec::{Diagnostic, FileId, Files, Location};

/// The text of one diagnostic: message, the places it speaks of, and what mends it. Colours add
/// nothing that the text does not say. It ends without a newline.
pub(crate) fn render(files: &Files, diagnostic: &Diagnostic, color: bool) -> String {
    render_as(Level::ERROR, files, diagnostic, color)
}

/// The same of something that is no mistake yet.
pub(crate) fn render_warning(files: &Files, diagnostic: &Diagnostic, color: bool) -> String {
    render_as(Level::WARNING, files, diagnostic, color)
}

fn render_as(level: Level<'_>, files: &Files, diagnostic: &Diagnostic, color: bool) -> String {
    let mut group = Group::with_title(level.primary_title(&*diagnostic.message));
    for snippet in snippets(files, diagnostic) {
        group = group.element(snippet);
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(&**help));
    }
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    renderer.render(&[group])
}

/// One snippet for each file, that of the mistake itself first.
fn snippets<'a>(files: &'a Files, diagnostic: &'a Diagnostic) -> Vec<Snippet<'a, Annotation<'a>>> {
    let primary = diagnostic.at.iter().map(|at| {
        let kind = AnnotationKind::Primary;
        (at, kind, diagnostic.label.as_str())
    });
    let related = diagnostic.related.iter().map(|(at, label)| {
        let kind = AnnotationKind::Context;
        (at, kind, label.as_str())
    });
    let mut snippets: Vec<(FileId, Snippet<'a, Annotation<'a>>)> = Vec::new();
    for (at, kind, label) in primary.chain(related) {
        let label = (!label.is_empty()).then_some(label);
        let annotation = kind.span(shown(files, at)).label(label);
        let known = snippets.iter().position(|(file, _)| *file == at.file);
        let snippet = match known {
            Some(index) => snippets.remove(index).1,
            None => Snippet::source(files.text(at.file)).path(files.path(at.file)),
        };
        let index = known.unwrap_or(snippets.len());
        snippets.insert(index, (at.file, snippet.annotation(annotation)));
    }
    snippets.into_iter().map(|(_, snippet)| snippet).collect()
}

/// The part of a place that is underlined: its first line, within the text, on whole characters.
fn shown(files: &Files, at: &Location) -> Range<usize> {
    let text = files.text(at.file);
    let whole = |mut index: usize| {
        index = index.min(text.len());
        while !text.is_char_boundary(index) {
            index -= 1;
        }
        index
    };
    let start = whole(at.span.start);
    let end = whole(at.span.end).max(start);
    let line = text[start..end].find(['\n', '\r']);
    start..line.map_or(end, |length| start + length)
}

#[cfg(test)]
mod tests {
    use super::render;
    use kasmforge_spec::{Memory, load};

    fn rendered(files: &[(&str, &str)], color: bool) -> String {
        let sources: Memory = files.iter().copied().collect();
        let report = load(&sources, "desktop").expect_err("the definition is wrong");
        let blocks = report
            .diagnostics
            .iter()
            .map(|diagnostic| render(&report.files, diagnostic, color));
        blocks.collect::<Vec<_>>().join("\n\n")
    }

    #[test]
    fn a_mistake_is_shown_in_its_line() {
        let text =
            "name = \"desktop\"\n[debian]\nsuite = \"trixie\"\n[packages]\ninstal = [\"vim\"]\n";
        insta::assert_snapshot!(rendered(&[("workspaces/desktop.toml", text)], false), @r#"
        error: unknown key `instal` in `[packages]`
         --> workspaces/desktop.toml:5:1
          |
        5 | instal = ["vim"]
          | ^^^^^^ nothing reads this key
          |
          = help: did you mean `install`?
          = help: the keys of `[packages]` are: `install`, `remove`, `recommends`, `pin`, `deb`, `debconf`
        "#);
    }

    #[test]
    fn places_of_two_files_are_shown_each_in_its_own() {
        let core = "[debian]\nsuite = \"trixie\"\n[[users]]\nname = \"a\"\nuid = 1000\n";
        let desktop = "extends = \"core\"\n\n[[users]]\nname = \"b\"\nuid = 1000\n";
        let files = [
            ("workspaces/core.toml", core),
            ("workspaces/desktop.toml", desktop),
        ];
        insta::assert_snapshot!(rendered(&files, false), @"
        error: the users `a` and `b` have the same uid 1000
         --> workspaces/desktop.toml:5:7
          |
        5 | uid = 1000
          |       ^^^^ taken already
          |
         ::: workspaces/core.toml:5:7
          |
        5 | uid = 1000
          |       ---- `a` has it
        ");
    }

    #[test]
    fn several_lines_are_underlined_in_the_first_only() {
        let text = "[debian]\nsuite = [\n  \"trixie\",\n]\n";
        insta::assert_snapshot!(rendered(&[("workspaces/desktop.toml", text)], false), @"
        error: `debian.suite` must be a string
         --> workspaces/desktop.toml:2:9
          |
        2 | suite = [
          |         ^ this is a list
        ");
    }

    #[test]
    fn what_has_no_place_is_told_without_one() {
        insta::assert_snapshot!(rendered(&[("workspaces/desktpo.toml", "")], false), @"
        error: there is no workspace `desktop`
         |
         = help: did you mean `desktpo`?
         = help: the workspaces are: `desktpo`
        ");
    }

    #[test]
    fn colours_only_add_to_the_text() {
        let text = "[debian]\nsuite = \"trixie\"\n[[files]]\ntarget = \"é\"\n";
        let files = [("workspaces/desktop.toml", text)];
        let mut plain = String::new();
        let mut escape = false;
        for c in rendered(&files, true).chars() {
            match c {
                '\u{1b}' => escape = true,
                'm' if escape => escape = false,
                _ if escape => {}
                c => plain.push(c),
            }
        }
        assert_eq!(plain, rendered(&files, false));
    }
}
