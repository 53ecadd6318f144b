//! `percentile_cont` with the whole fraction: DataFusion's cuts it to six places, and 0.3 of 1, 2, 4, 8 is 1.899999.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float64Type, Schema};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Documentation, EmitTo,
    GroupsAccumulator, Signature,
};

/// `percentile_cont` under DataFusion's names, with its types.
pub fn percentile() -> Arc<AggregateUDF> {
    static PERCENTILE: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let inner = percentile_cont_udaf();
        Arc::new(AggregateUDF::new_from_impl(Percentile { inner }))
    });
    Arc::clone(&PERCENTILE)
}

/// DataFusion's function, which gathers the values; what is between two of them is computed here.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Percentile {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let (place, keeps) = (Place::of(&args), args.is_distinct);
        let inner = self.inner.accumulator(args)?;
        Ok(match place {
            Some(place) => Box::new(Between {
                inner,
                place,
                keeps,
            }),
            None => inner,
        })
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
        let place = Place::of(&args);
        let inner = self.inner.create_groups_accumulator(args)?;
        Ok(match place {
            Some(place) => Box::new(BetweenOfGroups { inner, place }),
            None => inner,
        })
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.inner.simplify()
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// Which place among the sorted values is asked for.
#[derive(Debug, Clone, Copy)]
struct Place {
    share: f64,
    descending: bool,
}

impl Place {
    /// None of arguments that DataFusion refuses, and of a column of NULLs.
    fn of(args: &AccumulatorArgs) -> Option<Self> {
        // DataFusion takes any constant expression, of no row.
        let no_row = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let share = match args.exprs.get(1)?.evaluate(&no_row).ok()? {
            ColumnarValue::Scalar(share) => share.cast_to(&DataType::Float64).ok()?,
            ColumnarValue::Array(_) => return None,
        };
        let ScalarValue::Float64(Some(share)) = share else {
            return None;
        };
        let floats = args.return_field.data_type().is_floating()
            && args.expr_fields.first()?.data_type().is_floating();
        floats.then_some(Self {
            share,
            descending: args
                .order_bys
                .first()
                .is_some_and(|key| key.options.descending),
        })
    }

    fn among(self, values: &ArrayRef) -> Result<Option<f64>> {
        let values = cast(values, &DataType::Float64)?;
        let mut values: Vec<f64> = values
            .as_primitive::<Float64Type>()
            .iter()
            .flatten()
            .collect();
        let Some(last) = values.len().checked_sub(1) else {
            return Ok(None);
        };
        let index = self.share * last as f64;
        let before = index.floor();
        let mut nth = |index: f64| {
            let index = (index as usize).min(last);
            let index = if self.descending { last - index } else { index };
            *values.select_nth_unstable_by(index, f64::total_cmp).1
        };
        let (low, high) = (nth(before), nth(index.ceil()));
        Ok(Some(between(low, high, index - before)))
    }
}

fn between(low: f64, high: f64, share: f64) -> f64 {
    let distance = high - low;
    if low == high || share == 0.0 {
        low
    } else if low.is_nan() || high.is_nan() {
        f64::NAN
    } else if distance.is_finite() {
        low + distance * share
    } else {
        let sum = low * (1.0 - share) + high * share;
        if sum.is_nan() { f64::NAN } else { sum }
    }
}

/// The state of DataFusion's accumulator is the list of all values.
#[derive(Debug)]
struct Between {
    inner: Box<dyn Accumulator>,
    place: Place,
    /// Whether it keeps its values when it hands out its state.
    keeps: bool,
}

#[deny(clippy::missing_trait_methods)]
impl Accumulator for Between {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.inner.state()?;
        let arrays = state.iter().map(ScalarValue::to_array);
        let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
        let values = arrays[0].as_list::<i32>().value(0);
        let found = ScalarValue::Float64(self.place.among(&values)?);
        // Over a window it is asked again.
        if !self.keeps {
            self.inner.merge_batch(&arrays)?;
        }
        found.cast_to(values.data_type())
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

struct BetweenOfGroups {
    inner: Box<dyn GroupsAccumulator>,
    place: Place,
}

#[deny(clippy::missing_trait_methods)]
impl GroupsAccumulator for BetweenOfGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner
            .update_batch(values, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let state = self.inner.state(emit_to)?;
        let groups = state[0].as_list::<i32>();
        let found: Result<Float64Array> = groups
            .iter()
            .map(|values| match values {
                Some(values) => self.place.among(&values),
                None => Ok(None),
            })
            .collect();
        Ok(cast(&found?, &groups.value_type())?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner
            .merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, opt_filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
