//! Blocks of Avro files that are compressed by Snappy: the raw format and a checksum behind it.

/// Unpacks a block of up to `limit` bytes.
pub(super) fn unpack(packed: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let damaged = || "its compressed data is damaged".to_owned();
    let (packed, checksum) = packed.split_last_chunk::<4>().ok_or_else(damaged)?;
    let (length, start) = length(packed).ok_or_else(damaged)?;
    if length > limit {
        return Err(format!("unpacked it has {length} bytes, more than {limit}"));
    }
    let data = elements(&packed[start..], length as usize).ok_or_else(damaged)?;
    let mut crc = flate2::Crc::new();
    crc.update(&data);
    match crc.sum() == u32::from_be_bytes(*checksum) {
        true => Ok(data),
        false => Err("its checksum is wrong".to_owned()),
    }
}

fn length(packed: &[u8]) -> Option<(u64, usize)> {
    let mut length = 0;
    for (i, byte) in packed.iter().take(5).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * i);
        if *byte < 0x80 {
            return Some((length, i + 1));
        }
    }
    None
}

fn elements(mut rest: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    while let Some((&tag, behind)) = rest.split_first() {
        rest = behind;
        let high = usize::from(tag >> 2);
        if tag & 3 == 0 {
            let extra = high.saturating_sub(59);
            let count = if extra == 0 {
                high
            } else {
                number(&mut rest, extra)?
            };
            let (literal, behind) = rest.split_at_checked(count + 1)?;
            data.extend_from_slice(literal);
            rest = behind;
        } else {
            let (count, offset) = match tag & 3 {
                1 => ((high & 7) + 4, (high >> 3) << 8 | number(&mut rest, 1)?),
                2 => (high + 1, number(&mut rest, 2)?),
                _ => (high + 1, number(&mut rest, 4)?),
            };
            let start = data.len().checked_sub(offset).filter(|_| offset > 0)?;
            for i in start..start + count {
                data.push(data[i]);
            }
        }
        if data.len() > length {
            return None;
        }
    }
    (data.len() == length).then_some(data)
}

fn number(rest: &mut &[u8], bytes: usize) -> Option<usize> {
    let (number, behind) = rest.split_at_checked(bytes)?;
    *rest = behind;
    Some(
        number
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_copies_are_unpacked_and_lies_refused() {
        // "abc", then five bytes from three back, that is "abcab".
        let mut packed = vec![8, 2 << 2, b'a', b'b', b'c', (4 << 2) | 2, 3, 0];
        let mut crc = flate2::Crc::new();
        crc.update(b"abcabcab");
        packed.extend_from_slice(&crc.sum().to_be_bytes());
        assert_eq!(unpack(&packed, 100), Ok(b"abcabcab".to_vec()));
        assert!(unpack(&packed, 7).is_err());
        for i in 0..packed.len() {
            let mut bad = packed.clone();
            bad[i] ^= 0x41;
            assert!(unpack(&bad, 100).is_err(), "byte {i}");
            assert!(unpack(&packed[..i], 100).is_err(), "length {i}");
        }
    }
}
