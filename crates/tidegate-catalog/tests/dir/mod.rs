//! A directory of files, a catalog that works in it, and what queries over its tables answer.
#![allow(dead_code, unreachable_pub)]

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::prelude::{SessionConfig, SessionContext};
use tidegate_catalog::{
    Access, Catalog, Error, FilesTable, Place, ReaderOptions, Settings, Stores, Value,
};

/// A directory of its own.
pub struct Dir(tempfile::TempDir);

impl Dir {
    /// With these files, by name and text.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        files
            .iter()
            .for_each(|(name, text)| dir.write(name, text.as_bytes()));
        dir
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn catalog(&self) -> Catalog {
        self.catalog_with(Settings::default(), Access::everything())
    }

    /// A catalog whose working directory this is.
    pub fn catalog_with(&self, settings: Settings, access: Access) -> Catalog {
        let place = Place {
            working_dir: self.path(),
            home: None,
        };
        let settings = Settings { place, ..settings };
        Catalog::new(access.clone(), Arc::new(Stores::new(access)), settings)
    }

    pub async fn table(
        &self,
        text: &str,
        options: &[(&str, Value)],
    ) -> Result<Arc<FilesTable>, Error> {
        let mut reader = ReaderOptions::default();
        options
            .iter()
            .for_each(|(name, value)| reader.set(name, value.clone()).unwrap());
        self.catalog().resolve_path(text, &reader).await
    }

    /// What a query answers over the table `t` of this path.
    pub async fn query(&self, text: &str, options: &[(&str, Value)], sql: &str) -> String {
        run(self.table(text, options).await.unwrap(), sql).await
    }

    /// An error and its hint, without the name of the directory.
    pub fn shown(&self, error: &Error) -> String {
        let shown = format!("{error} | {}", error.hint.as_deref().unwrap_or_default());
        shown.replace(&self.path().display().to_string(), "DIR")
    }
}

/// Plans in three partitions.
pub fn context() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3))
}

/// What a query answers over the table `t`: values with `,` and rows with `; ` between them.
pub async fn run(table: Arc<dyn TableProvider>, sql: &str) -> String {
    let context = context();
    context.register_table("t", table).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let options = arrow::util::display::FormatOptions::default().with_null("NULL");
    let mut rows: Vec<String> = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| arrow::util::display::ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values = columns.iter().map(|column| column.value(row).to_string());
            rows.push(values.collect::<Vec<_>>().join(","));
        }
    }
    rows.join("; ")
}
