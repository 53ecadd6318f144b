//! Compression, told by the first bytes of a file and never by its suffix.

use std::io::{self, BufReader, Read};

/// As many bytes as [`Compression::of`] looks at.
pub(super) const MAGIC_BYTES: usize = 10;

/// The most memory an xz stream may ask for.
const XZ_MEMORY_BYTES: u64 = 512 << 20;

/// Compressed bytes are read in pieces of this size.
const READ_BYTES: usize = 256 << 10;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2, one stream or several.
    Bzip2,
    /// xz.
    Xz,
}

impl Compression {
    /// Tells the compression by the first bytes of a file.
    pub fn of(head: &[u8]) -> Self {
        let bzip2_block = |rest: &[u8]| {
            rest.starts_with(&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59])
                || rest.starts_with(&[0x17, 0x72, 0x45, 0x38, 0x50, 0x90])
        };
        match head {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if bzip2_block(rest) => Self::Bzip2,
            _ => Self::None,
        }
    }

    /// The name of the compression.
    pub fn words(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }

    pub(super) fn decode(
        self,
        raw: impl Read + Send + 'static,
    ) -> io::Result<Box<dyn Read + Send>> {
        if self == Self::None {
            return Ok(Box::new(raw));
        }
        let raw = BufReader::with_capacity(READ_BYTES, raw);
        Ok(match self {
            Self::None => Box::new(raw),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(raw)?),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(raw)),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(
                    XZ_MEMORY_BYTES,
                    liblzma::stream::CONCATENATED,
                )
                .map_err(io::Error::other)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(raw, stream))
            }
        })
    }
}
