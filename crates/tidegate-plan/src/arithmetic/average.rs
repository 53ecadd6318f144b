//! `avg` of durations, whose sum wraps in DataFusion after some 292 years of nanoseconds: a few million taxi rides, and
//! of decimals, whose mean DataFusion cuts off. Averages of integers are summed as doubles there and cannot wrap.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    Signature,
};

use super::decimal_average;
use super::float_result::{float_result, float_results};

/// The `avg` that cannot wrap, under DataFusion's name.
pub fn checked_avg() -> Arc<AggregateUDF> {
    static AVG: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(CheckedAvg { inner: avg_udaf() }.into()));
    Arc::clone(&AVG)
}

/// DataFusion's `avg`, with accumulators of its own for decimals and durations.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CheckedAvg {
    inner: Arc<AggregateUDF>,
}

fn is_duration(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Duration(_))
}

impl AggregateUDFImpl for CheckedAvg {
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
        let decimal = arg_types.first().and_then(decimal_average::mean_type);
        decimal.map_or_else(|| self.inner.return_type(arg_types), Ok)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let values = args.expr_fields[0].data_type();
        match args.is_distinct {
            true if values.is_decimal() => return decimal_average::distinct_accumulator(values),
            false if values.is_decimal() => return decimal_average::accumulator(values),
            _ => {}
        }
        if is_duration(args.return_type()) && !args.is_distinct {
            let data_type = args.return_type().clone();
            return Ok(Box::new(DurationAvg {
                sum: 0,
                count: 0,
                data_type,
            }));
        }
        match args.return_type().is_floating() {
            true => Ok(float_result(self.inner.accumulator(args)?)),
            false => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let ours = is_duration(args.return_type()) && !args.is_distinct;
        if ours || args.return_type().is_decimal() {
            return self.accumulator(args);
        }
        match args.return_type().is_floating() {
            true => Ok(float_result(self.inner.create_sliding_accumulator(args)?)),
            false => self.inner.create_sliding_accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let values = args.input_fields[0].data_type();
        let sum_type = match values {
            DataType::Duration(_) => Some(DataType::Decimal128(38, 0)),
            values => decimal_average::sum_type(values),
        };
        let field =
            |name, data_type| Field::new(format_state_name(args.name, name), data_type, true);
        match (sum_type, args.is_distinct) {
            (Some(sum_type), false) => Ok(vec![
                Arc::new(field("count", DataType::UInt64)),
                Arc::new(field("sum", sum_type)),
            ]),
            (Some(value_type), true) if values.is_decimal() => {
                let values = Arc::new(Field::new_list_field(value_type, true));
                Ok(vec![Arc::new(field("values", DataType::List(values)))])
            }
            _ => self.inner.state_fields(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match args.return_type() {
            data_type if data_type.is_decimal() => !args.is_distinct,
            data_type => !is_duration(data_type) && self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match args.expr_fields[0].data_type() {
            values if values.is_decimal() => decimal_average::groups_accumulator(values),
            _ if args.return_type().is_floating() => {
                Ok(float_results(self.inner.create_groups_accumulator(args)?))
            }
            _ => self.inner.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

#[derive(Debug)]
struct DurationAvg {
    sum: i128,
    count: u64,
    data_type: DataType,
}

impl DurationAvg {
    /// The sum of the values that are not NULL, and how many they are.
    fn total(values: &ArrayRef) -> Result<(i128, u64)> {
        let values = cast(values, &DataType::Int64)?;
        let values = values.as_primitive::<Int64Type>();
        let sum = values.iter().flatten().map(i128::from).sum();
        Ok((sum, (values.len() - values.null_count()) as u64))
    }
}

impl Accumulator for DurationAvg {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = Self::total(&values[0])?;
        self.sum += sum;
        self.count += count;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = Self::total(&values[0])?;
        self.sum -= sum;
        self.count -= count;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // An average lies between the values it is of, so it fits as they do.
        let average = self
            .sum
            .checked_div(i128::from(self.count))
            .map(|average| average as i64);
        ScalarValue::Int64(average).cast_to(&self.data_type)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::Decimal128(Some(self.sum), 38, 0);
        Ok(vec![ScalarValue::UInt64(Some(self.count)), sum])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.count += states[0]
            .as_primitive::<UInt64Type>()
            .iter()
            .flatten()
            .sum::<u64>();
        self.sum += states[1]
            .as_primitive::<Decimal128Type>()
            .iter()
            .flatten()
            .sum::<i128>();
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
