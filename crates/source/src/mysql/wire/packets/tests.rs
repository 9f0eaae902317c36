use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;

/// Packets from a peer that is a test, and the peer's end.
pub(in super::super) fn pair() -> (Packets, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    (Packets::new(Stream::Plain(PlainStream::Memory(ours))), theirs)
}

/// The packets of one payload, with their sequence numbers from `sequence` on.
pub(in super::super) fn framed(payload: &[u8], mut sequence: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = payload;
    loop {
        let (now, later) = rest.split_at(rest.len().min(PACKET_BYTES_MAX));
        out.extend_from_slice(&u32::try_from(now.len()).unwrap().to_le_bytes()[..3]);
        out.push(sequence);
        out.extend_from_slice(now);
        sequence = sequence.wrapping_add(1);
        rest = later;
        if now.len() < PACKET_BYTES_MAX {
            return out;
        }
    }
}

/// Sends bytes in pieces, then closes.
pub(in super::super) fn feed(mut peer: DuplexStream, bytes: Vec<u8>, piece: usize) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        for piece in bytes.chunks(piece) {
            if peer.write_all(piece).await.is_err() {
                return;
            }
        }
    })
}

async fn received(bytes: Vec<u8>, piece: usize, count: usize) -> Vec<Vec<u8>> {
    let (mut packets, peer) = pair();
    let feeding = feed(peer, bytes, piece);
    let mut payloads = Vec::new();
    for _ in 0..count {
        payloads.push(packets.packet().await.unwrap().to_vec());
    }
    feeding.await.unwrap();
    assert!(matches!(packets.packet().await, Err(PacketError::Closed)));
    payloads
}

#[tokio::test]
async fn packets_that_arrive_byte_by_byte_are_put_together() {
    let bytes = [framed(b"one", 0), framed(b"", 1), framed(&[7; 300], 2)].concat();
    assert_eq!(received(bytes, 1, 3).await, [b"one".to_vec(), Vec::new(), vec![7; 300]]);
}

#[tokio::test]
async fn packets_that_straddle_the_end_of_the_buffer_are_whole() {
    let payloads: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; 100_000 + usize::from(n)]).collect();
    let bytes = payloads.iter().zip(0..).flat_map(|(payload, n)| framed(payload, n)).collect();
    assert_eq!(received(bytes, 7_777, 40).await, payloads);
}

#[tokio::test]
async fn payloads_around_the_longest_packet_are_whole() {
    for length in [PACKET_BYTES_MAX - 1, PACKET_BYTES_MAX, PACKET_BYTES_MAX + 1] {
        let payload: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let (mut packets, peer) = pair();
        let feeding = feed(peer, [framed(&payload, 0), framed(b"next", 2)].concat(), 1 << 20);
        while packets.head() == Head::Partial {
            packets.read_more().await.unwrap();
        }
        assert!(packets.assemble(ROW_BYTES_MAX).await.unwrap(), "{length}");
        assert!(packets.large() == payload, "{length}");
        if length >= PACKET_BYTES_MAX {
            assert_eq!(packets.packet().await.unwrap(), b"next");
        }
        feeding.await.unwrap();
    }
}

#[tokio::test]
async fn a_giant_is_left_out_and_its_memory_given_back() {
    let (mut packets, peer) = pair();
    let giant = vec![1; 2 * PACKET_BYTES_MAX + 5];
    let feeding = feed(peer, [framed(&giant, 0), framed(b"next", 3)].concat(), 1 << 20);
    while packets.head() == Head::Partial {
        packets.read_more().await.unwrap();
    }
    assert!(!packets.assemble(PACKET_BYTES_MAX + 5).await.unwrap());
    assert!(packets.large.capacity() == 0);
    assert_eq!(packets.packet().await.unwrap(), b"next");
    assert_eq!(packets.bytes_taken(), (giant.len() + 3 * HEADER_BYTES + HEADER_BYTES + 4) as u64);
    feeding.await.unwrap();
}

#[tokio::test]
async fn a_packet_out_of_order_is_refused_unless_it_is_a_goodbye() {
    let (mut packets, peer) = pair();
    let feeding = feed(peer, [framed(b"a", 0), framed(b"\xff\x00\x04bye", 0), framed(b"b", 7)].concat(), 100);
    assert_eq!(packets.packet().await.unwrap(), b"a");
    assert_eq!(packets.packet().await.unwrap(), b"\xff\x00\x04bye");
    assert!(matches!(packets.packet().await, Err(PacketError::Protocol(_))));
    feeding.await.unwrap();
}

#[tokio::test]
async fn a_long_request_is_cut_as_the_protocol_demands() {
    let (mut packets, mut peer) = pair();
    let payload = vec![3; PACKET_BYTES_MAX];
    let expected = framed(&payload, 0);
    assert!(expected.ends_with(&[0, 0, 0, 1]), "an empty packet follows one of exactly the longest length");
    let mut seen = vec![0; expected.len()];
    let (sent, read) = tokio::join!(packets.command(&payload), peer.read_exact(&mut seen));
    sent.unwrap();
    read.unwrap();
    assert!(seen == expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_can_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let (mut packets, peer) = pair();
            let feeding = feed(peer, bytes, piece);
            while packets.packet().await.is_ok() {}
            drop(packets);
            feeding.await.unwrap();
        });
    }
}
