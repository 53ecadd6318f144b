//! Turns a file's encoding into UTF-8, piece by piece, and says where it cannot.

use std::sync::Arc;

use encoding_rs::{Decoder as Codec, DecoderResult};

use super::{Encoding, Error, Kind};

/// Stands between the file and the [`super::Splitter`] when [`Encoding`] is not UTF-8. Removes the byte order mark.
pub struct Transcoder {
    encoding: Encoding,
    codec: Option<Codec>,
    file: Arc<str>,
    offset: u64,
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Transcoder {{ encoding: {}, offset: {} }}",
            self.encoding.name(),
            self.offset
        )
    }
}

impl Transcoder {
    /// From the start of the file on.
    pub fn new(encoding: Encoding, file: Arc<str>) -> Self {
        Self {
            encoding,
            codec: encoding
                .codec()
                .map(|codec| codec.new_decoder_with_bom_removal()),
            file,
            offset: 0,
        }
    }

    /// Appends what `input` says to `out`. `at_end`: no bytes follow it.
    ///
    /// # Errors
    /// Bytes that are not of the encoding, with their offset in the file.
    pub fn push(&mut self, input: &[u8], at_end: bool, out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(codec) = &mut self.codec else {
            if self.encoding == Encoding::Latin1 {
                let start = out.len();
                out.resize(start + 2 * input.len(), 0);
                let written = encoding_rs::mem::convert_latin1_to_utf8(input, &mut out[start..]);
                out.truncate(start + written);
            } else {
                out.extend_from_slice(input);
            }
            self.offset += input.len() as u64;
            return Ok(());
        };
        let mut rest = input;
        loop {
            let start = out.len();
            let room = codec
                .max_utf8_buffer_length_without_replacement(rest.len())
                .unwrap_or(4 * rest.len() + 16);
            out.resize(start + room, 0);
            let (result, read, written) =
                codec.decode_to_utf8_without_replacement(rest, &mut out[start..], at_end);
            out.truncate(start + written);
            self.offset += read as u64;
            rest = &rest[read..];
            match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(bytes, after) => {
                    let offset = self
                        .offset
                        .saturating_sub(u64::from(bytes) + u64::from(after));
                    let name = self.encoding.name();
                    let reason = format!("the bytes at offset {offset} are not {name}");
                    return Err(Error::new(Kind::Encoding, &self.file, reason)
                        .hint("encoding='…' says what they are"));
                }
            }
        }
    }
}
