//! The types that values of different types have in common, as PostgreSQL chooses them.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::logical_expr::{Expr, cast};

use super::time_casts::is_text;

/// A type that values of several types become, some of them by a cast.
pub(super) struct Common {
    pub(super) to: DataType,
    /// The types that are cast to it; others are left to type coercion.
    takes: fn(&DataType) -> bool,
}

impl Common {
    /// What these have in common. None if they are one type, or if type coercion is right about them.
    pub(super) fn of(kinds: &[DataType], zone: &str) -> Option<Self> {
        of_floats(kinds).or_else(|| of_times(kinds, zone))
    }

    /// Whether values of a type are cast.
    pub(super) fn takes(&self, kind: &DataType) -> bool {
        (self.takes)(kind) && *kind != self.to
    }

    /// Casts a value of a type, if it is to be cast.
    pub(super) fn cast(&self, expr: &mut Expr, kind: &DataType) -> bool {
        let takes = self.takes(kind);
        if takes {
            *expr = cast(std::mem::take(expr), self.to.clone());
        }
        takes
    }
}

fn of_floats(kinds: &[DataType]) -> Option<Common> {
    let meets = kinds.iter().any(DataType::is_floating) && kinds.iter().any(DataType::is_decimal);
    meets.then_some(Common {
        to: DataType::Float64,
        takes: DataType::is_decimal,
    })
}

/// The finest unit of the timestamps. With a zone there is none without.
fn of_times(kinds: &[DataType], session: &str) -> Option<Common> {
    let mut stamps = None;
    let mut least = TimeUnit::Second;
    let mut zones = Vec::new();
    for kind in kinds {
        match kind {
            DataType::Timestamp(unit, zone) => {
                stamps = stamps.max(Some(*unit));
                zones.extend(zone.as_ref());
            }
            DataType::Date64 => least = least.max(TimeUnit::Millisecond),
            DataType::Date32 | DataType::Null => {}
            text if is_text(text) => least = least.max(TimeUnit::Microsecond),
            _ => return None,
        }
    }
    let zone = match zones.as_slice() {
        [] => None,
        [first, others @ ..] if others.iter().all(|other| other == first) => {
            Some(Arc::clone(first))
        }
        _ => Some(session.into()),
    };
    let to = DataType::Timestamp(stamps?.max(least), zone);
    let common = Common {
        to,
        takes: |kind| match kind {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => true,
            other => is_text(other),
        },
    };
    kinds
        .iter()
        .any(|kind| common.takes(kind))
        .then_some(common)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};

    use super::*;

    fn stamp(unit: TimeUnit, zone: Option<&str>) -> DataType {
        DataType::Timestamp(unit, zone.map(Into::into))
    }

    #[test]
    fn times_meet_in_the_finest_unit_and_in_a_zone_if_one_has_it() {
        let text = DataType::Utf8View;
        for (kinds, expect) in [
            (
                vec![stamp(Microsecond, None), DataType::Date32],
                Some(stamp(Microsecond, None)),
            ),
            (
                vec![stamp(Second, None), DataType::Date64],
                Some(stamp(Millisecond, None)),
            ),
            (
                vec![stamp(Second, None), text.clone()],
                Some(stamp(Microsecond, None)),
            ),
            (
                vec![stamp(Nanosecond, None), text],
                Some(stamp(Nanosecond, None)),
            ),
            (
                vec![stamp(Second, Some("Asia/Tokyo")), stamp(Nanosecond, None)],
                Some(stamp(Nanosecond, Some("Asia/Tokyo"))),
            ),
            (
                vec![
                    stamp(Second, Some("Asia/Tokyo")),
                    stamp(Second, Some("Europe/Berlin")),
                ],
                Some(stamp(Second, Some("UTC"))),
            ),
            (vec![stamp(Second, None), DataType::Null], None),
            (vec![DataType::Date32, DataType::Date32], None),
            (vec![stamp(Second, None), DataType::Int64], None),
        ] {
            assert_eq!(
                Common::of(&kinds, "UTC").map(|common| common.to),
                expect,
                "{kinds:?}"
            );
        }
    }
}
