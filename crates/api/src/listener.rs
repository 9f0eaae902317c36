//! A stream for clients that don't percent-encode.
//!
//! The tutorials' calls carry `"`, `<` and `>` as they are in the query (`?property=name=="mysql"`), and the hosted
//! platform takes them (flow-service.md 1, "Query parsing"). The HTTP library refuses such a target with a bare 400
//! before any route is asked, so the three characters are percent-encoded on their way in, in request lines only.
//!
//! **Where a request line begins.** The first bytes of a connection, and the first bytes after we have written: a client
//! that waits for its answer sends nothing else there. Bytes at such a place that don't begin with a method and a blank
//! (the rest of a body that was answered early, a body after `100 Continue`) pass untouched, and so does everything up to
//! the next write. A pipelined request is thus not rewritten; it is answered as the library sees fit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest method that is taken for one; `PATCH` and `DELETE` are shorter.
const METHOD_BYTES_MAX: usize = 16;
/// How much is read at once while a request line may be under way; a rewritten byte becomes three.
const READ_BYTES: usize = 4096;

/// A stream whose request lines are made palatable; see the module's text.
#[derive(Debug)]
pub(crate) struct Tolerant<S> {
    stream: S,
    place: Place,
    /// Read and rewritten, not yet handed on.
    ready: Vec<u8>,
    /// How much of `ready` was handed on.
    taken: usize,
}

/// Where in a request the next byte from the client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a method; so many bytes of it were seen.
    Method(usize),
    /// In the target of a request line.
    Target,
    /// Anywhere else.
    Beyond,
}

impl<S> Tolerant<S> {
    /// A stream whose next byte may begin a request.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, place: Place::Method(0), ready: Vec::new(), taken: 0 }
    }

    fn rewrite(&mut self, bytes: &[u8]) {
        for (at, &byte) in bytes.iter().enumerate() {
            match (self.place, byte) {
                (Place::Beyond, _) => {
                    self.ready.extend_from_slice(&bytes[at..]);
                    return;
                }
                // Empty lines before a request line are allowed.
                (Place::Method(0), b'\r' | b'\n') => {}
                (Place::Method(seen), b'A'..=b'Z') if seen < METHOD_BYTES_MAX => self.place = Place::Method(seen + 1),
                (Place::Method(1..), b' ') => self.place = Place::Target,
                (Place::Method(_), _) | (Place::Target, b' ' | b'\r' | b'\n') => self.place = Place::Beyond,
                (Place::Target, b'"') => {
                    self.ready.extend_from_slice(b"%22");
                    continue;
                }
                (Place::Target, b'<') => {
                    self.ready.extend_from_slice(b"%3C");
                    continue;
                }
                (Place::Target, b'>') => {
                    self.ready.extend_from_slice(b"%3E");
                    continue;
                }
                (Place::Target, _) => {}
            }
            self.ready.push(byte);
        }
    }

    fn hand_on(&mut self, out: &mut ReadBuf<'_>) {
        let rest = self.ready.get(self.taken..).unwrap_or_default();
        let fits = rest.len().min(out.remaining());
        out.put_slice(&rest[..fits]);
        self.taken += fits;
        if self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tolerant<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ready.is_empty() {
            if this.place == Place::Beyond {
                return Pin::new(&mut this.stream).poll_read(cx, out);
            }
            let mut bytes = [0; READ_BYTES];
            let mut raw = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut raw))?;
            this.rewrite(raw.filled());
        }
        this.hand_on(out);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tolerant<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.place = Place::Method(0);
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
        self.place = Place::Method(0);
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

    /// What the library reads when the client sends `pieces`, one after the other.
    async fn read_through(pieces: &[&str]) -> String {
        let (mut client, server) = duplex(64);
        let mut tolerant = Tolerant::new(server);
        let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        let sender = tokio::spawn(async move {
            for piece in pieces {
                client.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut text = String::new();
        tolerant.read_to_string(&mut text).await.unwrap();
        sender.await.unwrap();
        text
    }

    #[tokio::test]
    async fn raw_quotes_and_angles_of_a_target_are_encoded_and_nothing_else_is() {
        let sent = "GET /flows?property=name==\"a<b>\" HTTP/1.1\r\nhost: \"x\"\r\n\r\n{\"a\": \"<>\"}";
        let expected = "GET /flows?property=name==%22a%3Cb%3E%22 HTTP/1.1\r\nhost: \"x\"\r\n\r\n{\"a\": \"<>\"}";
        assert_eq!(read_through(&[sent]).await, expected);
    }

    #[tokio::test]
    async fn a_request_line_may_arrive_byte_by_byte() {
        let sent: Vec<String> = "GET /a?b==\"c\" HTTP/1.1\r\n\r\n".chars().map(String::from).collect();
        let pieces: Vec<&str> = sent.iter().map(String::as_str).collect();
        assert_eq!(read_through(&pieces).await, "GET /a?b==%22c%22 HTTP/1.1\r\n\r\n");
    }

    #[tokio::test]
    async fn bytes_that_begin_with_no_method_pass_untouched() {
        for sent in ["{\"a\": 1}", " GET \"", "get /\"", "ABCDEFGHIJKLMNOPQRSTUVWXYZ \"", "\"\""] {
            assert_eq!(read_through(&[sent]).await, sent);
        }
    }

    #[tokio::test]
    async fn the_next_request_of_a_connection_is_rewritten_too() {
        let (mut client, server) = duplex(1024);
        let mut tolerant = Tolerant::new(server);
        for _ in 0..3 {
            client.write_all(b"GET /?\" HTTP/1.1\r\n\r\n").await.unwrap();
            let mut read = vec![0; 25];
            let n = tolerant.read(&mut read).await.unwrap();
            assert_eq!(&read[..n], b"GET /?%22 HTTP/1.1\r\n\r\n");
            tolerant.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_request_is_cut(
            request in "[A-Z]{0,20} ?/?[ -~]{0,40}\\r?\\n?[ -~]{0,20}",
            cuts in proptest::collection::vec(0usize..80, 0..6),
        ) {
            let whole = {
                let mut tolerant = Tolerant::new(());
                tolerant.rewrite(request.as_bytes());
                tolerant.ready
            };
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(request.len())).collect();
            cuts.extend([0, request.len()]);
            cuts.sort_unstable();
            let mut tolerant = Tolerant::new(());
            for pair in cuts.windows(2) {
                tolerant.rewrite(&request.as_bytes()[pair[0]..pair[1]]);
            }
            prop_assert_eq!(tolerant.ready, whole);
        }
    }
}
