//! DataFusion as it comes, with Tidegate's allocator: the yardstick for what Tidegate's own layers
//! cost. `plain-datafusion DIR QUERY.sql` registers each `NAME.parquet` of DIR as its command line
//! does, runs the query and counts the rows.

use std::io::Write;
use std::path::Path;

use datafusion::error::Result;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::StreamExt;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, query] = arguments.as_slice() else {
        return datafusion::common::exec_err!("usage: plain-datafusion DIR QUERY.sql");
    };
    let config =
        SessionConfig::new().set_bool("datafusion.sql_parser.parse_float_as_decimal", true);
    let context = SessionContext::new_with_config(config);
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "parquet") {
            register(&context, &path).await?;
        }
    }
    let mut rows = 0;
    let mut stream = context
        .sql(&std::fs::read_to_string(query)?)
        .await?
        .execute_stream()
        .await?;
    while let Some(batch) = stream.next().await {
        rows += batch?.num_rows();
    }
    writeln!(std::io::stdout(), "{rows}")?;
    Ok(())
}

async fn register(context: &SessionContext, path: &Path) -> Result<()> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let location = path.to_string_lossy();
    context
        .register_parquet(&*name, &*location, ParquetReadOptions::default())
        .await
}
