//! The nearest of some names, for what was likely meant.

/// The name a word is nearest to, if it is near enough to be a slip: a third of its letters may
/// differ.
pub(crate) fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    /// No name of Kasm's is longer, and the comparison takes time with the square of the length.
    const LONGEST: usize = 64;
    let length = word.chars().count();
    if length > LONGEST {
        return None;
    }
    names
        .iter()
        .filter(|name| **name != word)
        .map(|name| (distance(word, name), *name))
        .filter(|(distance, _)| *distance <= (length / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be put in, left out or changed; large and small are one.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.to_lowercase().chars().enumerate() {
        let mut corner = row[0];
        row[0] = index + 1;
        for (column, b) in to.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[column + 1];
            row[column + 1] = changed.min(corner + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_mended() {
        let names = ["compatibility", "cores", "memory", "Development"];
        assert_eq!(nearest("compatability", &names), Some("compatibility"));
        assert_eq!(nearest("development", &names), Some("Development"));
        assert_eq!(nearest("nothing", &names), None);
    }
}
