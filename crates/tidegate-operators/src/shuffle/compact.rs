//! What rows need of the memory they stand in, and rows that hold no more than that.
//!
//! A slice keeps the whole of what it was cut from: a view array the pages of its texts, a list array the items of the
//! other lists. Neither belongs into the file of a task, nor is it to be counted once for each slice.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericByteViewArray, GenericListArray, MapArray,
    OffsetSizeTrait, RecordBatch, RecordBatchOptions, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{ByteViewType, DataType};
use arrow::error::ArrowError;

/// Bytes of these rows alone.
pub(super) fn bytes_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(size_of).sum()
}

fn size_of(array: &ArrayRef) -> usize {
    let own = match array.data_type() {
        DataType::Utf8View => views_size(array.as_string_view()),
        DataType::BinaryView => views_size(array.as_binary_view()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(size_of).sum(),
        DataType::List(_) => items_size(array.as_list::<i32>()),
        DataType::LargeList(_) => items_size(array.as_list::<i64>()),
        DataType::Dictionary(..) => {
            // What a dictionary of these rows alone would take: they share one.
            let coded = array.as_any_dictionary();
            let (values, rows) = (coded.values(), array.len());
            let share = size_of(values) * rows.min(values.len()) / values.len().max(1);
            rows * size_of_key(array.data_type()) + share
        }
        _ => {
            let slice = array.to_data().get_slice_memory_size();
            return slice.unwrap_or_else(|_| array.get_array_memory_size());
        }
    };
    own + array.nulls().map_or(0, |nulls| nulls.len() / 8)
}

fn size_of_key(kind: &DataType) -> usize {
    match kind {
        DataType::Dictionary(key, _) => key.primitive_width().unwrap_or(0),
        _ => 0,
    }
}

fn views_size<T: ByteViewType>(array: &GenericByteViewArray<T>) -> usize {
    16 * array.len() + array.total_buffer_bytes_used()
}

fn items_size<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> usize {
    (array.len() + 1) * std::mem::size_of::<O>() + size_of(&items(array))
}

/// The items of these lists and of no others.
fn items<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> ArrayRef {
    let offsets = array.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[array.len()].as_usize());
    array.values().slice(first, last - first)
}

/// The rows, whose views hold at most twice what they need.
pub(super) fn compacted(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(compact);
    with_columns(batch, columns.collect::<Result<_, _>>()?)
}

/// The same of what stands inside of lists and structs: what gathers rows to whole batches copies other views.
pub(super) fn compacted_inside(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View | DataType::BinaryView => Ok(Arc::clone(column)),
            _ => compact(column),
        });
    with_columns(batch, columns.collect::<Result<_, _>>()?)
}

fn with_columns(batch: &RecordBatch, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &rows)
}

fn compact(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !holds_views(array.data_type()) {
        return Ok(Arc::clone(array));
    }
    Ok(match array.data_type() {
        DataType::Utf8View => compact_views(array, array.as_string_view()),
        DataType::BinaryView => compact_views(array, array.as_binary_view()),
        DataType::Struct(_) => Arc::new(compact_struct(array.as_struct())?),
        DataType::List(_) => compact_list(array.as_list::<i32>())?,
        DataType::LargeList(_) => compact_list(array.as_list::<i64>())?,
        DataType::FixedSizeList(field, size) if *size > 0 => {
            let lists = array.as_fixed_size_list();
            let (field, nulls) = (Arc::clone(field), lists.nulls().cloned());
            let items = compact(lists.values())?;
            Arc::new(FixedSizeListArray::try_new(field, *size, items, nulls)?)
        }
        DataType::Map(field, sorted) => {
            let map = array.as_map();
            let (offsets, nulls) = (map.offsets(), map.nulls().cloned());
            let (first, last) = (offsets[0] as usize, offsets[map.len()] as usize);
            let entries = compact_struct(&map.entries().slice(first, last - first))?;
            let (field, offsets) = (Arc::clone(field), from_zero(offsets));
            Arc::new(MapArray::try_new(field, offsets, entries, nulls, *sorted)?)
        }
        DataType::Dictionary(..) => {
            let coded = array.as_any_dictionary();
            coded.with_values(compact(coded.values())?)
        }
        _ => Arc::clone(array),
    })
}

fn holds_views(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8View | DataType::BinaryView => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_views(field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => holds_views(field.data_type()),
        DataType::Dictionary(_, values) => holds_views(values),
        _ => false,
    }
}

fn compact_views<T: ByteViewType>(array: &ArrayRef, views: &GenericByteViewArray<T>) -> ArrayRef {
    let held: usize = views.data_buffers().iter().map(|buffer| buffer.len()).sum();
    match held > 2 * views.total_buffer_bytes_used() {
        true => Arc::new(views.gc()),
        false => Arc::clone(array),
    }
}

fn compact_struct(array: &StructArray) -> Result<StructArray, ArrowError> {
    let (fields, nulls) = (array.fields().clone(), array.nulls().cloned());
    let columns = array.columns().iter().map(compact);
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    StructArray::try_new_with_length(fields, columns, nulls, array.len())
}

fn compact_list<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> Result<ArrayRef, ArrowError> {
    let (DataType::List(field) | DataType::LargeList(field)) = array.data_type() else {
        return Ok(Arc::new(array.clone()));
    };
    let (items, nulls) = (compact(&items(array))?, array.nulls().cloned());
    let offsets = from_zero(array.offsets());
    let lists = GenericListArray::try_new(Arc::clone(field), offsets, items, nulls)?;
    Ok(Arc::new(lists))
}

fn from_zero<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> OffsetBuffer<O> {
    OffsetBuffer::from_lengths(offsets.lengths())
}
