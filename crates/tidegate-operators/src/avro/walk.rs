//! A walk over the records of an Avro block by its schema, which builds nothing.
//!
//! It makes sure that the block holds as many records as it says, exactly.

use std::collections::HashMap;

use serde_json::Value;

/// Types and values nested deeper are refused.
const DEPTH_MAX: usize = 64;

/// Items that take no bytes (nulls in a list) may be so many in a block.
const EMPTY_ITEMS_MAX: u64 = 1 << 22;

#[derive(Debug, Clone)]
enum Node {
    Null,
    Fixed(u64),
    Long,
    Bytes,
    Record(Vec<usize>),
    Items { of: usize, keyed: bool },
    Union(Vec<usize>),
}

/// A schema as a table of types.
#[derive(Debug)]
pub(super) struct Walker {
    nodes: Vec<Node>,
    root: usize,
}

impl Walker {
    pub(super) fn new(schema: &[u8]) -> Result<Self, String> {
        let schema: Value = serde_json::from_slice(schema)
            .map_err(|error| format!("its schema is no JSON: {error}"))?;
        let mut builder = Builder::default();
        let root = builder.node(&schema, "", 0)?;
        Ok(Self {
            nodes: builder.nodes,
            root,
        })
    }

    /// Checks that `data` is `count` records.
    pub(super) fn check(&self, data: &[u8], count: u64) -> Result<(), String> {
        if data.is_empty() && count > 0 {
            return Err(format!("it claims {count} records and has no data"));
        }
        let mut walk = Walk {
            nodes: &self.nodes,
            data,
            empty: 0,
        };
        for _ in 0..count {
            walk.value(self.root, 0)?;
        }
        match walk.data.len() {
            0 => Ok(()),
            rest => Err(format!("{rest} bytes follow the {count} records it claims")),
        }
    }
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    names: HashMap<String, usize>,
}

impl Builder {
    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn node(&mut self, schema: &Value, space: &str, depth: usize) -> Result<usize, String> {
        if depth > DEPTH_MAX {
            return Err("its schema is nested too deeply".to_owned());
        }
        match schema {
            Value::String(name) => self.named(name, space),
            Value::Array(branches) => {
                let branches = branches
                    .iter()
                    .map(|branch| self.node(branch, space, depth + 1));
                let branches = branches.collect::<Result<_, _>>()?;
                Ok(self.push(Node::Union(branches)))
            }
            Value::Object(object) => {
                let text = |key: &str| object.get(key).and_then(Value::as_str);
                let inner = |key: &str| object.get(key).ok_or_else(|| no(key));
                let kind = match object.get("type") {
                    Some(Value::String(kind)) => kind.as_str(),
                    Some(nested) => return self.node(nested, space, depth + 1),
                    None => return Err(no("type")),
                };
                match kind {
                    "array" | "map" => {
                        let keyed = kind == "map";
                        let key = if keyed { "values" } else { "items" };
                        let of = self.node(inner(key)?, space, depth + 1)?;
                        Ok(self.push(Node::Items { of, keyed }))
                    }
                    "fixed" => {
                        let size = object.get("size").and_then(Value::as_u64);
                        let node = self.push(Node::Fixed(size.ok_or_else(|| no("size"))?));
                        self.name(text("name"), text("namespace"), space, node);
                        Ok(node)
                    }
                    "enum" => {
                        let node = self.push(Node::Long);
                        self.name(text("name"), text("namespace"), space, node);
                        Ok(node)
                    }
                    "record" | "error" => {
                        let node = self.push(Node::Record(Vec::new()));
                        let space = self.name(text("name"), text("namespace"), space, node);
                        let fields = inner("fields")?.as_array().ok_or_else(|| no("fields"))?;
                        let mut types = Vec::with_capacity(fields.len());
                        for field in fields {
                            let field = field.get("type").ok_or_else(|| no("type"))?;
                            types.push(self.node(field, &space, depth + 1)?);
                        }
                        self.nodes[node] = Node::Record(types);
                        Ok(node)
                    }
                    other => self.named(other, space),
                }
            }
            _ => Err("its schema has a type that is none".to_owned()),
        }
    }

    fn named(&mut self, name: &str, space: &str) -> Result<usize, String> {
        let node = match name {
            "null" => Node::Null,
            "boolean" => Node::Fixed(1),
            "int" | "long" => Node::Long,
            "float" => Node::Fixed(4),
            "double" => Node::Fixed(8),
            "bytes" | "string" => Node::Bytes,
            name => {
                let full = format!("{space}.{name}");
                let known = self.names.get(&full).or_else(|| self.names.get(name));
                return known
                    .copied()
                    .ok_or_else(|| format!("its schema does not say what `{name}` is"));
            }
        };
        Ok(self.push(node))
    }

    /// Notes a named type and returns the name space of what is inside.
    fn name(&mut self, name: Option<&str>, said: Option<&str>, space: &str, node: usize) -> String {
        let name = name.unwrap_or_default();
        let (space, short) = match name.rsplit_once('.') {
            Some((space, short)) => (space, short),
            None => (said.unwrap_or(space), name),
        };
        let full = if space.is_empty() {
            short.to_owned()
        } else {
            format!("{space}.{short}")
        };
        self.names.insert(full, node);
        space.to_owned()
    }
}

fn no(key: &str) -> String {
    format!("its schema lacks `{key}`")
}

struct Walk<'a> {
    nodes: &'a [Node],
    data: &'a [u8],
    empty: u64,
}

impl Walk<'_> {
    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        let rest = self.data.len() as u64;
        if bytes > rest {
            return Err(format!(
                "a value claims {bytes} bytes where {rest} are left"
            ));
        }
        self.data = &self.data[bytes as usize..];
        Ok(())
    }

    fn long(&mut self) -> Result<i64, String> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.data.split_first().ok_or("a record is cut short")?;
            self.data = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err("a number is too long".to_owned())
    }

    fn length(&mut self) -> Result<u64, String> {
        let length = self.long()?;
        u64::try_from(length).map_err(|_| "a length is negative".to_owned())
    }

    fn value(&mut self, node: usize, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err("a record is nested too deeply".to_owned());
        }
        let nodes = self.nodes;
        match &nodes[node] {
            Node::Null => Ok(()),
            Node::Fixed(size) => self.skip(*size),
            Node::Long => self.long().map(drop),
            Node::Bytes => {
                let length = self.length()?;
                self.skip(length)
            }
            Node::Record(fields) => fields
                .iter()
                .try_for_each(|field| self.value(*field, depth + 1)),
            Node::Union(branches) => {
                let branch = self.length()?;
                let branch = usize::try_from(branch)
                    .ok()
                    .and_then(|branch| branches.get(branch));
                let branch = branch.ok_or("a value is of a type its union does not have")?;
                self.value(*branch, depth + 1)
            }
            Node::Items { of, keyed } => self.items(*of, *keyed, depth + 1),
        }
    }

    fn items(&mut self, of: usize, keyed: bool, depth: usize) -> Result<(), String> {
        loop {
            let mut count = self.long()?;
            if count < 0 {
                self.length()?;
                count = count.saturating_neg();
            }
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                let before = self.data.len();
                if keyed {
                    let length = self.length()?;
                    self.skip(length)?;
                }
                self.value(of, depth)?;
                self.empty += u64::from(self.data.len() == before);
                if self.empty > EMPTY_ITEMS_MAX {
                    return Err("it claims too many items that are nothing".to_owned());
                }
            }
        }
    }
}
