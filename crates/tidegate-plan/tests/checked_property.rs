//! Checked arithmetic against arithmetic in 128 bits, on seeded random columns full of edges and NULLs.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Field, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl};
use tidegate_plan::arithmetic::{CheckedOp, Operation};

/// SplitMix64: small, seeded, good enough.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Between the ends, with the ends, zero and small numbers far more often than chance has them.
    fn integer(&mut self, min: i128, max: i128) -> i128 {
        let near = self.below(4) as i128;
        let value = match self.below(8) {
            0 => min + near,
            1 => max - near,
            2 | 3 => near,
            4 => -near,
            5 => max >> self.below(40),
            _ => min + (u128::from(self.next()) % max.abs_diff(min).saturating_add(1)) as i128,
        };
        value.clamp(min, max)
    }
}

fn call(
    op: Operation,
    args: Vec<ColumnarValue>,
    rows: usize,
) -> datafusion::error::Result<ColumnarValue> {
    let function = CheckedOp::new(op);
    let types: Vec<DataType> = args.iter().map(ColumnarValue::data_type).collect();
    let out = function.return_type(&types)?;
    function.invoke_with_args(ScalarFunctionArgs {
        arg_fields: types
            .iter()
            .map(|data_type| Arc::new(Field::new("a", data_type.clone(), true)))
            .collect(),
        args,
        number_rows: rows,
        return_field: Arc::new(Field::new("out", out, true)),
        config_options: Arc::new(ConfigOptions::new()),
    })
}

fn reference(op: Operation, a: i128, b: i128) -> i128 {
    match op {
        Operation::Add => a + b,
        Operation::Subtract => a - b,
        Operation::Multiply => a.saturating_mul(b),
        Operation::Negate => -a,
        Operation::Divide => a / b,
    }
}

fn integers<T>(random: &mut Random, min: i128, max: i128)
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128> + Into<i128>,
{
    for round in 0..400 {
        // Mostly few rows, so that rounds without an overflow are as common as rounds with one.
        let rows = if round % 10 == 0 {
            100
        } else {
            1 + random.below(4) as usize
        };
        let mut column = |null_in: u64| -> PrimitiveArray<T> {
            (0..rows)
                .map(|_| {
                    let value = random.integer(min, max);
                    (random.below(null_in) > 0).then(|| T::Native::try_from(value).ok().unwrap())
                })
                .collect()
        };
        let (left, right) = (
            column(if round % 2 == 0 { 3 } else { u64::MAX }),
            column(u64::MAX),
        );
        let shape = random.below(3);
        let scalar = |array: &PrimitiveArray<T>| {
            ColumnarValue::Scalar(ScalarValue::try_from_array(array, 0).unwrap())
        };
        let whole =
            |array: &PrimitiveArray<T>| ColumnarValue::Array(Arc::new(array.clone()) as ArrayRef);
        for op in Operation::ALL {
            if op == Operation::Divide || (op == Operation::Negate && min == 0) {
                continue;
            }
            let (l_constant, r_constant) = (shape == 1, shape == 2);
            let args = match op {
                Operation::Negate => vec![whole(&left)],
                _ => vec![
                    if l_constant {
                        scalar(&left)
                    } else {
                        whole(&left)
                    },
                    if r_constant {
                        scalar(&right)
                    } else {
                        whole(&right)
                    },
                ],
            };
            let at = |array: &PrimitiveArray<T>, constant: bool, row: usize| {
                let row = if constant { 0 } else { row };
                array.is_valid(row).then(|| array.value(row).into())
            };
            let constant = op != Operation::Negate;
            let expected: Vec<Option<i128>> = (0..rows)
                .map(|row| {
                    let a = at(&left, l_constant && constant, row)?;
                    let b = if constant {
                        at(&right, r_constant, row)?
                    } else {
                        0
                    };
                    Some(reference(op, a, b))
                })
                .collect();
            let fits = expected
                .iter()
                .flatten()
                .all(|value| (min..=max).contains(value));
            match call(op, args, rows) {
                Ok(value) => {
                    assert!(
                        fits,
                        "{op:?} over {:?} did not notice: {left:?} {right:?}",
                        T::DATA_TYPE
                    );
                    let array = value.into_array(rows).unwrap();
                    let found: Vec<Option<i128>> = array
                        .as_primitive::<T>()
                        .iter()
                        .map(|value| value.map(Into::into))
                        .collect();
                    assert_eq!(found, expected);
                }
                Err(error) => assert!(
                    !fits,
                    "{op:?} over {:?} failed without cause: {error}",
                    T::DATA_TYPE
                ),
            }
        }
    }
}

#[test]
fn integers_agree_with_128_bits() {
    for seed in 0..8 {
        println_seed(seed);
        let random = &mut Random(seed);
        integers::<Int8Type>(random, i8::MIN.into(), i8::MAX.into());
        integers::<Int16Type>(random, i16::MIN.into(), i16::MAX.into());
        integers::<Int32Type>(random, i32::MIN.into(), i32::MAX.into());
        integers::<Int64Type>(random, i64::MIN.into(), i64::MAX.into());
        integers::<UInt8Type>(random, 0, u8::MAX.into());
        integers::<UInt16Type>(random, 0, u16::MAX.into());
        integers::<UInt32Type>(random, 0, u32::MAX.into());
        integers::<UInt64Type>(random, 0, u64::MAX.into());
    }
}

/// A failing test shows what it printed, and so its seed.
#[allow(clippy::print_stdout)]
fn println_seed(seed: u64) {
    println!("seed {seed}");
}

#[test]
fn decimals_agree_with_arrow_where_they_fit() {
    let limit = 10_i128.pow(38) - 1;
    for seed in 0..8 {
        println_seed(seed);
        let random = &mut Random(seed);
        for _ in 0..2000 {
            let mut operand = || {
                let precision = [5_u8, 15, 23, 38][random.below(4) as usize];
                let scale = random.below(5) as i8;
                let end = 10_i128.pow(precision.into()) - 1;
                let value = random.integer(-end, end);
                Decimal128Array::from(vec![Some(value), None])
                    .with_precision_and_scale(precision, scale)
                    .unwrap()
            };
            let (left, right) = (operand(), operand());
            for op in [Operation::Add, Operation::Subtract, Operation::Multiply] {
                let args = vec![
                    ColumnarValue::Array(Arc::new(left.clone()) as ArrayRef),
                    ColumnarValue::Array(Arc::new(right.clone()) as ArrayRef),
                ];
                use arrow::compute::kernels::numeric::{add, mul, sub};
                let by_arrow = match op {
                    Operation::Add => add(&left, &right),
                    Operation::Subtract => sub(&left, &right),
                    _ => mul(&left, &right),
                };
                let fits = by_arrow.as_ref().is_ok_and(|array| {
                    array.as_primitive::<Decimal128Type>().value(0).abs() <= limit
                });
                match call(op, args, 2) {
                    Ok(found) => {
                        assert!(fits, "{op:?} did not notice: {left:?} {right:?}");
                        assert_eq!(&found.into_array(2).unwrap(), by_arrow.as_ref().unwrap());
                    }
                    Err(error) => assert!(
                        !fits,
                        "{op:?} failed without cause: {error}, {left:?} {right:?}"
                    ),
                }
            }
        }
    }
}

/// A result is the nearest one there is, and of two the one away from zero: told by multiplication in 256 bits.
#[test]
fn quotients_and_rounded_products_of_decimals_are_the_nearest() {
    use arrow::datatypes::{DecimalType, i256};
    let ten_to = |digits: i64| i256::from_string(&format!("1{}", "0".repeat(digits as usize)));
    let wide = |value: i128| i256::from_i128(value);
    let nearest = |result: i128, numerator: i256, divisor: i256| {
        let back = wide(result).wrapping_mul(divisor);
        let off = numerator.wrapping_sub(back).wrapping_abs();
        let twice = off.wrapping_add(off);
        let divisor = divisor.wrapping_abs();
        twice < divisor || (twice == divisor && back.wrapping_abs() > numerator.wrapping_abs())
    };
    for seed in 0..8 {
        println_seed(seed);
        let random = &mut Random(seed);
        for _ in 0..2000 {
            let mut operand = || {
                let (digits, precision) = [(5, 5), (15, 30), (18, 38)][random.below(3) as usize];
                let scale = random.below(19) as i8;
                let end = 10_i128.pow(digits) - 1;
                let value = random.integer(-end, end);
                let scale = scale.min(precision as i8);
                Decimal128Array::from(vec![Some(value), None])
                    .with_precision_and_scale(precision, scale)
                    .unwrap()
            };
            let (left, right) = (operand(), operand());
            let (a, b) = (left.value(0), right.value(0));
            for op in [Operation::Divide, Operation::Multiply] {
                let args = vec![
                    ColumnarValue::Array(Arc::new(left.clone()) as ArrayRef),
                    ColumnarValue::Array(Arc::new(right.clone()) as ArrayRef),
                ];
                let Ok(found) = call(op, args, 2) else {
                    let size = (a as f64 / 10_f64.powi(left.scale().into()))
                        / (b as f64 / 10_f64.powi(right.scale().into()));
                    assert!(op == Operation::Divide && (b == 0 || size.abs() > 1e15));
                    continue;
                };
                let found = found.into_array(2).unwrap();
                let found = found.as_primitive::<Decimal128Type>();
                let places = i64::from(found.scale());
                let (left_places, right_places) = (left.scale(), right.scale());
                let (numerator, divisor) = match op {
                    Operation::Divide => {
                        let up: i64 = places - i64::from(left_places) + i64::from(right_places);
                        (wide(a).wrapping_mul(ten_to(up).unwrap()), wide(b))
                    }
                    _ => {
                        let down: i64 = i64::from(left_places) + i64::from(right_places) - places;
                        (wide(a).wrapping_mul(wide(b)), ten_to(down).unwrap())
                    }
                };
                assert!(places >= 16 || op == Operation::Multiply);
                assert!(Decimal128Type::is_valid_decimal_precision(
                    found.value(0),
                    38
                ));
                assert!(
                    nearest(found.value(0), numerator, divisor),
                    "{op:?} {left:?} {right:?} {found:?}"
                );
                assert!(found.is_null(1));
            }
        }
    }
}
