//! A client as plain as it can be, so that it takes little of the machine from the server: HTTP/1.1 over a connection
//! that is kept.

use std::net::SocketAddr;

use headwaters_control::Credentials;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Error;

/// The base path of the Flow Service.
const FLOW_SERVICE: &str = "/data/foundation/flowservice";

/// Where the server is, and what every request carries.
pub(crate) struct Access {
    address: SocketAddr,
    headers: String,
}

impl Access {
    /// Fetches a token.
    pub(crate) async fn log_in(address: SocketAddr, credentials: &Credentials) -> Result<Self, Error> {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope=openid,AdobeID",
            credentials.client_id,
            credentials.client_secret.expose()
        );
        let request = format!(
            "POST /ims/token/v3 HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\n{form}",
            form.len()
        );
        let mut connection = Connection::open(address).await?;
        let answer: Value = serde_json::from_slice(connection.ask(&request).await?)?;
        let token = answer["access_token"].as_str().ok_or("no token")?;
        let headers = format!(
            "host: {address}\r\nauthorization: Bearer {token}\r\nx-api-key: {}\r\nx-gw-ims-org-id: {}\r\n\
             x-sandbox-name: {}\r\n\r\n",
            credentials.client_id, credentials.org_id, credentials.sandbox
        );
        Ok(Self { address, headers })
    }

    /// A connection of one client.
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        Connection::open(self.address).await
    }

    /// A request for something of the Flow Service.
    pub(crate) fn get(&self, target: &str) -> String {
        format!("GET {FLOW_SERVICE}{target} HTTP/1.1\r\n{}", self.headers)
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and reads the body of its answer, which must be a success.
    pub(crate) async fn ask(&mut self, request: &str) -> Result<&[u8], Error> {
        self.try_ask(request).await?.ok_or_else(|| format!("the server is busy\n{request}").into())
    }

    /// Sends a request and reads the body of its answer; none when the server says that it is busy.
    pub(crate) async fn try_ask(&mut self, request: &str) -> Result<Option<&[u8]>, Error> {
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(at) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            self.read().await?;
        };
        let text = std::str::from_utf8(self.buffer.get(..head).unwrap_or_default())?.to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.ok_or("an answer without a length")?.trim().parse()?;
        while self.buffer.len() < head + length {
            self.read().await?;
        }
        let body = self.buffer.get(head..).unwrap_or_default();
        match text.split(' ').nth(1) {
            Some("200") => Ok(Some(body)),
            Some("429" | "503") => Ok(None),
            _ => Err(format!("{text}{}\n{request}", String::from_utf8_lossy(body)).into()),
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err("the server closed the connection".into());
        }
        Ok(())
    }
}
