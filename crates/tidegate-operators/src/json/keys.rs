//! Which keys the records of a table may have: a key that is no column would be lost without a word.
//!
//! 1. A block is scanned for its keys, without a look at the values: the fast way, all that a usual file needs.
//! 2. A key that is not known exactly sends the block the slow way, record by record. There a key that differs from
//!    a column's name in case only is that column's, and any other is refused, if it is not to be ignored.
//!
//! The strict mode of arrow's decoder does the same where all columns are read, but only there.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::datatypes::{DataType, Fields};
use memchr::memchr2;

use super::OnUnknownKey;
use super::reason::Reason;
use super::value::{Object, Value};

/// The keys of records and of the objects in them.
#[derive(Debug)]
pub(super) struct Keys {
    root: Level,
    on_unknown: OnUnknownKey,
}

/// The keys of one object.
#[derive(Debug, Default)]
struct Level {
    places: HashMap<String, usize>,
    names: Vec<String>,
    /// For each name what is in its objects, if that is known.
    inside: Vec<Option<Level>>,
}

impl Level {
    fn of(fields: &Fields) -> Self {
        let mut level = Self::default();
        for field in fields {
            level.add(field.name(), Self::inside(field.data_type()));
        }
        level
    }

    fn add(&mut self, name: &str, inside: Option<Level>) {
        self.places.insert(name.to_owned(), self.names.len());
        self.names.push(name.to_owned());
        self.inside.push(inside);
    }

    /// Lists are looked through.
    fn inside(kind: &DataType) -> Option<Self> {
        match kind {
            DataType::Struct(fields) => Some(Self::of(fields)),
            DataType::List(item) => Self::inside(item.data_type()),
            _ => None,
        }
    }

    /// The place of a key. Records mostly have their keys in the same order: `expected` is looked at first.
    fn place(&self, key: &[u8], expected: usize) -> Option<usize> {
        if self
            .names
            .get(expected)
            .is_some_and(|name| name.as_bytes() == key)
        {
            return Some(expected);
        }
        self.places.get(std::str::from_utf8(key).ok()?).copied()
    }
}

impl Keys {
    /// The columns of a table that are in its files, and those that are `elsewhere`, of which files may have keys too.
    pub(super) fn new<'a>(
        fields: &Fields,
        elsewhere: impl Iterator<Item = &'a str>,
        on_unknown: OnUnknownKey,
    ) -> Self {
        let mut root = Level::of(fields);
        elsewhere.for_each(|name| root.add(name, None));
        Self { root, on_unknown }
    }

    /// Whether nothing speaks against decoding the records in `bytes` as they are. What is no JSON is left to the decoder.
    pub(super) fn are_known(&self, bytes: &[u8]) -> bool {
        let mut open: Vec<Open<'_>> = Vec::new();
        let mut level = Some(&self.root);
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'{' | b'[' => open.push(Open {
                    level,
                    key_due: byte == b'{',
                    is_object: byte == b'{',
                    expected: 0,
                }),
                b'}' | b']' => {
                    open.pop();
                    if open.is_empty() {
                        level = Some(&self.root);
                    }
                }
                b',' => {
                    if let Some(top) = open.last_mut() {
                        top.key_due = top.is_object;
                        level = top.level;
                    }
                }
                b'"' => {
                    let Some(length) = text_length(&bytes[at..]) else {
                        return true;
                    };
                    let text = &bytes[at..at + length];
                    at += length + 1;
                    let Some(top) = open.last_mut().filter(|top| top.key_due) else {
                        continue;
                    };
                    top.key_due = false;
                    let Some(known) = top.level else {
                        level = None;
                        continue;
                    };
                    match known.place(text, top.expected) {
                        Some(place) => {
                            top.expected = place + 1;
                            level = known.inside[place].as_ref();
                        }
                        None if self.may_pass(text, std::ptr::eq(known, &self.root)) => {
                            level = None
                        }
                        None => return false,
                    }
                }
                _ => {}
            }
        }
        true
    }

    /// Whether a key that is not known is ignored and cannot be a column's in another case.
    fn may_pass(&self, key: &[u8], of_record: bool) -> bool {
        let is_column = |name: &String| name.as_bytes().eq_ignore_ascii_case(key);
        self.on_unknown == OnUnknownKey::Ignore
            && !key.contains(&b'\\')
            && !(of_record && self.root.names.iter().any(is_column))
    }

    /// Gives the keys of a record the spelling of the columns; a key that is none is the error.
    pub(super) fn check(&self, record: &mut Object<'_>) -> Result<(), Reason> {
        self.spell(record);
        match self.on_unknown {
            OnUnknownKey::Ignore => Ok(()),
            OnUnknownKey::Refuse => all_known(record, &self.root, &mut String::new()),
        }
    }

    fn spell(&self, record: &mut Object<'_>) {
        let is_other = |name: &str| !self.root.places.contains_key(name);
        if !record.iter().any(|(name, _)| is_other(name)) {
            return;
        }
        let folded: Vec<String> = record.iter().map(|(name, _)| name.to_lowercase()).collect();
        for at in 0..record.len() {
            let once = folded.iter().filter(|name| **name == folded[at]).count() == 1;
            if !once || !is_other(&record[at].0) {
                continue;
            }
            let mut columns = self.root.names.iter();
            let mut same = columns
                .by_ref()
                .filter(|name| name.to_lowercase() == folded[at]);
            if let (Some(column), None) = (same.next(), same.next()) {
                record[at].0 = Cow::Owned(column.clone());
            }
        }
    }
}

/// An object or array that the scan is in.
struct Open<'a> {
    level: Option<&'a Level>,
    is_object: bool,
    key_due: bool,
    /// The place at which the next key is looked for first.
    expected: usize,
}

/// The bytes up to the quote that closes a text.
fn text_length(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn all_known(given: &Object<'_>, level: &Level, path: &mut String) -> Result<(), Reason> {
    for (name, value) in given {
        let kept = path.len();
        if kept > 0 {
            path.push('.');
        }
        path.push_str(name);
        let Some(place) = level.places.get(name.as_ref()) else {
            let what = format!(
                "no record of the sample has the key `{path}`; a larger `sample_rows` finds it (-1 looks at every record)"
            );
            return Err(Reason { field: None, what });
        };
        if let Some(inside) = &level.inside[*place] {
            inside_known(value, inside, path)?;
        }
        path.truncate(kept);
    }
    Ok(())
}

fn inside_known(value: &Value<'_>, level: &Level, path: &mut String) -> Result<(), Reason> {
    match value {
        Value::Object(given) => all_known(given, level, path),
        Value::Array(values) => values
            .iter()
            .try_for_each(|value| inside_known(value, level, path)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::reason::object;
    use super::*;
    use arrow::datatypes::Field;

    fn fields() -> Fields {
        let inner = DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into());
        let list = DataType::new_list(inner.clone(), true);
        let kinds = [
            ("a", DataType::Int64),
            ("s", inner),
            ("l", list),
            ("t", DataType::Utf8),
        ];
        kinds
            .into_iter()
            .map(|(name, kind)| Field::new(name, kind, true))
            .collect()
    }

    /// What the scan says, and what the exact check says of the one record.
    fn check(text: &str, on_unknown: OnUnknownKey, expect: (bool, &str)) {
        let keys = Keys::new(&fields(), ["k"].into_iter(), on_unknown);
        let mut record = object(text.as_bytes()).unwrap();
        let said = match keys.check(&mut record) {
            Ok(()) => record
                .iter()
                .map(|(name, _)| name.to_string())
                .collect::<Vec<_>>()
                .join(","),
            Err(reason) => reason.what.split(';').next().unwrap().to_owned(),
        };
        assert_eq!(
            (keys.are_known(text.as_bytes()), said.as_str()),
            expect,
            "{text}"
        );
    }

    #[test]
    fn unknown_keys_are_found_at_every_depth() {
        let refuse = |text, expect| check(text, OnUnknownKey::Refuse, expect);
        refuse(
            r#"{"a":1,"s":{"x":2},"l":[{"x":1},{"x":2}],"k":0}"#,
            (true, "a,s,l,k"),
        );
        refuse(r#"{"a":"b","t":"{\"c\":1}"}"#, (true, "a,t"));
        refuse(r#"{"t":{"any":{"thing":[1]}},"a":1}"#, (true, "t,a"));
        refuse(r#"{"s":[[{"x":1}]], "a": 1}"#, (true, "s,a"));
        refuse(
            r#"{"a":1,"b":2}"#,
            (false, "no record of the sample has the key `b`"),
        );
        refuse(
            r#"{"s":{"x":1,"y":2}}"#,
            (false, "no record of the sample has the key `s.y`"),
        );
        refuse(
            r#"{"l":[{"x":1},{"z":2}]}"#,
            (false, "no record of the sample has the key `l.z`"),
        );
        refuse(r#"{"A":1}"#, (false, "a"));
        refuse(
            r#"{"A":1,"a":2}"#,
            (false, "no record of the sample has the key `A`"),
        );
        refuse(r#"{"\u0061":1}"#, (false, "a"));
    }

    #[test]
    fn unknown_keys_can_be_ignored() {
        let ignore = |text, expect| check(text, OnUnknownKey::Ignore, expect);
        ignore(r#"{"b":{"a":{}},"a":1,"s":{"y":1}}"#, (true, "b,a,s"));
        ignore(r#"{"A":1,"b":2}"#, (false, "a,b"));
    }

    #[test]
    fn records_follow_one_another() {
        let keys = Keys::new(&fields(), std::iter::empty(), OnUnknownKey::Refuse);
        assert!(keys.are_known(b"{\"a\":1}\n{\"t\":\"x\"}\n\n{\"s\":null,\"a\":[]}"));
        assert!(!keys.are_known(b"{\"a\":1}\n{\"t\":\"x\"}\n{\"s\":{},\"b\":[]}"));
        assert!(keys.are_known(b"{\"a\": \"open"));
    }
}
