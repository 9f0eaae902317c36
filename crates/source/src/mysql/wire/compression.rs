//! The protocol inside zlib frames: three bytes of length, a number, three bytes of the length before compression
//! (zero: not compressed), then bytes that continue the stream of packets without regard to their borders.

use flate2::{Decompress, FlushDecompress, Status};
use tokio::io::AsyncReadExt;

use super::packets::{PACKET_BYTES_MAX, PacketError};
use super::stream::Stream;

/// Two lengths and a number.
const HEADER_BYTES: usize = 7;
/// How much is asked from the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// Both directions of a compressed conversation.
#[derive(Debug)]
pub(super) struct Compression {
    sequence: u8,
    /// Bytes of the socket; those before `taken` are done with.
    raw: Vec<u8>,
    taken: usize,
    /// The last frame, uncompressed; those before `read` are done with.
    plain: Vec<u8>,
    read: usize,
    inflate: Decompress,
}

impl Default for Compression {
    fn default() -> Self {
        let inflate = Decompress::new(true);
        Self { sequence: 0, raw: Vec::new(), taken: 0, plain: Vec::new(), read: 0, inflate }
    }
}

impl Compression {
    /// Frames are counted anew with each command.
    pub(super) fn begin(&mut self) {
        self.sequence = 0;
    }

    /// Puts packets into frames. They are not compressed: what we send is short.
    pub(super) fn wrap(&mut self, packets: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(packets.len() + HEADER_BYTES);
        for part in packets.chunks(PACKET_BYTES_MAX) {
            let [a, b, c, ..] = part.len().to_le_bytes();
            out.extend_from_slice(&[a, b, c, self.sequence, 0, 0, 0]);
            out.extend_from_slice(part);
            self.sequence = self.sequence.wrapping_add(1);
        }
        out
    }

    /// Reads uncompressed bytes; zero means that the server closed the connection.
    pub(super) async fn read(&mut self, stream: &mut Stream, into: &mut [u8]) -> Result<usize, PacketError> {
        while self.read == self.plain.len() {
            if !self.next_frame(stream).await? {
                return Ok(0);
            }
        }
        let waiting = &self.plain[self.read..];
        let count = waiting.len().min(into.len());
        into[..count].copy_from_slice(&waiting[..count]);
        self.read += count;
        Ok(count)
    }

    /// Reads one frame; false means that the server closed the connection.
    async fn next_frame(&mut self, stream: &mut Stream) -> Result<bool, PacketError> {
        loop {
            if self.unpack()? {
                return Ok(true);
            }
            self.raw.drain(..self.taken);
            self.taken = 0;
            self.raw.reserve(READ_BYTES);
            if stream.read_buf(&mut self.raw).await? == 0 {
                return Ok(false);
            }
        }
    }

    /// Unpacks the frame at the head of `raw`; false means that it is not whole yet.
    fn unpack(&mut self) -> Result<bool, PacketError> {
        let &[a, b, c, sequence, d, e, f, ref rest @ ..] = &self.raw[self.taken..] else { return Ok(false) };
        let packed_length = length([a, b, c]);
        let Some(packed) = rest.get(..packed_length) else { return Ok(false) };
        if sequence != self.sequence {
            return Err(PacketError::Protocol("a compressed packet came out of order"));
        }
        self.sequence = sequence.wrapping_add(1);
        self.plain.clear();
        self.read = 0;
        match length([d, e, f]) {
            0 => self.plain.extend_from_slice(packed),
            plain_length => {
                self.plain.reserve_exact(plain_length);
                self.inflate.reset(true);
                let status = self.inflate.decompress_vec(packed, &mut self.plain, FlushDecompress::Finish);
                if !matches!(status, Ok(Status::StreamEnd)) || self.plain.len() != plain_length {
                    return Err(PacketError::Protocol("a compressed packet can not be read"));
                }
            }
        }
        self.taken += HEADER_BYTES + packed_length;
        Ok(true)
    }
}

fn length([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    use super::super::packets::tests::{feed, framed, pair};
    use super::*;

    fn frame(plain: &[u8], sequence: u8) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        let packed = encoder.finish().unwrap();
        let mut out = u32::try_from(packed.len()).unwrap().to_le_bytes()[..3].to_vec();
        out.push(sequence);
        out.extend_from_slice(&u32::try_from(plain.len()).unwrap().to_le_bytes()[..3]);
        out.extend_from_slice(&packed);
        out
    }

    #[tokio::test]
    async fn packets_are_found_across_the_borders_of_frames() {
        let stream = [framed(&[5; 1000], 0), framed(b"second", 1)].concat();
        let (head, tail) = stream.split_at(700);
        let (mut packets, peer) = pair();
        packets.compress();
        let feeding = feed(peer, [frame(head, 0), frame(tail, 1)].concat(), 13);
        assert_eq!(packets.packet().await.unwrap(), [5; 1000]);
        assert_eq!(packets.packet().await.unwrap(), b"second");
        feeding.await.unwrap();
    }

    #[tokio::test]
    async fn a_frame_whose_length_is_a_lie_is_refused() {
        let mut lie = frame(&framed(b"hello", 0), 0);
        lie[4] -= 1;
        let (mut packets, peer) = pair();
        packets.compress();
        let feeding = feed(peer, lie, 100);
        assert!(matches!(packets.packet().await, Err(PacketError::Protocol(_))));
        feeding.await.unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_can_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut compression = Compression { raw: bytes, ..Compression::default() };
            while matches!(compression.unpack(), Ok(true)) {}
        }
    }
}
