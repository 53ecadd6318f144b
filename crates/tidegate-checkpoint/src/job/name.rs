//! Names: of jobs, of tasks, and of the files of a job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::vfs::Vfs;

/// Characters of a job's name.
pub const NAME_CHARACTERS_MAX: usize = 100;

pub(super) const LOCK: &str = "lock";
pub(super) const REQUEST: &str = "request";
pub(super) const JOURNAL: &str = "journal";
pub(super) const SEALED: &str = "sealed";
pub(super) const TABLES: &str = "tables";
/// Ends the name of what is not whole yet.
pub(super) const UNFINISHED: &str = ".tmp";
/// Begins the name of a job that is being removed; no name of a job does.
pub(super) const REMOVED: &str = ".removed-";
const SPEC: (&str, &str) = ("statement-", ".spec");
const ROWS: &str = ".rows";
const UNIQUE_DIGITS: usize = 16;

/// The name of a job: 1 to 100 letters, digits, `-`, `_` and `.`, of which `-` and `.` do not come
/// first. So it is a name in every file system, and no option of a command.
///
/// ```
/// use tidegate_checkpoint::job::JobName;
///
/// let name: JobName = "nightly-2026.11".parse()?;
/// assert_eq!(name.to_string(), "nightly-2026.11");
/// assert!("../etc".parse::<JobName>().is_err());
/// # Ok::<(), tidegate_checkpoint::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(String);

impl JobName {
    /// A name, if this text is one.
    pub fn parse(text: &str) -> Result<Self> {
        let misuse = |why| Error::Misuse {
            name: text.chars().take(NAME_CHARACTERS_MAX).collect(),
            why,
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > NAME_CHARACTERS_MAX {
            return Err(misuse("the name of a job has 1 to 100 characters"));
        }
        if !text.chars().all(is_plain) {
            return Err(misuse(
                "the name of a job is made of letters, digits, `-`, `_` and `.`",
            ));
        }
        if text.starts_with(['.', '-']) {
            return Err(misuse("the name of a job does not begin with `.` or `-`"));
        }
        Ok(Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<String> for JobName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A task of a job.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct TaskKey {
    /// The statement.
    pub statement: u32,
    /// The stage of the statement.
    pub stage: u32,
    /// The task of the stage.
    pub task: u32,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.statement, self.stage, self.task)
    }
}

/// The frozen spec of a statement.
pub(super) fn spec(statement: u32) -> String {
    format!("{}{statement:05}{}", SPEC.0, SPEC.1)
}

pub(super) fn is_spec(name: &str) -> bool {
    let number = name
        .strip_prefix(SPEC.0)
        .and_then(|rest| rest.strip_suffix(SPEC.1));
    number.is_some_and(|number| number.parse::<u32>().is_ok_and(|of| spec(of) == name))
}

/// A name nobody has, for what will be called `name` when it is whole.
pub(super) fn unfinished(vfs: &dyn Vfs, name: &str) -> String {
    format!("{name}-{:016x}{UNFINISHED}", vfs.unique())
}

/// A new name for the rows of a task.
pub(super) fn rows(vfs: &dyn Vfs, key: TaskKey, attempt: u32) -> String {
    let TaskKey {
        statement,
        stage,
        task,
    } = key;
    let unique = vfs.unique();
    format!("{statement}-{stage}-{task}-{attempt}-{unique:016x}{ROWS}")
}

/// Whose rows a file of this name holds, if [`rows`] gave it. What a journal says is joined to a
/// path, and removed: only these names are.
pub(super) fn parse_rows(name: &str) -> Option<(TaskKey, u32)> {
    let mut parts = name.strip_suffix(ROWS)?.split('-');
    let mut number = || -> Option<u32> {
        let text = parts.next()?;
        let number: u32 = text.parse().ok()?;
        // As it is written by us: no sign, no zeroes before it.
        (number.to_string() == text).then_some(number)
    };
    let (statement, stage, task, attempt) = (number()?, number()?, number()?, number()?);
    let unique = parts.next()?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_ours = unique.len() == UNIQUE_DIGITS && unique.bytes().all(is_digit);
    let key = TaskKey {
        statement,
        stage,
        task,
    };
    (is_ours && parts.next().is_none()).then_some((key, attempt))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::RealVfs;

    #[test]
    fn names_that_are_paths_options_or_hidden_are_refused() {
        let long = "x".repeat(NAME_CHARACTERS_MAX);
        for good in ["a", "A-1_b.c", "9", "_", long.as_str()] {
            assert_eq!(JobName::parse(good).unwrap().as_str(), good);
        }
        let longer = format!("{long}x");
        for bad in ["", ".", "..", ".a", "-a", "a/b", "a b", "ä", "a\0", &longer] {
            assert!(JobName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<JobName>("\"../x\"").is_err());
    }

    #[test]
    fn names_of_rows_are_read_back_and_nothing_else_is() {
        let key = TaskKey {
            statement: 1,
            stage: 20,
            task: 300,
        };
        let name = rows(&RealVfs, key, 4);
        assert_eq!(parse_rows(&name), Some((key, 4)));
        for bad in [
            "",
            "../x.rows",
            "1-2-3-4.rows",
            "1-2-3-4-0123456789abcde.rows",
            "1-2-3-4-0123456789abcdeF.rows",
            "01-2-3-4-0123456789abcdef.rows",
            "+1-2-3-4-0123456789abcdef.rows",
            "1-2-3-4-5-0123456789abcdef.rows",
            "1-2-3-4-0123456789abcdef.rows.tmp",
            "1-2-3-99999999999-0123456789abcdef.rows",
        ] {
            assert_eq!(parse_rows(bad), None, "{bad:?}");
        }
        assert!(is_spec(&spec(7)) && is_spec("statement-123456.spec"));
        assert!(!is_spec("statement-7.spec") && !is_spec("statement-00007.spec.tmp"));
    }
}
