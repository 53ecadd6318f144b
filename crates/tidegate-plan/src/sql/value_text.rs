//! The text of lists, structs, maps, intervals and timestamps as DuckDB writes it: `[a, NULL]`, `{'k': 1}`, `{a=1}`,
//! `1 day 22:30:00`, `2024-01-01 00:00:00`. Arrow's cast leaves out the NULLs inside and cannot tell `['a, b']` from `['a', 'b']`.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    StringArray, StringBuilder, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use tidegate_operators::interval_text::{IntervalText, intervals};
use tidegate_operators::timestamps::{self, Zone, per_second};

use crate::arithmetic::over_array;

/// Whether the text of values of this type is made here.
pub(super) fn is_for(data_type: &DataType) -> bool {
    data_type.is_nested() || matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

/// The function of a value's text.
pub(super) fn function() -> Arc<ScalarUDF> {
    static VALUE_TEXT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(ValueText {
            signature: Signature::any(1, Volatility::Immutable),
        }))
    });
    Arc::clone(&VALUE_TEXT)
}

/// The text of a value.
pub(crate) fn of(value: Expr) -> Expr {
    function().call(vec![value])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ValueText {
    signature: Signature,
}

impl ValueText {
    /// In serialized plans too: never change it.
    const NAME: &str = "value_text";
}

impl ScalarUDFImpl for ValueText {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return exec_err!("{} takes one argument", Self::NAME);
        };
        over_array(value, |array| Ok(Arc::new(texts(array)?)))
    }
}

/// The text of every value of an array.
fn texts(array: &ArrayRef) -> Result<StringArray> {
    Ok(match array.data_type() {
        DataType::List(_) => list_texts::<i32>(array.as_list())?,
        DataType::LargeList(_) => list_texts::<i64>(array.as_list())?,
        DataType::FixedSizeList(..) => fixed_list_texts(array.as_fixed_size_list())?,
        DataType::ListView(field) => texts(&cast(array, &DataType::List(Arc::clone(field)))?)?,
        DataType::LargeListView(field) => {
            texts(&cast(array, &DataType::LargeList(Arc::clone(field)))?)?
        }
        DataType::Struct(_) => struct_texts(array.as_struct())?,
        DataType::Map(..) => map_texts(array.as_map())?,
        DataType::Timestamp(unit, zone) => timestamp_texts(array, *unit, zone.as_deref())?,
        DataType::Dictionary(_, value) if value.is_nested() => texts(&cast(array, value)?)?,
        _ => match intervals(array) {
            Some(value) => {
                let text =
                    |row| (!array.is_null(row)).then(|| IntervalText(value(row)).to_string());
                (0..array.len()).map(text).collect()
            }
            None => cast(array, &DataType::Utf8)?.as_string::<i32>().clone(),
        },
    })
}

/// As in CSV; with a zone, its offset.
fn timestamp_texts(array: &ArrayRef, unit: TimeUnit, zone: Option<&str>) -> Result<StringArray> {
    let counts = cast(array, &DataType::Int64)?;
    let zone = zone.and_then(Zone::read);
    let texts = counts.as_primitive::<Int64Type>().iter().map(|value| {
        let value = value?;
        let seconds = value.div_euclid(per_second(unit));
        let offset = zone.map(|zone| zone.offset_at(seconds).unwrap_or_default());
        Some(timestamps::text(value, unit, offset))
    });
    Ok(texts.collect())
}

fn list_texts<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> Result<StringArray> {
    let (start, end) = (
        lists.value_offsets()[0].as_usize(),
        lists.value_offsets()[lists.len()].as_usize(),
    );
    // A slice of an array has the values of all of it.
    let elements = Elements::of(&lists.values().slice(start, end - start))?;
    let offset = |at: usize| lists.value_offsets()[at].as_usize() - start;
    rows(lists, |row, text| {
        elements.push_list(offset(row)..offset(row + 1), text);
    })
}

fn fixed_list_texts(lists: &FixedSizeListArray) -> Result<StringArray> {
    let elements = Elements::of(lists.values())?;
    let length = usize::try_from(lists.value_length()).unwrap_or_default();
    rows(lists, |row, text| {
        elements.push_list(row * length..(row + 1) * length, text);
    })
}

fn struct_texts(structs: &StructArray) -> Result<StringArray> {
    let columns = structs.columns().iter().map(Elements::of);
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let names = structs.fields().iter().map(|field| {
        let mut name = String::new();
        push_quoted(field.name(), &mut name);
        name
    });
    let names: Vec<String> = names.collect();
    rows(structs, |row, text| {
        text.push('{');
        for (at, (name, column)) in names.iter().zip(&columns).enumerate() {
            text.push_str(if at == 0 { "" } else { ", " });
            text.push_str(name);
            text.push_str(": ");
            column.push(row, text);
        }
        text.push('}');
    })
}

fn map_texts(maps: &MapArray) -> Result<StringArray> {
    let (keys, values) = (Elements::of(maps.keys())?, Elements::of(maps.values())?);
    let offset = |at: usize| usize::try_from(maps.value_offsets()[at]).unwrap_or_default();
    rows(maps, |row, text| {
        text.push('{');
        for (at, entry) in (offset(row)..offset(row + 1)).enumerate() {
            text.push_str(if at == 0 { "" } else { ", " });
            keys.push(entry, text);
            text.push('=');
            values.push(entry, text);
        }
        text.push('}');
    })
}

/// A text for each row that is not NULL.
fn rows(array: &dyn Array, mut push: impl FnMut(usize, &mut String)) -> Result<StringArray> {
    let mut built = StringBuilder::with_capacity(array.len(), 0);
    let mut text = String::new();
    let mut bytes = 0usize;
    for row in 0..array.len() {
        if array.is_null(row) {
            built.append_null();
            continue;
        }
        text.clear();
        push(row, &mut text);
        bytes += text.len();
        if i32::try_from(bytes).is_err() {
            return exec_err!("the texts of a batch of nested values are longer than 2 GiB");
        }
        built.append_value(&text);
    }
    Ok(built.finish())
}

/// The values inside of nested ones.
struct Elements {
    texts: StringArray,
    /// Nested values show where they end; others may need quotes for that.
    nested: bool,
}

impl Elements {
    fn of(array: &ArrayRef) -> Result<Self> {
        Ok(Self {
            texts: texts(array)?,
            nested: array.data_type().is_nested(),
        })
    }

    fn push_list(&self, range: std::ops::Range<usize>, text: &mut String) {
        text.push('[');
        for (at, element) in range.enumerate() {
            text.push_str(if at == 0 { "" } else { ", " });
            self.push(element, text);
        }
        text.push(']');
    }

    fn push(&self, at: usize, text: &mut String) {
        match self.texts.is_null(at) {
            true => text.push_str("NULL"),
            false if self.nested || !needs_quotes(self.texts.value(at)) => {
                text.push_str(self.texts.value(at));
            }
            false => push_quoted(self.texts.value(at), text),
        }
    }
}

/// Whether a text alone could be taken for something else.
fn needs_quotes(text: &str) -> bool {
    let at_end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_whitespace());
    at_end(text.chars().next())
        || at_end(text.chars().next_back())
        || text.eq_ignore_ascii_case("null")
        || text.contains(|c| "\"'(),:=[]{}".contains(c))
}

fn push_quoted(text: &str, quoted: &mut String) {
    quoted.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('\'');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::ListArray;
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn a_slice_gives_the_texts_of_its_rows_only() {
        let list = |values: &[Option<i32>]| Some(values.to_vec());
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
            list(&[Some(1)]),
            list(&[None, Some(2)]),
            None,
            list(&[]),
        ]);
        let sliced: ArrayRef = Arc::new(lists.slice(1, 3));
        let shown: Vec<_> = texts(&sliced)
            .unwrap()
            .iter()
            .map(|t| t.map(str::to_owned))
            .collect();
        assert_eq!(shown, [Some("[NULL, 2]".into()), None, Some("[]".into())]);
    }

    #[test]
    fn text_is_quoted_where_it_could_be_something_else() {
        for (text, expect) in [
            ("a b", "a b"),
            ("", "''"),
            (" a", "' a'"),
            ("null", "'null'"),
            ("a,b", "'a,b'"),
            ("it's", r"'it\'s'"),
            (r"a\b", r"a\b"),
            (r"a\,b", r"'a\\,b'"),
        ] {
            let elements = Elements {
                texts: StringArray::from(vec![text]),
                nested: false,
            };
            let mut shown = String::new();
            elements.push(0, &mut shown);
            assert_eq!(shown, expect, "{text:?}");
        }
    }
}
