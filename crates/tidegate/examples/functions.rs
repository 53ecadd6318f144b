//! Registers a scalar function, an aggregate, a table function and a table in memory.
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use tidegate::Session;
use tidegate::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use tidegate::arrow::datatypes::{DataType, Float64Type, Int64Type};
use tidegate::extend::{
    Accumulator, ColumnarValue, MemTable, Result, ScalarValue, TableFunctionArgs,
    TableFunctionImpl, TableProvider, Volatility, create_udaf, create_udf,
};

fn double(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let values = arrays[0].as_primitive::<Int64Type>();
    let doubled: Int64Array = values
        .iter()
        .map(|v| v.and_then(|v| v.checked_mul(2)))
        .collect();
    Ok(ColumnarValue::Array(Arc::new(doubled)))
}

/// The product of all values.
#[derive(Debug)]
struct Product(f64);

impl Accumulator for Product {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            self.0 *= value;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::from(self.0)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::from(self.0))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// `answers()`: one column, two rows.
#[derive(Debug)]
struct Answers;

fn numbers(name: &str, values: Vec<i64>) -> Result<RecordBatch> {
    let column: ArrayRef = Arc::new(Int64Array::from(values));
    Ok(RecordBatch::try_from_iter([(name, column)])?)
}

impl TableFunctionImpl for Answers {
    fn call_with_args(&self, _: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let batch = numbers("answer", vec![42, 43])?;
        Ok(Arc::new(MemTable::try_new(
            batch.schema(),
            vec![vec![batch]],
        )?))
    }
}

/// Returns the one number that the query gives.
pub async fn run() -> std::result::Result<f64, Box<dyn std::error::Error>> {
    let session = Session::builder().build()?;
    let integer = vec![DataType::Int64];
    session.register_udf(create_udf(
        "twice",
        integer,
        DataType::Int64,
        Volatility::Immutable,
        Arc::new(double),
    ));
    session.register_udaf(create_udaf(
        "product",
        vec![DataType::Float64],
        Arc::new(DataType::Float64),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::new(Product(1.0)))),
        Arc::new(vec![DataType::Float64]),
    ));
    session.register_table_function("answers", Arc::new(Answers));
    let batch = numbers("n", vec![2, 3])?;
    session.register_batches("small", batch.schema(), vec![batch])?;
    let query = session
        .sql("SELECT product(twice(n)) + (SELECT max(answer) FROM answers()) FROM small")
        .await?;
    let batches = query.collect().await?;
    Ok(batches[0].column(0).as_primitive::<Float64Type>().value(0))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    println!("{}", run().await?);
    Ok(())
}
