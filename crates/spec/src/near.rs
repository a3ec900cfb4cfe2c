//! Finds the name somebody meant.

/// The name nearest to a misspelt one, if one is near enough to be meant: at most a third of its
/// letters may be wrong. Among equally near names the first is taken.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// No name of ours is longer, and the comparison takes time with the square of the length.
    const LONGEST: usize = 64;
    let length = word.chars().count();
    if length > LONGEST {
        return None;
    }
    let tolerated = (length / 3).max(1);
    names
        .into_iter()
        .filter(|name| *name != word && name.chars().count() <= LONGEST)
        .map(|name| (distance(word, name), name))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be put in, left out, changed, or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.to_lowercase().chars().collect();
    let to: Vec<char> = to.to_lowercase().chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let changed = rows[i][j] + usize::from(a != b);
            let mut best = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meant_name_is_found_and_nothing_else() {
        let names = ["install", "remove", "recommends", "deb", "debconf"];
        for (word, meant) in [
            ("instal", Some("install")),
            ("isntall", Some("install")),
            ("Recommends", Some("recommends")),
            ("packages", None),
            ("", None),
            ("dep", Some("deb")),
            ("install", None),
        ] {
            assert_eq!(nearest(word, names), meant, "{word}");
        }
    }

    #[test]
    fn distances_count_edits() {
        for (from, to, edits) in [
            ("", "ab", 2),
            ("ab", "ba", 1),
            ("abc", "axc", 1),
            ("é", "e", 1),
        ] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
            assert_eq!(distance(to, from), edits, "{to} {from}");
        }
    }
}
