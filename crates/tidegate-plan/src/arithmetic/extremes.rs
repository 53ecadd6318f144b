//! `min` and `max` where DataFusion's are wrong: groups of floats that are infinite or NaN, and intervals.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, FieldRef, Float16Type, Float32Type, Float64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use super::ordered::interval_length;

/// `min` under DataFusion's name, with its types.
pub fn least() -> Arc<AggregateUDF> {
    static MIN: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::new_from_impl(Extreme {
            inner: min_udaf(),
            greatest: false,
        }))
    });
    Arc::clone(&MIN)
}

/// `max` under DataFusion's name, with its types.
pub fn greatest() -> Arc<AggregateUDF> {
    static MAX: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::new_from_impl(Extreme {
            inner: max_udaf(),
            greatest: true,
        }))
    });
    Arc::clone(&MAX)
}

/// DataFusion's `min` or `max`, with accumulators of its own for floats and intervals: a NaN is above all numbers, and
/// intervals are compared by their length.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Extreme {
    inner: Arc<AggregateUDF>,
    greatest: bool,
}

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            &INTERVAL => Ok(Box::new(ExtremeInterval {
                greatest: self.greatest,
                found: None,
            })),
            _ => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            &INTERVAL => Ok(Box::new(SlidingInterval {
                greatest: self.greatest,
                candidates: VecDeque::new(),
                added: 0,
                removed: 0,
            })),
            _ => self.inner.create_sliding_accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        macro_rules! floats {
            ($kind:ty) => {{
                type Float = <$kind as arrow::datatypes::ArrowPrimitiveType>::Native;
                let data_type = args.return_field.data_type();
                if self.greatest {
                    let greater = |held: &mut Float, new: Float| {
                        if new > *held || new.is_nan() {
                            *held = new;
                        }
                    };
                    Ok(Box::new(
                        PrimitiveGroupsAccumulator::<$kind, _>::new(data_type, greater)
                            .with_starting_value(Float::NEG_INFINITY),
                    ))
                } else {
                    let less = |held: &mut Float, new: Float| {
                        if new < *held || held.is_nan() {
                            *held = new;
                        }
                    };
                    Ok(Box::new(
                        PrimitiveGroupsAccumulator::<$kind, _>::new(data_type, less)
                            .with_starting_value(Float::NAN),
                    ))
                }
            }};
        }
        match args.return_field.data_type() {
            DataType::Float16 => floats!(Float16Type),
            DataType::Float32 => floats!(Float32Type),
            DataType::Float64 => floats!(Float64Type),
            _ => self.inner.create_groups_accumulator(args),
        }
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.inner().is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs) -> Option<ScalarValue> {
        // Statistics of floats leave NaN out, those of intervals are in arrow's order.
        let other_order =
            statistics.return_type.is_floating() || *statistics.return_type == INTERVAL;
        match other_order {
            true => None,
            false => self.inner.value_from_stats(statistics),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }
}

/// Of intervals as long as each other the same one stays whatever the order: the one arrow puts last.
fn rank(value: &IntervalMonthDayNano) -> (i128, IntervalMonthDayNano) {
    (interval_length(*value), *value)
}

/// The longest or the shortest interval.
#[derive(Debug)]
struct ExtremeInterval {
    greatest: bool,
    found: Option<IntervalMonthDayNano>,
}

impl Accumulator for ExtremeInterval {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<IntervalMonthDayNanoType>();
        let found = self.found.into_iter().chain(values.iter().flatten());
        self.found = match self.greatest {
            true => found.max_by_key(rank),
            false => found.min_by_key(rank),
        };
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::IntervalMonthDayNano(self.found))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The same of a window that slides: the values that can still become the answer, in their order. A value that is
/// followed by a better one never can.
#[derive(Debug)]
struct SlidingInterval {
    greatest: bool,
    /// Each with its number among the values that were added.
    candidates: VecDeque<(u64, IntervalMonthDayNano)>,
    added: u64,
    removed: u64,
}

impl Accumulator for SlidingInterval {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0]
            .as_primitive::<IntervalMonthDayNanoType>()
            .iter()
            .flatten()
        {
            let greatest = self.greatest;
            let is_beaten = |held: &IntervalMonthDayNano| match greatest {
                true => rank(held) <= rank(&value),
                false => rank(held) >= rank(&value),
            };
            while self
                .candidates
                .pop_back_if(|(_, held)| is_beaten(held))
                .is_some()
            {}
            self.candidates.push_back((self.added, value));
            self.added += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.removed += (values[0].len() - values[0].null_count()) as u64;
        let removed = self.removed;
        while self
            .candidates
            .pop_front_if(|(at, _)| *at < removed)
            .is_some()
        {}
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let found = self.candidates.front().map(|(_, value)| *value);
        Ok(ScalarValue::IntervalMonthDayNano(found))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.candidates.capacity() * size_of::<(u64, IntervalMonthDayNano)>()
    }
}
