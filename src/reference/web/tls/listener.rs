//! A listener that gives out connections whose handshake is over. Handshakes run side by side and
//! have a bound: a client that says nothing keeps nobody waiting.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes that are under way at once; a further client waits to be accepted.
const HANDSHAKES: usize = 256;

type Connection = (TlsStream<TcpStream>, SocketAddr);

/// See the module.
pub(in crate::reference::web) struct TlsListener {
    address: SocketAddr,
    done: mpsc::Receiver<Connection>,
    accepting: JoinHandle<()>,
}

impl TlsListener {
    /// Shakes hands on this listener.
    ///
    /// # Errors
    /// When it has no address.
    pub(in crate::reference::web) fn new(
        listener: TcpListener,
        config: Arc<ServerConfig>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (give, done) = mpsc::channel(HANDSHAKES);
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(config), give));
        Ok(Self {
            address,
            done,
            accepting,
        })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(mut listener: TcpListener, acceptor: TlsAcceptor, give: mpsc::Sender<Connection>) {
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.len() >= HANDSHAKES {
            handshakes.join_next().await;
        }
        let (stream, peer) = Listener::accept(&mut listener).await;
        while handshakes.try_join_next().is_some() {}
        let (acceptor, give) = (acceptor.clone(), give.clone());
        handshakes.spawn(async move {
            // Answers are small; waiting to fill a packet would cost 40 ms.
            let _ = stream.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                // Nobody takes it when the listener is gone.
                Ok(Ok(stream)) => drop(give.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no handshake"),
                Err(_) => tracing::debug!(%peer, "no handshake in time"),
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.done.recv().await {
            Some(connection) => connection,
            // The task that accepts never ends by itself.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
