//! The bytes of a file of frames: its header, the head of a frame, its trailer.

use super::{Frame, Origin};

const HEADER_MAGIC: &[u8; 8] = b"TIDEFRM\x02";
const TRAILER_MAGIC: &[u8; 8] = b"TIDEEND\x02";
/// Bytes as they are. Others are for files with a key: then the two ids after it are used.
const CODEC_PLAIN: u8 = 0;
const IDS_BYTES: usize = 32;

pub(super) const HEADER_BYTES: usize = 8 + 16 + 8 + 32 + 4 + IDS_BYTES + 4;
pub(super) const HEAD_BYTES: usize = 16 + 4 + 4;
pub(super) const TRAILER_BYTES: usize = 8 + 4 + 8 + 8 + 32 + 4;

/// What the end of a file says.
pub(super) struct Trailer {
    pub(super) frames: u32,
    pub(super) rows: u64,
    /// Of the file, the trailer included.
    pub(super) bytes: u64,
    /// Of everything before it; absent of a file that was not made to outlive its process.
    pub(super) blake3: Option<[u8; 32]>,
}

pub(super) fn header(origin: &Origin) -> Vec<u8> {
    let mut header = HEADER_MAGIC.to_vec();
    let numbers = [origin.statement, origin.stage, origin.task, origin.attempt];
    header.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    header.extend_from_slice(&origin.epoch.to_le_bytes());
    header.extend_from_slice(&origin.job);
    header.extend_from_slice(&[CODEC_PLAIN, 0, 0, 0]);
    header.extend_from_slice(&[0; IDS_BYTES]);
    checked(header)
}

/// The head of a frame. The first check covers its numbers and its bytes; the second the head
/// itself, so that the frames of a file can be found without reading what is in them.
pub(super) fn head(frame: &Frame, bytes: &[u8]) -> Vec<u8> {
    let mut head = numbers(frame);
    let mut check = crc32fast::Hasher::new();
    check.update(&head);
    check.update(bytes);
    head.extend_from_slice(&check.finalize().to_le_bytes());
    checked(head)
}

fn numbers(frame: &Frame) -> Vec<u8> {
    let numbers = [frame.sequence, frame.partition, frame.rows, frame.bytes];
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// The frame whose head stands at `offset`; `None` when it was changed.
pub(super) fn frame_of(head: &[u8], offset: u64) -> Option<Frame> {
    let (numbers, check) = head.split_at_checked(HEAD_BYTES - 4)?;
    if check != crc32fast::hash(numbers).to_le_bytes() {
        return None;
    }
    let number = |at: usize| Some(u32::from_le_bytes(*numbers[at..].first_chunk()?));
    Some(Frame {
        sequence: number(0)?,
        partition: number(4)?,
        rows: number(8)?,
        bytes: number(12)?,
        offset,
    })
}

impl Trailer {
    /// What the hash of a file covers after its frames.
    pub(super) fn hashed(&self) -> Vec<u8> {
        let mut trailer = TRAILER_MAGIC.to_vec();
        trailer.extend_from_slice(&self.frames.to_le_bytes());
        trailer.extend_from_slice(&self.rows.to_le_bytes());
        trailer.extend_from_slice(&self.bytes.to_le_bytes());
        trailer
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut trailer = self.hashed();
        trailer.extend_from_slice(&self.blake3.unwrap_or_default());
        checked(trailer)
    }

    /// How many frames a trailer counts.
    pub(super) fn frames_of(trailer: &[u8]) -> u32 {
        let number = trailer.get(8..).and_then(|rest| rest.first_chunk());
        number.map_or(0, |number| u32::from_le_bytes(*number))
    }
}

/// The bytes, and their check after them.
fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    let check = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&check.to_le_bytes());
    bytes
}
