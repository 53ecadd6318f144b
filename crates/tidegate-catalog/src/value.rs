//! The value of a reader option, as SQL or a program gives it, and its checks.

use crate::error::{Error, Kind, Result};

/// A value given to [`crate::ReaderOptions::set`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `NULL`: back to the default.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Quoted text, or a bare word.
    Text(String),
    /// `['a', 'b']`.
    List(Vec<Value>),
    /// `{a: 'INTEGER', b: 'DATE'}`.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// `true`, `false`, or a text that says so: option lists of CREATE EXTERNAL TABLE hold only text.
    pub(crate) fn bool(&self, option: &str) -> Result<bool> {
        let word = match self {
            Value::Bool(value) => return Ok(*value),
            Value::Int(0) => return Ok(false),
            Value::Int(1) => return Ok(true),
            Value::Text(text) => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        match word.as_str() {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err(self.wrong(option, "true or false")),
        }
    }

    /// A whole number within the range.
    pub(crate) fn int(&self, option: &str, range: std::ops::RangeInclusive<i64>) -> Result<i64> {
        let found = match self {
            Value::Int(value) => Some(*value),
            Value::Text(text) => text.replace('_', "").parse().ok(),
            _ => None,
        };
        match found {
            Some(value) if range.contains(&value) => Ok(value),
            _ if *range.end() == i64::MAX => {
                Err(self.wrong(option, &format!("a whole number from {}", range.start())))
            }
            _ => Err(self.wrong(
                option,
                &format!("a whole number from {} to {}", range.start(), range.end()),
            )),
        }
    }

    pub(crate) fn text<'a>(&'a self, option: &str) -> Result<&'a str> {
        match self {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong(option, "a text")),
        }
    }

    /// One of these words, in any case.
    pub(crate) fn word<T: Copy>(&self, option: &str, words: &[(&str, T)]) -> Result<T> {
        let known = || {
            words
                .iter()
                .map(|(word, _)| format!("'{word}'"))
                .collect::<Vec<_>>()
                .join(" or ")
        };
        let Value::Text(text) = self else {
            return Err(self.wrong(option, &known()));
        };
        let found = words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text));
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| self.wrong(option, &known()))
    }

    /// A list of texts; one text alone is a list of one.
    pub(crate) fn texts(&self, option: &str) -> Result<Vec<String>> {
        match self {
            Value::Text(text) => Ok(vec![text.clone()]),
            Value::List(items) => items
                .iter()
                .map(|item| match item {
                    Value::Text(text) => Ok(text.clone()),
                    _ => Err(self.wrong(option, "a list of texts")),
                })
                .collect(),
            _ => Err(self.wrong(option, "a list of texts")),
        }
    }

    /// Texts by name. The text form `a: INTEGER, b: DATE` serves option lists that hold only text.
    pub(crate) fn texts_by_name(&self, option: &str) -> Result<Vec<(String, String)>> {
        let wrong = || self.wrong(option, "texts by name, such as {a: 'INTEGER'}");
        match self {
            Value::Map(entries) => entries
                .iter()
                .map(|(name, value)| match value {
                    Value::Text(text) => Ok((name.clone(), text.clone())),
                    _ => Err(wrong()),
                })
                .collect(),
            Value::Text(text) => {
                split_outside(text.trim().trim_start_matches('{').trim_end_matches('}'))
                    .into_iter()
                    .map(|entry| {
                        let (name, value) = entry.split_once(':').ok_or_else(wrong)?;
                        let unquote = |text: &str| text.trim().trim_matches(['\'', '"']).to_owned();
                        Ok((unquote(name), unquote(value)))
                    })
                    .collect()
            }
            _ => Err(wrong()),
        }
    }

    /// The error for a value that is not what the option wants.
    pub(crate) fn wrong(&self, option: &str, wanted: &str) -> Error {
        Error::new(
            Kind::Invalid,
            format!("the option `{option}` is {wanted}, not `{}`", self.shown()),
        )
    }

    fn shown(&self) -> String {
        match self {
            Value::Null => "NULL".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Text(text) => text.clone(),
            Value::List(items) => format!(
                "[{}]",
                items
                    .iter()
                    .map(Value::shown)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Value::Map(entries) => {
                let shown = entries
                    .iter()
                    .map(|(name, value)| format!("{name}: {}", value.shown()));
                format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

/// Splits at commas outside of parentheses, so that `DECIMAL(10, 2)` stays whole.
fn split_outside(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0usize, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found.retain(|entry| !entry.trim().is_empty());
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_serves_where_options_are_text() {
        assert!(Value::from("ON").bool("x").unwrap());
        assert_eq!(Value::from("1_000").int("x", 0..=2_000).unwrap(), 1_000);
        let types = Value::from("{a: DECIMAL(10, 2), 'b c': 'DATE'}")
            .texts_by_name("types")
            .unwrap();
        assert_eq!(
            types,
            [
                ("a".into(), "DECIMAL(10, 2)".into()),
                ("b c".into(), "DATE".into())
            ]
        );
    }

    #[test]
    fn wrong_values_say_what_is_wanted() {
        let error = Value::Int(7).bool("header").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the option `header` is true or false, not `7`"
        );
        let error = Value::from("x").int("skip", 0..=i64::MAX).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the option `skip` is a whole number from 0, not `x`"
        );
        let error = Value::from("x")
            .word("on_corrupt", &[("error", 1), ("skip", 2)])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the option `on_corrupt` is 'error' or 'skip', not `x`"
        );
    }
}
