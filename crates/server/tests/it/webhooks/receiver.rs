//! A small HTTP server that takes deliveries, or does not.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwaters_testkit::certificates::Certificates;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// What it does with deliveries.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    Takes,
    Answers(u16),
    Redirects(String),
    NeverAnswers,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
    taken: bool,
}

impl Delivered {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

#[derive(Debug)]
struct State {
    manner: Mutex<Manner>,
    arrived: Mutex<Vec<Delivered>>,
}

pub(crate) struct Receiver {
    port: u16,
    scheme: &'static str,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start(manner: Manner) -> Self {
        Self::at(0, manner).await
    }

    pub(crate) async fn at(port: u16, manner: Manner) -> Self {
        Self::listen(port, manner, None).await
    }

    /// One that speaks TLS with the server's certificate of these.
    pub(crate) async fn start_tls(manner: Manner, certificates: &Certificates) -> Self {
        let chain = CertificateDer::from_pem_file(certificates.server_certificate()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(certificates.server_key()).expect("its key");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a certificate with its key");
        Self::listen(0, manner, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(port: u16, manner: Manner, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State { manner: Mutex::new(manner), arrived: Mutex::default() });
        let (shared, scheme) = (state.clone(), if tls.is_some() { "https" } else { "http" });
        let task = tokio::spawn(async move {
            // Dropped with the listener.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (shared.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => answer(stream, &state).await,
                        Some(tls) => answer(tls.accept(stream).await?, &state).await,
                    }
                });
            }
        });
        Self { port, scheme, state, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.state.manner.lock().expect("no panic") = manner;
    }

    /// What arrived so far, taken or not.
    pub(crate) fn tries(&self) -> Vec<Delivered> {
        self.state.arrived.lock().expect("no panic").clone()
    }

    /// What was taken so far.
    pub(crate) fn taken(&self) -> Vec<Delivered> {
        self.tries().into_iter().filter(|delivered| delivered.taken).collect()
    }

    /// What was taken, once it is so much.
    pub(crate) async fn wait_for(&self, count: usize, patience: Duration) -> Vec<Delivered> {
        self.wait(patience, || self.taken().len() >= count).await;
        self.taken()
    }

    pub(crate) async fn wait_for_tries(&self, count: usize, patience: Duration) {
        self.wait(patience, || self.tries().len() >= count).await;
    }

    async fn wait(&self, patience: Duration, reached: impl Fn() -> bool) {
        let waiting = async {
            while !reached() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(patience, waiting).await.unwrap_or_else(|_| panic!("only this arrived in time: {:#?}", self.tries()));
    }

    /// Nobody listens on its port any more.
    pub(crate) async fn stop(self) {
        self.task.abort();
        self.task.await.expect_err("it was stopped");
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(mut delivered) = request(&mut stream).await? {
        let manner = state.manner.lock().expect("no panic").clone();
        delivered.taken = matches!(manner, Manner::Takes);
        state.arrived.lock().expect("no panic").push(delivered);
        let answer = match manner {
            Manner::Takes => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            Manner::Answers(status) => format!("HTTP/1.1 {status} Not Now\r\ncontent-length: 3\r\n\r\nno\n"),
            Manner::Redirects(to) => {
                format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
            }
            Manner::NeverAnswers => std::future::pending().await,
        };
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// The next request of a connection; none when it was closed.
async fn request(stream: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<Delivered>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(Some(Delivered { method, path, headers, body, taken: false }))
}
