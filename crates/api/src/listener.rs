//! A stream for clients that don't percent-encode.
//!
//! The tutorials' calls carry `"`, `<` and `>` as they are in the query (`?property=name=="mysql"`), and the hosted
//! platform takes them (flow-service.md 1, "Query parsing"). The HTTP library refuses such a target with a bare 400
//! before any route is asked, so the three characters are percent-encoded on their way in, in request lines only.
//!
//! **Invariant.** Nothing but a request line is ever changed: a byte that becomes three within a body would move its end
//! away from where the client put it, and what the client sent as data would be read as its next request. So a request
//! line begins in two places only: at the first byte of a connection, and right behind the end of a message, which is
//! never guessed. What is handed on at once ends where a head ends, the library reads that head before it asks for
//! more, and tells through [`Framing`] how long it takes the body to be; so many bytes pass untouched, whoever reads
//! them and whatever is answered meanwhile. Where the two disagree on the end of a head, or the length of a body is not
//! known (chunked), all that follows on the connection passes untouched.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest method that is taken for one; `PATCH` and `DELETE` are shorter.
const METHOD_BYTES_MAX: usize = 16;
/// How much is read at once while the end of a message is kept track of.
const READ_BYTES: usize = 8 << 10;

/// What the library makes of the message whose head it has read last: how it tells, and how the stream learns it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Framing(Arc<Mutex<Option<BodyLength>>>);

/// How long the library takes a body to be.
#[derive(Debug, Clone, Copy)]
enum BodyLength {
    Bytes(u64),
    Unknown,
}

impl Framing {
    /// A head was read; its body has so many bytes, or its length is not known beforehand. To be called before the body
    /// is asked for.
    pub(crate) fn head_was_read(&self, body_bytes: Option<u64>) {
        *self.lock() = Some(body_bytes.map_or(BodyLength::Unknown, BodyLength::Bytes));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<BodyLength>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose request lines are made palatable; see the module's text.
#[derive(Debug)]
pub(crate) struct Tolerant<S> {
    stream: S,
    framing: Framing,
    place: Place,
    /// Read, and not looked at yet: it may belong to the next message.
    raw: BytesMut,
    /// Looked at, and not handed on yet.
    ready: BytesMut,
}

/// Where in the conversation the next byte from the client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a method; so many bytes of it were seen.
    Method(usize),
    /// In the target of a request line.
    Target,
    /// Behind it, in the first line of a head or a later one.
    Line(Line),
    /// Behind a head that was handed on as a whole.
    HeadEnd,
    /// In a body, of which so many bytes are to come.
    Body(u64),
    /// In a place that is not known, from here to the end of the connection.
    Beyond,
}

/// Where in a line of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// At its first byte.
    Begin,
    /// Behind a carriage return that is its first byte.
    Return,
    /// Anywhere else.
    Within,
}

impl Place {
    const MESSAGE: Self = Self::Method(0);

    /// The place behind a byte of a head.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            // Empty lines before a request line are allowed.
            (Self::Method(0), b'\r' | b'\n') => self,
            (Self::Method(seen), b'A'..=b'Z') if seen < METHOD_BYTES_MAX => Self::Method(seen + 1),
            (Self::Method(1..), b' ') => Self::Target,
            (Self::Line(Line::Begin | Line::Return), b'\n') => Self::HeadEnd,
            (Self::Line(Line::Begin), b'\r') => Self::Line(Line::Return),
            (Self::Method(_) | Self::Target | Self::Line(_), b'\n') => Self::Line(Line::Begin),
            (Self::Method(_) | Self::Line(_), _) | (Self::Target, b' ' | b'\r') => Self::Line(Line::Within),
            (Self::Target | Self::HeadEnd | Self::Body(_) | Self::Beyond, _) => self,
        }
    }
}

impl<S> Tolerant<S> {
    /// A stream whose next byte may begin a request.
    pub(crate) fn new(stream: S, framing: Framing) -> Self {
        Self { stream, framing, place: Place::MESSAGE, raw: BytesMut::new(), ready: BytesMut::new() }
    }

    /// Finds out where the next byte stands, now that all before it were handed on and more is asked for.
    fn find_place(&mut self) {
        let mut announced = self.framing.lock();
        self.place = match (self.place, announced.take()) {
            (Place::HeadEnd, Some(BodyLength::Bytes(0))) | (Place::Body(0), None) => Place::MESSAGE,
            (Place::HeadEnd, Some(BodyLength::Bytes(length))) => Place::Body(length),
            // Not read although it has ended, or read before it has: the library sees another end of the head.
            (Place::HeadEnd, None | Some(BodyLength::Unknown)) | (_, Some(_)) => Place::Beyond,
            (place, None) => place,
        };
    }

    /// Takes of what was read as much as may be handed on at once.
    fn advance(&mut self) {
        match self.place {
            Place::HeadEnd | Place::Beyond => self.ready = self.raw.split(),
            Place::Body(left) => {
                let part = usize::try_from(left).unwrap_or(usize::MAX).min(self.raw.len());
                self.ready = self.raw.split_to(part);
                self.place = Place::Body(left - part as u64);
            }
            Place::Method(_) | Place::Target | Place::Line(_) => self.advance_head(),
        }
    }

    fn advance_head(&mut self) {
        let mut seen = 0;
        for &byte in &self.raw {
            match (self.place, byte) {
                (Place::HeadEnd, _) => break,
                (Place::Target, b'"') => self.ready.extend_from_slice(b"%22"),
                (Place::Target, b'<') => self.ready.extend_from_slice(b"%3C"),
                (Place::Target, b'>') => self.ready.extend_from_slice(b"%3E"),
                _ => self.ready.extend_from_slice(&[byte]),
            }
            self.place = self.place.after(byte);
            seen += 1;
        }
        self.raw.advance(seen);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tolerant<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ready.is_empty() {
            this.find_place();
            if this.raw.is_empty() {
                if this.place == Place::Beyond {
                    return Pin::new(&mut this.stream).poll_read(cx, out);
                }
                let mut bytes = [0; READ_BYTES];
                let mut read = ReadBuf::new(&mut bytes);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
                this.raw.extend_from_slice(read.filled());
            }
            this.advance();
        }
        let fits = this.ready.len().min(out.remaining());
        out.put_slice(&this.ready.split_to(fits));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tolerant<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What the library reads when the client sends `pieces`, one after the other, and every head is followed by a body
    /// of the next of these lengths.
    async fn read_through(pieces: Vec<Vec<u8>>, bodies: &[Option<u64>]) -> Vec<u8> {
        let (mut client, server) = duplex(64);
        let framing = Framing::default();
        let mut tolerant = Tolerant::new(server, framing.clone());
        let sender = tokio::spawn(async move {
            for piece in pieces {
                client.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let (mut all, mut heads) = (Vec::new(), bodies.iter());
        while tolerant.read_buf(&mut all).await.unwrap() > 0 {
            if tolerant.place == Place::HeadEnd
                && tolerant.ready.is_empty()
                && let Some(body) = heads.next()
            {
                framing.head_was_read(*body);
            }
        }
        sender.await.unwrap();
        all
    }

    async fn read_text(text: &str, bodies: &[Option<u64>]) -> String {
        String::from_utf8(read_through(vec![text.as_bytes().to_vec()], bodies).await).unwrap()
    }

    #[tokio::test]
    async fn raw_quotes_and_angles_of_a_target_are_encoded_and_nothing_else_is() {
        let sent = "GET /flows?property=name==\"a<b>\" HTTP/1.1\r\nhost: \"x\"\r\n\r\n{\"a\": \"<>\"}";
        let expected = "GET /flows?property=name==%22a%3Cb%3E%22 HTTP/1.1\r\nhost: \"x\"\r\n\r\n{\"a\": \"<>\"}";
        assert_eq!(read_text(sent, &[Some(11)]).await, expected);
    }

    #[tokio::test]
    async fn heads_that_begin_with_no_method_pass_untouched() {
        for sent in ["{\"a\": 1}", " GET \"", "get /\"", "ABCDEFGHIJKLMNOPQRSTUVWXYZ \"", "\"\""] {
            assert_eq!(read_text(sent, &[]).await, sent);
        }
    }

    /// Bodies that look like request lines in every way, before and between requests that are some.
    const TALK: &str =
        "POST /?\" HTTP/1.1\r\n\r\nA \"\"<> \r\n\r\nGET /?< HTTP/1.1\n\nPOST /?> HTTP/1.1\r\na: b\r\n\r\nA \"";
    const TALK_READ: &str =
        "POST /?%22 HTTP/1.1\r\n\r\nA \"\"<> \r\n\r\nGET /?%3C HTTP/1.1\n\nPOST /?%3E HTTP/1.1\r\na: b\r\n\r\nA \"";
    const TALK_BODIES: [Option<u64>; 3] = [Some(11), Some(0), Some(3)];

    #[tokio::test]
    async fn request_after_request_is_rewritten_and_no_body_between_them() {
        assert_eq!(read_text(TALK, &TALK_BODIES).await, TALK_READ);
    }

    #[tokio::test]
    async fn behind_a_body_of_unknown_length_nothing_is_rewritten_any_more() {
        let sent = "POST /?\" HTTP/1.1\r\n\r\nA \"\"\r\n\r\nGET /?\" HTTP/1.1\r\n\r\n";
        let expected = sent.replacen('"', "%22", 1);
        assert_eq!(read_text(sent, &[None, Some(0)]).await, expected);
    }

    #[tokio::test]
    async fn when_the_library_sees_another_end_of_a_head_nothing_is_rewritten_any_more() {
        // It has not read the head that has ended.
        let sent = "POST /?\" HTTP/1.1\r\n\r\nA \"\"\r\n\r\nGET /?\" HTTP/1.1\r\n\r\n";
        assert_eq!(read_text(sent, &[]).await, sent.replacen('"', "%22", 1));
        // It has read one that has not ended.
        let framing = Framing::default();
        let (mut client, server) = duplex(64);
        let mut tolerant = Tolerant::new(server, framing.clone());
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert_eq!(tolerant.read(&mut [0; 64]).await.unwrap(), 16);
        framing.head_was_read(Some(0));
        client.write_all(b"\r\nGET /\" HTTP/1.1\r\n").await.unwrap();
        drop(client);
        let mut rest = String::new();
        tolerant.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "\r\nGET /\" HTTP/1.1\r\n");
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_conversation_is_cut(
            cuts in proptest::collection::vec(0..TALK.len(), 0..TALK.len()),
        ) {
            let mut cuts = cuts;
            cuts.extend([0, TALK.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| TALK.as_bytes()[pair[0]..pair[1]].to_vec()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(read_through(pieces, &TALK_BODIES));
            prop_assert_eq!(String::from_utf8(read).unwrap(), TALK_READ);
        }

        #[test]
        fn what_begins_with_no_method_is_never_changed(bytes in "[a-z\" <>\r\n]{0,80}") {
            let mut tolerant = Tolerant::new((), Framing::default());
            tolerant.raw.extend_from_slice(bytes.as_bytes());
            tolerant.advance();
            tolerant.ready.unsplit(tolerant.raw);
            prop_assert_eq!(&tolerant.ready[..], bytes.as_bytes());
        }
    }
}
