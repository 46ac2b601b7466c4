//! A `WebDAV` server of one's own: Debian's Apache with `mod_dav`, in a folder and on a port of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::wait::until;

/// Where Debian puts its modules.
const MODULES: &str = "/usr/lib/apache2/modules";

/// A running server; ended when it is dropped.
pub struct Apache {
    dir: TempDir,
    port: u16,
    tls: bool,
    child: Option<Child>,
}

impl Apache {
    /// Starts one, and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// Where it is not installed, or ends.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(false).await
    }

    /// As [`Apache::start`], over TLS, with a certificate that nobody trusts yet.
    ///
    /// # Errors
    ///
    /// As [`Apache::start`].
    pub async fn start_tls() -> anyhow::Result<Self> {
        Self::start_with(true).await
    }

    async fn start_with(tls: bool) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        // The server gives up root's rights, and must still reach its folders.
        for name in ["", "www", "lock"] {
            let folder = dir.path().join(name);
            std::fs::create_dir_all(&folder)?;
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777))?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        std::fs::write(dir.path().join("httpd.conf"), configuration(dir.path(), port, tls))?;
        if tls {
            make_certificate(dir.path())?;
        }
        let mut server = Self {
            dir,
            port,
            tls,
            child: None,
        };
        server.begin().await?;
        Ok(server)
    }

    /// Starts it again after [`Apache::stop`].
    ///
    /// # Errors
    ///
    /// Where it ends.
    pub async fn begin(&mut self) -> anyhow::Result<()> {
        let mut child = Command::new("/usr/sbin/apache2")
            .arg("-f")
            .arg(self.dir.path().join("httpd.conf"))
            .arg("-DFOREGROUND")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("no apache2 here: run scripts/setup test")?;
        let port = self.port;
        until("Apache takes connections", async || {
            ensure!(child.try_wait()?.is_none(), "apache2 ended");
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok().map(drop))
        })
        .await?;
        self.child = Some(child);
        Ok(())
    }

    /// Ends it; what it holds stays.
    ///
    /// # Errors
    ///
    /// Where it does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
            child.wait()?;
        }
        Ok(())
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/", self.port)
    }

    /// The certificate that it shows.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("server.crt")
    }

    /// Its root, as it lies on the disk.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("www")
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.stop();
    }
}

fn make_certificate(dir: &Path) -> anyhow::Result<()> {
    let arguments = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1";
    let made = Command::new("openssl")
        .args(arguments.split(' '))
        .args(["-keyout", "server.key", "-out", "server.crt"])
        .current_dir(dir)
        .stderr(Stdio::null())
        .status()
        .context("no openssl here: run scripts/setup test")?;
    ensure!(made.success(), "openssl made no certificate");
    Ok(())
}

fn configuration(dir: &Path, port: u16, tls: bool) -> String {
    let security = if tls {
        format!(
            "LoadModule ssl_module {MODULES}/mod_ssl.so\nLoadModule socache_shmcb_module {MODULES}/mod_socache_shmcb.so\n\
             SSLEngine on\nSSLCertificateFile server.crt\nSSLCertificateKeyFile server.key"
        )
    } else {
        String::new()
    };
    let dir = dir.display();
    format!(
        r#"
ServerRoot "{dir}"
PidFile pid
Listen 127.0.0.1:{port}
ServerName localhost
User nobody
Group nogroup
LoadModule mpm_event_module {MODULES}/mod_mpm_event.so
LoadModule authz_core_module {MODULES}/mod_authz_core.so
LoadModule dav_module {MODULES}/mod_dav.so
LoadModule dav_fs_module {MODULES}/mod_dav_fs.so
{security}
ErrorLog error.log
DocumentRoot "{dir}/www"
DavLockDB "{dir}/lock/db"
<Directory "{dir}/www">
Dav On
Require all granted
</Directory>
"#
    )
}
