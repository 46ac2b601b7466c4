//! The way to a relay, with every byte that goes there written down.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use kvit_cli::demo::inbox::Inbox;
use letter::Parcel;
use lettre::Address;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Ehlo, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, MailParameter, RcptParameter};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Carries connections to a relay and keeps what the client says: the raw stream.
pub(crate) struct Tap {
    listener: Arc<TcpListener>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        Ok(Self {
            listener: Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?),
            said: Arc::default(),
        })
    }

    pub(crate) fn port(&self) -> anyhow::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Carries every connection to this address from now on.
    pub(crate) fn carry_to(&self, relay: SocketAddr) {
        let (listener, said) = (Arc::clone(&self.listener), Arc::clone(&self.said));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, relay, Arc::clone(&said)));
            }
        });
    }

    /// What was said since the last call.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.said.lock().unwrap())
    }
}

async fn carry(near: TcpStream, relay: SocketAddr, said: Arc<Mutex<Vec<u8>>>) -> std::io::Result<()> {
    let (mut client, mut client_out) = near.into_split();
    let (mut server, mut server_out) = TcpStream::connect(relay).await?.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut server, &mut client_out).await });
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = client.read(&mut buffer).await?;
        if read == 0 {
            return server_out.shutdown().await;
        }
        said.lock().unwrap().extend_from_slice(&buffer[..read]);
        server_out.write_all(&buffer[..read]).await?;
    }
}

/// One connection through a [`Tap`] to an inbox, spoken as the mailer speaks (`services/mailer/src/relay.rs`): there the
/// parts are not to be reached from here. `canaries` also sends through the mailer itself.
pub(crate) struct Wire {
    tap: Tap,
    inbox: Inbox,
    smtp: AsyncSmtpConnection,
}

impl Wire {
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let (tap, inbox) = (Tap::new().await?, Inbox::start().await?);
        tap.carry_to(inbox.address());
        let hello = ClientId::Domain("eksempel.example".to_owned());
        let server = ("127.0.0.1", tap.port()?);
        let mut smtp = AsyncSmtpConnection::connect_tokio1(server, None, &hello, None, None).await?;
        smtp.command(Ehlo::new(hello)).await?;
        tap.take();
        Ok(Self { tap, inbox, smtp })
    }

    /// Sends it, and gives the raw stream. The relay has heard three commands and one message, which is the parcel's.
    pub(crate) async fn send(&mut self, parcel: &Parcel) -> anyhow::Result<Vec<u8>> {
        let before = self.counts();
        let message = parcel.mail.as_bytes();
        let sender = Address::new("bounce+0123456789abcdef", "eksempel.example")?;
        let other = |keyword: &str, value: &str| MailParameter::Other {
            keyword: keyword.to_owned(),
            value: Some(value.to_owned()),
        };
        let parameters = vec![
            other("RET", "HDRS"),
            other("ENVID", "0123456789abcdef"),
            MailParameter::Size(message.len()),
        ];
        self.smtp.command(Mail::new(Some(sender), parameters)).await?;
        let notify = RcptParameter::Other {
            keyword: "NOTIFY".to_owned(),
            value: Some("FAILURE".to_owned()),
        };
        self.smtp
            .command(Rcpt::new(parcel.to.expose().parse()?, vec![notify]))
            .await?;
        self.smtp.command(Data).await?;
        self.smtp
            .message(message.strip_suffix(b"\r\n").unwrap_or(message))
            .await?;
        let after = self.counts();
        anyhow::ensure!(
            after == (before.0 + 3, before.1 + 1),
            "one mail made other commands: {before:?}, then {after:?}"
        );
        let mails = self.inbox.mails();
        let last = mails.last().map(|mail| &*mail.data);
        anyhow::ensure!(last == Some(message), "the relay got another message than was sent");
        Ok(self.tap.take())
    }

    /// Commands and messages, as the inbox counted them.
    fn counts(&self) -> (usize, usize) {
        let connections = self.inbox.connections();
        connections.iter().fold((0, 0), |(commands, messages), connection| {
            (commands + connection.commands, messages + connection.messages)
        })
    }
}
