//! Numbers that do not fit their types.

use super::error::{Code, Error};
use super::timestamp_text;
use super::wording::looks_inside;

/// What an overflow in arrow's words is in ours.
pub(crate) fn overflow(message: &str) -> Error {
    if let Some(error) = timestamp_text::of_message(message) {
        return error;
    }
    let operation = message
        .split_once("Overflow happened on: ")
        .map(|(_, rest)| rest.lines().next().unwrap_or_default().trim());
    let text = match (operation, operation.and_then(least_divided)) {
        (Some(operation), Some(kind)) => format!("{kind} out of range: `{operation}`"),
        (Some(operation), None) if !looks_inside(operation) => {
            format!("the result of {operation} does not fit its type")
        }
        _ => "a number does not fit its type".to_string(),
    };
    Error::new(Code::Overflow, text).hint("cast to a wider type first: DECIMAL(38, 0) or DOUBLE")
}

/// The type whose least value is divided by -1, the one quotient of integers without room.
fn least_divided(operation: &str) -> Option<&'static str> {
    match operation.strip_suffix(" / -1")? {
        "-128" => Some("tinyint"),
        "-32768" => Some("smallint"),
        "-2147483648" => Some("integer"),
        "-9223372036854775808" => Some("bigint"),
        _ => None,
    }
}
