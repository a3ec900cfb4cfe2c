//! How to divide what shares layers, so that an update is expected to send the least.
//!
//! A layer is sent again whole when one of its members changes: for members that are expected to
//! change *p* times and have sizes *s*, that is an expected cost of Σp × Σs. The sum of it over all
//! layers is to be as small as a number of layers allows.
//!
//! Members are laid in a row by p ÷ s, and the row is cut. Of two layers, a member belongs rather into
//! the one than into the other by its p ÷ s alone, so that the best division is found among the cuts:
//! always where all members change as often, and but for the grain of single members otherwise. The
//! row is Smith's order for the least expected work of an engine that unpacks again all that lies above
//! a change, and every cut keeps it.
//!
//! The best cuts are found by dynamic programming. The cost of a stretch satisfies the quadrangle
//! inequality, which bounds where the last cut can be (F. F. Yao, "Efficient dynamic programming
//! using quadrangle inequalities", 1980): about n² steps for n members, however many layers.

use std::cmp::Ordering;
use std::ops::Range;

/// What counts of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    /// Bytes; not zero.
    pub(super) size: u64,
    /// How often it is expected to change, in thousandths; not zero.
    pub(super) restlessness: u64,
}

impl Weight {
    /// The order of the row: the large and steady first, the small and restless last.
    pub(super) fn density(&self, other: &Self) -> Ordering {
        let one = u128::from(self.restlessness) * u128::from(other.size);
        one.cmp(&(u128::from(other.restlessness) * u128::from(self.size)))
    }
}

/// Several members together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Together {
    size: u128,
    restlessness: u128,
}

impl Together {
    pub(super) fn with(self, weight: Weight) -> Self {
        Self {
            size: self.size + u128::from(weight.size),
            restlessness: self.restlessness + u128::from(weight.restlessness),
        }
    }

    /// The same order for several together.
    pub(super) fn density(&self, other: &Self) -> Ordering {
        (self.restlessness * other.size).cmp(&(other.restlessness * self.size))
    }

    /// What is expected to be sent again, in thousandths of bytes.
    pub(super) fn cost(self) -> u128 {
        self.size * self.restlessness
    }
}

/// Cuts a row of members into at most `most` stretches, none of them empty.
///
/// The row must be in the order of [`Weight::density`].
pub(super) fn cut(row: &[Weight], most: usize) -> Vec<Range<usize>> {
    let all = row.len();
    let stretches = most.min(all);
    if stretches == 0 {
        return Vec::new();
    }
    let mut sums = vec![Together::default()];
    for weight in row {
        sums.push(sums[sums.len() - 1].with(*weight));
    }
    let cost = |from: usize, to: usize| {
        let stretch = Together {
            size: sums[to].size - sums[from].size,
            restlessness: sums[to].restlessness - sums[from].restlessness,
        };
        stretch.cost()
    };
    // Of one stretch: the cost of the first `to` members, and where their last stretch begins.
    let mut least: Vec<u128> = (0..=all).map(|to| cost(0, to)).collect();
    let mut begins: Vec<Vec<usize>> = vec![vec![0; all + 1]];
    for stretch in 1..stretches {
        let before = &begins[stretch - 1];
        let mut now = vec![0; all + 1];
        let mut costs = vec![0; all + 1];
        for to in (stretch + 1..=all).rev() {
            // It begins no earlier than with fewer stretches, and no later than with more members.
            let until = if to == all {
                to - 1
            } else {
                now[to + 1].min(to - 1)
            };
            let from = before[to].max(stretch).min(until);
            let begin = (from..=until).map(|at| (least[at] + cost(at, to), at));
            (costs[to], now[to]) = begin.min().expect("there is one at least");
        }
        least = costs;
        begins.push(now);
    }
    let mut cuts = Vec::new();
    let mut to = all;
    for begin in begins.iter().rev() {
        let from = begin[to];
        cuts.push(from..to);
        to = from;
    }
    cuts.reverse();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn total<'a>(groups: impl IntoIterator<Item = &'a [Weight]>) -> u128 {
        let together = |group: &[Weight]| {
            let all = group
                .iter()
                .fold(Together::default(), |sum, one| sum.with(*one));
            all.cost()
        };
        groups.into_iter().map(together).sum()
    }

    fn cost_of(row: &[Weight], most: usize) -> u128 {
        total(cut(row, most).into_iter().map(|range| &row[range]))
    }

    /// The least cost of all cuts, tried one after another.
    fn every_cut(row: &[Weight], most: usize) -> u128 {
        let whole = total([row]);
        if most <= 1 {
            return whole;
        }
        let cuts = (1..row.len()).map(|at| every_cut(&row[..at], most - 1) + total([&row[at..]]));
        cuts.min().map_or(whole, |least| least.min(whole))
    }

    /// The least cost of all divisions, in a row or not.
    fn every_division(left: &[Weight], groups: &mut Vec<Vec<Weight>>, most: usize) -> u128 {
        let Some((first, rest)) = left.split_first() else {
            return total(groups.iter().map(Vec::as_slice));
        };
        let mut least = u128::MAX;
        for at in 0..groups.len() {
            groups[at].push(*first);
            least = least.min(every_division(rest, groups, most));
            groups[at].pop();
        }
        if groups.len() < most {
            groups.push(vec![*first]);
            least = least.min(every_division(rest, groups, most));
            groups.pop();
        }
        least
    }

    prop_compose! {
        fn row(most: usize)(
            mut row in prop::collection::vec((prop::sample::select(vec![1_u64, 2, 3, 5, 9, 40, 300, 1_999]), prop::sample::select(vec![20_u64, 80, 340])), 1..most)
                .prop_map(|all| all.into_iter()
                    .map(|(size, restlessness)| Weight { size, restlessness })
                    .collect::<Vec<_>>())
        ) -> Vec<Weight> {
            row.sort_by(Weight::density);
            row
        }
    }

    proptest! {
        #[test]
        fn no_other_cut_costs_less(row in row(11), most in 1_usize..11) {
            prop_assert_eq!(cost_of(&row, most), every_cut(&row, most));
        }

        #[test]
        fn no_other_division_costs_less_where_all_are_as_likely(
            sizes in prop::collection::vec(1_u64..2_000, 1..8),
            most in 1_usize..6,
        ) {
            let mut row: Vec<Weight> = sizes
                .into_iter()
                .map(|size| Weight { size, restlessness: 20 })
                .collect();
            row.sort_by(Weight::density);
            prop_assert_eq!(cost_of(&row, most), every_division(&row, &mut Vec::new(), most));
        }

        #[test]
        fn stretches_are_the_row_and_none_is_empty(row in row(60), most in 0_usize..70) {
            let cuts = cut(&row, most);
            prop_assert_eq!(cuts.len(), most.min(row.len()));
            let mut at = 0;
            for range in &cuts {
                prop_assert_eq!(range.start, at);
                prop_assert!(range.end > range.start);
                at = range.end;
            }
            prop_assert!(most == 0 || at == row.len());
        }

        #[test]
        fn more_layers_never_cost_more(row in row(40), most in 1_usize..40) {
            prop_assert!(cost_of(&row, most + 1) <= cost_of(&row, most));
        }
    }
}
