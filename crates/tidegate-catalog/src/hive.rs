//! Columns whose values are in directory names: `year=2026/month=3/x.parquet`.
//!
//! Taken when all files agree on the keys and their order; if they do not, the directories are plain ones and a
//! notice says so (an error when `hive_partitioning = true` asked for them). A key that is also a column of the
//! files wins over it, as in DuckDB; the caller drops the file's column and says so.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;

use crate::error::{Error, Kind, Result};
use crate::near;
use crate::path::percent_decode;
use crate::widen::sql_name;

/// What Hive and Spark write for NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// What the user said about partitions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// Look for partitions: yes, no, or when the files agree.
    pub(crate) wanted: Option<bool>,
    /// Types by key; the rest is inferred.
    pub(crate) types: Vec<(String, DataType)>,
    /// Types of keys that need not be there.
    pub(crate) types_if_key: Vec<(String, DataType)>,
    /// All values stay text.
    pub(crate) all_text: bool,
}

/// The partition columns of a set of files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partitions {
    pub(crate) fields: Vec<FieldRef>,
    /// One row a file, one value a field.
    pub(crate) values: Vec<Arc<[ScalarValue]>>,
    pub(crate) notice: Option<String>,
}

/// The partition columns that the paths spell out, without their first `unwritten` components.
pub(crate) fn partitions(paths: &[&str], unwritten: usize, said: &Said) -> Result<Partitions> {
    if said.wanted == Some(false) {
        return Ok(Partitions::none(paths.len()));
    }
    let mut keys: Option<Vec<&str>> = None;
    let mut rows: Vec<&str> = Vec::new();
    for path in paths {
        let mut count = 0;
        for (key, value) in pairs(path, unwritten) {
            let agrees = keys
                .as_ref()
                .is_none_or(|keys| keys.get(count) == Some(&key));
            if !agrees {
                return disagree(paths, unwritten, path, said);
            }
            rows.push(value);
            count += 1;
        }
        match &keys {
            Some(keys) if keys.len() != count => return disagree(paths, unwritten, path, said),
            Some(_) => {}
            None => keys = Some(pairs(path, unwritten).map(|(key, _)| key).collect()),
        }
    }
    let keys = keys.unwrap_or_default();
    let names = keys
        .iter()
        .map(|key| percent_decode(key, key))
        .collect::<Result<Vec<_>>>()?;
    check_names(&names, said, paths)?;
    if names.is_empty() {
        return Ok(Partitions::none(paths.len()));
    }
    if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
        let what = format!(
            "the partition key `{}` is twice in `{}`",
            names[twice], paths[0]
        );
        return not_read(paths, what, paths[0], said);
    }
    columns(paths, &names, &rows, said)
}

/// The partition columns of a table without a file: those the user named.
pub(crate) fn promised(said: &Said) -> Partitions {
    let fields = said
        .types
        .iter()
        .map(|(name, data_type)| Arc::new(Field::new(name, data_type.clone(), true)));
    Partitions {
        fields: fields.collect(),
        ..Partitions::default()
    }
}

impl Partitions {
    fn none(files: usize) -> Self {
        let row: Arc<[ScalarValue]> = Arc::new([]);
        Self {
            fields: Vec::new(),
            values: vec![row; files],
            notice: None,
        }
    }
}

/// The `key=value` directories of a path.
pub(crate) fn pairs(path: &str, unwritten: usize) -> impl Iterator<Item = (&str, &str)> {
    let directories = path
        .rsplit_once('/')
        .map_or("", |(directories, _)| directories);
    let names = directories
        .split('/')
        .filter(|name| !name.is_empty())
        .skip(unwritten);
    names
        .filter_map(|name| name.split_once('='))
        .filter(|(key, _)| !key.is_empty())
}

fn disagree(paths: &[&str], unwritten: usize, other: &str, said: &Said) -> Result<Partitions> {
    let shown = |path: &str| {
        let keys: Vec<&str> = pairs(path, unwritten).map(|(key, _)| key).collect();
        if keys.is_empty() {
            "none".to_owned()
        } else {
            format!("`{}`", keys.join("/"))
        }
    };
    let what = format!(
        "the files do not agree on their partition keys: {} in `{}`, {} in `{other}`",
        shown(paths[0]),
        paths[0],
        shown(other)
    );
    not_read(paths, what, other, said)
}

/// An error if partitions were asked for, else a notice.
fn not_read(paths: &[&str], what: String, file: &str, said: &Said) -> Result<Partitions> {
    if said.wanted == Some(true) || !said.types.is_empty() {
        return Err(Error::new(Kind::Schema, what).file(file).hint(
            "read them apart with a glob, or leave the keys out with `hive_partitioning = false`",
        ));
    }
    let notice = format!("directory names were not read as columns: {what}");
    Ok(Partitions {
        notice: Some(notice),
        ..Partitions::none(paths.len())
    })
}

fn check_names(names: &[String], said: &Said, paths: &[&str]) -> Result<()> {
    if let Some((name, _)) = said.types.iter().find(|(name, _)| !names.contains(name)) {
        let error = Error::new(Kind::Invalid, format!("there is no partition key `{name}`"));
        let near = near::near_names(name, names.iter().map(String::as_str));
        return Err(match near::did_you_mean(&near) {
            Some(hint) => error.hint(hint),
            None if names.is_empty() => error.hint("the paths hold no `key=value` directory"),
            None => error.hint(format!("the keys are {}", names.join(", "))),
        });
    }
    if said.wanted == Some(true) && names.is_empty() {
        return Err(Error::new(
            Kind::Invalid,
            "there is no `key=value` directory in the paths",
        )
        .file(paths.first().copied().unwrap_or_default()));
    }
    Ok(())
}

fn columns(paths: &[&str], names: &[String], rows: &[&str], said: &Said) -> Result<Partitions> {
    let width = names.len();
    let mut decoded: Vec<Vec<Option<String>>> = Vec::with_capacity(width);
    for column in 0..width {
        let values = rows.iter().skip(column).step_by(width).zip(paths);
        let values = values.map(|(value, path)| {
            (*value != NULL)
                .then(|| percent_decode(value, path))
                .transpose()
        });
        decoded.push(values.collect::<Result<_>>()?);
    }
    let types: Vec<DataType> = names
        .iter()
        .zip(&decoded)
        .map(|(name, values)| {
            match said
                .types
                .iter()
                .chain(&said.types_if_key)
                .find(|(known, _)| known.to_lowercase() == name.to_lowercase())
            {
                Some((_, data_type)) => data_type.clone(),
                None if said.all_text => DataType::Utf8View,
                None => infer(values),
            }
        })
        .collect();
    // Directories repeat: each distinct row is made once and shared.
    let mut shared: HashMap<&[&str], Arc<[ScalarValue]>> = HashMap::new();
    let mut all = Vec::with_capacity(paths.len());
    for (at, raw) in rows.chunks(width).enumerate() {
        if let Some(row) = shared.get(raw) {
            all.push(Arc::clone(row));
            continue;
        }
        let row = (0..width).map(|column| {
            value(
                &decoded[column][at],
                &types[column],
                &names[column],
                paths[at],
            )
        });
        let row: Arc<[ScalarValue]> = row.collect::<Result<Vec<_>>>()?.into();
        shared.insert(raw, Arc::clone(&row));
        all.push(row);
    }
    let fields = names.iter().zip(types).zip(&decoded);
    let fields = fields.map(|((name, data_type), values)| {
        Arc::new(Field::new(
            name,
            data_type,
            values.iter().any(Option::is_none),
        ))
    });
    Ok(Partitions {
        fields: fields.collect(),
        values: all,
        notice: None,
    })
}

/// Integer when all values are, else date, else text. A leading zero makes a code of it, as in a CSV: `zip=01234` is
/// text. Two digits everywhere are how parts of dates are written: as in DuckDB and Spark `month=03` is the integer 3.
fn infer(values: &[Option<String>]) -> DataType {
    let mut known = values.iter().flatten().peekable();
    if known.peek().is_none() {
        return DataType::Utf8View;
    }
    let two_digits = known
        .clone()
        .all(|text| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()));
    let is_code = |text: &String| {
        let digits = text.trim_start_matches('-');
        digits.len() > 1 && digits.starts_with('0') && !two_digits
    };
    let is_integer =
        |text: &String| text.parse::<i64>().is_ok() && !text.starts_with('+') && !is_code(text);
    let is_date = |text: &String| {
        text.len() == 10 && chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
    };
    if known.clone().all(is_integer) {
        DataType::Int64
    } else if known.all(is_date) {
        DataType::Date32
    } else {
        DataType::Utf8View
    }
}

fn value(
    text: &Option<String>,
    data_type: &DataType,
    name: &str,
    path: &str,
) -> Result<ScalarValue> {
    let found = match text {
        None => ScalarValue::try_from(data_type),
        Some(text) => ScalarValue::try_from_string(text.clone(), data_type),
    };
    found.map_err(|error| {
        let text = text.as_deref().unwrap_or_default();
        let what = format!(
            "the partition value `{text}` of `{name}` is no {} in `{path}`",
            sql_name(data_type)
        );
        Error::new(Kind::Schema, what)
            .file(path)
            .hint(format!(
                "read it as text with `partition_types = {{{name}: 'VARCHAR'}}`"
            ))
            .caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(paths: &[&str], expect: &str) {
        let found = partitions(paths, 0, &Said::default()).unwrap();
        let fields = found
            .fields
            .iter()
            .map(|f| format!("{} {}", f.name(), sql_name(f.data_type())));
        let rows = found.values.iter().map(|row| {
            row.iter()
                .map(|v| {
                    if v.is_null() {
                        "NULL".into()
                    } else {
                        v.to_string()
                    }
                })
                .collect::<Vec<_>>()
                .join(",")
        });
        let shown = format!(
            "{}: {}",
            fields.collect::<Vec<_>>().join(", "),
            rows.collect::<Vec<_>>().join("; ")
        );
        assert_eq!(shown, expect);
    }

    #[test]
    fn values_are_typed_and_decoded() {
        check(
            &["/d/y=2026/m=03/a", "/d/y=2025/m=12/b"],
            "y BIGINT, m BIGINT: 2026,3; 2025,12",
        );
        check(&["/d/day=2026-11-23/a"], "day DATE: 2026-11-23");
        check(&["/d/k=a%20b%2Fc/a", "/d/k=7/a"], "k VARCHAR: a b/c; 7");
        check(
            &["/d/k=__HIVE_DEFAULT_PARTITION__/a", "/d/k=7/a"],
            "k BIGINT: NULL; 7",
        );
        check(
            &["/d/k=99999999999999999999/a"],
            "k VARCHAR: 99999999999999999999",
        );
        check(
            &["/d/zip=01234/a", "/d/zip=90210/a"],
            "zip VARCHAR: 01234; 90210",
        );
        check(&["/d/k=001/a"], "k VARCHAR: 001");
        check(&["/d/h=00/a", "/d/h=7/a"], "h VARCHAR: 00; 7");
        check(&["/d/k=0/a", "/d/k=-1/a"], "k BIGINT: 0; -1");
        check(&["/d/a", "/d/k/a"], ": ; ");
        check(&["/d/a=1"], ": ");
    }

    #[test]
    fn files_that_disagree_are_plain_files_with_a_notice() {
        for paths in [
            ["/d/y=1/a", "/d/a"],
            ["/d/a", "/d/y=1/a"],
            ["/d/y=1/a", "/d/x=1/a"],
            ["/d/y=1/m=2/a", "/d/y=1/a"],
        ] {
            let found = partitions(&paths, 0, &Said::default()).unwrap();
            assert!(
                found.fields.is_empty() && found.notice.is_some(),
                "{paths:?}"
            );
            let said = Said {
                wanted: Some(true),
                ..Said::default()
            };
            assert_eq!(partitions(&paths, 0, &said).unwrap_err().kind, Kind::Schema);
        }
    }

    #[test]
    fn types_can_be_pinned() {
        let said = Said {
            types: vec![("z".into(), DataType::Utf8View)],
            ..Said::default()
        };
        let found = partitions(&["/z=012/a"], 0, &said).unwrap();
        assert_eq!(
            found.values[0][0],
            ScalarValue::Utf8View(Some("012".into()))
        );
        let said = Said {
            types: vec![("yaer".into(), DataType::Int64)],
            ..Said::default()
        };
        let error = partitions(&["/year=2026/a"], 0, &said).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `year`?"));
        let said = Said {
            types: vec![("k".into(), DataType::Int64)],
            ..Said::default()
        };
        let error = partitions(&["/k=x/a"], 0, &said).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the partition value `x` of `k` is no BIGINT in `/k=x/a`"
        );
    }

    #[test]
    fn components_the_user_did_not_write_are_no_keys() {
        assert!(
            partitions(&["/home/run=3/a"], 2, &Said::default())
                .unwrap()
                .fields
                .is_empty()
        );
    }
}
