//! The stream under an SMTP session: no server can send without end, and nothing that came
//! before TLS is taken for what came through it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf},
    task::coop,
};

/// What a server may send before it is its turn again. Replies take up to a kilobyte,
/// certificates some more.
const REPLY_MAX_BYTES: usize = 32 * 1024;

/// Hands out one line at a time, up to a limit for each reply. A reader above it that buffers can
/// thus not hold the beginning of what follows a reply, as would be needed to slip replies in
/// before TLS begins (RFC 3207, 6).
#[derive(Debug)]
pub(super) struct Lines<S> {
    stream: BufReader<S>,
    peer: SocketAddr,
    left: usize,
}

impl<S: AsyncRead> Lines<S> {
    pub(super) fn new(stream: S, peer: SocketAddr) -> Self {
        Self { stream: BufReader::new(stream), peer, left: REPLY_MAX_BYTES }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lines<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What has arrived is handed out without waiting, so that nothing else would ever run, the
        // clock that ends it included.
        let budget = ready!(coop::poll_proceed(context));
        let Self { stream, left, .. } = &mut *self;
        let arrived = ready!(Pin::new(&mut *stream).poll_fill_buf(context))?;
        let line = arrived.iter().position(|byte| *byte == b'\n').map_or(arrived.len(), |end| end + 1);
        let length = line.min(into.remaining());
        // Before anything is handed out: who reads an error must find nothing read beside it.
        *left = left
            .checked_sub(length)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the server sends without end"))?;
        into.put_slice(&arrived[..length]);
        Pin::new(stream).consume(length);
        budget.made_progress();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lines<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.left = REPLY_MAX_BYTES;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> AsyncTokioStream for Lines<S>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug,
{
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn lines<S: AsyncRead>(stream: S) -> Lines<S> {
        Lines::new(stream, "127.0.0.1:25".parse().unwrap())
    }

    #[tokio::test]
    async fn what_follows_a_reply_waits_for_the_next_read() {
        let mut stream = lines(&b"220 go on\r\n250 slipped in\r\n"[..]);
        let mut buffer = [0; 1024];
        for expected in ["220 go on\r\n", "250 slipped in\r\n", ""] {
            let length = stream.read(&mut buffer).await.unwrap();
            assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_server_that_sends_without_end_is_cut_off() {
        let mut stream = lines(tokio::io::repeat(b'x'));
        let mut everything = Vec::new();
        let error = stream.read_to_end(&mut everything).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(everything.len() <= REPLY_MAX_BYTES, "{}", everything.len());
    }
}
