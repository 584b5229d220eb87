//! What a lab tells of its jobs by itself, over a websocket. It is a reason to look sooner, and nothing more: nobody has
//! to prove anything to be on that line, and what is missed on it is found by looking again.
//!
//! A message is a list: topic, number, time, user, and a text that is JSON: `{"job": 21, "state": "Running", ..}`. Seen on
//! LAVA 2023.01.

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

use super::connect::mistake;
use super::{JobId, LavaError, Settings};
use crate::net::{chain, disbelief, is_loopback, provide_cryptography};

/// The largest message that is read. A lab's own have some 500 bytes.
const MAX_MESSAGE: usize = 64 << 10;

/// How many jobs may have changed without anybody who waited for them. A busy lab tells of everybody's.
const MAX_CHANGED: usize = 10_000;

/// How long to wait before a lost line is taken up again; twice as long each time, up to [`LONGEST`].
const PAUSE: Duration = Duration::from_secs(1);

/// How long to wait at most.
const LONGEST: Duration = Duration::from_mins(1);

/// How long a line may be silent before it counts as lost. Jobs that change are rare at night, but lines get lost without
/// a word, and to take it up again costs little.
const SILENCE: Duration = Duration::from_mins(10);

/// A lab's events. Any number of threads may wait for theirs.
///
/// Its thread ends by itself soon after: nobody waits for it, as it may be looking up a name, which can't be interrupted.
pub struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something in `state` is new.
    news: Condvar,
}

#[derive(Default)]
struct State {
    changed: HashSet<JobId>,
    /// The line, to break it off.
    line: Option<TcpStream>,
    over: bool,
}

impl Events {
    /// Whether a lab's events could be heard now; nothing can be wrong with none.
    pub fn heard(settings: &Settings) -> Result<(), LavaError> {
        match Place::new(settings)? {
            Some(place) => place.connect().and_then(|line| place.shake_hands(line)).map(drop),
            None => Ok(()),
        }
    }

    /// Listens to a lab that has events; none where the settings name no address for them, or one that is none. A line that
    /// can't be had, or is lost, is tried again while this lives, and meanwhile [`Events::wait`] just waits.
    pub fn open(settings: &Settings) -> Option<Self> {
        let place = Place::new(settings).ok()??;
        let shared = Arc::new(Shared { state: Mutex::default(), news: Condvar::new() });
        let listener = shared.clone();
        let listen = move || listener.listen(&place);
        thread::Builder::new().name("kiln-lava-events".to_owned()).spawn(listen).ok()?;
        Some(Self { shared })
    }

    /// Waits for as long as this, or until the job has changed since somebody waited for it last. Tells whether it has.
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
        state.over = true;
        if let Some(line) = state.line.take() {
            let _ = line.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.news.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens until it is over.
    fn listen(&self, place: &Place) {
        let mut pause = PAUSE;
        while !self.lock().over {
            // What goes wrong here costs a look later.
            if let Ok(true) = place.connect().and_then(|line| self.hear(place, line)) {
                pause = PAUSE;
            }
            let state = self.lock();
            let over = |state: &mut State| !state.over;
            drop(self.news.wait_timeout_while(state, pause, over).unwrap_or_else(PoisonError::into_inner));
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Hears what comes over a line until it is lost. Tells whether anything did.
    fn hear(&self, place: &Place, line: TcpStream) -> Result<bool, LavaError> {
        {
            let mut state = self.lock();
            if state.over {
                return Ok(false);
            }
            state.line = Some(line.try_clone().map_err(lost)?);
        }
        let mut socket = place.shake_hands(line)?;
        let mut heard = false;
        while let Ok(message) = socket.read() {
            heard = true;
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
        Ok(heard)
    }
}

/// The job that a message is about.
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

/// Where a lab tells of events.
struct Place {
    url: Url,
    /// For `wss://`.
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

impl Place {
    fn new(settings: &Settings) -> Result<Option<Self>, LavaError> {
        let Some(address) = &settings.events else { return Ok(None) };
        let wrong = |why: &str| mistake(format!("{address:?} is no address of events: {why}"));
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
                Ok(line) => return Ok(line),
                Err(error) => last = error,
            }
        }
        Err(lost(last))
    }

    fn shake_hands(&self, line: TcpStream) -> Result<WebSocket<Box<dyn Stream>>, LavaError> {
        line.set_read_timeout(Some(self.timeout)).map_err(lost)?;
        line.set_write_timeout(Some(self.timeout)).map_err(lost)?;
        let patient = line.try_clone().map_err(lost)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(line),
            Some(tls) => {
                let host = self.url.host_str().unwrap_or_default().to_owned();
                let name = ServerName::try_from(host).map_err(lost)?;
                let session = ClientConnection::new(tls.clone(), name).map_err(lost)?;
                Box::new(StreamOwned::new(session, line))
            }
        };
        let bounds = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .read_buffer_size(4 << 10)
            .write_buffer_size(0);
        let shaken = tungstenite::client::client_with_config(self.url.as_str(), stream, Some(bounds));
        let (socket, _) = shaken.map_err(|error| match &error {
            HandshakeError::Failure(failure) => not_shaken(failure),
            HandshakeError::Interrupted(_) => lost(io::Error::from(io::ErrorKind::TimedOut)),
        })?;
        patient.set_read_timeout(Some(SILENCE)).map_err(lost)?;
        Ok(socket)
    }
}

/// What a websocket runs over.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// Believes the authorities of a file, or else the system's.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, LavaError> {
    provide_cryptography();
    let Some(ca) = ca else {
        let builder = ClientConfig::builder().with_platform_verifier();
        return Ok(builder.map_err(|error| mistake(chain(&error)))?.with_no_client_auth());
    };
    let wrong = |error: &dyn std::error::Error| mistake(format!("{}: {}", ca.display(), chain(error)));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn not_shaken(error: &tungstenite::Error) -> LavaError {
    match disbelief(error) {
        Some(why) => LavaError::Certificate(why),
        None => LavaError::Unreachable(chain(error)),
    }
}

fn lost(error: impl std::error::Error) -> LavaError {
    LavaError::Unreachable(chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_which_job_it_is_about() {
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
