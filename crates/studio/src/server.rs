//! The server: a thread that accepts connections, within limits.

use crate::guard::Guard;
use crate::routes::App;
use crate::{StudioConfig, StudioError};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Sleep, sleep};

/// Connections at a time; more of them wait.
const MAX_CONNECTIONS: usize = 512;
/// Threads that read files and make pages.
const FILE_THREADS: usize = 4;
/// The longest head of a request in bytes.
const MAX_HEAD: usize = 32 << 10;
/// The most headers of a request.
const MAX_HEADERS: usize = 64;
/// The time in which a head must have arrived, and after which an idle connection is closed.
const HEAD_TIME: Duration = Duration::from_secs(20);
/// The time in which a client must take something of what it is sent.
const STALL_TIME: Duration = Duration::from_secs(30);
/// The time that a request in progress has when the studio ends.
const END_TIME: Duration = Duration::from_millis(200);

/// A running studio. It ends when this is dropped.
#[derive(Debug)]
pub struct Studio {
    address: SocketAddr,
    url: String,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Studio {
    /// Starts a studio that listens on `address`; port 0 stands for any free one.
    ///
    /// # Errors
    /// Returns an error if the address cannot be listened to, or the system has no thread.
    pub fn start(config: StudioConfig, address: SocketAddr) -> Result<Self, StudioError> {
        let cannot_listen = |source| StudioError::Listen { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(cannot_listen)?;
        listener.set_nonblocking(true).map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let guard = Guard::new(address, config.needs_token, config.read_only)?;
        let url = guard.url();
        let router = App::new(config, guard).router();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(FILE_THREADS)
            .thread_name("studio files")
            .build()
            .map_err(StudioError::Start)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener).map_err(StudioError::Start)?
        };
        let (end, ended) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                let accepting = tokio::spawn(accept(listener, router));
                // An error means that the studio was dropped.
                let _ = ended.await;
                accepting.abort();
            });
            runtime.shutdown_timeout(END_TIME);
        };
        let thread = thread::Builder::new()
            .name("studio".to_owned())
            .spawn(serve)
            .map_err(StudioError::Start)?;
        Ok(Self { address, url, end: Some(end), thread: Some(thread) })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address to open in a browser, with the token if clients need it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        let _end = self.end.take();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread.
            let _ = thread.join();
        }
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve(stream, router).await;
                    drop(place);
                });
            }
            // Too many open files, or a client that left already.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    // Events are short: without this, the next would wait for the client to confirm the last.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(
            TokioIo::new(Impatient { stream, stalled: None }),
            TowerToHyperService::new(router),
        );
    // The client vanished, was too slow, or does not speak HTTP.
    let _ = connection.await;
}

/// A connection that fails when the client takes nothing of what it is sent for [`STALL_TIME`].
struct Impatient {
    stream: TcpStream,
    /// Runs since the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn patient<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL_TIME)));
        stalled.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.patient(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.patient(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.patient(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
