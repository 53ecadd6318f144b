//! Loops of checked arithmetic over whole arrays.
//!
//! Each step yields the wrapped value and a flag; the flags of a batch are or-ed together and looked at once, so the
//! loops stay free of branches and vectorise. Only when the flag is up are the rows searched for the one that
//! overflowed, and rows that are NULL are forgiven.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

use super::{Error, Operation, sql_type};

/// An integer that can tell a wrapped result from a true one.
pub(super) trait Overflow: Copy + std::fmt::Display {
    /// Accumulates by or; [`Overflow::happened`] reads it.
    type Flag: Copy + Default + std::ops::BitOr<Output = Self::Flag>;
    fn add(self, other: Self) -> (Self, Self::Flag);
    fn sub(self, other: Self) -> (Self, Self::Flag);
    /// As [`Overflow::Flag`], for products: any bit that is set.
    type Excess: Copy + Default + PartialEq + std::ops::BitOr<Output = Self::Excess>;
    fn mul(self, other: Self) -> (Self, Self::Excess);
    fn happened(flag: Self::Flag) -> bool;
}

macro_rules! signed {
    ($t:ty, $excess:ty, |$a:ident, $b:ident| $mul:expr) => {
        impl Overflow for $t {
            type Flag = $t;
            type Excess = $excess;
            #[inline(always)]
            fn add(self, other: Self) -> (Self, $t) {
                let sum = self.wrapping_add(other);
                (sum, (self ^ sum) & (other ^ sum))
            }
            #[inline(always)]
            fn sub(self, other: Self) -> (Self, $t) {
                let difference = self.wrapping_sub(other);
                (difference, (self ^ other) & (self ^ difference))
            }
            #[inline(always)]
            fn mul(self, other: Self) -> (Self, $excess) {
                let ($a, $b) = (self, other);
                $mul
            }
            #[inline(always)]
            fn happened(flag: $t) -> bool {
                flag < 0
            }
        }
    };
}

macro_rules! unsigned {
    ($t:ty, $excess:ty, |$a:ident, $b:ident| $mul:expr) => {
        impl Overflow for $t {
            type Flag = $t;
            type Excess = $excess;
            #[inline(always)]
            fn add(self, other: Self) -> (Self, $t) {
                let sum = self.wrapping_add(other);
                (sum, (sum < self) as $t)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> (Self, $t) {
                (self.wrapping_sub(other), (self < other) as $t)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> (Self, $excess) {
                let ($a, $b) = (self, other);
                $mul
            }
            #[inline(always)]
            fn happened(flag: $t) -> bool {
                flag != 0
            }
        }
    };
}

// Narrow products are computed in the next wider type, which vectorises where `overflowing_mul` does not. What exceeds
// the narrow type is kept in the upper half, for a comparison with the product would cost as much as the product: over
// 8192 values of 32 bits 2.6 µs in place of 5.7, where the wrapping product takes 1.3.
macro_rules! widening {
    ($wide:ty, $t:ty, $a:ident, $b:ident) => {{
        let wide = $a as $wide * $b as $wide;
        (
            wide as $t,
            (wide - <$t>::MIN as $wide) & !(<$t>::MAX.abs_diff(<$t>::MIN) as $wide),
        )
    }};
}

macro_rules! overflowing {
    ($a:ident, $b:ident) => {{
        let (product, overflowed) = $a.overflowing_mul($b);
        (product, u8::from(overflowed))
    }};
}

signed!(i8, i16, |a, b| widening!(i16, i8, a, b));
signed!(i16, i32, |a, b| widening!(i32, i16, a, b));
signed!(i32, i64, |a, b| widening!(i64, i32, a, b));
signed!(i64, u8, |a, b| overflowing!(a, b));
unsigned!(u8, u16, |a, b| widening!(u16, u8, a, b));
unsigned!(u16, u32, |a, b| widening!(u32, u16, a, b));
unsigned!(u32, u64, |a, b| widening!(u64, u32, a, b));
unsigned!(u64, u8, |a, b| overflowing!(a, b));

/// `left op right` over integers of type `T`.
pub(super) fn integers<T>(
    op: Operation,
    left: &ColumnarValue,
    right: &ColumnarValue,
) -> Result<ColumnarValue>
where
    T: ArrowPrimitiveType,
    T::Native: Overflow,
{
    match op {
        Operation::Add => zip::<T, T, _>(
            left,
            right,
            &T::DATA_TYPE,
            op,
            T::Native::add,
            T::Native::happened,
        ),
        Operation::Subtract => zip::<T, T, _>(
            left,
            right,
            &T::DATA_TYPE,
            op,
            T::Native::sub,
            T::Native::happened,
        ),
        Operation::Multiply => {
            zip::<T, T, _>(left, right, &T::DATA_TYPE, op, T::Native::mul, |excess| {
                excess != Default::default()
            })
        }
        Operation::Divide => datafusion::common::internal_err!("checked division of integers"),
        Operation::Negate => {
            let zero = ColumnarValue::Scalar(ScalarValue::new_zero(&T::DATA_TYPE)?);
            zip::<T, T, _>(
                &zero,
                left,
                &T::DATA_TYPE,
                op,
                T::Native::sub,
                T::Native::happened,
            )
        }
    }
}

/// One batch through `step`, the operands arrays or scalars in any combination.
fn zip<T, O, Flag>(
    left: &ColumnarValue,
    right: &ColumnarValue,
    out: &DataType,
    op: Operation,
    step: impl Fn(T::Native, T::Native) -> (O::Native, Flag),
    happened: impl Fn(Flag) -> bool,
) -> Result<ColumnarValue>
where
    T: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
    Flag: Copy + Default + std::ops::BitOr<Output = Flag>,
{
    let rows = match (left, right) {
        (ColumnarValue::Array(a), _) | (_, ColumnarValue::Array(a)) => a.len(),
        _ => 1,
    };
    let all_scalar = matches!(
        (left, right),
        (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
    );
    let (l, r) = (Operand::<T>::new(left)?, Operand::<T>::new(right)?);
    if l.is_null_constant() || r.is_null_constant() {
        return finish(new_null_array(out, rows), all_scalar);
    }
    let mut flags = Flag::default();
    let mut push = |a, b| {
        let (value, flag) = step(a, b);
        flags = flags | flag;
        value
    };
    let values: Vec<O::Native> = match (&l, &r) {
        (Operand::Column(l), Operand::Column(r)) => l
            .values()
            .iter()
            .zip(r.values().iter())
            .map(|(&a, &b)| push(a, b))
            .collect(),
        (Operand::Column(l), Operand::Constant(b)) => {
            let b = b.value(0);
            l.values().iter().map(|&a| push(a, b)).collect()
        }
        (Operand::Constant(a), Operand::Column(r)) => {
            let a = a.value(0);
            r.values().iter().map(|&b| push(a, b)).collect()
        }
        (Operand::Constant(a), Operand::Constant(b)) => vec![push(a.value(0), b.value(0))],
    };
    let nulls = NullBuffer::union(l.nulls(), r.nulls());
    if happened(flags) {
        forgive_nulls(&l, &r, rows, nulls.as_ref(), out, op, |a, b| {
            happened(step(a, b).1)
        })?;
    }
    let array = PrimitiveArray::<O>::new(values.into(), nulls).with_data_type(out.clone());
    finish(Arc::new(array), all_scalar)
}

/// The error of the first row that overflowed and is not NULL, if there is one.
fn forgive_nulls<T: ArrowPrimitiveType>(
    left: &Operand<T>,
    right: &Operand<T>,
    rows: usize,
    nulls: Option<&NullBuffer>,
    out: &DataType,
    op: Operation,
    overflows: impl Fn(T::Native, T::Native) -> bool,
) -> Result<()> {
    for row in 0..rows {
        if nulls.is_none_or(|nulls| nulls.is_valid(row))
            && overflows(left.value(row), right.value(row))
        {
            let (left, right) = (left.text(row), right.text(row));
            let expression = match op {
                Operation::Negate => format!("-({right})"),
                _ => format!("{left} {} {right}", op.symbol()),
            };
            return Err(Error::OutOfRange {
                type_name: sql_type(out),
                expression,
            }
            .into());
        }
    }
    Ok(())
}

fn finish(array: ArrayRef, scalar: bool) -> Result<ColumnarValue> {
    Ok(if scalar {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
    } else {
        ColumnarValue::Array(array)
    })
}

/// A column, or one value that stands for every row.
enum Operand<T: ArrowPrimitiveType> {
    Column(PrimitiveArray<T>),
    Constant(PrimitiveArray<T>),
}

impl<T: ArrowPrimitiveType> Operand<T> {
    fn new(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Operand::Column(array.as_primitive::<T>().clone()),
            ColumnarValue::Scalar(scalar) => {
                Operand::Constant(scalar.to_array()?.as_primitive::<T>().clone())
            }
        })
    }

    fn is_null_constant(&self) -> bool {
        matches!(self, Operand::Constant(array) if array.is_null(0))
    }

    fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            Operand::Column(array) => array.nulls(),
            Operand::Constant(_) => None,
        }
    }

    fn value(&self, row: usize) -> T::Native {
        match self {
            Operand::Column(array) => array.value(row),
            Operand::Constant(array) => array.value(0),
        }
    }

    fn text(&self, row: usize) -> String {
        let (array, row) = match self {
            Operand::Column(array) => (array, row),
            Operand::Constant(array) => (array, 0),
        };
        arrow::util::display::array_value_to_string(array, row).unwrap_or_default()
    }
}

/// `left op right` over 128-bit decimals whose result is `out`; the precision of `out` is kept or it is an error.
///
/// Below 38 digits the type of the result has room for every result, so only results of 38 digits are looked at.
pub(super) fn decimals(
    op: Operation,
    left: &ColumnarValue,
    right: &ColumnarValue,
    out: &DataType,
) -> Result<ColumnarValue> {
    let DataType::Decimal128(precision, scale) = *out else {
        return datafusion::common::internal_err!("decimal arithmetic without a decimal result");
    };
    if op == Operation::Multiply {
        return Decimals {
            left,
            right,
            out,
            op,
        }
        .zip(multiply);
    }
    let (left, up_left) = rescaled(left, scale)?;
    let (right, up_right) = rescaled(right, scale)?;
    let run = Decimals {
        left: &left,
        right: &right,
        out,
        op,
    };
    let limited = precision >= DECIMAL128_MAX_PRECISION;
    let keep = move |sum: i128| (sum, limited && leaves_38_digits(sum));
    let subtract = op == Operation::Subtract;
    match (up_left, up_right) {
        (1, 1) if subtract => run.zip(|a, b| keep(a.wrapping_sub(b))),
        (1, 1) => run.zip(|a, b| keep(a.wrapping_add(b))),
        _ => run.zip(move |a, b| {
            let sides = scale_up(a, up_left).zip(scale_up(b, up_right));
            // What was scaled up may have 39 digits, so here a sum could go around unseen.
            match sides.and_then(|(a, b)| {
                if subtract {
                    a.checked_sub(b)
                } else {
                    a.checked_add(b)
                }
            }) {
                Some(sum) => keep(sum),
                None => (0, true),
            }
        }),
    }
}

/// The operands of one call, so that each loop above is one line.
struct Decimals<'a> {
    left: &'a ColumnarValue,
    right: &'a ColumnarValue,
    out: &'a DataType,
    op: Operation,
}

impl Decimals<'_> {
    fn zip(self, step: impl Fn(i128, i128) -> (i128, bool)) -> Result<ColumnarValue> {
        zip::<Decimal128Type, Decimal128Type, _>(
            self.left,
            self.right,
            self.out,
            self.op,
            step,
            |flag| flag,
        )
    }
}

const LIMIT: i128 = 10_i128.pow(38) - 1;

/// Whether a sum of two values of at most 38 digits has more. Where the sum went around, what is left of it is beyond
/// the limit on the other side.
#[inline(always)]
fn leaves_38_digits(sum: i128) -> bool {
    // The high half decides for all but the values next to the limit.
    const HIGH: i64 = (LIMIT >> 64) as i64;
    let high = (sum >> 64) as i64;
    (high >= HIGH || high <= -HIGH) && sum.unsigned_abs() > LIMIT as u128
}

/// Two values of 64 bits have a product below 2^126, which is below 10^38: one instruction instead of a call.
#[inline(always)]
fn multiply(a: i128, b: i128) -> (i128, bool) {
    let (short_a, short_b) = (a as i64, b as i64);
    if i128::from(short_a) == a && i128::from(short_b) == b {
        return (i128::from(short_a) * i128::from(short_b), false);
    }
    match a.checked_mul(b) {
        Some(product) => (product, product.unsigned_abs() > LIMIT as u128),
        None => (0, true),
    }
}

/// An operand and the factor that its values still lack to have `scale`; a constant has its factor at once.
fn rescaled(value: &ColumnarValue, scale: i8) -> Result<(ColumnarValue, i128)> {
    let factor = power_of_ten(scale, self::scale(&value.data_type()))?;
    if let ColumnarValue::Scalar(ScalarValue::Decimal128(Some(unscaled), ..)) = value
        && let Some(unscaled) = unscaled.checked_mul(factor)
        && !leaves_38_digits(unscaled)
    {
        let scalar = ScalarValue::Decimal128(Some(unscaled), DECIMAL128_MAX_PRECISION, scale);
        return Ok((ColumnarValue::Scalar(scalar), 1));
    }
    Ok((value.clone(), factor))
}

#[inline(always)]
fn scale_up(value: i128, factor: i128) -> Option<i128> {
    if factor == 1 {
        return Some(value);
    }
    let short = value as i64;
    if i128::from(short) == value && factor <= i128::from(i64::MAX) {
        return Some(i128::from(short) * i128::from(factor as i64));
    }
    value.checked_mul(factor)
}

fn scale(data_type: &DataType) -> i8 {
    match data_type {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

fn power_of_ten(to: i8, from: i8) -> Result<i128> {
    let digits = u32::try_from(i16::from(to) - i16::from(from)).unwrap_or(0);
    10_i128.checked_pow(digits).ok_or_else(|| {
        Error::OutOfRange {
            type_name: "decimal".into(),
            expression: format!("scale {from} to {to}"),
        }
        .into()
    })
}
