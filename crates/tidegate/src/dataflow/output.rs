//! Where the rows of a dataflow go.

use tidegate_operators::write::Request;

/// Files to write, as COPY writes them.
///
/// ```
/// use tidegate::Output;
///
/// let output = Output::to("out/").format("parquet").mode("overwrite").partition_by(["month"]);
/// # let _ = output;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    target: String,
    format: Option<String>,
    mode: Option<String>,
    partition_by: Vec<String>,
}

impl Output {
    /// A file, a directory (which ends with `/`) or a URL.
    pub fn to(target: &str) -> Self {
        Self {
            target: target.to_string(),
            format: None,
            mode: None,
            partition_by: Vec::new(),
        }
    }

    /// The format; else the suffix of the target tells it.
    pub fn format(self, name: &str) -> Self {
        Self {
            format: Some(name.to_string()),
            ..self
        }
    }

    /// What to do when there are files: `error`, `overwrite`, `append` or `ignore`.
    pub fn mode(self, name: &str) -> Self {
        Self {
            mode: Some(name.to_string()),
            ..self
        }
    }

    /// Columns whose values become directories.
    pub fn partition_by<'a>(self, columns: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            partition_by: columns.into_iter().map(String::from).collect(),
            ..self
        }
    }

    pub(crate) fn request(&self) -> Request {
        Request {
            target: self.target.clone(),
            format: self.format.clone(),
            mode: self.mode.clone(),
            partition_by: self.partition_by.clone(),
            ..Request::default()
        }
    }
}
