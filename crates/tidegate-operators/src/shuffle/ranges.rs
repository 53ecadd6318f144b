//! Ranges of an order: the bounds that part them, the same for every task.

use std::cmp::Ordering;
use std::fmt;

use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use datafusion::common::utils::compare_rows;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};

/// Bounds that a text about ranges lists at most.
const SHOWN: usize = 8;

/// An order of rows, cut at bounds. A row that is before the first bound is in the first range, one that is a bound or
/// behind it is behind that.
///
/// ```text
/// order by a, bounds 10 and 20:   … 9 │ 10 … 19 │ 20 …
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ranges {
    // INVARIANT: each bound has a value for each key, and none comes before the one in front of it. Equal ones have an
    // empty range between them.
    order: LexOrdering,
    bounds: Vec<Vec<ScalarValue>>,
}

impl Ranges {
    /// The ranges of `order` between `bounds`, one more than there are bounds.
    ///
    /// # Errors
    ///
    /// If a bound has not one value for each key, or comes before the one in front of it.
    pub fn try_new(order: LexOrdering, bounds: Vec<Vec<ScalarValue>>) -> Result<Self> {
        if bounds.iter().any(|bound| bound.len() != order.len()) {
            return plan_err!("a bound of ranges has one value for each key");
        }
        let options = options(&order);
        for pair in bounds.windows(2) {
            if compare_rows(&pair[0], &pair[1], &options)? == Ordering::Greater {
                return plan_err!("the bounds of ranges are not in their order");
            }
        }
        Ok(Self { order, bounds })
    }

    /// What rows are compared by.
    pub fn order(&self) -> &LexOrdering {
        &self.order
    }

    /// Where one range ends and the next one begins.
    pub fn bounds(&self) -> &[Vec<ScalarValue>] {
        &self.bounds
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.bounds.len() + 1
    }

    /// The values of each key in all bounds, of the type that the key has in rows of `schema`.
    pub(super) fn columns_of_bounds(&self, schema: &Schema) -> Result<Vec<Vec<ScalarValue>>> {
        let keys = self.order.iter().enumerate();
        let column = |(at, key): (usize, &PhysicalSortExpr)| {
            let kind = key.expr.data_type(schema)?;
            let values = self.bounds.iter().map(|bound| bound[at].cast_to(&kind));
            values.collect()
        };
        keys.map(column).collect()
    }

    /// The same by other keys in place of these, in their order.
    pub(super) fn by(&self, keys: Vec<PhysicalSortExpr>) -> Option<Self> {
        let order = LexOrdering::new(keys)?;
        (order.len() == self.order.len()).then(|| Self {
            order,
            bounds: self.bounds.clone(),
        })
    }
}

fn options(order: &LexOrdering) -> Vec<SortOptions> {
    order.iter().map(|key| key.options).collect()
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "range({}) in {}", self.order, self.count())
    }
}

/// The values of bounds as text: `10, 20`, or `(1, a), (2, b)` of several keys.
pub fn bounds_text(bounds: &[Vec<ScalarValue>], value: impl Fn(&ScalarValue) -> String) -> String {
    let one = |bound: &Vec<ScalarValue>| {
        let values: Vec<String> = bound.iter().map(&value).collect();
        match values.len() {
            1 => values.concat(),
            _ => format!("({})", values.join(", ")),
        }
    };
    let mut texts: Vec<String> = bounds.iter().take(SHOWN).map(one).collect();
    if bounds.len() > SHOWN {
        texts.push(format!("… {} more", bounds.len() - SHOWN));
    }
    texts.join(", ")
}

/// The arrays of the values of bounds.
pub(super) fn arrays(columns: Vec<Vec<ScalarValue>>) -> Result<Vec<arrow::array::ArrayRef>> {
    columns
        .into_iter()
        .map(ScalarValue::iter_to_array)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use datafusion::physical_expr::expressions::Column;

    use super::*;

    fn by(descending: bool, nulls_first: bool) -> LexOrdering {
        let key = PhysicalSortExpr::new(
            Arc::new(Column::new("a", 0)),
            SortOptions::new(descending, nulls_first),
        );
        LexOrdering::new([key]).unwrap()
    }

    fn bounds(values: &[Option<i64>]) -> Vec<Vec<ScalarValue>> {
        values
            .iter()
            .map(|value| vec![ScalarValue::from(*value)])
            .collect()
    }

    #[test]
    fn bounds_stand_in_their_order() {
        let up = Ranges::try_new(by(false, false), bounds(&[Some(1), Some(1), Some(2), None]));
        assert_eq!(up.unwrap().count(), 5);
        assert!(Ranges::try_new(by(true, false), bounds(&[Some(1), Some(2)])).is_err());
        assert!(Ranges::try_new(by(true, true), bounds(&[None, Some(2), Some(1)])).is_ok());
        assert!(Ranges::try_new(by(false, false), vec![vec![]]).is_err());
    }

    #[test]
    fn many_bounds_are_not_all_listed() {
        let text = |value: &ScalarValue| value.to_string();
        assert_eq!(bounds_text(&bounds(&[Some(1), None]), text), "1, NULL");
        let many: Vec<_> = (0..20).map(Some).collect();
        assert_eq!(
            bounds_text(&bounds(&many), text),
            "0, 1, 2, 3, 4, 5, 6, 7, … 12 more"
        );
        let pairs = [vec![ScalarValue::from(1_i64), ScalarValue::from("x")]];
        assert_eq!(bounds_text(&pairs, text), "(1, x)");
    }
}
