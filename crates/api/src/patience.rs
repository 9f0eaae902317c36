//! A stream that does not wait for ever for its client, and does not cut it off in the middle of a word.
//!
//! **Writing.** From the moment at which the system takes no more bytes, what is being written must be gone within a
//! time: the clock stops only when all of it was handed over. A client that takes a byte now and then wins nothing.
//!
//! **Closing.** A system that closes a connection on which bytes arrive that nobody reads tells the client "reset", and
//! the client's system throws away what it had not read yet: the answer that said why. So after the last word the
//! server listens on, to nothing in particular, until the client has ended too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::limits::{LINGER_BYTES_MAX, Limits};

/// How much is read at once of what nobody needs.
const READ_BYTES: usize = 16 << 10;

/// A stream that bounds how long writing and closing may take; see the module's text.
#[derive(Debug)]
pub(crate) struct Patient<S> {
    stream: S,
    answer: Duration,
    linger: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    /// How much is still listened to after the last word; none before it.
    lingering: Option<usize>,
}

impl<S> Patient<S> {
    /// As patient as the limits say.
    pub(crate) fn new(stream: S, limits: &Limits) -> Self {
        Self { stream, answer: limits.answer, linger: limits.linger, deadline: None, lingering: None }
    }

    /// Ready when the time that began with the first call is over.
    fn poll_deadline(&mut self, patience: Duration, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx)
    }

    /// What became of a write, unless it has become too late.
    fn in_time<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_pending() && self.poll_deadline(self.answer, cx).is_ready() {
            metrics::counter!("headwaters_http_refused_total", "reason" => "answer_not_taken").increment(1);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.in_time(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // While it lingers the same clock counts another time; the protocol flushes before it goes on closing.
        if flushed.is_ready() && self.lingering.is_none() {
            self.deadline = None;
        }
        self.in_time(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.lingering = Some(LINGER_BYTES_MAX);
            this.deadline = None;
        }
        let mut bytes = [0; READ_BYTES];
        while let Some(left @ 1..) = this.lingering {
            let mut rest = ReadBuf::new(&mut bytes);
            match Pin::new(&mut this.stream).poll_read(cx, &mut rest) {
                Poll::Ready(Ok(())) if !rest.filled().is_empty() => {
                    this.lingering = Some(left.saturating_sub(rest.filled().len()));
                }
                Poll::Ready(_) => break,
                Poll::Pending => return this.poll_deadline(this.linger, cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    fn limits() -> Limits {
        Limits { answer: Duration::from_millis(200), linger: Duration::from_millis(200), ..Limits::default() }
    }

    #[tokio::test]
    async fn who_takes_a_byte_now_and_then_is_cut_all_the_same() {
        let (mut client, server) = duplex(16);
        let mut server = Patient::new(server, &limits());
        let taker = tokio::spawn(async move {
            let mut byte = [0];
            while client.read(&mut byte).await.is_ok_and(|read| read > 0) {
                sleep(Duration::from_millis(20)).await;
            }
        });
        let started = Instant::now();
        let failed = server.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= Duration::from_millis(200));
        drop(server);
        taker.await.unwrap();
    }

    #[tokio::test]
    async fn the_clock_stops_when_all_is_handed_over() {
        let (mut client, server) = duplex(16);
        let mut server = Patient::new(server, &limits());
        for _ in 0..3 {
            let (sent, taken) = tokio::join!(
                async {
                    server.write_all(&[0; 64]).await?;
                    server.flush().await
                },
                async {
                    sleep(Duration::from_millis(100)).await;
                    client.read_exact(&mut [0; 64]).await
                }
            );
            sent.unwrap();
            taken.unwrap();
        }
    }

    #[tokio::test]
    async fn what_still_comes_after_the_last_word_is_listened_to_until_the_client_ends() {
        let (mut client, server) = duplex(16);
        let mut server = Patient::new(server, &Limits { linger: Duration::from_secs(20), ..limits() });
        let ((), closed) = tokio::join!(
            async {
                client.write_all(&[1; 4096]).await.unwrap();
                client.shutdown().await.unwrap();
            },
            server.shutdown()
        );
        closed.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_never_ends_is_not_listened_to_for_ever() {
        let (_client, server) = duplex(16);
        let mut server = Patient::new(server, &limits());
        // As the protocol closes: it flushes whenever it is woken.
        let closed = std::future::poll_fn(|cx| {
            let _ = Pin::new(&mut server).poll_flush(cx);
            Pin::new(&mut server).poll_shutdown(cx)
        });
        tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap().unwrap();
    }
}
