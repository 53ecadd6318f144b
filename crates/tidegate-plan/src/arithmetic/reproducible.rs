//! `sum` and `avg` of doubles that are the same in whatever order the rows come: those of durable jobs.
//!
//! They keep a count and [`Bins`] for each group: 88 bytes where the plain ones keep 8 or 16.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Float64Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, UInt64Type};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

use super::bins::{Bins, STATE_BYTES};
use super::{CheckedAvg, CheckedSum, checked_avg, checked_sum};

/// What plans call the sum.
pub(crate) const REPRODUCIBLE_SUM: &str = "reproducible_sum";
/// What plans call the average.
pub(crate) const REPRODUCIBLE_AVG: &str = "reproducible_avg";

/// The functions, for plans that are decoded.
pub(crate) fn reproducible() -> [Arc<AggregateUDF>; 2] {
    static BOTH: LazyLock<[Arc<AggregateUDF>; 2]> = LazyLock::new(|| {
        [checked_sum(), checked_avg()]
            .map(|plain| Arc::new(AggregateUDF::from(Reproducible { plain })))
    });
    BOTH.clone()
}

/// The function that is to be used in place of `plain`, a sum or an average, where its results are doubles.
pub(crate) fn reproducible_in_place_of(plain: &AggregateUDF) -> Option<Arc<AggregateUDF>> {
    let [sum, avg] = reproducible();
    let inner = plain.inner();
    if inner.is::<CheckedSum>() {
        return Some(sum);
    }
    inner.is::<CheckedAvg>().then_some(avg)
}

/// A sum or an average of doubles.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Reproducible {
    plain: Arc<AggregateUDF>,
}

impl Reproducible {
    fn result(&self) -> Of {
        match self.plain.inner().is::<CheckedAvg>() {
            true => Of::Average,
            false => Of::Sum,
        }
    }
}

impl AggregateUDFImpl for Reproducible {
    fn name(&self) -> &str {
        match self.result() {
            Of::Sum => REPRODUCIBLE_SUM,
            Of::Average => REPRODUCIBLE_AVG,
        }
    }

    // Columns and errors have the name that the user knows.
    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.plain.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.plain.human_display(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.plain.display_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.plain.window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.plain.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.plain.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.plain.coerce_types(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return internal_err!("{} has no distinct form", self.name());
        }
        Ok(Box::new(One {
            of: self.result(),
            group: Group::default(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name, data_type| {
            Arc::new(Field::new(
                format_state_name(args.name, name),
                data_type,
                false,
            ))
        };
        Ok(vec![
            field("count", DataType::UInt64),
            field("bins", DataType::FixedSizeBinary(STATE_BYTES as i32)),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups {
            of: self.result(),
            groups: Vec::new(),
        }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Sum,
    Average,
}

/// What was added of one group.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    count: u64,
    bins: Bins,
}

impl Group {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.bins.add(value);
    }

    fn result(&self, of: Of) -> Option<f64> {
        match (self.count, of) {
            (0, _) => None,
            (_, Of::Sum) => Some(self.bins.value()),
            (count, Of::Average) => Some(self.bins.value() / count as f64),
        }
    }
}

/// The columns of states, as arrays.
fn states(groups: &[Group]) -> Result<Vec<ArrayRef>> {
    let counts = UInt64Array::from_iter_values(groups.iter().map(|group| group.count));
    let bins = groups.iter().map(|group| Some(group.bins.to_bytes()));
    let bins = FixedSizeBinaryArray::try_from_sparse_iter_with_size(bins, STATE_BYTES as i32)?;
    Ok(vec![Arc::new(counts), Arc::new(bins)])
}

/// Calls `merge` with the number of each row and its state.
fn each_state(columns: &[ArrayRef], mut merge: impl FnMut(usize, &Group)) -> Result<()> {
    let (Some(counts), Some(bins)) = (
        columns
            .first()
            .and_then(|c| c.as_primitive_opt::<UInt64Type>()),
        columns.get(1).and_then(|c| c.as_fixed_size_binary_opt()),
    ) else {
        return internal_err!("the state of a sum of doubles has other columns");
    };
    for (row, count) in counts.values().iter().enumerate() {
        let Some(bins) = Bins::from_bytes(bins.value(row)) else {
            return internal_err!("the state of a sum of doubles has another size");
        };
        let count = *count;
        merge(row, &Group { count, bins });
    }
    Ok(())
}

/// The one group of an aggregate without keys.
#[derive(Debug)]
struct One {
    of: Of,
    group: Group,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        values
            .iter()
            .flatten()
            .for_each(|value| self.group.add(value));
        Ok(())
    }

    fn merge_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        each_state(columns, |_, state| {
            self.group.count += state.count;
            self.group.bins.merge(&state.bins);
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.group.result(self.of)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = states(&[self.group])?;
        let scalars = columns
            .iter()
            .map(|column| ScalarValue::try_from_array(column, 0));
        scalars.collect()
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

struct Groups {
    of: Of,
    groups: Vec<Group>,
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, Group::default());
        let values = values[0].as_primitive::<Float64Type>();
        if values.null_count() == 0 && filter.is_none() {
            for (group, value) in group_indices.iter().zip(values.values()) {
                self.groups[*group].add(*value);
            }
            return Ok(());
        }
        for (row, (group, value)) in group_indices.iter().zip(values).enumerate() {
            if let Some(value) = value.filter(|_| passes(filter, row)) {
                self.groups[*group].add(value);
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        columns: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, Group::default());
        each_state(columns, |row, state| {
            let group = &mut self.groups[group_indices[row]];
            group.count += state.count;
            group.bins.merge(&state.bins);
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        let results = groups.iter().map(|group| group.result(self.of));
        Ok(Arc::new(results.collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        states(&emit_to.take_needed(&mut self.groups))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values[0].as_primitive::<Float64Type>().iter().enumerate();
        let groups = rows.map(|(row, value)| {
            let mut group = Group::default();
            if let Some(value) = value.filter(|_| passes(filter, row)) {
                group.add(value);
            }
            group
        });
        states(&groups.collect::<Vec<_>>())
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Group>()
    }
}

/// Whether a filter lets a row through.
fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}
