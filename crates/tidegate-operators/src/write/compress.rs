//! Compression of a whole text file on its way out.

use std::io::{self, Write};

use super::format::Compression;

const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: u32 = 3;
const BZIP2_LEVEL: u32 = 9;
const XZ_LEVEL: u32 = 6;

/// A writer that compresses, or does not.
pub(super) enum Compressor<W: Write> {
    Plain(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
    Bzip2(bzip2::write::BzEncoder<W>),
    Xz(liblzma::write::XzEncoder<W>),
}

impl<W: Write> Compressor<W> {
    pub(super) fn new(compression: Compression, level: Option<u32>, output: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(output),
            Compression::Gzip => {
                let level = flate2::Compression::new(level.unwrap_or(GZIP_LEVEL).min(9));
                Self::Gzip(flate2::write::GzEncoder::new(output, level))
            }
            Compression::Zstd => {
                let level = level.unwrap_or(ZSTD_LEVEL).clamp(1, 22);
                let mut encoder = zstd::Encoder::new(output, level.cast_signed())?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
            Compression::Bzip2 => {
                let level = bzip2::Compression::new(level.unwrap_or(BZIP2_LEVEL).clamp(1, 9));
                Self::Bzip2(bzip2::write::BzEncoder::new(output, level))
            }
            Compression::Xz => {
                let level = level.unwrap_or(XZ_LEVEL).min(9);
                Self::Xz(liblzma::write::XzEncoder::new(output, level))
            }
        })
    }

    pub(super) fn output(&mut self) -> &mut W {
        match self {
            Self::Plain(output) => output,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Bzip2(encoder) => encoder.get_mut(),
            Self::Xz(encoder) => encoder.get_mut(),
        }
    }

    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(output) => Ok(output),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Bzip2(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::Bzip2(encoder) => encoder.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.flush(),
            // A flush in the middle would only spoil the compression.
            Self::Gzip(_) | Self::Zstd(_) | Self::Bzip2(_) | Self::Xz(_) => Ok(()),
        }
    }
}
