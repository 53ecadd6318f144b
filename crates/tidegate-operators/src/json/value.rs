//! One JSON value, parsed exactly: numbers stay text, and a syntax error has its place.
//!
//! The hot path does not come here. This serves inference over a sample, and tells what is
//! wrong with a record the decoder refused.

use std::borrow::Cow;

/// Deeper nesting is refused, so that hostile input cannot exhaust the stack.
pub(crate) const DEPTH_MAX: usize = 128;

/// A JSON value that borrows from its text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    /// In the order written; a name may come twice.
    Object(Object<'a>),
}

/// The fields of an object.
pub(crate) type Object<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

impl Value<'_> {
    /// What it is, for a message.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "text",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// Why some text is no JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// The byte at which it stops being one.
    pub(crate) offset: usize,
    pub(crate) what: &'static str,
}

/// Parses one value with nothing but white space around it.
pub(crate) fn parse(text: &[u8]) -> Result<Value<'_>, SyntaxError> {
    let mut parser = Parser { text, next: 0 };
    let value = parser.value(0)?;
    parser.space();
    match parser.next == text.len() {
        true => Ok(value),
        false => Err(parser.error("more text behind the value")),
    }
}

struct Parser<'a> {
    text: &'a [u8],
    next: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, what: &'static str) -> SyntaxError {
        SyntaxError {
            offset: self.next,
            what,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.next).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.next += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        if depth > DEPTH_MAX {
            return Err(self.error("nested more than 128 levels deep"));
        }
        self.space();
        match self.peek() {
            None => Err(self.error("the value is not complete")),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Value::Bool(true)),
            Some(b'f') => self.word(b"false", Value::Bool(false)),
            Some(b'n') => self.word(b"null", Value::Null),
            Some(_) => Err(self.error("a value was expected")),
        }
    }

    fn word(&mut self, word: &[u8], value: Value<'a>) -> Result<Value<'a>, SyntaxError> {
        if !self.text[self.next..].starts_with(word) {
            return Err(self.error("a value was expected"));
        }
        self.next += word.len();
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.next;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.next += 1;
        }
        match self.next == start {
            true => Err(self.error("a digit was expected")),
            false => Ok(()),
        }
    }

    fn number(&mut self) -> Result<Value<'a>, SyntaxError> {
        let start = self.next;
        if self.peek() == Some(b'-') {
            self.next += 1;
        }
        self.digits()?;
        if self.peek() == Some(b'.') {
            self.next += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.next += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.next += 1;
            }
            self.digits()?;
        }
        let number = std::str::from_utf8(&self.text[start..self.next]);
        number
            .map(Value::Number)
            .map_err(|_| self.error("a digit was expected"))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        self.next += 1;
        let start = self.next;
        let end = loop {
            match self.peek() {
                None => return Err(self.error("the text is not closed by `\"`")),
                Some(b'"') => break self.next,
                Some(b'\\') => self.next += 2,
                Some(0..0x20) => return Err(self.error("a control character inside text")),
                Some(_) => self.next += 1,
            }
        };
        let raw = &self.text[start..end.min(self.text.len())];
        self.next = end + 1;
        if !raw.contains(&b'\\') {
            return match std::str::from_utf8(raw) {
                Ok(text) => Ok(Cow::Borrowed(text)),
                Err(error) => {
                    let offset = start + error.valid_up_to();
                    Err(SyntaxError {
                        offset,
                        what: "the text is not valid UTF-8",
                    })
                }
            };
        }
        let quoted = &self.text[start - 1..self.next];
        serde_json::from_slice::<String>(quoted)
            .map(Cow::Owned)
            .map_err(|_| SyntaxError {
                offset: start,
                what: "a bad escape inside text",
            })
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        self.next += 1;
        let mut values = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.next += 1;
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.next += 1,
                Some(b']') => {
                    self.next += 1;
                    return Ok(Value::Array(values));
                }
                _ => return Err(self.error("`,` or `]` was expected")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        self.next += 1;
        let mut fields = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.next += 1;
            return Ok(Value::Object(fields));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.error("a field name in `\"` was expected"));
            }
            let name = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.error("`:` was expected"));
            }
            self.next += 1;
            fields.push((name, self.value(depth + 1)?));
            self.space();
            match self.peek() {
                Some(b',') => self.next += 1,
                Some(b'}') => {
                    self.next += 1;
                    return Ok(Value::Object(fields));
                }
                _ => return Err(self.error("`,` or `}` was expected")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_stay_as_they_are_written() {
        let value = parse(br#" {"a": [1, -2.50e3, 123456789012345678901], "b\u0041": null} "#);
        let Value::Object(fields) = value.unwrap() else {
            unreachable!("an object")
        };
        assert_eq!(fields[1].0, "bA");
        let Value::Array(numbers) = &fields[0].1 else {
            unreachable!("an array")
        };
        assert_eq!(numbers[1], Value::Number("-2.50e3"));
        assert_eq!(numbers[2], Value::Number("123456789012345678901"));
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let check = |text: &str, offset, what| {
            assert_eq!(
                parse(text.as_bytes()).unwrap_err(),
                SyntaxError { offset, what }
            );
        };
        check(r#"{"a" 1}"#, 5, "`:` was expected");
        check(r#"{"a": 1"#, 7, "`,` or `}` was expected");
        check(r#"{"a": tru}"#, 6, "a value was expected");
        check(r#""ab"#, 3, "the text is not closed by `\"`");
        check("[1] 2", 4, "more text behind the value");
        let deep = "[".repeat(100_000);
        assert_eq!(
            parse(deep.as_bytes()).unwrap_err().what,
            "nested more than 128 levels deep"
        );
    }
}
