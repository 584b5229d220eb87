//! A lab's job events over a websocket. An event only triggers an earlier poll: the websocket is not authenticated, and
//! missed events are covered by polling.
//!
//! A message is a list of topic, number, time, user, and a JSON text such as `{"job": 21, "state": "Running", ..}`, as observed
//! on LAVA 2023.01.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::Url;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_platform_verifier::BuilderVerifierExt;
use serde::Deserialize;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, Message, WebSocket};

use super::connect::settings_error;
use super::{JobId, LavaError, Settings};
use crate::net::{certificate_error, install_crypto_provider, is_loopback};
use crate::text::error_chain;

/// The largest message, in bytes. LAVA's have some 500.
const MAX_MESSAGE: usize = 64 << 10;

/// The largest number of changed jobs that nobody waits for. A lab reports the jobs of all users.
const MAX_CHANGED: usize = 10_000;

/// The wait before the first reconnection. It doubles each time, up to [`LONGEST`].
const PAUSE: Duration = Duration::from_secs(1);

/// The longest wait before a reconnection.
const LONGEST: Duration = Duration::from_mins(1);

/// A connection that is silent for this long counts as lost. Connections can break unnoticed, and reconnecting is cheap.
const SILENCE: Duration = Duration::from_mins(10);

/// A lab's event stream. Several threads may wait for events.
///
/// After a drop the listening thread ends on its own. It is not joined, as a name look-up can't be interrupted.
pub struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Signals a change of `state`.
    news: Condvar,
}

#[derive(Default)]
struct State {
    changed: HashSet<JobId>,
    /// The connection, to shut it down.
    stream: Option<TcpStream>,
    closed: bool,
}

impl Events {
    /// Tries to connect to a lab's event stream. `Ok` for a lab without one.
    pub fn probe(settings: &Settings) -> Result<(), LavaError> {
        match Endpoint::new(settings)? {
            Some(endpoint) => endpoint.connect().and_then(|stream| endpoint.handshake(stream)).map(drop),
            None => Ok(()),
        }
    }

    /// Listens to a lab's events. `None` if the settings have no valid address of events. Lost connections are re-established
    /// until this is dropped; [`Events::wait`] just waits meanwhile.
    pub fn open(settings: &Settings) -> Option<Self> {
        let endpoint = Endpoint::new(settings).ok()??;
        let shared = Arc::new(Shared { state: Mutex::default(), news: Condvar::new() });
        let listener = shared.clone();
        let listen = move || listener.listen(&endpoint);
        thread::Builder::new().name("kiln-lava-events".to_owned()).spawn(listen).ok()?;
        Some(Self { shared })
    }

    /// Waits until the job has changed since the last call for it, or until the timeout. Returns whether it has.
    pub fn wait(&self, job: JobId, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        let mut state = self.shared.lock();
        loop {
            if state.changed.remove(&job) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        if let Some(stream) = state.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.news.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens until the stream is closed.
    fn listen(&self, endpoint: &Endpoint) {
        let mut pause = PAUSE;
        while !self.lock().closed {
            // Errors only delay a poll.
            if let Ok(true) = endpoint.connect().and_then(|stream| self.read_events(endpoint, stream)) {
                pause = PAUSE;
            }
            let state = self.lock();
            let open = |state: &mut State| !state.closed;
            drop(self.news.wait_timeout_while(state, pause, open).unwrap_or_else(PoisonError::into_inner));
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Reads messages until the connection is lost. Returns whether there were any.
    fn read_events(&self, endpoint: &Endpoint, stream: TcpStream) -> Result<bool, LavaError> {
        {
            let mut state = self.lock();
            if state.closed {
                return Ok(false);
            }
            state.stream = Some(stream.try_clone().map_err(lost)?);
        }
        let mut socket = endpoint.handshake(stream)?;
        let mut received = false;
        while let Ok(message) = socket.read() {
            received = true;
            if let Message::Text(text) = message
                && let Some(job) = job_of(&text)
            {
                let mut state = self.lock();
                if state.changed.len() >= MAX_CHANGED {
                    state.changed.clear();
                }
                state.changed.insert(job);
                drop(state);
                self.news.notify_all();
            }
        }
        Ok(received)
    }
}

/// The job of a message.
fn job_of(message: &str) -> Option<JobId> {
    #[derive(Deserialize)]
    struct Event {
        job: JobId,
    }
    let (topic, _, _, _, data): (String, String, String, String, String) =
        serde_json::from_str(message).ok()?;
    if !topic.ends_with(".testjob") {
        return None;
    }
    serde_json::from_str::<Event>(&data).ok().map(|event| event.job)
}

/// The address of a lab's event stream.
struct Endpoint {
    url: Url,
    /// For `wss://`.
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

impl Endpoint {
    fn new(settings: &Settings) -> Result<Option<Self>, LavaError> {
        let Some(address) = &settings.events else { return Ok(None) };
        let wrong = |why: &str| settings_error(format!("{address:?} is no address of events: {why}"));
        let url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        let tls = match url.scheme() {
            "wss" => Some(Arc::new(tls(settings.ca.as_deref())?)),
            "ws" if is_loopback(&url) => None,
            _ => return Err(wrong("it begins with wss:// (or ws:// on this machine)")),
        };
        Ok(Some(Self { url, tls, timeout: settings.timeout }))
    }

    fn connect(&self) -> Result<TcpStream, LavaError> {
        let host = self.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = self.url.port().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let mut last = io::Error::other("it has no address");
        for address in (host, port).to_socket_addrs().map_err(lost)? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(lost(last))
    }

    fn handshake(&self, stream: TcpStream) -> Result<WebSocket<Box<dyn Stream>>, LavaError> {
        stream.set_read_timeout(Some(self.timeout)).map_err(lost)?;
        stream.set_write_timeout(Some(self.timeout)).map_err(lost)?;
        let patient = stream.try_clone().map_err(lost)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let host = self.url.host_str().unwrap_or_default().to_owned();
                let name = ServerName::try_from(host).map_err(lost)?;
                let session = ClientConnection::new(tls.clone(), name).map_err(lost)?;
                Box::new(StreamOwned::new(session, stream))
            }
        };
        let bounds = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .read_buffer_size(4 << 10)
            .write_buffer_size(0);
        let connected = tungstenite::client::client_with_config(self.url.as_str(), stream, Some(bounds));
        let (socket, _) = connected.map_err(|error| match &error {
            HandshakeError::Failure(failure) => handshake_error(failure),
            HandshakeError::Interrupted(_) => lost(io::Error::from(io::ErrorKind::TimedOut)),
        })?;
        patient.set_read_timeout(Some(SILENCE)).map_err(lost)?;
        Ok(socket)
    }
}

/// The transport of a websocket.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// Trusts the authorities of a file, or the system's.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, LavaError> {
    install_crypto_provider();
    let Some(ca) = ca else {
        let builder = ClientConfig::builder().with_platform_verifier();
        return Ok(builder.map_err(|error| settings_error(error_chain(&error)))?.with_no_client_auth());
    };
    let wrong =
        |error: &dyn std::error::Error| settings_error(format!("{}: {}", ca.display(), error_chain(error)));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn handshake_error(error: &tungstenite::Error) -> LavaError {
    match certificate_error(error) {
        Some(why) => LavaError::Certificate(why),
        None => LavaError::Unreachable(error_chain(error)),
    }
}

fn lost(error: impl std::error::Error) -> LavaError {
    LavaError::Unreachable(error_chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_job() {
        let message = |topic: &str, data: &str| {
            serde_json::to_string(&(topic, "8291cfe6", "2026-11-22T21:56:02.893244", "submitter", data))
                .unwrap()
        };
        let job = r#"{"health": "Unknown", "state": "Running", "job": 21}"#;
        assert_eq!(job_of(&message("org.lavasoftware.testjob", job)), Some(JobId(21)));
        assert_eq!(job_of(&message("org.lavasoftware.device", job)), None);
        assert_eq!(job_of(&message("org.lavasoftware.testjob", r#"{"job": "x"}"#)), None);
        assert_eq!(job_of(&message("org.lavasoftware.testjob", "[")), None);
        assert_eq!(job_of("[]"), None);
        assert_eq!(job_of("hello"), None);
    }
}
