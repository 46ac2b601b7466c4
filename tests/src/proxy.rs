//! A TCP proxy on the loopback that can be cut: a peer that goes away and comes back on the same address.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A proxy; while it is cut nobody listens on its port.
pub struct Proxy {
    port: u16,
    to: SocketAddr,
    open: Arc<Mutex<Option<CancellationToken>>>,
}

impl Proxy {
    /// A proxy to a port of the loopback that is not open yet: connections to it are refused.
    ///
    /// # Errors
    ///
    /// Where no port is free.
    pub async fn cut_off(to: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Ok(Self {
            port: listener.local_addr()?.port(),
            to: SocketAddr::from((Ipv4Addr::LOCALHOST, to)),
            open: Arc::default(),
        })
    }

    /// Where it listens, when it does.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets connections through.
    ///
    /// # Errors
    ///
    /// Where somebody took its port meanwhile.
    pub async fn open(&self) -> anyhow::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))
            .await
            .context("the proxy's port is taken")?;
        let cut = CancellationToken::new();
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(cut.clone());
        let to = self.to;
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = cut.run_until_cancelled(listener.accept()).await {
                let cut = cut.clone();
                tokio::spawn(async move { cut.run_until_cancelled(carry(stream, to)).await });
            }
        });
        Ok(())
    }

    /// Drops every connection and takes no more.
    pub fn cut(&self) {
        if let Some(cut) = self.open.lock().unwrap_or_else(PoisonError::into_inner).take() {
            cut.cancel();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

async fn carry(mut near: TcpStream, to: SocketAddr) {
    if let Ok(mut far) = TcpStream::connect(to).await {
        // How a connection ended is its two ends' to tell.
        let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}
