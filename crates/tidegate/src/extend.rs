//! What an embedding program needs to bring functions, tables and stores of its own: the traits and
//! constructors of the engine underneath, in one place.

pub use datafusion::arrow;
pub use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
pub use datafusion::common::{Result, ScalarValue};
pub use datafusion::datasource::MemTable;
pub use datafusion::logical_expr::{
    Accumulator, AggregateUDF, ColumnarValue, ScalarUDF, ScalarUDFImpl, Volatility, WindowUDF,
    create_udaf, create_udf,
};
pub use object_store;
