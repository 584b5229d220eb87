//! A web server for the files of one directory, for small installations.
//!
//! It serves no listings, no files that start with a dot, and no links out of the directory. HEAD and range requests are
//! supported, so that downloads can be resumed.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tower_http::services::ServeDir;
use tower_http::services::fs::ServeFileSystemResponseBody;

/// A file, or nothing.
type Body = Either<ServeFileSystemResponseBody, Empty<Bytes>>;

/// The number of concurrent connections. Others wait.
const MAX_CONNECTIONS: usize = 128;

/// How long a client may take to send its request header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that is bound to its port and not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    site: Site,
}

/// The served directory.
#[derive(Clone, Debug)]
struct Site {
    /// Its canonical path.
    dir: PathBuf,
    /// The URL path prefix, such as `/kiln`, or empty.
    prefix: String,
}

impl Server {
    /// Binds the port. The directory must exist. `PREFIX/x` serves `DIR/x`.
    pub fn bind(dir: &Path, prefix: &str, address: SocketAddr) -> io::Result<Self> {
        let dir = dir.canonicalize()?;
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, site: Site { dir, prefix: prefix.trim_end_matches('/').to_owned() } })
    }

    /// The bound address, with the actual port if 0 was requested.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process ends or the listener fails.
    pub fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(accept(self.listener, self.site))
    }
}

async fn accept(listener: TcpListener, site: Site) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            // The client disconnected, or there are too many open files: continue with others.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let site = site.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request| {
                let site = site.clone();
                async move { site.answer(request).await }
            });
            let mut connection = http1::Builder::new();
            connection.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            // An error of one client does not affect the others.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Site {
    async fn answer(&self, mut request: Request<Incoming>) -> io::Result<Response<Body>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        let Some(path) = self.file(request.uri().path()) else { return Ok(empty(StatusCode::NOT_FOUND)) };
        let uri = format!("/{path}").parse();
        *request.uri_mut() = uri.map_err(io::Error::other)?;
        let mut files = ServeDir::new(&self.dir).append_index_html_on_directories(false);
        Ok(files.try_call(request).await?.map(Either::Left))
    }

    /// The relative path of the file that a URL path names, if it may be served. kiln publishes no names that need escapes.
    fn file<'p>(&self, path: &'p str) -> Option<&'p str> {
        let path = path.strip_prefix(self.prefix.as_str())?.strip_prefix('/')?;
        let plain =
            |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['%', '\\', ':']);
        if !path.split('/').all(plain) {
            return None;
        }
        let real = self.dir.join(path).canonicalize().ok()?;
        (real.starts_with(&self.dir) && real.is_file()).then_some(path)
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
pub(in crate::lab) mod tests;
