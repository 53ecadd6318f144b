//! The names a staged write uses: of the files it makes, and of its staging.

use std::path::Path;

use super::misuse;
use crate::error::Result;

/// Inside a target directory: staging of appends, skipped by readers as every `_` name.
pub(super) const INSIDE: &str = "_tidegate";
/// Beside a target: staging of files and new directories, skipped by readers as every `.` name.
const BESIDE: &str = ".tidegate-";
/// Bytes of the target's name that the staging's name repeats, for the user's eye.
const NAME_BYTES_MAX: usize = 100;
const ID_DIGITS: usize = 16;

pub(super) const LOCK: &str = "lock";
pub(super) const DATA: &str = "data";
pub(super) const INTENT: &str = "intent";
pub(super) const INTENT_DRAFT: &str = "intent.draft";

/// The staging of a write to `target`, beside it.
pub(super) fn beside(target: &Path, id: &str) -> std::path::PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let end = (0..=name.len().min(NAME_BYTES_MAX))
        .rev()
        .find(|end| name.is_char_boundary(*end));
    let name = &name[..end.unwrap_or(0)];
    super::parent(target).join(format!("{BESIDE}{id}-{name}"))
}

/// Whether a name is one that [`beside`] gives.
pub(super) fn is_beside(name: &str) -> bool {
    let id = name
        .strip_prefix(BESIDE)
        .and_then(|rest| rest.get(..ID_DIGITS + 1));
    id.and_then(|id| id.strip_suffix('-')).is_some_and(is_id)
}

pub(super) fn is_id(name: &str) -> bool {
    name.len() == ID_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A relative path of plain names: it stays below the directory it is joined to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileName(String);

impl FileName {
    pub(super) fn parse(name: &str) -> Result<Self> {
        let plain =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        if !name.split('/').all(plain) {
            return Err(misuse(
                name,
                "a file name is relative and without `.` and `..`",
            ));
        }
        if name.split('/').next() == Some(INSIDE) {
            return Err(misuse(name, "the name `_tidegate` is reserved"));
        }
        Ok(Self(name.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The directories above it, outermost first.
    pub(super) fn dirs(&self) -> Vec<String> {
        let ends = self.0.match_indices('/').map(|(end, _)| end);
        ends.map(|end| self.0[..end].to_owned()).collect()
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for bad in [
            "",
            "/etc/x",
            "../x",
            "a/../../x",
            "a//b",
            "./a",
            "a/",
            "_tidegate/x",
            "a\0",
        ] {
            assert!(FileName::parse(bad).is_err(), "{bad:?}");
        }
        let good = FileName::parse("a=1/b=2/part").unwrap();
        assert_eq!(good.dirs(), ["a=1", "a=1/b=2"]);
    }

    #[test]
    fn staging_names_are_recognised_and_cut_at_a_character() {
        let long = format!("/d/{}", "é".repeat(120));
        let staged = beside(Path::new(&long), "0123456789abcdef");
        let name = staged.file_name().unwrap().to_str().unwrap();
        assert!(is_beside(name) && name.len() < 255);
        for other in [
            ".tidegate-",
            ".tidegate-history",
            ".tidegate-0123456789abcdeg-x",
            "tidegate",
        ] {
            assert!(!is_beside(other), "{other}");
        }
    }
}
