//! The columns of a JSON file, from a sample of its records.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use arrow::datatypes::{DataType, Field, Fields, Schema};

use super::cut::cutter;
use super::reason::{Reason, object};
use super::value::Value;
use super::{JsonOptions, Layout};
use crate::csv::OnError;
use crate::input::{Error, InputFile, Place};
use crate::source::InferOptions;
use crate::source::text::At;

/// What the values of a field have in common.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Null,
    Bool,
    Whole {
        digits: usize,
        beyond_i64: bool,
        beyond_double: bool,
    },
    Fraction {
        beyond_double: bool,
    },
    Text,
    List(Box<Shape>),
    Object(Names),
    Mixed,
}

/// Fields in the order they were first seen.
#[derive(Debug, Clone, Default, PartialEq)]
struct Names {
    order: Vec<(String, Shape)>,
    places: HashMap<String, usize>,
}

impl Names {
    fn merge(&mut self, name: &str, shape: Shape) {
        match self.places.get(name) {
            Some(&place) => {
                let known = std::mem::replace(&mut self.order[place].1, Shape::Null);
                self.order[place].1 = known.and(shape);
            }
            None => {
                self.places.insert(name.to_owned(), self.order.len());
                self.order.push((name.to_owned(), shape));
            }
        }
    }

    /// With one name for all spellings of it, the first, but for those in `apart`.
    fn folded(self, apart: &HashSet<String>) -> Self {
        let mut first: HashMap<String, String> = HashMap::new();
        let mut folded = Self::default();
        for (name, shape) in self.order {
            let low = name.to_lowercase();
            match apart.contains(&low) {
                true => folded.merge(&name, shape),
                false => folded.merge(first.entry(low).or_insert(name), shape),
            }
        }
        folded
    }

    fn fields(&self) -> Fields {
        let field = |(name, shape): &(String, Shape)| Field::new(name, shape.data_type(), true);
        self.order.iter().map(field).collect()
    }
}

impl Shape {
    fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::String(_) => Self::Text,
            Value::Number(text) if text.contains(['.', 'e', 'E']) => Self::Fraction {
                beyond_double: !text.parse().is_ok_and(f64::is_finite),
            },
            Value::Number(text) => Self::Whole {
                digits: text.trim_start_matches('-').len(),
                beyond_i64: text.parse::<i64>().is_err(),
                beyond_double: super::columns::exact_double(text).is_none(),
            },
            Value::Array(values) => {
                let items = values.iter().map(Self::of).fold(Self::Null, Self::and);
                Self::List(Box::new(items))
            }
            Value::Object(given) => {
                let mut names = Names::default();
                for (name, value) in given {
                    names.merge(name, Self::of(value));
                }
                Self::Object(names)
            }
        }
    }

    /// What holds the values of both.
    fn and(self, other: Self) -> Self {
        use Shape::*;
        match (self, other) {
            (Null, shape) | (shape, Null) => shape,
            (Bool, Bool) => Bool,
            (Text, Text) => Text,
            (
                Whole {
                    digits: a,
                    beyond_i64: b,
                    beyond_double: c,
                },
                Whole {
                    digits: x,
                    beyond_i64: y,
                    beyond_double: z,
                },
            ) => Whole {
                digits: a.max(x),
                beyond_i64: b || y,
                beyond_double: c || z,
            },
            (
                Whole {
                    beyond_double: a, ..
                }
                | Fraction { beyond_double: a },
                Whole {
                    beyond_double: b, ..
                }
                | Fraction { beyond_double: b },
            ) => Fraction {
                beyond_double: a || b,
            },
            (List(a), List(b)) => List(Box::new(a.and(*b))),
            (Object(mut a), Object(b)) => {
                for (name, shape) in b.order {
                    a.merge(&name, shape);
                }
                Object(a)
            }
            _ => Mixed,
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Whole {
                beyond_i64: false, ..
            } => DataType::Int64,
            Self::Whole { digits: ..=38, .. } => DataType::Decimal128(38, 0),
            Self::Whole { digits: ..=76, .. } => DataType::Decimal256(76, 0),
            Self::Fraction {
                beyond_double: false,
            } => DataType::Float64,
            Self::Whole { .. } | Self::Fraction { .. } | Self::Text | Self::Mixed => DataType::Utf8,
            Self::List(items) => DataType::new_list(items.data_type(), true),
            Self::Object(names) => match names.order.is_empty() {
                true => DataType::Utf8,
                false => DataType::Struct(names.fields()),
            },
        }
    }
}

/// The columns of `file`, from its first [`InferOptions::sample_rows`] records. Blocks.
/// A column that is null all through the sample has the type Null.
pub fn infer(
    file: &InputFile,
    options: &JsonOptions,
    limits: &InferOptions,
) -> Result<Schema, Error> {
    let mut reader = file.open()?;
    let mut bytes = Vec::new();
    let (mut layout, mut at_end, mut wanted) = (Layout::Lines, false, limits.chunk_bytes);
    let mut walk = None;
    let (mut names, mut row) = (Names::default(), 0);
    let mut spellings = Spellings::default();
    while !at_end && row < limits.sample_rows {
        let read = reader
            .by_ref()
            .take(wanted)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::from_io(file.name(), e))?;
        at_end = (read as u64) < wanted;
        let walk = walk.get_or_insert_with(|| {
            layout = Layout::of(&bytes);
            cutter(layout, file.name())
        });
        let mut pieces = Vec::new();
        let end = walk
            .cut(&mut bytes, at_end, &mut pieces)
            .map_err(|e| foreign(file, &e))?;
        if end == 0 && bytes.len() as u64 > options.record_bytes_max {
            let what = format!("a record is longer than {} bytes", options.record_bytes_max);
            return Err(Error::limit(file.name(), what));
        }
        let mut sample = Sample {
            file,
            options,
            layout,
            row,
            names: &mut names,
            spellings: &mut spellings,
        };
        for piece in pieces {
            sample.add(&bytes[piece.range], piece.at, limits)?;
        }
        row = sample.row;
        bytes.drain(..end);
        wanted = limits.chunk_bytes.max(bytes.len() as u64);
    }
    Ok(Schema::new(names.folded(&spellings.apart).fields()))
}

/// Keys that differ in case only: one column, unless a record has several of them.
#[derive(Default)]
struct Spellings {
    /// The names in lower case, of so many names.
    folded: HashSet<String>,
    known: usize,
    /// Those of several names.
    several: HashSet<String>,
    /// Those of several names of one record.
    apart: HashSet<String>,
}

impl Spellings {
    fn add<'a>(&mut self, record: impl Iterator<Item = &'a str>, names: &Names) {
        for (name, _) in &names.order[self.known..] {
            let low = name.to_lowercase();
            if !self.folded.insert(low.clone()) {
                self.several.insert(low);
            }
        }
        self.known = names.order.len();
        if self.several.is_empty() {
            return;
        }
        let mut seen: HashMap<String, &str> = HashMap::new();
        for name in record {
            let low = name.to_lowercase();
            if self.several.contains(&low) && *seen.entry(low.clone()).or_insert(name) != name {
                self.apart.insert(low);
            }
        }
    }
}

fn foreign(file: &InputFile, error: &datafusion::error::DataFusionError) -> Error {
    let datafusion::error::DataFusionError::External(inner) = error else {
        return Error::damaged(file.name(), Place::File, error.strip_backtrace());
    };
    match inner.downcast_ref::<Error>() {
        Some(Error::Damaged { file, place, what }) => Error::damaged(file, *place, what.clone()),
        _ => Error::damaged(file.name(), Place::File, inner.to_string()),
    }
}

/// The records seen so far.
struct Sample<'a> {
    file: &'a InputFile,
    options: &'a JsonOptions,
    layout: Layout,
    row: usize,
    names: &'a mut Names,
    spellings: &'a mut Spellings,
}

impl Sample<'_> {
    fn add(&mut self, bytes: &[u8], at: At, limits: &InferOptions) -> Result<(), Error> {
        for record in super::decode::records(bytes, at, self.layout) {
            if self.row >= limits.sample_rows {
                return Ok(());
            }
            self.row += 1;
            match self.merge(record.text) {
                Ok(()) => {}
                Err(_)
                    if self.layout == Layout::Lines && self.options.on_error == OnError::Skip => {}
                Err(reason) => {
                    let place = match self.layout {
                        Layout::Array => Place::Element(record.row + 1),
                        _ => Place::Line(record.line),
                    };
                    return Err(Error::damaged(self.file.name(), place, reason.what));
                }
            }
            if self.names.order.len() > limits.columns_max {
                let what = format!("more than {} columns", limits.columns_max);
                return Err(Error::limit(self.file.name(), what));
            }
        }
        Ok(())
    }

    fn merge(&mut self, record: &[u8]) -> Result<(), Reason> {
        let record = object(record)?;
        for (name, value) in &record {
            self.names.merge(name, Shape::of(value));
        }
        let names = record.iter().map(|(name, _)| name.as_ref());
        self.spellings.add(names, self.names);
        Ok(())
    }
}
