//! Packets in and out of a channel, through one read buffer.
//!
//! **Invariant.** `start <= end <= buffer.len()`, and `buffer[start..end]` holds bytes that came in and were not taken
//! yet, beginning at a packet's header. A packet that fits is used in place. One that doesn't (longer than the buffer, or
//! cut at 16 MiB - 1 by the protocol, mysql-sources.md 7) is assembled in `large`, whose memory goes back to the
//! allocator once it is more than [`LARGE_BYTES_KEPT_MAX`].

use std::io;
use std::ops::Range;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::compression::Compression;
use super::stream::{PlainStream, Stream};

/// A row above so many bytes is left out, unless the options allow more: a value of 64 MiB must always pass
/// (mysql-sources.md 9), and beside it there is a MiB for its length prefix, the bitmap of nulls and the other columns.
pub const ROW_BYTES_MAX: usize = (64 + 1) * 1024 * 1024;
/// A packet that is not a row holds at most so many bytes.
pub(super) const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The read buffer.
const READ_BUFFER_BYTES: usize = 256 * 1024;
/// What `large` may keep between two rows, so that a table of rows of a megabyte does not allocate for each.
const LARGE_BYTES_KEPT_MAX: usize = 4 * 1024 * 1024;
/// The length that says that another packet follows.
pub(super) const PACKET_BYTES_MAX: usize = 0xFF_FFFF;
/// Length and sequence number.
const HEADER_BYTES: usize = 4;
/// The first byte of an error.
pub(super) const ERROR: u8 = 0xFF;

/// Why a packet did not come or go.
#[derive(Debug, thiserror::Error)]
pub(super) enum PacketError {
    #[error("the server closed the connection")]
    Closed,
    #[error(transparent)]
    Io(io::Error),
    #[error("{0}")]
    Protocol(&'static str),
}

impl From<io::Error> for PacketError {
    /// Under TLS a peer that is gone is an end that was not announced, which tells people nothing.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// What stands at the head of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Head {
    /// A whole packet; this is its payload.
    Whole(Range<usize>),
    /// A packet that will never lie whole in the buffer; its header and its first byte are there.
    Long { first: u8 },
    /// Too little to tell.
    Partial,
}

/// Packets in and out of one channel.
#[derive(Debug)]
pub(super) struct Packets {
    stream: Stream,
    compression: Option<Compression>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    large: Vec<u8>,
    sequence: u8,
    bytes_taken: u64,
    out: Vec<u8>,
}

impl Packets {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            compression: None,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            large: Vec::new(),
            sequence: 0,
            bytes_taken: 0,
            out: Vec::new(),
        }
    }

    /// Continues a conversation inside TLS.
    pub(super) fn resumed(stream: Stream, sequence: u8) -> Self {
        Self { sequence, ..Self::new(stream) }
    }

    /// Gives the channel back to be protected. Bytes that came in too early are dropped: whoever sits in between may
    /// have put them there (mysql-sources.md 4).
    pub(super) fn into_plain(self) -> Option<(PlainStream, u8)> {
        match self.stream {
            Stream::Plain(stream) => Some((stream, self.sequence)),
            Stream::Tls(_) => None,
        }
    }

    /// From now on both directions are compressed.
    pub(super) fn compress(&mut self) {
        self.compression = Some(Compression::default());
    }

    /// Bytes of all packets taken so far, their headers included.
    pub(super) fn bytes_taken(&self) -> u64 {
        self.bytes_taken
    }

    /// What stands at the head of the buffer.
    #[inline]
    pub(super) fn head(&self) -> Head {
        let waiting = &self.buffer[self.start..self.end];
        let &[a, b, c, _, ref rest @ ..] = waiting else { return Head::Partial };
        let length = packet_length([a, b, c]);
        if length < PACKET_BYTES_MAX && HEADER_BYTES + length <= self.buffer.len() {
            let payload = self.start + HEADER_BYTES..self.start + HEADER_BYTES + length;
            return if rest.len() >= length { Head::Whole(payload) } else { Head::Partial };
        }
        rest.first().map_or(Head::Partial, |first| Head::Long { first: *first })
    }

    /// The payload of a packet that [`Self::head`] showed.
    #[inline]
    pub(super) fn payload(&self, payload: Range<usize>) -> &[u8] {
        &self.buffer[payload]
    }

    /// Takes the packet that [`Self::head`] showed; its payload stays readable until the next read.
    #[inline]
    pub(super) fn take(&mut self, payload: &Range<usize>) -> Result<(), PacketError> {
        let sequence = self.buffer[payload.start - 1];
        // An error may come unasked, with any number: the server says goodbye.
        if sequence != self.sequence && self.compression.is_none() && self.buffer.get(payload.start) != Some(&ERROR) {
            return Err(PacketError::Protocol("a packet came out of order"));
        }
        self.sequence = sequence.wrapping_add(1);
        self.bytes_taken += (HEADER_BYTES + payload.len()) as u64;
        self.start = payload.end;
        Ok(())
    }

    /// The next packet, which is not a row.
    pub(super) async fn packet(&mut self) -> Result<&[u8], PacketError> {
        loop {
            match self.head() {
                Head::Whole(payload) => {
                    self.take(&payload)?;
                    return Ok(&self.buffer[payload]);
                }
                Head::Long { .. } => {
                    return match self.assemble(REPLY_BYTES_MAX).await? {
                        true => Ok(&self.large),
                        false => Err(PacketError::Protocol("an answer is longer than any can be")),
                    };
                }
                Head::Partial => self.read_more().await?,
            }
        }
    }

    /// Waits for more bytes behind those that are here.
    pub(super) async fn read_more(&mut self) -> Result<(), PacketError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = read(&mut self.stream, &mut self.compression, &mut self.buffer[self.end..]).await?;
        self.end += count;
        Ok(())
    }

    /// Takes a packet that doesn't fit, together with those that continue it, to where [`Self::large`] shows it.
    ///
    /// False means that it is longer than `bytes_max`: then it is gone, and never more than `bytes_max` was held.
    pub(super) async fn assemble(&mut self, bytes_max: usize) -> Result<bool, PacketError> {
        self.large.clear();
        let mut fits = true;
        loop {
            let length = self.take_header().await?;
            fits = fits && self.large.len() + length <= bytes_max;
            match fits {
                true => self.append(length).await?,
                false => {
                    self.large = Vec::new();
                    self.discard(length).await?;
                }
            }
            self.bytes_taken += (HEADER_BYTES + length) as u64;
            if length < PACKET_BYTES_MAX {
                return Ok(fits);
            }
        }
    }

    /// What [`Self::assemble`] put together.
    pub(super) fn large(&self) -> &[u8] {
        &self.large
    }

    /// Gives back the memory of a giant that is no longer looked at.
    pub(super) fn release_large(&mut self) {
        if self.large.capacity() > LARGE_BYTES_KEPT_MAX {
            self.large = Vec::new();
        }
    }

    async fn take_header(&mut self) -> Result<usize, PacketError> {
        while self.end - self.start < HEADER_BYTES {
            self.read_more().await?;
        }
        let &[a, b, c, sequence, ..] = &self.buffer[self.start..self.end] else {
            return Err(PacketError::Protocol("a packet lacks its header"));
        };
        if sequence != self.sequence && self.compression.is_none() {
            return Err(PacketError::Protocol("a packet came out of order"));
        }
        self.sequence = sequence.wrapping_add(1);
        self.start += HEADER_BYTES;
        Ok(packet_length([a, b, c]))
    }

    /// Moves what is here, then reads the rest straight to its place.
    async fn append(&mut self, length: usize) -> Result<(), PacketError> {
        let here = length.min(self.end - self.start);
        self.large.extend_from_slice(&self.buffer[self.start..self.start + here]);
        self.start += here;
        let mut filled = self.large.len();
        self.large.resize(filled + length - here, 0);
        while filled < self.large.len() {
            filled += read(&mut self.stream, &mut self.compression, &mut self.large[filled..]).await?;
        }
        Ok(())
    }

    async fn discard(&mut self, mut length: usize) -> Result<(), PacketError> {
        loop {
            let here = length.min(self.end - self.start);
            self.start += here;
            length -= here;
            if length == 0 {
                return Ok(());
            }
            self.read_more().await?;
        }
    }

    /// Sends a command, which begins a new conversation.
    pub(super) async fn command(&mut self, payload: &[u8]) -> Result<(), PacketError> {
        self.sequence = 0;
        if let Some(compression) = &mut self.compression {
            compression.begin();
        }
        self.send(payload).await
    }

    /// Sends a packet that continues the conversation.
    pub(super) async fn send(&mut self, payload: &[u8]) -> Result<(), PacketError> {
        self.out.clear();
        let mut rest = payload;
        loop {
            let (now, later) = rest.split_at(rest.len().min(PACKET_BYTES_MAX));
            let [a, b, c, ..] = now.len().to_le_bytes();
            self.out.extend_from_slice(&[a, b, c, self.sequence]);
            self.out.extend_from_slice(now);
            self.sequence = self.sequence.wrapping_add(1);
            rest = later;
            if now.len() < PACKET_BYTES_MAX {
                break;
            }
        }
        if let Some(compression) = &mut self.compression {
            self.out = compression.wrap(&self.out);
        }
        self.stream.write_all(&self.out).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

/// Reads at least one byte.
async fn read(
    stream: &mut Stream,
    compression: &mut Option<Compression>,
    into: &mut [u8],
) -> Result<usize, PacketError> {
    let count = match compression {
        None => stream.read(into).await?,
        Some(compression) => compression.read(stream, into).await?,
    };
    match count {
        0 => Err(PacketError::Closed),
        count => Ok(count),
    }
}

fn packet_length([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16
}

#[cfg(test)]
pub(super) mod tests;
