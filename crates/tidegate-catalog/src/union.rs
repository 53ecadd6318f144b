//! One schema for many files: columns by name, in the order they are first seen; a column that a file lacks is
//! NULL there; types widen without loss or the error names both files. Names that differ in case only are one column,
//! unless a file has several of them: then each spelling is a column of its own.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use tidegate_operators::source::places;

use crate::error::{Error, Kind, Result};
use crate::near;
use crate::options::SchemaMode;
use crate::walk::some_of;
use crate::widen::{sql_name, widen};

/// The columns one file has.
#[derive(Debug, Clone)]
pub(crate) struct FileColumns {
    /// The file, for messages.
    pub(crate) file: Arc<str>,
    pub(crate) fields: Fields,
}

struct Column {
    field: Field,
    /// The file its type comes from.
    file: Arc<str>,
    /// In how many of the distinct schemas it is.
    seen: usize,
}

/// The union of the files' columns. Files with equal columns cost one hash look-up each.
pub(crate) fn unite<'a>(
    files: impl IntoIterator<Item = &'a FileColumns>,
    mode: SchemaMode,
) -> Result<SchemaRef> {
    let mut distinct: Vec<&FileColumns> = Vec::new();
    let mut known: HashMap<&Fields, ()> = HashMap::new();
    for file in files {
        let same = distinct
            .last()
            .is_some_and(|last| last.fields == file.fields);
        if !same && known.insert(&file.fields, ()).is_none() {
            distinct.push(file);
        }
    }
    let by_case = told_by_case(&distinct);
    let mut columns: Vec<Column> = Vec::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for file in &distinct {
        no_duplicates(file)?;
        for field in &file.fields {
            let folded = field.name().to_lowercase();
            let name = match by_case.contains(&folded) {
                true => field.name().clone(),
                false => folded,
            };
            match by_name.get(&name) {
                Some(at) => merge(&mut columns[*at], field, &file.file, mode)?,
                None => {
                    by_name.insert(name, columns.len());
                    columns.push(Column {
                        field: plain(field),
                        file: Arc::clone(&file.file),
                        seen: 1,
                    });
                }
            }
        }
    }
    let fields: Vec<Field> = columns
        .into_iter()
        .map(|column| {
            let nullable = column.field.is_nullable() || column.seen < distinct.len();
            column.field.with_nullable(nullable)
        })
        .collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// The names, in lower case, of which a file has several spellings.
fn told_by_case(files: &[&FileColumns]) -> HashSet<String> {
    let mut several = HashSet::new();
    for file in files {
        let mut seen = HashSet::new();
        for field in &file.fields {
            let folded = field.name().to_lowercase();
            if !seen.insert(folded.clone()) {
                several.insert(folded);
            }
        }
    }
    several
}

/// The columns an external table declares, if every file's values fit them without loss and every one of them is in
/// some file, or is `elsewhere`.
pub(crate) fn declared(
    columns: &[Field],
    files: &[FileColumns],
    elsewhere: impl Fn(&str) -> bool,
) -> Result<SchemaRef> {
    let names = || columns.iter().map(|field| field.name().as_str());
    let mut last: Option<&Fields> = None;
    let mut found = vec![false; columns.len()];
    for file in files {
        if last == Some(&file.fields) {
            continue;
        }
        last = Some(&file.fields);
        no_duplicates(file)?;
        let own = file.fields.iter().map(|field| field.name().as_str());
        for (at, place) in places(own, names()).into_iter().enumerate() {
            let Some(place) = place else { continue };
            found[at] = true;
            let (wanted, field) = (&columns[at], &file.fields[place]);
            let (own, wanted_type) = (field.data_type(), wanted.data_type());
            if !fits(own, wanted_type) {
                let message = format!(
                    "column `{}` is declared as {} and is {} in `{}`: its values may not fit",
                    field.name(),
                    sql_name(wanted_type),
                    sql_name(own),
                    file.file
                );
                return Err(Error::new(Kind::Schema, message)
                    .file(&*file.file)
                    .hint("declare the column with the type of the file, and cast it in queries"));
            }
        }
    }
    let nowhere = names()
        .zip(&found)
        .find(|(name, found)| !**found && !elsewhere(name));
    match nowhere {
        Some((name, _)) if !files.is_empty() => Err(in_no_file(name, files)),
        _ => {
            let fields: Fields = columns.iter().map(plain).collect();
            Ok(Arc::new(Schema::new(fields)))
        }
    }
}

/// The error for a declared column that no file has.
fn in_no_file(name: &str, files: &[FileColumns]) -> Error {
    let known: BTreeSet<&str> = files
        .iter()
        .flat_map(|file| file.fields.iter().map(|field| field.name().as_str()))
        .collect();
    let spelled: Vec<String> = known
        .iter()
        .map(|known| (*known).to_owned())
        .filter(|known| known.to_lowercase() == name.to_lowercase())
        .collect();
    let first = &files[0].file;
    if !spelled.is_empty() {
        let what = format!(
            "the column `{name}` is declared, and the files have {}",
            some_of(&spelled)
        );
        return Error::new(Kind::Schema, what)
            .file(&**first)
            .hint("declare the columns in double quotes exactly as they are");
    }
    let files = match files.len() {
        1 => format!("`{first}` does not have it"),
        count => format!("none of the {count} files has it"),
    };
    let error = Error::new(
        Kind::Schema,
        format!("the column `{name}` is declared, and {files}"),
    )
    .file(&**first);
    match near::did_you_mean(&near::near_names(name, known.iter().copied())) {
        Some(hint) => error.hint(hint),
        None => {
            let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
            error.hint(format!("the columns are {}", some_of(&known)))
        }
    }
}

fn fits(own: &DataType, wanted: &DataType) -> bool {
    own == wanted
        || widen(own, wanted).as_ref() == Some(wanted)
        || own.is_string() && wanted.is_string()
}

fn merge(column: &mut Column, field: &Field, file: &Arc<str>, mode: SchemaMode) -> Result<()> {
    column.seen += 1;
    let nullable = column.field.is_nullable() || field.is_nullable();
    let (old, new) = (column.field.data_type(), field.data_type());
    let data_type = match widen(old, new) {
        Some(data_type) => data_type,
        None if mode == SchemaMode::WidenToString && is_text_able(old) && is_text_able(new) => {
            DataType::Utf8View
        }
        None => return Err(conflict(column, field, file)),
    };
    if *old == DataType::Null && *new != DataType::Null {
        column.file = Arc::clone(file);
    }
    column.field = Field::new(column.field.name(), data_type, nullable);
    Ok(())
}

fn conflict(column: &Column, field: &Field, file: &str) -> Error {
    let message = format!(
        "column `{}` is {} in `{}` and {} in `{file}`: no type holds both without loss",
        field.name(),
        sql_name(column.field.data_type()),
        column.file,
        sql_name(field.data_type()),
    );
    Error::new(Kind::Schema, message)
        .file(file)
        .hint("read it as text with `schema_mode = 'widen_to_string'`, or read the files apart with a glob that matches only some of them")
}

/// Whether every value of the type has a text that arrow can cast it to.
fn is_text_able(data_type: &DataType) -> bool {
    !data_type.is_nested()
        && !matches!(
            data_type,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView
        )
}

fn no_duplicates(file: &FileColumns) -> Result<()> {
    let mut names: Vec<&str> = file
        .fields
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => {
            let message = format!(
                "`{}` has two columns that are both named `{}`",
                file.file, pair[0]
            );
            Err(Error::new(Kind::Unsupported, message).file(&*file.file))
        }
    }
}

/// The field without the metadata its writer left.
fn plain(field: &Field) -> Field {
    Field::new(field.name(), field.data_type().clone(), field.is_nullable())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(name: &str, columns: &[(&str, DataType)]) -> FileColumns {
        let fields = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), false));
        FileColumns {
            file: name.into(),
            fields: fields.collect(),
        }
    }

    fn show(schema: &Schema) -> String {
        let fields = schema.fields().iter().map(|f| {
            format!(
                "{} {}{}",
                f.name(),
                sql_name(f.data_type()),
                if f.is_nullable() { "" } else { " NOT NULL" }
            )
        });
        fields.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn columns_are_united_by_name_in_first_seen_order() {
        let files = [
            file("1", &[("a", DataType::Int32), ("b", DataType::Utf8)]),
            file("2", &[("c", DataType::Boolean), ("a", DataType::Int64)]),
            file("3", &[("A", DataType::Int8), ("a", DataType::Int64)]),
        ];
        let schema = unite(&files, SchemaMode::Widen).unwrap();
        assert_eq!(
            show(&schema),
            "a BIGINT NOT NULL, b VARCHAR, c BOOLEAN, A TINYINT"
        );
    }

    #[test]
    fn names_that_differ_in_case_only_are_one_column() {
        let files = [
            file("1", &[("Id", DataType::Int32), ("b", DataType::Utf8)]),
            file("2", &[("ID", DataType::Int64), ("B", DataType::Utf8)]),
        ];
        let schema = unite(&files, SchemaMode::Widen).unwrap();
        assert_eq!(show(&schema), "Id BIGINT NOT NULL, b VARCHAR NOT NULL");
    }

    #[test]
    fn a_declared_column_must_be_in_some_file() {
        let files = [
            file("1", &[("CustomerId", DataType::Int32)]),
            file("2", &[("x", DataType::Utf8), ("X", DataType::Utf8)]),
        ];
        let check = |name: &str, expect: &str| {
            let columns = [Field::new(name, DataType::Int32, true)];
            let shown = match declared(&columns, &files, |name| name == "key") {
                Ok(schema) => show(&schema),
                Err(error) => format!("{error} | {}", error.hint.as_deref().unwrap_or_default()),
            };
            assert_eq!(shown, expect, "{name}");
        };
        check("customerid", "customerid INTEGER");
        check("key", "key INTEGER");
        check(
            "customer_id",
            "the column `customer_id` is declared, and none of the 2 files has it | did you mean `CustomerId`?",
        );
        check(
            "quantity",
            "the column `quantity` is declared, and none of the 2 files has it | the columns are `CustomerId`, `X`, `x`",
        );
    }

    #[test]
    fn types_that_do_not_fit_name_both_files() {
        let files = [
            file("x/1.parquet", &[("a", DataType::Int64)]),
            file("x/2.parquet", &[("a", DataType::Int64)]),
            file("x/3.parquet", &[("a", DataType::Utf8)]),
        ];
        let error = unite(&files, SchemaMode::Widen).unwrap_err();
        assert_eq!(
            error.to_string(),
            "column `a` is BIGINT in `x/1.parquet` and VARCHAR in `x/3.parquet`: no type holds both without loss"
        );
        let schema = unite(&files, SchemaMode::WidenToString).unwrap();
        assert_eq!(show(&schema), "a VARCHAR NOT NULL");
    }

    #[test]
    fn a_file_with_two_equal_names_is_refused() {
        let files = [file("1", &[("a", DataType::Int64), ("a", DataType::Int8)])];
        assert_eq!(
            unite(&files, SchemaMode::Widen).unwrap_err().kind,
            Kind::Unsupported
        );
    }
}
