//! What is wrong with the files of a path, and where: all of them is read.

use std::sync::Arc;

use tidegate_catalog::{CsvCase, Diagnosis, Findings, Scan};
use tidegate_operators::rejects::RejectLog;

use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::Report;
use crate::session::Session;

/// A scan that has ended.
struct Scanned {
    rows: u64,
    rejects: Arc<RejectLog>,
    failed: Option<String>,
}

impl Scanned {
    fn scan(&self) -> Scan<'_> {
        Scan {
            rows: self.rows,
            rejects: &self.rejects,
            failed: self.failed.clone(),
        }
    }
}

impl Session {
    /// Reads all of a file, or of each file of a path, and tells what is wrong with it and where.
    ///
    /// Parquet: the footer, every column of every row group, and the statistics against the data. CSV: every row, with
    /// exact counts of those that cannot be read, and the `read_csv` call that reads the file.
    pub async fn doctor(&self, path: &str) -> Result<Report> {
        let problems_max = self.settings().reject_limit;
        let (catalog, text) = (self.inner.catalog.clone(), path.to_owned());
        let diagnosed = async move { catalog.diagnose(&text, problems_max).await };
        let findings = match self.on_pool(diagnosed).await? {
            Diagnosis::Done(findings) => findings,
            Diagnosis::Csv(case) => self.csv(path, &case).await?,
            Diagnosis::Records { from, notices } => {
                let scanned = self.scanned(&from).await?;
                Findings::of_scan(path, &scanned.scan(), &notices).map_err(convert::from_catalog)?
            }
        };
        Ok(Report {
            sections: findings.sections,
            healthy: findings.healthy,
        })
    }

    async fn csv(&self, path: &str, case: &CsvCase) -> Result<Findings> {
        let first = self.scanned(&case.call.to_string()).await?;
        let mut best = None;
        for call in case.remedies(&first.scan()) {
            // A remedy is told only when it has been tried.
            let tried = self.scanned(&call.to_string()).await?;
            if tried.failed.is_none() {
                best = Some((call, tried.rows, tried.rejects.count()));
                break;
            }
        }
        let best = best
            .as_ref()
            .map(|(call, rows, left_out)| (call, *rows, *left_out));
        Findings::of_csv(case, path, &first.scan(), best).map_err(convert::from_catalog)
    }

    /// Reads every column of every row; an error of the data ends it and is no error of this.
    async fn scanned(&self, from: &str) -> Result<Scanned> {
        let mut scanned = Scanned {
            rows: 0,
            rejects: Arc::default(),
            failed: None,
        };
        match self.pour(from, &mut scanned).await {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::Data => scanned.failed = Some(error.message),
            // The user wrote a path and no SQL.
            Err(error) => {
                return Err(Error {
                    span: None,
                    ..error
                });
            }
        }
        Ok(scanned)
    }

    async fn pour(&self, from: &str, scanned: &mut Scanned) -> Result<()> {
        let query = self.sql(&format!("SELECT * FROM {from}")).await?;
        let state = Arc::clone(&query.state);
        let mut stream = query.stream().await?;
        scanned.rejects = state.rejects().unwrap_or_default();
        while let Some(batch) = stream.next().await {
            scanned.rows += batch?.num_rows() as u64;
        }
        Ok(())
    }
}
