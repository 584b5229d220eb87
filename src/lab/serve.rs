//! A web server for small set-ups: the files of one directory, and nothing else of the machine.
//!
//! There are no listings, no files that begin with a dot, and no links that lead out of the directory. HEAD and ranges are
//! understood, as downloads are begun again in the middle.

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

/// How many are served at once. Others wait.
const AT_ONCE: usize = 128;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that has its port and serves nobody yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    site: Site,
}

/// What is served.
#[derive(Clone, Debug)]
struct Site {
    /// Without links in its own path.
    dir: PathBuf,
    /// What every path begins with, such as `/kiln`; empty for none.
    prefix: String,
}

impl Server {
    /// Takes the port. The directory must be there. `prefix` is the path of its address: what is at `PREFIX/x` is `DIR/x`.
    pub fn bind(dir: &Path, prefix: &str, address: SocketAddr) -> io::Result<Self> {
        let dir = dir.canonicalize()?;
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, site: Site { dir, prefix: prefix.trim_end_matches('/').to_owned() } })
    }

    /// Where it listens: with the port that it was given, where none was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves, until the process ends or something is wrong with the port.
    pub fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(accept(self.listener, self.site))
    }
}

async fn accept(listener: TcpListener, site: Site) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            // A client that went before its turn, or no more open files: others are served on.
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
            connection.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            // What goes wrong with one client is nothing to the others.
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

    /// The path below the directory that an address means, if it is one of a file that is to be had. Names that would have to be
    /// escaped are none of ours.
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
