//! Listening sockets and what they accept.

use crate::address::ListenAddress;
use crate::client_certificate::ClientCertificate;
use crate::ip_rules::IpRules;
use crate::network::PrivateWay;
use crate::peer::ClientPeer;
use crate::scheme::RequestScheme;
use crate::tls::ServerTls;
use serde::{Deserialize, Deserializer};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;

/// How sockets are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketSettings {
    /// Connections the system keeps before they are accepted.
    pub backlog: u32,
    /// Permissions of a unix socket's file.
    pub unix_mode: SocketMode,
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            backlog: 1024,
            unix_mode: SocketMode::default(),
        }
    }
}

/// Permissions of a unix socket's file, written in octal: `"0660"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketMode(u32);

impl Default for SocketMode {
    fn default() -> Self {
        Self(0o660)
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u32::from_str_radix(&text, 8) {
            Ok(mode @ 0..=0o777) => Ok(Self(mode)),
            Ok(_) | Err(_) => Err(serde::de::Error::custom(format_args!(
                "socket mode {text:?}: must be three octal digits, such as \"0660\""
            ))),
        }
    }
}

/// A socket that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refused.
    #[error("listen on {address}: cannot {step}")]
    Io {
        /// Where.
        address: ListenAddress,
        /// At which step.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Another process serves this unix socket.
    #[error("listen on {address}: another process answers there")]
    InUse {
        /// Where.
        address: ListenAddress,
    },
    /// The path of a unix socket is taken by something else.
    #[error("listen on {address}: the path exists and is not a socket")]
    NotASocket {
        /// Where.
        address: ListenAddress,
    },
}

/// A listening socket. Dropping it closes it and removes a unix socket's file.
#[derive(Debug)]
pub struct ListeningSocket {
    socket: AcceptState,
    address: ListenAddress,
    tls: Option<ServerTls>,
    way: Option<PrivateWay>,
    rules: Option<IpRules>,
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum AcceptState {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection whose TLS handshake, if it is to have one, is still to come. That belongs into the
/// connection's own task, since a client may take its time.
#[derive(Debug)]
pub(crate) enum AcceptedConnection {
    Plain(ConnectionStream),
    Tls(TcpStream, ServerTls),
}

/// The bytes of a connection.
#[derive(Debug)]
pub(crate) enum ConnectionStream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl AcceptedConnection {
    /// Shakes hands. Dropping the future closes the connection.
    pub(crate) async fn greet(self) -> io::Result<ConnectionStream> {
        match self {
            Self::Plain(stream) => Ok(stream),
            Self::Tls(stream, tls) => {
                let stream = tls.acceptor().accept(stream).await?;
                Ok(ConnectionStream::Tls(Box::new(stream)))
            }
        }
    }
}

impl ConnectionStream {
    pub(crate) fn scheme(&self) -> RequestScheme {
        match self {
            Self::Tcp(_) | Self::Unix(_) => RequestScheme::Http,
            Self::Tls(_) => RequestScheme::Https,
        }
    }

    /// What the client showed in the handshake, which took it.
    pub(crate) fn client_certificate(&self) -> Option<ClientCertificate> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::Tls(stream) => {
                let view = stream.get_ref().1.peer_certificates()?;
                view.first().map(ClientCertificate::read)
            }
        }
    }
}

impl ListeningSocket {
    /// Opens a socket. Must be called within a tokio runtime.
    ///
    /// The file of a unix socket that nobody answers on any more is replaced.
    ///
    /// # Errors
    /// [`BindError`], naming the address.
    pub fn bind(address: &ListenAddress, settings: &SocketSettings) -> Result<Self, BindError> {
        match address {
            ListenAddress::Tcp(socket_address) => bind_tcp(*socket_address, settings.backlog),
            ListenAddress::Unix(path) => bind_unix(path, settings),
        }
    }

    /// Opens several; none stays open when one fails.
    ///
    /// # Errors
    /// The first [`BindError`].
    pub fn bind_all(
        addresses: &[ListenAddress],
        settings: &SocketSettings,
    ) -> Result<Vec<Self>, BindError> {
        addresses
            .iter()
            .map(|address| Self::bind(address, settings))
            .collect()
    }

    /// Where it listens; with the port that the system chose when it was to choose one.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Speaks TLS and nothing else from now on. A unix socket stays as it is: it needs none.
    #[must_use]
    pub fn with_tls(self, tls: &ServerTls) -> Self {
        let tls = match self.socket {
            AcceptState::Tcp(_) => Some(tls.clone()),
            AcceptState::Unix(_) => None,
        };
        Self { tls, ..self }
    }

    /// Stands for a private endpoint connection from now on: requests say so by [`PrivateWay::of`].
    #[must_use]
    pub fn with_private(self, way: &PrivateWay) -> Self {
        Self {
            way: Some(way.clone()),
            ..self
        }
    }

    /// Closes connections that a rule rejects from now on, before anything of them is read.
    #[must_use]
    pub fn with_rules(self, rules: &IpRules) -> Self {
        Self {
            rules: Some(rules.clone()),
            ..self
        }
    }

    /// The name of the rule that keeps `peer` out.
    pub(crate) fn reject(&self, peer: ClientPeer) -> Option<&str> {
        self.rules.as_ref()?.reject(peer)
    }

    /// The private endpoint connection that it stands for.
    #[must_use]
    pub fn private(&self) -> Option<&PrivateWay> {
        self.way.as_ref()
    }

    /// Its TLS, if it speaks that.
    #[must_use]
    pub fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    pub(crate) async fn accept(&self) -> io::Result<(AcceptedConnection, ClientPeer)> {
        match &self.socket {
            AcceptState::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let accepted = match &self.tls {
                    Some(tls) => AcceptedConnection::Tls(stream, tls.clone()),
                    None => AcceptedConnection::Plain(ConnectionStream::Tcp(stream)),
                };
                Ok((accepted, ClientPeer::Tcp(address)))
            }
            AcceptState::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((
                    AcceptedConnection::Plain(ConnectionStream::Unix(stream)),
                    ClientPeer::Unix,
                ))
            }
        }
    }
}

fn bind_tcp(socket_address: SocketAddr, backlog: u32) -> Result<ListeningSocket, BindError> {
    let at = |step| {
        move |source| BindError::Io {
            address: ListenAddress::Tcp(socket_address),
            step,
            source,
        }
    };
    let socket = if socket_address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
    .map_err(at("open a socket"))?;
    socket.set_reuseaddr(true).map_err(at("set SO_REUSEADDR"))?;
    socket.bind(socket_address).map_err(at("bind"))?;
    let listener = socket.listen(backlog).map_err(at("listen"))?;
    let address = listener.local_addr().map_err(at("read its own address"))?;
    Ok(ListeningSocket {
        socket: AcceptState::Tcp(listener),
        address: ListenAddress::Tcp(address),
        tls: None,
        way: None,
        rules: None,
        _file: None,
    })
}

fn bind_unix(path: &Path, settings: &SocketSettings) -> Result<ListeningSocket, BindError> {
    let address = ListenAddress::Unix(path.to_owned());
    let at = |step| {
        let address = address.clone();
        move |source| BindError::Io {
            address,
            step,
            source,
        }
    };
    remove_stale(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(at("open a socket"))?;
    socket
        .set_nonblocking(true)
        .map_err(at("set it non-blocking"))?;
    let name = SockAddr::unix(path).map_err(at("use this path"))?;
    socket.bind(&name).map_err(at("bind"))?;
    let file = SocketFile::at(path).map_err(at("look at the socket's file"))?;
    // Nobody can connect before `listen`, so there is no moment with other permissions.
    let mode = std::fs::Permissions::from_mode(settings.unix_mode.0);
    std::fs::set_permissions(path, mode).map_err(at("set the permissions of the socket's file"))?;
    let backlog = i32::try_from(settings.backlog).unwrap_or(i32::MAX);
    socket.listen(backlog).map_err(at("listen"))?;
    let listener = UnixListener::from_std(socket.into()).map_err(at("watch the socket"))?;
    Ok(ListeningSocket {
        socket: AcceptState::Unix(listener),
        address,
        tls: None,
        way: None,
        rules: None,
        _file: Some(file),
    })
}

/// Removes a socket file that its process left behind.
fn remove_stale(path: &Path, address: &ListenAddress) -> Result<(), BindError> {
    let at = |step| {
        move |source| BindError::Io {
            address: address.clone(),
            step,
            source,
        }
    };
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at("look at the path")(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket {
            address: address.clone(),
        });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(at("remove the socket file that was left behind"))
        }
        Ok(_) | Err(_) => Err(BindError::InUse {
            address: address.clone(),
        }),
    }
}

/// The file of a unix socket, removed on drop unless another process has put its own there.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = identity(&self.path).is_ok_and(|now| now == self.identity);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "socket file not removed");
        }
    }
}

/// Device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
