//! Connections: so many at once, none that stands still, all closed in order at the end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::app::Shared;

/// Connections at once; further ones wait in the queue of the system.
const CONNECTIONS: usize = 4096;
/// Files that the rest of the process may have open.
const OTHER_FILES: usize = 128;
/// From the opening of a connection, or the last answer, to the end of a request's head.
const HEAD: Duration = Duration::from_secs(15);
/// How long a client may take nothing of an answer.
const STUCK: Duration = Duration::from_secs(30);
/// For requests that are being answered when the server is stopped.
const LAST: Duration = Duration::from_secs(10);
/// Bytes of a request's head at most.
const MAX_HEAD: usize = 64 << 10;

/// Serves until `stop` says so, then lets what has begun be finished.
pub async fn serve(listener: TcpListener, router: Router, app: Shared, mut stop: watch::Receiver<bool>) {
    let most = CONNECTIONS.min(open_files().saturating_sub(OTHER_FILES)).max(16);
    let slots = Arc::new(Semaphore::new(most));
    loop {
        let slot = Arc::clone(&slots).acquire_owned();
        let slot = tokio::select! {
            slot = slot => slot.expect("the semaphore is never closed"),
            _ = stop.changed() => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(e) => {
                    // a client that has gone again is nothing; no more files is a reason to wait
                    if !matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted) {
                        (app.log)(&format!("a connection could not be accepted: {e}"));
                        sleep(Duration::from_millis(200)).await;
                    }
                    continue;
                }
            },
            _ = stop.changed() => break,
        };
        let (router, app, stop) = (router.clone(), Arc::clone(&app), stop.clone());
        tokio::spawn(async move {
            let _connected = app.metrics.connected();
            one(stream, router, stop).await;
            drop(slot);
        });
    }
    drop(listener);
    let _ = timeout(LAST, slots.acquire_many(most as u32)).await;
}

/// Serves one connection. Errors are those of the client (it went away, it does not speak HTTP) and nobody's concern.
async fn one(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
    let connection = builder.serve_connection(TokioIo::new(Moving::new(stream)), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|s| *s) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// A stream whose writes fail when the other side takes nothing for [`STUCK`].
struct Moving {
    stream: TcpStream,
    stuck: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Moving {
    fn new(stream: TcpStream) -> Moving {
        Moving { stream, stuck: Box::pin(sleep(STUCK)), waiting: false }
    }

    /// What a write gave; an error where it has been waiting for too long.
    fn watched<T>(&mut self, poll: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.waiting = false;
            return poll;
        }
        if !self.waiting {
            self.waiting = true;
            self.stuck.as_mut().reset(Instant::now() + STUCK);
        }
        match self.stuck.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Moving {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Moving {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watched(poll, cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watched(poll, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Files that this process may have open.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"));
    let soft = line.and_then(|l| l.split_whitespace().next());
    soft.map_or(1024, |s| s.parse().unwrap_or(usize::MAX))
}

/// Listens at an address, with room for a thousand connections that are not accepted yet.
///
/// # Errors
/// What the system says: a port in use, one that needs privileges, an address of another machine.
pub fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(1024)
}
