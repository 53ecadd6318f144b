//! Avro values that are of one of several types (a union of more than null and one type). A column of them has the
//! type among them that holds the values of all without loss, else it is text: numbers, dates and the like as a cast
//! writes them, records and lists in Arrow's notation.
//!
//! Arrow's own union arrays were rejected: a cast of one gives NULL for the values of every type but one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StringBuilder,
    StructArray, UnionArray,
};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, interleave};
use arrow::datatypes::{DataType, Field, Schema, UnionFields};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::source::widens;

/// The type of a column that is one of `fields`.
pub(super) fn type_of(fields: &UnionFields) -> DataType {
    let types: Vec<&DataType> = fields
        .iter()
        .map(|(_, field)| field.data_type())
        .filter(|kind| **kind != DataType::Null)
        .collect();
    let holds_all = |kind: &&&DataType| types.iter().all(|other| widens(other, kind));
    match types.iter().find(holds_all) {
        Some(kind) => (*kind).clone(),
        None => DataType::Utf8,
    }
}

/// Whether a type is a union or has one inside.
fn has_union(kind: &DataType) -> bool {
    match kind {
        DataType::Union(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_union(field.data_type())),
        DataType::List(item) | DataType::Map(item, _) => has_union(item.data_type()),
        _ => false,
    }
}

/// The same rows with every union as [`type_of`] says.
pub(super) fn without_unions(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    if !schema
        .fields()
        .iter()
        .any(|field| has_union(field.data_type()))
    {
        return Ok(batch);
    }
    let columns = batch
        .columns()
        .iter()
        .map(plain)
        .collect::<Result<Vec<_>, _>>()?;
    let fields = schema.fields().iter().zip(&columns);
    let fields: Vec<Field> = fields
        .map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !has_union(array.data_type()) {
        return Ok(Arc::clone(array));
    }
    Ok(match array.data_type() {
        DataType::Union(fields, _) => return resolved(array.as_union(), fields),
        DataType::Struct(_) => Arc::new(plain_struct(array.as_struct())?),
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let values = plain(list.values())?;
            let item = retyped(item, values.data_type());
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Arc::new(ListArray::try_new(item, offsets, values, nulls)?)
        }
        DataType::Map(entries, ordered) => {
            let map = array.as_map();
            let values = plain_struct(map.entries())?;
            let entries = retyped(entries, values.data_type());
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::try_new(
                entries, offsets, values, nulls, *ordered,
            )?)
        }
        _ => Arc::clone(array),
    })
}

fn plain_struct(array: &StructArray) -> Result<StructArray, ArrowError> {
    let columns = array
        .columns()
        .iter()
        .map(plain)
        .collect::<Result<Vec<_>, _>>()?;
    let fields = array.fields().iter().zip(&columns);
    let fields = fields.map(|(field, column)| retyped(field, column.data_type()));
    StructArray::try_new(fields.collect(), columns, array.nulls().cloned())
}

fn retyped(field: &Arc<Field>, kind: &DataType) -> Arc<Field> {
    Arc::new(field.as_ref().clone().with_data_type(kind.clone()))
}

/// Each value in the union's one type.
fn resolved(array: &UnionArray, fields: &UnionFields) -> Result<ArrayRef, ArrowError> {
    let mut children = Vec::with_capacity(fields.len());
    let mut types = Vec::with_capacity(fields.len());
    for (id, _) in fields.iter() {
        children.push(plain(array.child(id))?);
        types.push(id);
    }
    let wanted = type_of(
        &fields
            .iter()
            .zip(&children)
            .map(|((id, field), child)| (id, retyped(field, child.data_type())))
            .collect(),
    );
    let values = children
        .iter()
        .map(|child| converted(child, &wanted))
        .collect::<Result<Vec<_>, _>>()?;
    let values: Vec<&dyn Array> = values.iter().map(|array| array.as_ref()).collect();
    let place = |row: usize| {
        let id = array.type_id(row);
        let child = types.iter().position(|known| *known == id).unwrap_or(0);
        (child, array.value_offset(row))
    };
    let places: Vec<(usize, usize)> = (0..array.len()).map(place).collect();
    interleave(&values, &places)
}

fn converted(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let kind = array.data_type();
    let is_written = wanted.is_string() && (kind.is_nested() || kind.is_binary());
    if !is_written && can_cast_types(kind, wanted) {
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        return cast_with_options(array, wanted, &strict);
    }
    let format = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &format)?;
    let mut texts = StringBuilder::new();
    for row in 0..array.len() {
        match array.is_valid(row) {
            true => texts.append_value(formatter.value(row).try_to_string()?),
            false => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}
