//! What a difference between two builds looks like, from the differing bytes.
//!
//! Only guesses: they say where to look first, and never make a difference acceptable.

use kasmforge_build::Difference;

/// How far a difference of two times may be from the clocks' own, in seconds.
const SLACK: u64 = 2 * 86_400;

/// Files that are known to differ, and why.
const KNOWN: [(&str, &str); 12] = [
    (
        "icon-theme.cache",
        "an icon cache: it lists icons in directory order, or the theme has a link back to a folder it is in; leave the cache out",
    ),
    (
        "/fontconfig/",
        "a font cache: it keeps the times of folders",
    ),
    (
        ".pyc",
        "compiled Python: it keeps the source's time, and the order of sets where PYTHONHASHSEED is not set",
    ),
    ("plugins.dat", "a plugin cache in directory order"),
    (
        "/mandb",
        "a database whose order is the order files were read in",
    ),
    (
        "cacerts",
        "a Java key store: an entry's time, and random order",
    ),
    (
        ".elc",
        "compiled Emacs Lisp: it may keep the time of compiling",
    ),
    (
        ".eln",
        "native Emacs code: its name is a hash of the builder",
    ),
    ("/info/dir", "an index that install-info sorts by arrival"),
    ("registry.", "a backup kept by the number of runs"),
    (".xb", "an AppStream cache: random ids"),
    (
        ".db",
        "a database: it may keep times, or the order of insertion",
    ),
];

/// In words, what a difference looks like. `ahead` is how far the second build's clock was ahead.
pub(crate) fn of(difference: &Difference, ahead: u64) -> String {
    let guess = match (&difference.contents, &difference.found) {
        (Some([one, other]), _) => by_content(one, other, ahead),
        (None, [Some(_), Some(_)]) if difference.what() == ["time"] => {
            Some("the time of writing reached the image".into())
        }
        (None, [Some(_), None] | [None, Some(_)]) => Some(
            "a name that is another each time (a random or process number in it), or a file made \
             under a condition"
                .into(),
        ),
        _ => None,
    };
    let known = KNOWN
        .iter()
        .find(|(part, _)| difference.path.contains(part))
        .map(|(_, why)| (*why).to_owned());
    match (guess, known) {
        (Some(guess), Some(known)) => format!("{guess}; {known}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "no known cause".into(),
    }
}

fn by_content(one: &[u8], other: &[u8], ahead: u64) -> Option<String> {
    let (Ok(left), Ok(right)) = (std::str::from_utf8(one), std::str::from_utf8(other)) else {
        return by_bytes(one, other, ahead);
    };
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    if sorted(left) == sorted(right) {
        return Some(
            "the same lines in another order: directory order, a hash's, or jobs in parallel"
                .into(),
        );
    }
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect()
    };
    let masked = |text: &str| -> String {
        let mut mask = String::new();
        for c in text.chars() {
            match (c.is_ascii_digit(), mask.ends_with('#')) {
                (true, true) => {}
                (true, false) => mask.push('#'),
                (false, _) => mask.push(c),
            }
        }
        mask
    };
    let pairs: Vec<(u64, u64)> = numbers(left).into_iter().zip(numbers(right)).collect();
    let seconds = |(a, b): &(u64, u64)| *a > 1_000_000_000 && b.abs_diff(a + ahead) < SLACK;
    let year =
        |(a, b): &(u64, u64)| (1990..2200).contains(a) && (1..=3).contains(&b.saturating_sub(*a));
    if pairs
        .iter()
        .any(|pair| ahead > 0 && (seconds(pair) || year(pair)))
    {
        return Some(
            "the clock: a time of the build is in it (is SOURCE_DATE_EPOCH heeded?)".into(),
        );
    }
    if masked(left) == masked(right) {
        return Some("a number: a time, a process id, an inode, or a random one".into());
    }
    let letters = |text: &str| -> String {
        let hex = |c: char| if c.is_ascii_alphanumeric() { 'x' } else { c };
        text.chars().map(hex).collect()
    };
    (letters(left) == letters(right)).then(|| {
        "text of the same shape: a random id, a key, or a hash of something that differs".into()
    })
}

fn by_bytes(one: &[u8], other: &[u8], ahead: u64) -> Option<String> {
    let mut counts = [[0_u64; 256]; 2];
    for (count, bytes) in counts.iter_mut().zip([one, other]) {
        for byte in bytes {
            count[usize::from(*byte)] += 1;
        }
    }
    if counts[0] == counts[1] {
        return Some("the same bytes in another order: directory order, or a hash's".into());
    }
    if one.len() != other.len() {
        return None;
    }
    let word =
        |bytes: &[u8], at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    let time = (0..one.len()).any(|at| {
        let (Some(a), Some(b)) = (word(one, at), word(other, at)) else {
            return false;
        };
        let is = |a: u32, b: u32| {
            let (a, b) = (u64::from(a), u64::from(b));
            a > 1_000_000_000 && b.abs_diff(a + ahead) < SLACK
        };
        a != b
            && ahead > 0
            && (is(u32::from_le_bytes(a), u32::from_le_bytes(b))
                || is(u32::from_be_bytes(a), u32::from_be_bytes(b)))
    });
    if time {
        return Some("the clock: a time of the build is in it, as a number".into());
    }
    let differing = one.iter().zip(other).filter(|(a, b)| a != b).count();
    (differing * 2 > one.len())
        .then(|| "nearly every byte: random, encrypted or compressed content".into())
}

/// The first line that differs, as `- one` and `+ other`, if both are text.
pub(crate) fn first_line(difference: &Difference) -> Option<[String; 2]> {
    let [one, other] = difference.contents.as_ref()?;
    let (one, other) = (
        std::str::from_utf8(one).ok()?,
        std::str::from_utf8(other).ok()?,
    );
    let (mut left, mut right) = (one.lines(), other.lines());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => return Some([a, b].map(|line| cut(line.unwrap_or_default()))),
        }
    }
}

fn cut(line: &str) -> String {
    const LONGEST: usize = 120;
    let mut shown: String = line
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if line.chars().count() > LONGEST {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_by_the_bytes() {
        let day = 86_400;
        for (one, other, word) in [
            ("a\nb\n", "b\na\n", "another order"),
            ("at 1700000000\n", "at 1734560100\n", "the clock"),
            (
                "built in 2025-01-02\n",
                "built in 2026-02-06\n",
                "the clock",
            ),
            ("pid 17\n", "pid 4711\n", "a number"),
            ("id 3f9a\n", "id c01d\n", "a random id"),
        ] {
            let told = by_content(one.as_bytes(), other.as_bytes(), 400 * day);
            assert!(
                told.clone().is_some_and(|told| told.contains(word)),
                "{one} {told:?}"
            );
        }
        let bytes = |time: u32| [&[0xff, 0][..], &time.to_le_bytes()].concat();
        let told = by_content(&bytes(1_700_000_000), &bytes(1_734_560_000), 400 * day);
        assert!(told.is_some_and(|told| told.contains("as a number")));
        assert_eq!(by_content(b"one", b"three and more", 0), None);
    }
}
