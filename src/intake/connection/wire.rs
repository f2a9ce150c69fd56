//! The octets of one connection: in the clear, then perhaps within TLS.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::domain::Timestamp;
use crate::intake::tls::{Presented, Tls};

/// A connection's octets.
#[derive(Debug)]
pub(super) enum Wire {
    Clear(TcpStream),
    // Boxed: it is large, and most connections of a relay are in the clear.
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed or is under way.
    Gone,
}

/// What a handshake agreed on.
#[derive(Debug)]
pub(super) struct Handshake {
    /// `TLS1.3 TLS13_AES_256_GCM_SHA384`, for the trace field.
    pub(super) cipher: String,
    pub(super) presented: Presented,
}

impl Wire {
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer).await,
            // Without close_notify an end of TLS is not to be told from a cut; between commands both mean the same.
            Self::Tls(stream) => match stream.read(buffer).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            },
            Self::Gone => Ok(0),
        }
    }

    pub(super) async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.write_all(octets).await,
            Self::Tls(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Gone => Ok(()),
        }
    }

    /// Goes over to TLS. When it fails, the connection is over: nobody knows what the client believes.
    pub(super) async fn secure(&mut self, tls: &Tls, at: Timestamp) -> io::Result<Handshake> {
        let Self::Clear(stream) = std::mem::replace(self, Self::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let stream = tls.acceptor().accept(stream).await?;
        let (_, connection) = stream.get_ref();
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS1.2",
            _ => "TLS1.3",
        };
        let suite =
            connection.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite()));
        let handshake = Handshake { cipher: format!("{version} {suite}"), presented: tls.identify(connection, at) };
        *self = Self::Tls(Box::new(stream));
        Ok(handshake)
    }
}
