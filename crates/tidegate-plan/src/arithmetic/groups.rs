//! `sum` per group, the hot side of aggregation.
//!
//! Integers are added with wrapping and a carry per group: the pair is the exact sum, so whether a query fails does
//! not depend on the order of its rows or the number of its partitions. Carries are allocated with the first overflow,
//! which in nearly every query never comes. Rejected: 128-bit sums, twice the memory for each group.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowNumericType, ArrowPrimitiveType, AsArray,
    BooleanArray, Int8Array, PrimitiveArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Int8Type, Int64Type,
    UInt64Type,
};
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::NullState;

use super::{Error, sql_type};

/// A 64-bit integer whose sums are kept with a carry.
pub(super) trait Wide: ArrowNumericType + Send + Sync {
    /// The wrapped sum, and how often it went around: -1, 0 or 1.
    fn add(sum: Self::Native, value: Self::Native) -> (Self::Native, i64);
    fn to_wide(value: Self::Native) -> i128;
    /// The value as 64 bits to add.
    fn bits(value: Self::Native) -> i64;
    /// Has no bit at or above 49 where the value is small: below 2^48, above -2^48.
    fn largeness(value: Self::Native) -> u64;
    fn from_wide(value: i128) -> Option<Self::Native>;
}

impl Wide for Int64Type {
    #[inline(always)]
    fn add(sum: i64, value: i64) -> (i64, i64) {
        let (sum, around) = sum.overflowing_add(value);
        (sum, if around { value.signum() } else { 0 })
    }
    fn to_wide(value: i64) -> i128 {
        i128::from(value)
    }
    #[inline(always)]
    fn bits(value: i64) -> i64 {
        value
    }
    #[inline(always)]
    fn largeness(value: i64) -> u64 {
        (value as u64).wrapping_add(1 << 48)
    }
    fn from_wide(value: i128) -> Option<i64> {
        value.try_into().ok()
    }
}

impl Wide for UInt64Type {
    #[inline(always)]
    fn add(sum: u64, value: u64) -> (u64, i64) {
        let (sum, around) = sum.overflowing_add(value);
        (sum, i64::from(around))
    }
    fn to_wide(value: u64) -> i128 {
        i128::from(value)
    }
    #[inline(always)]
    fn bits(value: u64) -> i64 {
        value as i64
    }
    #[inline(always)]
    fn largeness(value: u64) -> u64 {
        value
    }
    fn from_wide(value: i128) -> Option<u64> {
        value.try_into().ok()
    }
}

/// The error of a sum that does not fit.
pub(super) fn sum_out_of_range(data_type: &DataType) -> datafusion::error::DataFusionError {
    Error::OutOfRange {
        type_name: sql_type(data_type),
        expression: "sum".into(),
    }
    .into()
}

/// Exact sums of 64-bit integers.
pub(super) struct IntegerGroups<T: Wide> {
    sums: Vec<T::Native>,
    // INVARIANT: empty, or as long as `sums`.
    carries: Vec<i64>,
    nulls: NullState,
}

impl<T: Wide> IntegerGroups<T> {
    pub(super) fn new() -> Self {
        Self {
            sums: vec![],
            carries: vec![],
            nulls: NullState::new(),
        }
    }

    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, T::default_value());
        if !self.carries.is_empty() {
            self.carries.resize(groups, 0);
        }
    }

    fn add(
        &mut self,
        values: &PrimitiveArray<T>,
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) {
        self.resize(groups);
        let (sums, carries) = (&mut self.sums, &mut self.carries);
        self.nulls
            .accumulate(group_indices, values, filter, groups, |group, value| {
                let (sum, carry) = T::add(sums[group], value);
                sums[group] = sum;
                if carry != 0 {
                    carries.resize(groups, 0);
                    carries[group] += carry;
                }
            });
    }

    fn take(&mut self, emit_to: EmitTo) -> (Vec<T::Native>, Vec<i64>, Option<NullBuffer>) {
        let sums = emit_to.take_needed(&mut self.sums);
        let carries = if self.carries.is_empty() {
            vec![]
        } else {
            emit_to.take_needed(&mut self.carries)
        };
        (sums, carries, self.nulls.build(emit_to))
    }
}

impl<T: Wide> GroupsAccumulator for IntegerGroups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.add(
            values[0].as_primitive::<T>(),
            group_indices,
            opt_filter,
            total_num_groups,
        );
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.add(
            values[0].as_primitive::<T>(),
            group_indices,
            None,
            total_num_groups,
        );
        let carries = values[1].as_primitive::<Int8Type>();
        if carries.values().iter().any(|carry| *carry != 0) {
            self.carries.resize(total_num_groups, 0);
            for (group, carry) in group_indices.iter().zip(carries.values()) {
                self.carries[*group] += i64::from(*carry);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, carries, nulls) = self.take(emit_to);
        if carries.iter().any(|carry| *carry != 0) {
            return Err(sum_out_of_range(&T::DATA_TYPE));
        }
        Ok(Arc::new(PrimitiveArray::<T>::new(sums.into(), nulls)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, carries, nulls) = self.take(emit_to);
        let carries = narrow_carries::<T>(&carries, sums.len())?;
        Ok(vec![
            Arc::new(PrimitiveArray::<T>::new(sums.into(), nulls)),
            carries,
        ])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        Ok(vec![
            filtered(values, opt_filter),
            narrow_carries::<T>(&[], values.len())?,
        ])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>()
            + self.carries.capacity() * 8
            + self.nulls.size()
    }
}

/// Carries as they travel between a partial and a final aggregate: one byte, never NULL.
fn narrow_carries<T: Wide>(carries: &[i64], rows: usize) -> Result<ArrayRef> {
    let narrow: Vec<i8> = if carries.is_empty() {
        vec![0; rows]
    } else {
        carries
            .iter()
            .map(|carry| i8::try_from(*carry).map_err(|_| sum_out_of_range(&T::DATA_TYPE)))
            .collect::<Result<_>>()?
    };
    Ok(Arc::new(Int8Array::from(narrow)))
}

/// Which rows count: not NULL, and where the filter is true.
pub(super) fn validity(
    nulls: Option<&NullBuffer>,
    filter: Option<&BooleanArray>,
) -> Option<NullBuffer> {
    let kept = filter.map(|filter| match filter.nulls() {
        Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
        None => NullBuffer::new(filter.values().clone()),
    });
    NullBuffer::union(nulls, kept.as_ref())
}

/// The values, NULL where the filter is not true.
fn filtered<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    filter: Option<&BooleanArray>,
) -> ArrayRef {
    let nulls = validity(values.nulls(), filter);
    Arc::new(
        PrimitiveArray::<T>::new(values.values().clone(), nulls)
            .with_data_type(values.data_type().clone()),
    )
}

/// Sums of every other exact type: decimals, durations, intervals.
pub(super) struct CheckedGroups<T: ArrowNumericType> {
    sums: Vec<T::Native>,
    nulls: NullState,
    data_type: DataType,
}

impl<T: ArrowNumericType> CheckedGroups<T> {
    pub(super) fn new(data_type: DataType) -> Self {
        Self {
            sums: vec![],
            nulls: NullState::new(),
            data_type,
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> ArrayRef {
        let sums = emit_to.take_needed(&mut self.sums);
        let nulls = self.nulls.build(emit_to);
        Arc::new(
            PrimitiveArray::<T>::new(sums.into(), nulls).with_data_type(self.data_type.clone()),
        )
    }
}

impl<T: ArrowNumericType + Send> GroupsAccumulator for CheckedGroups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_num_groups, T::default_value());
        let (sums, mut failed) = (&mut self.sums, false);
        let values = values[0].as_primitive::<T>();
        self.nulls.accumulate(
            group_indices,
            values,
            opt_filter,
            total_num_groups,
            |group, value| match sums[group].add_checked(value) {
                Ok(sum) => sums[group] = sum,
                Err(_) => failed = true,
            },
        );
        if failed {
            Err(sum_out_of_range(&self.data_type))
        } else {
            Ok(())
        }
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.take(emit_to);
        check_precision(sums.as_ref(), &self.data_type, "sum")?;
        Ok(sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.take(emit_to)])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0]
            .as_primitive::<T>()
            .clone()
            .with_data_type(self.data_type.clone());
        Ok(vec![filtered(&values, opt_filter)])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.nulls.size()
    }
}

/// An error if a decimal in `array` has more digits than its type allows; other types pass.
pub(super) fn check_precision(array: &dyn Array, data_type: &DataType, what: &str) -> Result<()> {
    let fits = match *data_type {
        DataType::Decimal32(p, _) => array
            .as_primitive::<Decimal32Type>()
            .validate_decimal_precision(p)
            .is_ok(),
        DataType::Decimal64(p, _) => array
            .as_primitive::<Decimal64Type>()
            .validate_decimal_precision(p)
            .is_ok(),
        DataType::Decimal128(p, _) => array
            .as_primitive::<Decimal128Type>()
            .validate_decimal_precision(p)
            .is_ok(),
        DataType::Decimal256(p, _) => array
            .as_primitive::<Decimal256Type>()
            .validate_decimal_precision(p)
            .is_ok(),
        _ => true,
    };
    if fits {
        return Ok(());
    }
    Err(Error::OutOfRange {
        type_name: sql_type(data_type),
        expression: what.into(),
    }
    .into())
}
