//! Fits columns into a width: first the widest texts are cut, then columns from the middle are
//! left out. Numbers are never cut: a part of a number is a wrong number.

/// What is known of a column before it is fitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// The width that shows everything.
    pub(super) natural: usize,
    /// Whether its values may be cut.
    pub(super) may_be_cut: bool,
}

/// The columns that are shown and how wide each is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fit {
    /// The columns before the gap, as (column, width).
    pub(super) left: Vec<(usize, usize)>,
    /// The columns after the gap; empty and without a gap if all are shown.
    pub(super) right: Vec<(usize, usize)>,
}

/// A text column is not cut below this while columns can be left out instead.
const LEAST_TEXT: usize = 12;
/// What the box needs for each column, and once more.
pub(super) const BORDER: usize = 3;
/// The width of the column that stands for those left out, without its border.
const GAP: usize = 1;

/// Fits columns into a width.
pub(super) fn fit(wishes: &[Wish], width: usize) -> Fit {
    let room = width.saturating_sub(1);
    let all: Vec<usize> = (0..wishes.len()).collect();
    if let Some(widths) = cut_texts(wishes, &all, room) {
        return Fit {
            left: widths,
            right: vec![],
        };
    }
    for count in (1..wishes.len()).rev() {
        let left = count.div_ceil(2);
        let mut chosen: Vec<usize> = (0..left).collect();
        chosen.extend(wishes.len() - (count - left)..wishes.len());
        let room = room.saturating_sub(GAP + BORDER);
        if let Some(mut widths) = cut_texts(wishes, &chosen, room) {
            let right = widths.split_off(left);
            return Fit {
                left: widths,
                right,
            };
        }
    }
    only_the_first(wishes, room)
}

/// The widths of the chosen columns with texts cut to what is left, unless too little is.
fn cut_texts(wishes: &[Wish], chosen: &[usize], room: usize) -> Option<Vec<(usize, usize)>> {
    let needed = |cap: usize| -> usize {
        let width = |at: &usize| capped(wishes[*at], cap) + BORDER;
        chosen.iter().map(width).sum()
    };
    if needed(LEAST_TEXT) > room {
        return None;
    }
    let (mut fits, mut too_wide) = (LEAST_TEXT, room.max(LEAST_TEXT) + 1);
    while too_wide - fits > 1 {
        let middle = (fits + too_wide) / 2;
        match needed(middle) <= room {
            true => fits = middle,
            false => too_wide = middle,
        }
    }
    let widths = chosen.iter().map(|at| (*at, capped(wishes[*at], fits)));
    Some(widths.collect())
}

fn capped(wish: Wish, cap: usize) -> usize {
    match wish.may_be_cut {
        true => wish.natural.min(cap),
        false => wish.natural,
    }
}

fn only_the_first(wishes: &[Wish], room: usize) -> Fit {
    let border = if wishes.len() > 1 {
        BORDER + GAP + BORDER
    } else {
        BORDER
    };
    let width = room.saturating_sub(border).max(1);
    let left = wishes.iter().take(1).map(|w| (0, capped(*w, width)));
    Fit {
        left: left.collect(),
        right: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wishes: &[(usize, bool)], width: usize, left: &[usize], right: &[usize]) {
        let wishes: Vec<Wish> = wishes
            .iter()
            .map(|(natural, may_be_cut)| Wish {
                natural: *natural,
                may_be_cut: *may_be_cut,
            })
            .collect();
        let fit = fit(&wishes, width);
        let widths = |part: &[(usize, usize)]| part.iter().map(|p| p.1).collect::<Vec<_>>();
        assert_eq!(widths(&fit.left), left);
        assert_eq!(widths(&fit.right), right);
    }

    #[test]
    fn what_fits_is_left_alone() {
        check(&[(5, true), (5, false)], 80, &[5, 5], &[]);
        check(&[], 80, &[], &[]);
    }

    #[test]
    fn the_widest_texts_are_cut_first_and_numbers_never() {
        check(
            &[(100, true), (30, false), (10, true)],
            80,
            &[30, 30, 10],
            &[],
        );
    }

    #[test]
    fn columns_of_the_middle_are_left_out() {
        check(&[(20, true); 10], 60, &[15, 15], &[15]);
    }

    #[test]
    fn one_column_is_always_shown() {
        check(&[(100, true), (100, true)], 10, &[2], &[]);
        check(&[(100, true)], 1, &[1], &[]);
        check(&[(3, true), (1, false)], 12, &[3, 1], &[]);
        for width in 0..40 {
            check(&[(1, true)], width, &[1], &[]);
        }
    }
}
