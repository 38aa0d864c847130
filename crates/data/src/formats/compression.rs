//! Compressed files, unpacked as streams.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::quiet::catch_quietly;

/// The most memory that a stream's dictionary or window may take, in bytes: that of the highest
/// usual level of each program.
const MAX_WINDOW: u64 = 128 << 20;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Bzip2,
    Xz,
    Zstandard,
}

impl Compression {
    /// The compression of a file with these first bytes, if it is compressed.
    pub fn of(start: &[u8]) -> Option<Self> {
        let signatures: [(&[u8], Self); 4] = [
            (&[0x1F, 0x8B], Self::Gzip),
            (b"BZh", Self::Bzip2),
            (b"\xFD7zXZ\0", Self::Xz),
            (&[0x28, 0xB5, 0x2F, 0xFD], Self::Zstandard),
        ];
        signatures.into_iter().find(|(bytes, _)| start.starts_with(bytes)).map(|(_, kind)| kind)
    }

    /// The content of a file. The checksums of all parts are verified.
    pub fn unpack(self, file: File) -> Box<dyn Read> {
        let packed = BufReader::with_capacity(1 << 16, file);
        let content: Box<dyn Read> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(packed)),
            Self::Xz => Box::new(XzReader::new_mem_limit(packed, true, (MAX_WINDOW >> 10) as u32)),
            Self::Zstandard => {
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(MAX_WINDOW);
                Box::new(ZstandardFrames { packed, decoder, open: false })
            }
        };
        Box::new(PanicGuard(content))
    }
}

/// A decoder is third-party code on untrusted files: a panic in one is a defect of the file.
struct PanicGuard(Box<dyn Read>);

impl Read for PanicGuard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        catch_quietly("the decoder", || Ok(self.0.read(buffer)))
            .unwrap_or_else(|problem| Err(invalid(problem)))
    }
}

/// The frames of a Zstandard file, one after the other.
struct ZstandardFrames {
    packed: BufReader<File>,
    decoder: FrameDecoder,
    /// Whether the decoder is within a frame.
    open: bool,
}

impl Read for ZstandardFrames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.open && !self.open_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.packed, one).map_err(invalid)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let declared = self.decoder.get_checksum_from_data();
            if declared.is_some() && declared != self.decoder.get_calculated_checksum() {
                return Err(invalid("the checksum of its content is wrong"));
            }
            self.open = false;
        }
    }
}

impl ZstandardFrames {
    /// Opens the next frame with content. Returns false at the end of the file.
    fn open_frame(&mut self) -> io::Result<bool> {
        while !self.packed.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.packed) {
                Ok(()) => {
                    self.open = true;
                    break;
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut content = (&mut self.packed).take(length.into());
                    if io::copy(&mut content, &mut io::sink())? < u64::from(length) {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
                    return Err(ErrorKind::OutOfMemory.into());
                }
                Err(error) => return Err(invalid(error)),
            }
        }
        Ok(self.open)
    }
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error.to_string())
}
