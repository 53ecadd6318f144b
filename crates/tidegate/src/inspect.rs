//! What is in the files of a path.

use tidegate_catalog::{ReaderOptions, Section};

use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::session::Session;

/// What [`Session::inspect`] or [`Session::doctor`] found out.
#[derive(Debug, Clone)]
pub struct Report {
    /// Titled tables, in the order to show them in.
    pub sections: Vec<Section>,
    /// Nothing is wrong; always true of [`Session::inspect`].
    pub healthy: bool,
}

impl Session {
    /// Describes the files of a path without reading their rows: sizes, columns with their types, and for a Parquet
    /// file row groups, encodings and statistics, for CSV how it is written.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("a.csv");
    /// std::fs::write(&path, "day;rain\n2026-11-23;17.00\n")?;
    /// let session = tidegate::Session::builder().build()?;
    /// let report = session.block_on(session.inspect(&path.to_string_lossy()))?;
    /// let titles: Vec<_> = report.sections.iter().map(|section| section.title).collect();
    /// assert_eq!(titles, ["file", "dialect", "columns", "notices"]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn inspect(&self, path: &str) -> Result<Report> {
        let (catalog, path) = (self.inner.catalog.clone(), path.to_owned());
        let inspected = async move { catalog.inspect(&path, &ReaderOptions::default()).await };
        Ok(Report {
            sections: self.on_pool(inspected).await?,
            healthy: true,
        })
    }

    /// Runs work of the catalog on the session's threads.
    pub(crate) async fn on_pool<T: Send + 'static>(
        &self,
        work: impl Future<Output = tidegate_catalog::Result<T>> + Send + 'static,
    ) -> Result<T> {
        match self.pool()?.run(work).await {
            Ok(done) => done.map_err(convert::from_catalog),
            Err(panicked) => Err(Error::new(ErrorKind::Bug, "panic", panicked.to_string())),
        }
    }
}
