//! Names like the one that was written.

/// How many names are worth showing.
const SHOWN: usize = 3;

/// The nearest of many names: first what differs by slips of the hand, then what goes on where the
/// name ends (`firefox`, `firefox-esr`).
pub(crate) fn names<'a>(written: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
    // A person's name for a package is short; a long one is not worth a long search.
    if written.len() > 100 {
        return Vec::new();
    }
    let most = (written.len() / 4).clamp(1, 3);
    let written = written.to_ascii_lowercase();
    let mut near: Vec<(usize, usize, &str)> = all
        .filter_map(|name| {
            let goes_on = name.strip_prefix(&*written).is_some_and(|rest| {
                rest.starts_with(['-', '.', '+']) || rest.starts_with(|c: char| c.is_ascii_digit())
            });
            if goes_on {
                return Some((2, name.len(), name));
            }
            if name.len().abs_diff(written.len()) > most {
                return None;
            }
            let distance = distance(written.as_bytes(), name.as_bytes());
            (distance <= most).then_some((distance, name.len(), name))
        })
        .collect();
    near.sort_unstable();
    near.truncate(SHOWN);
    near.into_iter()
        .map(|(_, _, name)| name.to_owned())
        .collect()
}

/// How many bytes must be put in, taken out, replaced or swapped with their neighbour.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, &a) in left.iter().enumerate() {
        let mut this = vec![row + 1];
        for (column, &b) in right.iter().enumerate() {
            let mut least = (last[column] + usize::from(a != b))
                .min(last[column + 1] + 1)
                .min(this[column] + 1);
            if row > 0 && column > 0 && a == right[column - 1] && b == left[row - 1] {
                least = least.min(before[column - 1] + 1);
            }
            this.push(least);
        }
        before = std::mem::replace(&mut last, this);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_go_before_longer_names() {
        let all = [
            "firefox-esr",
            "firefox-esr-l10n-de",
            "fierfox",
            "firewalld",
            "gimp",
            "vlc",
        ];
        let near = |written| names(written, all.into_iter());
        assert_eq!(
            near("firefox"),
            ["fierfox", "firefox-esr", "firefox-esr-l10n-de"]
        );
        assert_eq!(near("gmip"), ["gimp"]);
        assert_eq!(near("GIMP"), ["gimp"]);
        assert!(near("nothing-like-it").is_empty());
    }
}
