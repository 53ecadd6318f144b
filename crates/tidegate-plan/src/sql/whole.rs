//! Whole numbers from floats and decimals: to the nearest, up or down.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Float32Array, Float64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, i256};
use datafusion::common::{DataFusionError, Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::arithmetic::over_array;

/// Which whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Whole {
    /// The nearest: of two, the one away from zero for decimals and the even one for floats.
    Nearest,
    /// The least one not below.
    Up,
    /// The greatest one not above.
    Down,
}

impl Whole {
    pub(super) const ALL: [Whole; 3] = [Whole::Nearest, Whole::Up, Whole::Down];

    /// The name of the function, in serialized plans too: never change one.
    fn name(self) -> &'static str {
        match self {
            Whole::Nearest => "round_to_whole",
            Whole::Up => "ceil_to_whole",
            Whole::Down => "floor_to_whole",
        }
    }

    pub(super) fn function(self) -> Arc<ScalarUDF> {
        static ALL: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
            Whole::ALL.map(|whole| {
                Arc::new(ScalarUDF::new_from_impl(ToWhole {
                    whole,
                    signature: Signature::any(1, Volatility::Immutable),
                }))
            })
        });
        Arc::clone(&ALL[self as usize])
    }

    /// The call of the function.
    pub(super) fn of(self, expr: Expr) -> Expr {
        self.function().call(vec![expr])
    }

    /// Whether an expression is a call of one of the functions.
    pub(super) fn is_called(expr: &Expr) -> bool {
        matches!(expr, Expr::ScalarFunction(call) if call.func.inner().is::<ToWhole>())
    }

    fn float(self, value: f64) -> f64 {
        match self {
            Whole::Nearest => value.round_ties_even(),
            Whole::Up => value.ceil(),
            Whole::Down => value.floor(),
        }
    }
}

/// The function of a [`Whole`]: decimals lose their places.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToWhole {
    whole: Whole,
    signature: Signature,
}

impl ScalarUDFImpl for ToWhole {
    fn name(&self) -> &str {
        self.whole.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type @ (DataType::Float32 | DataType::Float64)] => Ok(data_type.clone()),
            [DataType::Float16] => Ok(DataType::Float32),
            [DataType::Decimal128(precision, scale)] => Ok(DataType::Decimal128(
                whole_digits(*precision, *scale, 38),
                0,
            )),
            [DataType::Decimal256(precision, scale)] => Ok(DataType::Decimal256(
                whole_digits(*precision, *scale, 76),
                0,
            )),
            _ => plan_err!("{} takes one float or decimal", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return exec_err!("{} takes one argument", self.name());
        };
        over_array(value, |array| to_whole(array, self.whole))
    }
}

/// One more digit than stood before the point, for 9.9 becomes 10.
fn whole_digits(precision: u8, scale: i8, most: u8) -> u8 {
    let places = u8::try_from(scale).unwrap_or(0);
    (precision.saturating_sub(places) + 1).clamp(1, most)
}

fn to_whole(array: &ArrayRef, whole: Whole) -> Result<ArrayRef> {
    let wrong = || {
        let message = format!("{} takes a float or a decimal", whole.name());
        DataFusionError::Execution(message)
    };
    Ok(match array.data_type() {
        DataType::Float16 => {
            let wide = arrow::compute::cast(array, &DataType::Float32)?;
            to_whole(&wide, whole)?
        }
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            let numbers: Float32Array = floats.unary(|value| whole.float(value.into()) as f32);
            Arc::new(numbers)
        }
        DataType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            let numbers: Float64Array = floats.unary(|value| whole.float(value));
            Arc::new(numbers)
        }
        DataType::Decimal128(precision, scale) => {
            let places = u32::try_from(*scale).map_err(|_| wrong())?;
            let unit = 10i128.checked_pow(places).ok_or_else(wrong)?;
            let decimals = array.as_primitive::<Decimal128Type>();
            let numbers: Decimal128Array = decimals.unary(|value| whole_128(value, unit, whole));
            Arc::new(numbers.with_precision_and_scale(whole_digits(*precision, *scale, 38), 0)?)
        }
        DataType::Decimal256(precision, scale) => {
            let places = u32::try_from(*scale).map_err(|_| wrong())?;
            let unit = i256::from_i128(10).checked_pow(places).ok_or_else(wrong)?;
            let decimals = array.as_primitive::<Decimal256Type>();
            let numbers: Decimal256Array = decimals.unary(|value| whole_256(value, unit, whole));
            Arc::new(numbers.with_precision_and_scale(whole_digits(*precision, *scale, 76), 0)?)
        }
        _ => return Err(wrong()),
    })
}

fn whole_128(value: i128, unit: i128, whole: Whole) -> i128 {
    let (cut, rest) = (value / unit, value % unit);
    match whole {
        // |rest| < unit ≤ 10^38, so its double does not fit; compare with what is missing instead.
        Whole::Nearest if rest != 0 && rest.abs() >= unit - rest.abs() => cut + rest.signum(),
        Whole::Up if rest > 0 => cut + 1,
        Whole::Down if rest < 0 => cut - 1,
        _ => cut,
    }
}

fn whole_256(value: i256, unit: i256, whole: Whole) -> i256 {
    let (Some(cut), Some(rest)) = (value.checked_div(unit), value.checked_rem(unit)) else {
        return value;
    };
    let size = rest.wrapping_abs();
    let (above, below) = (rest > i256::ZERO, rest < i256::ZERO);
    let away = size >= unit.wrapping_sub(size);
    match whole {
        Whole::Nearest if above && away => cut.wrapping_add(i256::ONE),
        Whole::Nearest if below && away => cut.wrapping_sub(i256::ONE),
        Whole::Up if above => cut.wrapping_add(i256::ONE),
        Whole::Down if below => cut.wrapping_sub(i256::ONE),
        _ => cut,
    }
}
