//! `sum` that errors where DataFusion's wraps around, as an aggregate and over window frames.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowNumericType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Field, FieldRef, Int8Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, TimeUnit, UInt64Type,
};
use datafusion::common::{HashMap, ScalarValue, not_impl_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator,
    ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};

use super::float_result::{float_result, float_results};
use super::groups::{CheckedGroups, IntegerGroups, Wide, check_precision, sum_out_of_range};

/// The checked `sum`, under DataFusion's name and with its types.
pub fn checked_sum() -> Arc<AggregateUDF> {
    static SUM: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(CheckedSum { inner: sum_udaf() }.into()));
    Arc::clone(&SUM)
}

/// DataFusion's `sum` with accumulators that check; sums of floats stay DataFusion's, but for one NaN.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CheckedSum {
    inner: Arc<AggregateUDF>,
}

/// Runs `$make` with the arrow type of a sum's result.
macro_rules! exact {
    ($data_type:expr, $make:ident) => {
        match $data_type.clone() {
            DataType::Decimal32(..) => $make!(Decimal32Type),
            DataType::Decimal64(..) => $make!(Decimal64Type),
            DataType::Decimal128(..) => $make!(Decimal128Type),
            DataType::Decimal256(..) => $make!(Decimal256Type),
            DataType::Duration(TimeUnit::Second) => $make!(DurationSecondType),
            DataType::Duration(TimeUnit::Millisecond) => $make!(DurationMillisecondType),
            DataType::Duration(TimeUnit::Microsecond) => $make!(DurationMicrosecondType),
            DataType::Duration(TimeUnit::Nanosecond) => $make!(DurationNanosecondType),
            DataType::Interval(IntervalUnit::YearMonth) => $make!(IntervalYearMonthType),
            DataType::Interval(IntervalUnit::DayTime) => $make!(IntervalDayTimeType),
            DataType::Interval(IntervalUnit::MonthDayNano) => $make!(IntervalMonthDayNanoType),
            other => not_impl_err!("sum over {other}"),
        }
    };
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (args.return_type(), args.is_distinct) {
            (DataType::Float64, _) => Ok(float_result(self.inner.accumulator(args)?)),
            (DataType::Int64, false) => Ok(Box::new(IntegerSum::<Int64Type>::default())),
            (DataType::UInt64, false) => Ok(Box::new(IntegerSum::<UInt64Type>::default())),
            (DataType::Int64, true) => Ok(Box::new(DistinctIntegerSum::<Int64Type>::default())),
            (DataType::UInt64, true) => Ok(Box::new(DistinctIntegerSum::<UInt64Type>::default())),
            (_, false) => exact_accumulator(args.return_type()),
            (_, true) => {
                let data_type = args.return_type().clone();
                Ok(Box::new(DistinctSum {
                    inner: self.inner.accumulator(args)?,
                    data_type,
                }))
            }
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (args.return_type(), args.is_distinct) {
            (DataType::Float64, _) => {
                Ok(float_result(self.inner.create_sliding_accumulator(args)?))
            }
            (DataType::Int64 | DataType::UInt64, _) | (_, false) => self.accumulator(args),
            (_, true) => not_impl_err!("sum(distinct) over a sliding window frame of this type"),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let carried =
            matches!(args.return_type(), DataType::Int64 | DataType::UInt64) && !args.is_distinct;
        let carry = Field::new(format_state_name(args.name, "carry"), DataType::Int8, false);
        let mut fields = self.inner.state_fields(args)?;
        if carried {
            fields.push(Arc::new(carry));
        }
        Ok(fields)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        macro_rules! groups {
            ($t:ty) => {
                Ok(Box::new(CheckedGroups::<$t>::new(
                    args.return_type().clone(),
                )))
            };
        }
        match args.return_type() {
            DataType::Float64 => Ok(float_results(self.inner.create_groups_accumulator(args)?)),
            DataType::Int64 => Ok(Box::new(IntegerGroups::<Int64Type>::new())),
            DataType::UInt64 => Ok(Box::new(IntegerGroups::<UInt64Type>::new())),
            data_type => exact!(data_type, groups),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn simplify_expr_op_literal(
        &self,
        agg_function: &AggregateFunction,
        arg: &Expr,
        op: Operator,
        lit: &Expr,
        arg_is_left: bool,
    ) -> Result<Option<Expr>> {
        self.inner
            .simplify_expr_op_literal(agg_function, arg, op, lit, arg_is_left)
    }

    fn value_from_stats(&self, statistics_args: &StatisticsArgs) -> Option<ScalarValue> {
        self.inner.value_from_stats(statistics_args)
    }
}

fn exact_accumulator(data_type: &DataType) -> Result<Box<dyn Accumulator>> {
    macro_rules! sum {
        ($t:ty) => {
            Ok(Box::new(ExactSum::<$t> {
                sum: <$t as arrow::array::ArrowPrimitiveType>::default_value(),
                count: 0,
                data_type: data_type.clone(),
            }))
        };
    }
    exact!(data_type, sum)
}

/// The exact sum of 64-bit integers, with retraction for window frames.
#[derive(Debug)]
struct IntegerSum<T> {
    sum: i128,
    count: u64,
    of: std::marker::PhantomData<T>,
}

impl<T> Default for IntegerSum<T> {
    fn default() -> Self {
        Self {
            sum: 0,
            count: 0,
            of: std::marker::PhantomData,
        }
    }
}

impl<T: Wide + std::fmt::Debug> Accumulator for IntegerSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.sum += wide_sum(values);
        self.count += (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.sum -= wide_sum(values);
        self.count -= (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = T::from_wide(self.sum).ok_or_else(|| sum_out_of_range(&T::DATA_TYPE))?;
        ScalarValue::new_primitive::<T>((self.count > 0).then_some(sum), &T::DATA_TYPE)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        // The low half as the type has it, and how often 2^64 must be added to it.
        let (low, carry) = split::<T>(self.sum)?;
        Ok(vec![
            ScalarValue::new_primitive::<T>((self.count > 0).then_some(low), &T::DATA_TYPE)?,
            ScalarValue::Int8(Some(carry)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(&states[..1])?;
        let carries = states[1].as_primitive::<Int8Type>();
        self.sum += carries
            .values()
            .iter()
            .map(|carry| i128::from(*carry) << 64)
            .sum::<i128>();
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

fn split<T: Wide>(sum: i128) -> Result<(T::Native, i8)> {
    for carry in [sum >> 64, (sum >> 64) + 1] {
        if let (Some(low), Ok(carry)) = (T::from_wide(sum - (carry << 64)), i8::try_from(carry)) {
            return Ok((low, carry));
        }
    }
    Err(sum_out_of_range(&T::DATA_TYPE))
}

/// A batch's exact sum, as fast as a wrapping one while the values are small.
fn wide_sum<T: Wide>(values: &PrimitiveArray<T>) -> i128 {
    match values.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => wide_sum_of::<T>(values.values()),
        Some(nulls) => nulls
            .valid_slices()
            .map(|(start, end)| wide_sum_of::<T>(&values.values()[start..end]))
            .sum(),
    }
}

fn wide_sum_of<T: Wide>(values: &[T::Native]) -> i128 {
    // 2^14 values below 2^48 have a sum below 2^62: 64 bits hold it, and the loop vectorises.
    let chunk = |values: &[T::Native]| {
        let (mut sum, mut large) = (0_i64, 0_u64);
        for value in values {
            sum = sum.wrapping_add(T::bits(*value));
            large |= T::largeness(*value);
        }
        if large >> 49 == 0 {
            return i128::from(sum);
        }
        values.iter().map(|value| T::to_wide(*value)).sum()
    };
    values.chunks(1 << 14).map(chunk).sum()
}

/// Sums of decimals, durations and intervals, with retraction for window frames.
#[derive(Debug)]
struct ExactSum<T: ArrowNumericType> {
    sum: T::Native,
    count: u64,
    data_type: DataType,
}

impl<T: ArrowNumericType + std::fmt::Debug> ExactSum<T> {
    fn each(
        &mut self,
        values: &PrimitiveArray<T>,
        step: impl Fn(T::Native, T::Native) -> Result<T::Native, arrow::error::ArrowError>,
    ) -> Result<u64> {
        let out_of_range = |_| sum_out_of_range(&self.data_type);
        let mut sum = self.sum;
        if values.null_count() == 0 {
            for value in values.values() {
                sum = step(sum, *value).map_err(out_of_range)?;
            }
        } else {
            for value in values.iter().flatten() {
                sum = step(sum, value).map_err(out_of_range)?;
            }
        }
        self.sum = sum;
        Ok((values.len() - values.null_count()) as u64)
    }
}

impl<T: ArrowNumericType + std::fmt::Debug> Accumulator for ExactSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += self.each(values[0].as_primitive::<T>(), |sum, value| {
            sum.add_checked(value)
        })?;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count -= self.each(values[0].as_primitive::<T>(), |sum, value| {
            sum.sub_checked(value)
        })?;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value =
            ScalarValue::new_primitive::<T>((self.count > 0).then_some(self.sum), &self.data_type)?;
        check_precision(value.to_array()?.as_ref(), &self.data_type, "sum")?;
        Ok(value)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::new_primitive::<T>(
            (self.count > 0).then_some(self.sum),
            &self.data_type,
        )?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// `sum(distinct)` of 64-bit integers, with retraction for window frames.
#[derive(Debug)]
struct DistinctIntegerSum<T: Wide> {
    counts: HashMap<i128, u64>,
    sum: i128,
    of: std::marker::PhantomData<T>,
}

impl<T: Wide> Default for DistinctIntegerSum<T> {
    fn default() -> Self {
        Self {
            counts: HashMap::default(),
            sum: 0,
            of: std::marker::PhantomData,
        }
    }
}

impl<T: Wide + std::fmt::Debug> Accumulator for DistinctIntegerSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0]
            .as_primitive::<T>()
            .iter()
            .flatten()
            .map(T::to_wide)
        {
            let count = self.counts.entry(value).or_insert(0);
            if *count == 0 {
                self.sum += value;
            }
            *count += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0]
            .as_primitive::<T>()
            .iter()
            .flatten()
            .map(T::to_wide)
        {
            let Some(count) = self.counts.get_mut(&value) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&value);
                self.sum -= value;
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = T::from_wide(self.sum).ok_or_else(|| sum_out_of_range(&T::DATA_TYPE))?;
        ScalarValue::new_primitive::<T>((!self.counts.is_empty()).then_some(sum), &T::DATA_TYPE)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut keys = Vec::with_capacity(self.counts.len());
        for key in self.counts.keys() {
            keys.push(ScalarValue::new_primitive::<T>(
                T::from_wide(*key),
                &T::DATA_TYPE,
            )?);
        }
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(
            &keys,
            &T::DATA_TYPE,
        ))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            self.update_batch(&[values])?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<(i128, u64)>()
    }
}

/// `sum(distinct)` of the other exact types: DataFusion collects the values, the sum over them is checked here.
#[derive(Debug)]
struct DistinctSum {
    inner: Box<dyn Accumulator>,
    data_type: DataType,
}

impl Accumulator for DistinctSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sum = exact_accumulator(&self.data_type)?;
        for state in self.inner.state()? {
            if let ScalarValue::List(list) = state {
                sum.update_batch(&[Arc::clone(list.values())])?;
            }
        }
        sum.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
