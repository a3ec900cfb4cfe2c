//! The keys of an object: which there must be, what shape each has.

use super::super::json::{Member, Node, Value};
use super::super::near::nearest;
use super::{At, Ledger, quoted};

/// The shape of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Whole,
    Boolean,
    List,
    Object,
    /// Not judged.
    Anything,
}

impl Kind {
    const fn noun(self) -> &'static str {
        match self {
            Kind::Text => "a string",
            Kind::Whole => "a whole number",
            Kind::Boolean => "a boolean",
            Kind::List => "a list",
            Kind::Object => "an object",
            Kind::Anything => "anything",
        }
    }

    fn fits(self, node: &Node) -> bool {
        match (self, &node.value) {
            (Kind::Text, Value::String(_))
            | (Kind::Boolean, Value::Bool(_))
            | (Kind::List, Value::Array(_))
            | (Kind::Object, Value::Object(_))
            | (Kind::Anything, _) => true,
            (Kind::Whole, _) => node.whole().is_some(),
            _ => false,
        }
    }
}

/// A key an object may have: its name, whether it must be there, and its shape.
pub(super) type Field = (&'static str, bool, Kind);

/// Judges the keys of an object against those it may have; `what` names the object.
pub(super) fn judge(node: &Node, at: &At, what: &str, fields: &[Field], ledger: &mut Ledger) {
    let Value::Object(members) = &node.value else {
        let message = format!("{what} must be an object");
        ledger.error(
            "wrong-type",
            at,
            message,
            format!("this is {}", node.noun()),
        );
        return;
    };
    let known: Vec<&str> = fields.iter().map(|(key, ..)| *key).collect();
    let mut meant = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let key_at = at.below(&member.key, member.key_span.clone());
        if members[..index].iter().any(|other| other.key == member.key) {
            let message = format!("the key {} is given twice", quoted(&member.key));
            ledger.error("key-twice", &key_at, message, "only the last counts");
        }
        match fields.iter().find(|(key, ..)| *key == member.key) {
            Some((_, required, kind)) => shape(member, *required, *kind, at, ledger),
            None => {
                let message = format!("{what} has no key {}", quoted(&member.key));
                let label = "servers ignore it";
                let finding = ledger.warning("unknown-key", &key_at, message, label);
                if let Some(near) = nearest(&member.key, &known) {
                    finding.help(format!("did you mean `{near}`?"));
                    meant.push(near);
                }
            }
        }
    }
    for (key, required, _) in fields {
        if *required && node.get(key).is_none() && !meant.contains(key) {
            let start = node.span.start;
            let here = at.below(key, start..start + 1);
            let message = format!("{what} lacks `{key}`");
            ledger.error("key-missing", &here, message, "it belongs in this object");
        }
    }
}

fn shape(member: &Member, required: bool, kind: Kind, at: &At, ledger: &mut Ledger) {
    let node = &member.value;
    let here = at.below(&member.key, node.span.clone());
    if kind.fits(node) || (node.value == Value::Null && !required) {
        return;
    }
    let message = format!("`{}` must be {}", here.path, kind.noun());
    let label = format!("this is {}", node.noun());
    let finding = ledger.error("wrong-type", &here, message, label);
    match (&node.value, kind) {
        (Value::Null, _) => {
            let help = "a server answers \"Invalid registry schema\" to null here";
            finding.help(help);
        }
        (Value::String(text), Kind::Whole) if text.trim().parse::<u64>().is_ok() => {
            finding.help(format!("write `{}` without quotation marks", text.trim()));
        }
        (Value::Number(text), Kind::Text) => {
            finding.help(format!("write `\"{text}\"` in quotation marks"));
        }
        (Value::Number(text), Kind::Whole) if member.key.ends_with("_mb") => {
            if let Ok(number) = text.parse::<f64>()
                && (0.0..1000.0).contains(&number)
            {
                let whole = (number * 1000.0).round();
                finding.help(format!("if this is GB, write `{whole}`: MB are wanted"));
            }
        }
        (Value::String(text), Kind::Object) if text.trim_start().starts_with('{') => {
            finding
                .help("in a registry this is an object itself; JSON in a string is the API's form");
        }
        (Value::String(text), Kind::List) => {
            finding.help(format!(
                "write `[{}]`",
                serde_json::Value::from(text.as_str())
            ));
        }
        _ => {}
    }
}

/// The member of an object, if its value has the shape it should: what is misshapen is told already.
pub(super) fn field<'n>(node: &'n Node, at: &At, key: &str, kind: Kind) -> Option<(&'n Node, At)> {
    let member = node.get(key)?;
    kind.fits(&member.value)
        .then(|| (&member.value, at.below(key, member.value.span.clone())))
}

/// The elements of a list of strings; what is no string is told.
pub(super) fn texts<'n>(
    node: &'n Node,
    at: &At,
    key: &str,
    ledger: &mut Ledger,
) -> Option<Vec<(&'n str, At)>> {
    let (list, at) = field(node, at, key, Kind::List)?;
    let mut texts = Vec::new();
    for (index, element) in list.elements().iter().enumerate() {
        let here = at.below(&format!("[{index}]"), element.span.clone());
        match element.text() {
            Some(text) => texts.push((text, here)),
            None => {
                let message = format!("`{}` must be a string", here.path);
                let label = format!("this is {}", element.noun());
                ledger.error("wrong-type", &here, message, label);
            }
        }
    }
    Some(texts)
}
