//! What `BuildGrid` never does: pack what it sends, know BLAKE3 alone, or lie. What it does is in
//! `tests/servers/remotes/mod.rs`.

use std::collections::HashMap;
use std::io::{Seek, Write};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
    WriteResponse,
    byte_stream_server::{ByteStream, ByteStreamServer},
};
use reapi::capabilities_server::{Capabilities, CapabilitiesServer};
use reapi::{CacheCapabilities, ServerCapabilities, compressor, digest_function};
use sha2::Digest as _;
use tonic::codegen::{BoxStream, async_trait, tokio_stream};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::digest::Digest;
use crate::remote::{Address, Name, Remote, RemoteError, Settings, Sha256, open};

/// A server that keeps byte streams as they come, or says what it is told to.
#[derive(Clone, Default)]
struct Fake {
    capabilities: CacheCapabilities,
    /// By what of a resource's name is the same for reading and writing.
    kept: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    resources: Arc<Mutex<Vec<String>>>,
    /// What every read gets, whatever it asks for.
    answer: Option<Vec<u8>>,
    /// Whether a read goes on for ever after that.
    stands_still: bool,
}

#[async_trait]
impl Capabilities for Fake {
    async fn get_capabilities(
        &self,
        _: Request<reapi::GetCapabilitiesRequest>,
    ) -> Result<Response<ServerCapabilities>, Status> {
        let cache_capabilities = Some(self.capabilities.clone());
        Ok(Response::new(ServerCapabilities { cache_capabilities, ..ServerCapabilities::default() }))
    }
}

#[async_trait]
impl ByteStream for Fake {
    type ReadStream = BoxStream<ReadResponse>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        self.resources.lock().unwrap().push(request.resource_name.clone());
        let content = match &self.answer {
            Some(answer) => answer.clone(),
            None => {
                let kept = self.kept.lock().unwrap().get(&request.resource_name).cloned();
                let kept = kept.ok_or_else(|| Status::not_found("no such blob"))?;
                let offset = usize::try_from(request.read_offset).unwrap();
                if request.resource_name.starts_with("compressed-blobs/zstd/") {
                    // The offset is that of the blob.
                    zstd::encode_all(&zstd::decode_all(&kept[..]).unwrap()[offset..], 1).unwrap()
                } else {
                    kept[offset..].to_vec()
                }
            }
        };
        let pieces: Vec<_> =
            content.chunks(100_000).map(|piece| Ok(ReadResponse { data: piece.to_vec() })).collect();
        let pieces = tokio_stream::iter(pieces);
        if self.stands_still {
            use tokio_stream::StreamExt as _;
            return Ok(Response::new(Box::pin(pieces.chain(tokio_stream::pending()))));
        }
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        let mut stream = request.into_inner();
        let (mut name, mut content, mut finished) = (String::new(), Vec::new(), false);
        while let Some(message) = stream.message().await? {
            if name.is_empty() {
                name.clone_from(&message.resource_name);
            }
            assert_eq!(usize::try_from(message.write_offset), Ok(content.len()));
            content.extend(message.data);
            finished = message.finish_write;
        }
        self.resources.lock().unwrap().push(name.clone());
        if !finished {
            return Err(Status::invalid_argument("not finished"));
        }
        let committed_size = i64::try_from(content.len()).unwrap();
        let (_, name) = name.strip_prefix("uploads/").and_then(|name| name.split_once('/')).unwrap();
        self.kept.lock().unwrap().insert(name.to_owned(), content);
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        _: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}

impl Fake {
    /// One that offers zstd or not, and knows that digest function.
    fn new(zstd: bool, function: digest_function::Value) -> Self {
        let supported_compressors = if zstd { vec![compressor::Value::Zstd as i32] } else { Vec::new() };
        let capabilities = CacheCapabilities {
            digest_functions: vec![function as i32],
            supported_compressors,
            ..CacheCapabilities::default()
        };
        Self { capabilities, ..Self::default() }
    }

    /// Serves until the test's process ends.
    fn serve(&self, timeout: Duration) -> Box<dyn Remote> {
        let (fake, (told, port)) = (self.clone(), mpsc::channel());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                told.send(incoming.local_addr().unwrap().port()).unwrap();
                tonic::transport::Server::builder()
                    .add_service(CapabilitiesServer::new(fake.clone()))
                    .add_service(ByteStreamServer::new(fake))
                    .serve_with_incoming(incoming)
                    .await
                    .unwrap();
            });
        });
        open(&Settings {
            address: Address::Grpc(format!("grpc://127.0.0.1:{}", port.recv().unwrap())),
            instance: String::new(),
            token: None,
            user: None,
            ca: None,
            identity: None,
            timeout,
        })
        .unwrap()
    }
}

const PATIENT: Duration = Duration::from_mins(1);

fn name(bytes: &[u8]) -> Name {
    let sha256 = Sha256(sha2::Sha256::digest(bytes).into());
    Name { blake3: Digest::of_bytes(bytes), sha256, size: bytes.len() as u64 }
}

#[test]
fn blobs_are_packed_and_named_as_the_server_has_it() {
    use digest_function::Value::{Blake3, Sha256};
    let bytes: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let blob = name(&bytes);
    for (zstd, function) in [(false, Sha256), (true, Sha256), (true, Blake3)] {
        let fake = Fake::new(zstd, function);
        let remote = fake.serve(PATIENT);
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(&bytes).unwrap();
        from.rewind().unwrap();
        remote.put(&blob, &mut from).unwrap();
        for offset in [0, 1, bytes.len() - 5] {
            let mut got = Vec::new();
            remote.get(&blob, offset as u64, &mut got).unwrap();
            assert!(got == bytes[offset..], "from {offset}");
        }
        let (packed, hash) = match (zstd, function) {
            (false, _) => ("blobs", blob.sha256.to_string()),
            (true, Sha256) => ("compressed-blobs/zstd", blob.sha256.to_string()),
            (true, _) => ("compressed-blobs/zstd/blake3", blob.blake3.to_string()),
        };
        let kept = fake.kept.lock().unwrap();
        let (resource, content) = kept.iter().next().unwrap();
        assert_eq!(*resource, format!("{packed}/{hash}/{}", blob.size));
        assert_eq!(content.len() < bytes.len(), zstd);
    }
}

#[test]
fn a_server_that_sends_another_blob_than_was_asked_for_writes_no_more_than_that_has() {
    let bytes = [7; 1000];
    let blob = name(&bytes);
    let bomb = zstd::encode_all(&vec![0; 100 << 20][..], 19).unwrap();
    for (zstd, answer, nonsense) in [
        (false, vec![7; 1001], true),
        (false, vec![7; 999], false),
        (true, zstd::encode_all(&[7; 1001][..], 1).unwrap(), true),
        (true, zstd::encode_all(&[7; 999][..], 1).unwrap(), false),
        (true, bytes.to_vec(), true),
        (true, bomb, true),
        (true, Vec::new(), false),
    ] {
        let fake = Fake { answer: Some(answer), ..Fake::new(zstd, digest_function::Value::Sha256) };
        let mut got = Vec::new();
        let result = fake.serve(PATIENT).get(&blob, 0, &mut got);
        assert!(got.len() <= bytes.len());
        match result {
            Err(RemoteError::Nonsense(_)) => assert!(nonsense),
            Err(RemoteError::Unreachable(_)) => assert!(!nonsense),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_stream_that_stands_still_is_unreachable_and_what_came_is_kept() {
    let blob = name(&[7; 1000]);
    let answer = Some(vec![7; 400]);
    let fake = Fake { answer, stands_still: true, ..Fake::new(false, digest_function::Value::Sha256) };
    let mut got = Vec::new();
    let result = fake.serve(Duration::from_millis(500)).get(&blob, 0, &mut got);
    assert!(matches!(result, Err(RemoteError::Unreachable(_))), "{result:?}");
    assert_eq!(got, [7; 400]);
}

#[test]
fn a_file_that_got_shorter_is_our_own_fault_and_nothing_is_kept() {
    let fake = Fake::new(false, digest_function::Value::Sha256);
    let mut from = tempfile::tempfile().unwrap();
    from.write_all(&[7; 999]).unwrap();
    let result = fake.serve(PATIENT).put(&name(&[7; 1000]), &mut from);
    assert!(matches!(result, Err(RemoteError::Local(_))), "{result:?}");
    assert!(fake.kept.lock().unwrap().is_empty());
}
