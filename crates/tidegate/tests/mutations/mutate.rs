//! Accidents that befall bytes.

use tidegate_testing::random::Random;

/// Numbers that lengths and counts do not expect.
const EXTREMES: [u64; 10] = [
    0,
    1,
    0x7f,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x4000_0000_0000,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];
/// Bytes that mean something in text.
const MEANINGFUL: &[u8] = b"\"[{,\n\\]}:-0 \t\r\0\xff";

/// `bytes` with one to four accidents.
pub(crate) fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        accident(&mut bytes, random);
    }
    bytes
}

fn accident(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = place(bytes.len(), random);
    match random.below(12) {
        0 => bytes.truncate(at),
        1 | 2 => overwrite(bytes, at, &[random.bits() as u8]),
        3 | 4 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        5 => extreme(bytes, at, random),
        6 => varint(bytes, at, random),
        7 => {
            let noise: Vec<u8> = (0..=random.below(16))
                .map(|_| random.bits() as u8)
                .collect();
            insert(bytes, at, &noise);
        }
        8 => {
            let end = (at + random.below(64)).min(bytes.len());
            drop(bytes.drain(at..end));
        }
        9 => {
            let block = block(bytes, random).to_vec();
            insert(bytes, at, &block);
        }
        10 => {
            let block = block(bytes, random).to_vec();
            overwrite(bytes, at, &block);
        }
        _ => {
            let run = [1, 8, 1_000, 100_000][random.below(4)];
            insert(bytes, at, &vec![*random.pick(MEANINGFUL); run]);
        }
    }
}

/// Any place, but more often near the begin and the end, where headers and footers are.
fn place(length: usize, random: &mut Random) -> usize {
    match random.below(4) {
        0 => random.below(length.min(256)),
        1 => length - random.below(length.min(1024)).min(length),
        _ => random.below(length),
    }
}

fn block<'a>(bytes: &'a [u8], random: &mut Random) -> &'a [u8] {
    let start = random.below(bytes.len());
    let end = (start + 1 + random.below(512)).min(bytes.len());
    &bytes[start.min(end)..end]
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied());
}

fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (byte, new) in bytes.iter_mut().skip(at).zip(new) {
        *byte = *new;
    }
}

/// A number of fixed width, in either order of bytes.
fn extreme(bytes: &mut [u8], at: usize, random: &mut Random) {
    let (number, width) = (*random.pick(&EXTREMES), *random.pick(&[2, 4, 8]));
    match random.below(2) {
        0 => overwrite(bytes, at, &number.to_le_bytes()[..width]),
        _ => overwrite(bytes, at, &number.to_be_bytes()[8 - width..]),
    }
}

/// A number as Thrift and Avro write lengths; put in the place of one byte, or over what is there.
fn varint(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let mut number = *random.pick(&EXTREMES);
    let mut new = Vec::new();
    while number >= 0x80 {
        new.push(number as u8 | 0x80);
        number >>= 7;
    }
    new.push(number as u8);
    if random.below(2) == 0 && at < bytes.len() {
        bytes.splice(at..=at, new);
    } else {
        overwrite(bytes, at, &new);
    }
}
