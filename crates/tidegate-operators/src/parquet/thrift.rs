//! A walk over Thrift's compact encoding that believes no length.
//!
//! The decoder allocates for a list before it reads it: forty bytes can ask for gigabytes. This walk
//! allocates nothing. It makes sure that every list, text and map is really there and adds up
//! what decoding it can take.

/// Nesting of Parquet's structures is far less.
const DEPTH_MAX: usize = 32;

/// What an element of a list of structures takes in memory.
const STRUCT_BYTES: u64 = 256;

/// What another element of a list takes.
const VALUE_BYTES: u64 = 24;

/// Walks over the structure `bytes` begin with; an error says why it should not be decoded.
pub(super) fn check(bytes: &[u8], memory_bytes_max: u64) -> Result<(), String> {
    let mut walk = Walk {
        bytes,
        next: 0,
        memory: 0,
        memory_max: memory_bytes_max,
    };
    walk.fields(0)
}

/// What the header of a page says.
#[derive(Debug)]
pub(super) struct PageHeader {
    /// Its own length.
    pub(super) header_bytes: usize,
    /// How many bytes of the page follow.
    pub(super) data_bytes: usize,
    /// CRC-32 of these bytes.
    pub(super) checksum: Option<u32>,
}

/// The page header that `bytes` begin with, if they do.
pub(super) fn page_header(bytes: &[u8]) -> Option<PageHeader> {
    const I32: u8 = 5;
    let mut walk = Walk {
        bytes,
        next: 0,
        memory: 0,
        memory_max: u64::MAX,
    };
    let (mut id, mut data_bytes, mut checksum) = (0i64, None, None);
    loop {
        let header = walk.byte().ok()?;
        if header == 0 {
            return Some(PageHeader {
                header_bytes: walk.next,
                data_bytes: data_bytes?,
                checksum,
            });
        }
        id = match header >> 4 {
            0 => signed(walk.number().ok()?),
            delta => id + i64::from(delta),
        };
        match (id, header & 0x0f) {
            (3, I32) => data_bytes = usize::try_from(signed(walk.number().ok()?)).ok(),
            (4, I32) => {
                let number = i32::try_from(signed(walk.number().ok()?)).ok()?;
                checksum = Some(number.cast_unsigned());
            }
            (_, 1 | 2) => {}
            (_, kind) => walk.value(kind, 0).ok()?,
        }
    }
}

/// A signed number, which is written with its sign in the lowest bit.
fn signed(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

struct Walk<'a> {
    bytes: &'a [u8],
    next: usize,
    memory: u64,
    memory_max: u64,
}

impl Walk<'_> {
    fn byte(&mut self) -> Result<u8, String> {
        let byte = self
            .bytes
            .get(self.next)
            .copied()
            .ok_or("it is cut short")?;
        self.next += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number is too long".to_owned())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        let rest = (self.bytes.len() - self.next) as u64;
        if bytes > rest {
            return Err(format!(
                "a value claims {bytes} bytes where {rest} are left"
            ));
        }
        self.next += bytes as usize;
        Ok(())
    }

    fn fields(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deeply".to_owned());
        }
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            if header >> 4 == 0 {
                self.number()?;
            }
            // A boolean field lies in its header.
            if !matches!(header & 0x0f, 1 | 2) {
                self.value(header & 0x0f, depth)?;
            }
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.number().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.number()?;
                self.skip(length)
            }
            9 | 10 => self.list(depth + 1),
            11 => self.map(depth + 1),
            12 => self.fields(depth + 1),
            13 => self.skip(16),
            _ => Err(format!("it has a value of the unknown kind {kind}")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<(), String> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.number()?,
            count => u64::from(count),
        };
        self.count(count, header & 0x0f)?;
        (0..count).try_for_each(|_| self.nested(header & 0x0f, depth))
    }

    fn map(&mut self, depth: usize) -> Result<(), String> {
        let count = self.number()?;
        if count == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        self.count(count, kinds >> 4)?;
        self.count(count, kinds & 0x0f)?;
        (0..count).try_for_each(|_| {
            self.nested(kinds >> 4, depth)?;
            self.nested(kinds & 0x0f, depth)
        })
    }

    fn nested(&mut self, kind: u8, depth: usize) -> Result<(), String> {
        match depth > DEPTH_MAX {
            true => Err("it is nested too deeply".to_owned()),
            false => self.value(kind, depth),
        }
    }

    /// Checks that `count` elements can be there, and accounts for them.
    fn count(&mut self, count: u64, kind: u8) -> Result<(), String> {
        let rest = (self.bytes.len() - self.next) as u64;
        if count > rest {
            return Err(format!(
                "a list claims {count} elements where {rest} bytes are left"
            ));
        }
        let each = if matches!(kind, 9..=12) {
            STRUCT_BYTES
        } else {
            VALUE_BYTES
        };
        self.memory = self.memory.saturating_add(count.saturating_mul(each));
        match self.memory > self.memory_max {
            true => Err(format!(
                "it would take more than {} bytes of memory",
                self.memory_max
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_not_there_is_refused() {
        // Field 2: a list of 2^31 structures.
        let bytes = [0x29, 0xfc, 0x80, 0x80, 0x80, 0x80, 0x08, 0x00, 0x00];
        let error = check(&bytes, 1 << 30).expect_err("it lies");
        assert!(error.contains("claims 2147483648 elements"), "{error}");
    }

    #[test]
    fn deep_nesting_and_open_ends_are_refused() {
        assert!(
            check(&[0x1c; 1000], 1 << 30)
                .expect_err("deep")
                .contains("deeply")
        );
        assert!(
            check(&[0x15], 1 << 30)
                .expect_err("short")
                .contains("cut short")
        );
        assert!(
            check(&[0x18, 0x7f, b'a'], 1 << 30)
                .expect_err("long")
                .contains("claims 127")
        );
    }

    #[test]
    fn a_sound_structure_passes() {
        // i32 = 1, binary "ab", list of two i32, an empty structure.
        let bytes = [
            0x15, 0x02, 0x18, 0x02, b'a', b'b', 0x19, 0x25, 0x02, 0x04, 0x1c, 0x00, 0x00,
        ];
        assert_eq!(check(&bytes, 1 << 20), Ok(()));
        assert!(
            check(&bytes, 10)
                .expect_err("small limit")
                .contains("more than 10")
        );
    }
}
