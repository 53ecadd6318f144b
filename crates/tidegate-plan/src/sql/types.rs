//! Types between SQL and Arrow: one table for casts, table definitions and descriptions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use datafusion::common::Result as DataFusionResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, TimezoneInfo,
};

use super::error::{Code, Error, Result, did_you_mean, near};

/// The names of types, for suggestions.
const NAMES: [&str; 28] = [
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "INT",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "REAL",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "VARCHAR",
    "TEXT",
    "STRING",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "DATETIME",
    "INTERVAL",
    "BYTEA",
    "BLOB",
    "BINARY",
    "STRUCT",
];

/// Gives DataFusion's planner our table of types.
#[derive(Debug)]
pub(crate) struct Types {
    /// The session's time zone, for types that have one.
    pub(crate) zone: String,
}

impl TypePlanner for Types {
    fn plan_type_field(&self, sql: &SqlType) -> DataFusionResult<Option<FieldRef>> {
        let data_type =
            arrow_type(sql).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let data_type = match data_type {
            DataType::Timestamp(unit, Some(_)) => {
                DataType::Timestamp(unit, Some(self.zone.as_str().into()))
            }
            data_type => data_type,
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

/// The Arrow type a SQL type stands for.
pub fn arrow_type(sql: &SqlType) -> Result<DataType> {
    Ok(match sql {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(None) => DataType::Int8,
        SqlType::SmallInt(None) | SqlType::Int2(None) | SqlType::Int16 => DataType::Int16,
        SqlType::Int(None) | SqlType::Integer(None) | SqlType::Int4(None) | SqlType::Int32 => {
            DataType::Int32
        }
        SqlType::BigInt(None) | SqlType::Int8(None) | SqlType::Int64 => DataType::Int64,
        SqlType::TinyIntUnsigned(None) | SqlType::UTinyInt | SqlType::UInt8 => DataType::UInt8,
        SqlType::SmallIntUnsigned(None)
        | SqlType::Int2Unsigned(None)
        | SqlType::USmallInt
        | SqlType::UInt16 => DataType::UInt16,
        SqlType::IntUnsigned(None)
        | SqlType::IntegerUnsigned(None)
        | SqlType::Int4Unsigned(None)
        | SqlType::UInt32 => DataType::UInt32,
        SqlType::BigIntUnsigned(None)
        | SqlType::Int8Unsigned(None)
        | SqlType::UBigInt
        | SqlType::UInt64 => DataType::UInt64,
        SqlType::Real | SqlType::Float4 | SqlType::Float32 => DataType::Float32,
        SqlType::Float(info) => float(*info)?,
        SqlType::Double(ExactNumberInfo::None)
        | SqlType::DoublePrecision
        | SqlType::Float8
        | SqlType::Float64 => DataType::Float64,
        SqlType::Numeric(info)
        | SqlType::Decimal(info)
        | SqlType::Dec(info)
        | SqlType::BigNumeric(info)
        | SqlType::BigDecimal(info) => decimal(*info)?,
        SqlType::HugeInt => DataType::Decimal128(38, 0),
        // The length of a VARCHAR is applied where a cast asks for it (see `casts`).
        SqlType::Varchar(_)
        | SqlType::Nvarchar(_)
        | SqlType::CharacterVarying(_)
        | SqlType::CharVarying(_)
        | SqlType::Char(_)
        | SqlType::Character(_)
        | SqlType::Text
        | SqlType::String(None)
        | SqlType::Uuid => DataType::Utf8View,
        SqlType::Bytea | SqlType::Blob(None) | SqlType::Binary(None) | SqlType::Varbinary(None) => {
            DataType::Binary
        }
        SqlType::Date | SqlType::Date32 => DataType::Date32,
        SqlType::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Time64(TimeUnit::Nanosecond)
        }
        SqlType::Timestamp(precision, zone) => timestamp(*precision, *zone, sql)?,
        SqlType::Datetime(precision) => timestamp(*precision, TimezoneInfo::None, sql)?,
        SqlType::Interval {
            fields: None,
            precision: None,
        } => DataType::Interval(IntervalUnit::MonthDayNano),
        SqlType::Array(ArrayElemTypeDef::AngleBracket(inner))
        | SqlType::Array(ArrayElemTypeDef::SquareBracket(inner, None)) => {
            DataType::new_list(arrow_type(inner)?, true)
        }
        SqlType::Struct(fields, _) => DataType::Struct(structure(fields)?),
        SqlType::Custom(name, modifiers) if modifiers.is_empty() => named(&name.to_string())?,
        other => return Err(unsupported(other)),
    })
}

fn unsupported(sql: &SqlType) -> Error {
    Error::new(
        Code::UnknownType,
        format!("the type `{sql}` is not supported"),
    )
}

fn named(name: &str) -> Result<DataType> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "UINTEGER" | "UINT" => DataType::UInt32,
        "LONG" => DataType::Int64,
        "STRING" => DataType::Utf8View,
        "TIMESTAMP_S" => DataType::Timestamp(TimeUnit::Second, None),
        "TIMESTAMP_MS" => DataType::Timestamp(TimeUnit::Millisecond, None),
        "TIMESTAMP_US" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "TIMESTAMP_NS" => DataType::Timestamp(TimeUnit::Nanosecond, None),
        _ => {
            let error = Error::new(Code::UnknownType, format!("there is no type `{name}`"));
            return Err(match did_you_mean(&near(name, NAMES)) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        }
    })
}

/// PostgreSQL's: FLOAT is double precision, FLOAT(1) to FLOAT(24) are single.
fn float(info: ExactNumberInfo) -> Result<DataType> {
    match info {
        ExactNumberInfo::None | ExactNumberInfo::Precision(25..=53) => Ok(DataType::Float64),
        ExactNumberInfo::Precision(1..=24) => Ok(DataType::Float32),
        _ => Err(unsupported(&SqlType::Float(info))),
    }
}

fn decimal(info: ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let (Ok(digits), Ok(places)) = (u8::try_from(precision), i8::try_from(scale)) else {
        return Err(bad_decimal(precision, scale));
    };
    if digits == 0 || digits > 76 || places < 0 || scale > i64::from(digits) {
        return Err(bad_decimal(precision, scale));
    }
    Ok(if digits <= 38 {
        DataType::Decimal128(digits, places)
    } else {
        DataType::Decimal256(digits, places)
    })
}

fn bad_decimal(precision: u64, scale: i64) -> Error {
    Error::new(
        Code::UnknownType,
        format!("DECIMAL({precision}, {scale}) is not possible"),
    )
    .hint("up to 76 digits, of which at most all and at least none are decimal places")
}

fn timestamp(precision: Option<u64>, zone: TimezoneInfo, sql: &SqlType) -> Result<DataType> {
    let unit = match precision {
        Some(0) => TimeUnit::Second,
        Some(3) => TimeUnit::Millisecond,
        None | Some(6) => TimeUnit::Microsecond,
        Some(9) => TimeUnit::Nanosecond,
        Some(_) => return Err(unsupported(sql).hint("there are TIMESTAMP(0), (3), (6) and (9)")),
    };
    let zoned = matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
    Ok(DataType::Timestamp(unit, zoned.then(|| "UTC".into())))
}

fn structure(fields: &[datafusion::sql::sqlparser::ast::StructField]) -> Result<Fields> {
    fields
        .iter()
        .enumerate()
        .map(|(at, field)| {
            let name = field
                .field_name
                .as_ref()
                .map_or_else(|| format!("c{at}"), |ident| ident.value.clone());
            Ok(Field::new(name, arrow_type(&field.field_type)?, true))
        })
        .collect()
}

/// The SQL name of an Arrow type, for people.
pub fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "NULL".to_string(),
        DataType::Boolean => "BOOLEAN".to_string(),
        DataType::Int8 => "TINYINT".to_string(),
        DataType::Int16 => "SMALLINT".to_string(),
        DataType::Int32 => "INTEGER".to_string(),
        DataType::Int64 => "BIGINT".to_string(),
        DataType::UInt8 => "UTINYINT".to_string(),
        DataType::UInt16 => "USMALLINT".to_string(),
        DataType::UInt32 => "UINTEGER".to_string(),
        DataType::UInt64 => "UBIGINT".to_string(),
        DataType::Float16 | DataType::Float32 => "REAL".to_string(),
        DataType::Float64 => "DOUBLE".to_string(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => format!("DECIMAL({p}, {s})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_string(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "BLOB".to_string(),
        DataType::Date32 | DataType::Date64 => "DATE".to_string(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_string(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_string(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_string(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_string(),
        DataType::List(field)
        | DataType::ListView(field)
        | DataType::LargeList(field)
        | DataType::LargeListView(field) => format!("{}[]", sql_name(field.data_type())),
        DataType::FixedSizeList(field, length) => {
            format!("{}[{length}]", sql_name(field.data_type()))
        }
        DataType::Struct(fields) => {
            let inner: Vec<String> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), sql_name(field.data_type())))
                .collect();
            format!("STRUCT({})", inner.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => format!(
                "MAP({}, {})",
                sql_name(fields[0].data_type()),
                sql_name(fields[1].data_type())
            ),
            _ => "MAP".to_string(),
        },
        DataType::Dictionary(_, value) => sql_name(value),
        DataType::RunEndEncoded(_, values) => sql_name(values.data_type()),
        DataType::Union(..) => "UNION".to_string(),
    }
}
