//! `avg` of decimals: the exact sum, divided once and rounded half away from zero, to more digits than the values have.
//!
//! DataFusion cuts the mean off four digits behind those of the values: 0.049996 where the mean is 0.04999658.
//! Values of up to 28 digits are summed in 128 bits, which hold the sum of 10^10 of them; wider ones in 256 bits.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, UInt64Array};
use arrow::datatypes::{
    ArrowNativeType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, UInt64Type, i256,
};
use datafusion::common::{HashMap, ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::groups::validity;
use super::{Error, sql_type};

/// A mean has this many digits behind the point more than the values.
const MORE_DIGITS: i8 = 10;

/// Behind the point a mean has this many digits at least, or six more than the values, though fewer remain before it.
const DIGITS_ENOUGH: i8 = 12;

/// Values of more digits than this are summed in 256 bits.
const NARROW_DIGITS: u8 = 28;

/// The type of a mean of decimals.
pub(super) fn mean_type(values: &DataType) -> Option<DataType> {
    let (precision, scale, digits) = match *values {
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
            (p as i8, s, 38)
        }
        DataType::Decimal256(p, s) => (p as i8, s, 76),
        _ => return None,
    };
    let before = precision - scale;
    let enough = scale.max((scale + 6).min(DIGITS_ENOUGH));
    let mean_scale = (scale.saturating_add(MORE_DIGITS))
        .min(enough.max(digits - before))
        .min(digits);
    let mean_precision =
        (i16::from(before) + i16::from(mean_scale)).clamp(1, i16::from(digits)) as u8;
    Some(match digits {
        38 => DataType::Decimal128(mean_precision, mean_scale),
        _ => DataType::Decimal256(mean_precision, mean_scale),
    })
}

/// The type that the sum of decimals has between a partial and a final aggregate.
pub(super) fn sum_type(values: &DataType) -> Option<DataType> {
    match *values {
        DataType::Decimal32(_, s) | DataType::Decimal64(_, s) => Some(DataType::Decimal128(38, s)),
        DataType::Decimal128(p, s) if p <= NARROW_DIGITS => Some(DataType::Decimal128(38, s)),
        DataType::Decimal128(_, s) | DataType::Decimal256(_, s) => {
            Some(DataType::Decimal256(76, s))
        }
        _ => None,
    }
}

/// Runs `$make` with the types of the values, of their sum and of the mean.
macro_rules! by_type {
    ($values:expr, $make:ident) => {
        match $values {
            DataType::Decimal32(..) => $make!(Decimal32Type, i128, Decimal128Type),
            DataType::Decimal64(..) => $make!(Decimal64Type, i128, Decimal128Type),
            DataType::Decimal128(p, _) if *p <= NARROW_DIGITS => {
                $make!(Decimal128Type, i128, Decimal128Type)
            }
            DataType::Decimal128(..) => $make!(Decimal128Type, i256, Decimal128Type),
            DataType::Decimal256(..) => $make!(Decimal256Type, i256, Decimal256Type),
            other => internal_err!("a decimal average over {other}"),
        }
    };
}

/// The accumulator of one group or window.
pub(super) fn accumulator(values: &DataType) -> Result<Box<dyn Accumulator>> {
    macro_rules! make {
        ($v:ty, $s:ty, $m:ty) => {
            Ok(Box::new(DecimalAverage::<$v, $s, $m> {
                sum: <$s>::default(),
                count: 0,
                mean: Mean::of(values)?,
                of: PhantomData,
            }))
        };
    }
    by_type!(values, make)
}

/// The accumulator of `avg(distinct …)`.
pub(super) fn distinct_accumulator(values: &DataType) -> Result<Box<dyn Accumulator>> {
    macro_rules! make {
        ($v:ty, $s:ty, $m:ty) => {
            Ok(Box::new(DistinctDecimalAverage::<$v, $s, $m> {
                counts: HashMap::default(),
                sum: <$s>::default(),
                mean: Mean::of(values)?,
                of: PhantomData,
            }))
        };
    }
    by_type!(values, make)
}

/// The accumulator of many groups.
pub(super) fn groups_accumulator(values: &DataType) -> Result<Box<dyn GroupsAccumulator>> {
    macro_rules! make {
        ($v:ty, $s:ty, $m:ty) => {
            Ok(Box::new(DecimalAverageGroups::<$v, $s, $m> {
                sums: vec![],
                counts: vec![],
                mean: Mean::of(values)?,
                of: PhantomData,
            }))
        };
    }
    by_type!(values, make)
}

/// What sums are kept in.
trait Total: ArrowNativeType + Eq + Hash {
    /// The type it travels in.
    type Decimal: DecimalType<Native = Self>;
    /// The wrapped sum, and whether it wrapped.
    fn plus(self, other: Self) -> (Self, bool);
    fn minus(self, other: Self) -> (Self, bool);
    /// Quotient and remainder; a remainder is smaller than the count.
    fn divide(self, count: u64) -> (Self, i128);
    /// `self * factor + more`
    fn scaled(self, factor: i128, more: i128) -> Option<Self>;
    fn signum(self) -> i128;
}

impl Total for i128 {
    type Decimal = Decimal128Type;
    #[inline(always)]
    fn plus(self, other: Self) -> (Self, bool) {
        self.overflowing_add(other)
    }
    #[inline(always)]
    fn minus(self, other: Self) -> (Self, bool) {
        self.overflowing_sub(other)
    }
    fn divide(self, count: u64) -> (Self, i128) {
        let count = i128::from(count);
        (self / count, self % count)
    }
    fn scaled(self, factor: i128, more: i128) -> Option<Self> {
        self.checked_mul(factor)?.checked_add(more)
    }
    fn signum(self) -> i128 {
        self.signum()
    }
}

impl Total for i256 {
    type Decimal = Decimal256Type;
    #[inline(always)]
    fn plus(self, other: Self) -> (Self, bool) {
        let sum = self.wrapping_add(other);
        (sum, (other.is_negative()) != (sum < self))
    }
    #[inline(always)]
    fn minus(self, other: Self) -> (Self, bool) {
        let difference = self.wrapping_sub(other);
        (difference, (other > i256::ZERO) != (difference < self))
    }
    fn divide(self, count: u64) -> (Self, i128) {
        let count = i256::from_i128(i128::from(count));
        (self.wrapping_div(count), self.wrapping_rem(count).as_i128())
    }
    fn scaled(self, factor: i128, more: i128) -> Option<Self> {
        self.checked_mul(i256::from_i128(factor))?
            .checked_add(i256::from_i128(more))
    }
    fn signum(self) -> i128 {
        self.signum().as_i128()
    }
}

/// The type of values whose sums are `S`.
trait Summed<S>: DecimalType + Debug + Send + Sync {
    fn widen(value: Self::Native) -> S;
}

macro_rules! summed {
    ($values:ty, $sum:ty, |$value:ident| $wide:expr) => {
        impl Summed<$sum> for $values {
            #[inline(always)]
            fn widen($value: Self::Native) -> $sum {
                $wide
            }
        }
    };
}

summed!(Decimal32Type, i128, |value| i128::from(value));
summed!(Decimal64Type, i128, |value| i128::from(value));
summed!(Decimal128Type, i128, |value| value);
summed!(Decimal128Type, i256, |value| i256::from_i128(value));
summed!(Decimal256Type, i256, |value| value);

/// The type of means that are computed as `S`.
trait Narrowed<S>: DecimalType + Debug + Send + Sync {
    fn narrow(value: S) -> Option<Self::Native>;
}

macro_rules! narrowed {
    ($mean:ty, $sum:ty, |$value:ident| $narrow:expr) => {
        impl Narrowed<$sum> for $mean {
            fn narrow($value: $sum) -> Option<Self::Native> {
                $narrow
            }
        }
    };
}

narrowed!(Decimal128Type, i128, |value| Some(value));
narrowed!(Decimal128Type, i256, |value| value.to_i128());
narrowed!(Decimal256Type, i256, |value| Some(value));

/// How a mean comes from a sum and a count.
#[derive(Debug)]
struct Mean<S, M> {
    /// Ten to the digits that the mean has more than the values, at most 10^10.
    factor: i128,
    sum_type: DataType,
    data_type: DataType,
    of: PhantomData<(S, M)>,
}

impl<S: Total, M: Narrowed<S>> Mean<S, M> {
    fn of(values: &DataType) -> Result<Self> {
        let (Some(sum_type), Some(data_type)) = (sum_type(values), mean_type(values)) else {
            return internal_err!("a decimal average over {values}");
        };
        let more = scale(&data_type) - scale(&sum_type);
        Ok(Self {
            factor: 10_i128.pow(u32::try_from(more).unwrap_or(0)),
            sum_type,
            data_type,
            of: PhantomData,
        })
    }

    fn out_of_range(&self) -> datafusion::error::DataFusionError {
        Error::OutOfRange {
            type_name: sql_type(&self.data_type),
            expression: "avg".into(),
        }
        .into()
    }

    /// `sum / count` rounded half away from zero; the count is not 0.
    fn of_sum(&self, sum: S, count: u64) -> Result<M::Native> {
        let (whole, rest) = sum.divide(count);
        // Below 2^64 times 10^10: far from the ends of 128 bits.
        let (rest, count) = (rest * self.factor, i128::from(count));
        let mut more = rest / count;
        if (rest % count).abs() * 2 >= count {
            more += sum.signum();
        }
        let (DataType::Decimal128(precision, _) | DataType::Decimal256(precision, _)) =
            self.data_type
        else {
            return Err(self.out_of_range());
        };
        whole
            .scaled(self.factor, more)
            .and_then(M::narrow)
            .filter(|mean| M::is_valid_decimal_precision(*mean, precision))
            .ok_or_else(|| self.out_of_range())
    }

    fn scalar(&self, sum: S, count: u64) -> Result<ScalarValue> {
        let mean = match count {
            0 => None,
            count => Some(self.of_sum(sum, count)?),
        };
        ScalarValue::new_primitive::<M>(mean, &self.data_type)
    }

    fn sums(&self, sums: Vec<S>) -> ArrayRef {
        let sums = PrimitiveArray::<S::Decimal>::new(sums.into(), None);
        Arc::new(sums.with_data_type(self.sum_type.clone()))
    }
}

fn scale(decimal: &DataType) -> i8 {
    match decimal {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    }
}

#[derive(Debug)]
struct DecimalAverage<V, S, M> {
    sum: S,
    count: u64,
    mean: Mean<S, M>,
    of: PhantomData<V>,
}

impl<V: Summed<S>, S: Total, M: Narrowed<S>> DecimalAverage<V, S, M> {
    /// Every value that is not NULL through `step`; how many there were.
    fn each(&mut self, values: &ArrayRef, step: impl Fn(S, S) -> (S, bool)) -> Result<u64> {
        let values = values.as_primitive::<V>();
        let (mut sum, mut failed) = (self.sum, false);
        let mut push = |value| {
            let (stepped, wrapped) = step(sum, V::widen(value));
            sum = stepped;
            failed |= wrapped;
        };
        match values.null_count() {
            0 => values.values().iter().for_each(|value| push(*value)),
            _ => values.iter().flatten().for_each(push),
        }
        if failed {
            return Err(self.mean.out_of_range());
        }
        self.sum = sum;
        Ok((values.len() - values.null_count()) as u64)
    }
}

impl<V: Summed<S>, S: Total, M: Narrowed<S>> Accumulator for DecimalAverage<V, S, M> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += self.each(&values[0], S::plus)?;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count -= self.each(&values[0], S::minus)?;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.mean.scalar(self.sum, self.count)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::new_primitive::<S::Decimal>(Some(self.sum), &self.mean.sum_type)?;
        Ok(vec![ScalarValue::UInt64(Some(self.count)), sum])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let counts = states[0].as_primitive::<UInt64Type>();
        self.count += counts.iter().flatten().sum::<u64>();
        for sum in states[1].as_primitive::<S::Decimal>().iter().flatten() {
            let (sum, failed) = self.sum.plus(sum);
            if failed {
                return Err(self.mean.out_of_range());
            }
            self.sum = sum;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

#[derive(Debug)]
struct DistinctDecimalAverage<V, S, M> {
    /// How often each value is there: a window frame takes values back.
    counts: HashMap<S, u64>,
    sum: S,
    mean: Mean<S, M>,
    of: PhantomData<V>,
}

impl<V: Summed<S>, S: Total, M: Narrowed<S>> DistinctDecimalAverage<V, S, M> {
    fn insert(&mut self, value: S) -> Result<()> {
        let count = self.counts.entry(value).or_insert(0);
        *count += 1;
        if *count == 1 {
            let (sum, failed) = self.sum.plus(value);
            if failed {
                return Err(self.mean.out_of_range());
            }
            self.sum = sum;
        }
        Ok(())
    }
}

impl<V: Summed<S>, S: Total, M: Narrowed<S>> Accumulator for DistinctDecimalAverage<V, S, M> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut values = values[0].as_primitive::<V>().iter().flatten();
        values.try_for_each(|value| self.insert(V::widen(value)))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<V>().iter().flatten() {
            let value = V::widen(value);
            let Some(count) = self.counts.get_mut(&value) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&value);
                self.sum = self.sum.minus(value).0;
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.mean.scalar(self.sum, self.counts.len() as u64)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum_type = &self.mean.sum_type;
        let values = self.counts.keys();
        let values = values
            .map(|value| ScalarValue::new_primitive::<S::Decimal>(Some(*value), sum_type))
            .collect::<Result<Vec<_>>>()?;
        let list = ScalarValue::new_list_nullable(&values, sum_type);
        Ok(vec![ScalarValue::List(list)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            let mut values = values.as_primitive::<S::Decimal>().iter().flatten();
            values.try_for_each(|value| self.insert(value))?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<(S, u64)>()
    }
}

struct DecimalAverageGroups<V, S, M> {
    sums: Vec<S>,
    // INVARIANT: as long as `sums`. A count of 0 is what makes a mean NULL.
    counts: Vec<u64>,
    mean: Mean<S, M>,
    of: PhantomData<V>,
}

impl<V: Summed<S>, S: Total, M: Narrowed<S>> DecimalAverageGroups<V, S, M> {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, S::default());
        self.counts.resize(groups, 0);
    }

    fn take(&mut self, emit_to: EmitTo) -> (Vec<S>, Vec<u64>) {
        (
            emit_to.take_needed(&mut self.sums),
            emit_to.take_needed(&mut self.counts),
        )
    }
}

impl<V: Summed<S>, S: Total, M: Narrowed<S>> GroupsAccumulator for DecimalAverageGroups<V, S, M> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let (sums, counts, mut failed) = (&mut self.sums, &mut self.counts, false);
        let mut push = |group: usize, value| {
            let (sum, wrapped) = sums[group].plus(V::widen(value));
            sums[group] = sum;
            counts[group] += 1;
            failed |= wrapped;
        };
        let values = values[0].as_primitive::<V>();
        let rows = group_indices.iter().zip(values.values().iter());
        match validity(values.nulls(), opt_filter) {
            None => rows.for_each(|(group, value)| push(*group, *value)),
            Some(valid) => rows
                .zip(valid.iter())
                .filter(|(_, valid)| *valid)
                .for_each(|((group, value), _)| push(*group, *value)),
        }
        if failed {
            return Err(self.mean.out_of_range());
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let counts = values[0].as_primitive::<UInt64Type>().values().iter();
        let sums = values[1].as_primitive::<S::Decimal>().values().iter();
        let mut failed = false;
        for ((group, count), sum) in group_indices.iter().zip(counts).zip(sums) {
            let (sum, wrapped) = self.sums[*group].plus(*sum);
            self.sums[*group] = sum;
            self.counts[*group] += count;
            failed |= wrapped;
        }
        if failed {
            return Err(self.mean.out_of_range());
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = self.take(emit_to);
        let means = sums.iter().zip(&counts).map(|(sum, count)| match count {
            0 => Ok(None),
            count => self.mean.of_sum(*sum, *count).map(Some),
        });
        let means: PrimitiveArray<M> = means.collect::<Result<_>>()?;
        Ok(Arc::new(means.with_data_type(self.mean.data_type.clone())))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) = self.take(emit_to);
        Ok(vec![
            Arc::new(UInt64Array::from(counts)),
            self.mean.sums(sums),
        ])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<V>();
        let wide = values.values().iter().map(|value| V::widen(*value));
        let (counts, sums): (Vec<u64>, Vec<S>) = match validity(values.nulls(), opt_filter) {
            None => wide.map(|value| (1, value)).unzip(),
            Some(valid) => wide
                .zip(valid.iter())
                .map(|(value, valid)| if valid { (1, value) } else { (0, S::default()) })
                .unzip(),
        };
        Ok(vec![
            Arc::new(UInt64Array::from(counts)),
            self.mean.sums(sums),
        ])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<S>() + self.counts.capacity() * size_of::<u64>()
    }
}
