//! Names of things, and short texts.

use super::{all, begins, choice, small, words};
use crate::model::Restart;

/// Whether a text is letters, digits and single `.`, `_`, `-` between them: what every registry
/// takes as a component of a repository's name.
pub(crate) fn is_component(text: &str) -> bool {
    text.split(['.', '_', '-']).all(|part| all(part, small))
}

/// Names longer than this are refused by one program or another (`useradd`, host names).
const LONGEST: usize = 32;

fn is_user(text: &str) -> bool {
    let rest = |c| small(c) || c == '_' || c == '-';
    text.len() <= LONGEST && begins(text, |c| c.is_ascii_lowercase() || c == '_', rest)
}

fn is_id(text: &str) -> bool {
    all(text, |c| c.is_ascii_digit()) && text.parse::<u32>().is_ok_and(|id| id < 1 << 31)
}

fn is_owner(text: &str) -> bool {
    is_user(text) || is_id(text)
}

fn is_locale(text: &str) -> bool {
    let language = text.split(['_', '@', '.', '-']).next().unwrap_or_default();
    text == "*"
        || (2..=3).contains(&language.len())
            && all(language, |c| c.is_ascii_lowercase())
            && all(text, |c| c.is_ascii_alphanumeric() || "_@.-".contains(c))
}

fn is_signal(text: &str) -> bool {
    let name = text.strip_prefix("SIG");
    name.is_some_and(|name| {
        all(name, |c| {
            c.is_ascii_uppercase() || c.is_ascii_digit() || c == '+' || c == '-'
        })
    })
}

words! {
    /// Any text but one with a NUL, which no program can be given.
    Text = "text", "", |text| !text.contains('\0'), "a NUL cannot stand here";

    /// A text of one line.
    Line = "a line of text", "", |text| all(text, |c| !c.is_control()),
        "one line is wanted, not empty and without control characters";

    /// A workspace's name, and the stem of its file.
    WorkspaceName = "a workspace's name", "^[a-z0-9]+([._-][a-z0-9]+)*$", is_component,
        "small letters and digits are wanted, with single `.`, `_` or `-` between them",
        "the name becomes part of the image's reference, where nothing else is allowed";

    /// The name of a user or a group.
    UserName = "a user's or group's name", "^[a-z_][a-z0-9_-]*$", is_user,
        "small letters, digits, `_` and `-` are wanted, at most 32, a letter or `_` first";

    /// A user or a group: a name, or a number.
    Owner = "a user or group", "^([a-z_][a-z0-9_-]*|[0-9]+)$", is_owner,
        "a name or a number below 2147483648 is wanted",
        "names are small letters, digits, `_` and `-`, at most 32";

    /// Whom a container's process runs as: a user, perhaps with a group.
    ImageUser = "a user", "^([a-z_][a-z0-9_-]*|[0-9]+)(:([a-z_][a-z0-9_-]*|[0-9]+))?$",
        |text| match text.split_once(':') {
            Some((user, group)) => is_owner(user) && is_owner(group),
            None => is_owner(text),
        },
        "`user` or `user:group` is wanted, as names or numbers below 2147483648";

    /// A service's name; it becomes a folder's.
    ServiceName = "a service's name", "^[A-Za-z0-9][A-Za-z0-9_-]*$",
        |text| begins(text, |c| c.is_ascii_alphanumeric(), |c| c.is_ascii_alphanumeric() || c == '-' || c == '_'),
        "letters, digits, `-` and `_` are wanted";

    /// A container's name.
    ContainerName = "a container's name", "^[A-Za-z0-9][A-Za-z0-9_.-]+$",
        |text| text.len() > 1
            && begins(text, |c| c.is_ascii_alphanumeric(), |c| c.is_ascii_alphanumeric() || "_.-".contains(c)),
        "two or more letters, digits, `_`, `.` and `-` are wanted, a letter or digit first";

    /// The name of an environment variable.
    VariableName = "a variable's name", "^[A-Za-z_][A-Za-z0-9_]*$",
        |text| begins(text, |c| c.is_ascii_alphabetic() || c == '_', |c| c.is_ascii_alphanumeric() || c == '_'),
        "letters, digits and `_` are wanted, no digit first";

    /// The key of a label.
    LabelName = "a label's key", "^[A-Za-z0-9][A-Za-z0-9._/-]*$",
        |text| begins(text, |c| c.is_ascii_alphanumeric(), |c| c.is_ascii_alphanumeric() || "._/-".contains(c)),
        "letters, digits, `.`, `_`, `/` and `-` are wanted";

    /// A language whose translations are kept: `de`, `pt_BR`; `*` for all.
    Locale = "a language", "^(\\*|[a-z]{2,3}([_@.-].*)?)$", is_locale,
        "a language such as `de` or `pt_BR` is wanted, or `*` for all";

    /// A signal's name.
    Signal = "a signal", "^SIG[A-Z0-9+-]+$", is_signal, "a name such as `SIGTERM` is wanted";
}

choice! {
    /// What happens when a service ends.
    RestartWord(Restart) = "a way to restart a service" {
        "always" => Restart::Always,
        "on-failure" => Restart::OnFailure,
        "never" => Restart::Never,
    }
}

choice! {
    /// An engine's restart policy.
    RestartPolicy(&'static str) = "a restart policy" {
        "no" => "no",
        "always" => "always",
        "unless-stopped" => "unless-stopped",
        "on-failure" => "on-failure",
    }
}

choice! {
    /// The type of a debconf question.
    QuestionType(&'static str) = "a type of debconf's questions" {
        "string" => "string",
        "boolean" => "boolean",
        "select" => "select",
        "multiselect" => "multiselect",
        "password" => "password",
        "text" => "text",
        "note" => "note",
        "title" => "title",
        "error" => "error",
    }
}
