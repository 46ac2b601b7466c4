//! A small disk of one's own, that can be filled and made read-only. It needs root, or a `sudo` that asks nothing, as
//! `scripts/setup` does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// A mounted disk; unmounted when it is dropped.
pub struct Tmpfs {
    at: PathBuf,
}

impl Tmpfs {
    /// Mounts one of this size at a folder, which is made.
    ///
    /// # Errors
    ///
    /// Where nothing may be mounted.
    pub fn mount(at: &Path, kib: u32) -> anyhow::Result<Self> {
        std::fs::create_dir_all(at)?;
        let options = format!("size={kib}k,mode=0777");
        run(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs", &at.to_string_lossy()])?;
        Ok(Self { at: at.to_owned() })
    }

    /// Fills it, or makes room again.
    ///
    /// # Errors
    ///
    /// Where the filling cannot be removed.
    pub fn fill(&self, full: bool) -> anyhow::Result<()> {
        let filling = self.at.join("filling");
        if full {
            // It is full when the write fails.
            let _full = std::fs::write(&filling, vec![0; 1 << 24]);
            return Ok(());
        }
        Ok(std::fs::remove_file(filling)?)
    }

    /// Makes it read-only, or writable again.
    ///
    /// # Errors
    ///
    /// Where it cannot be mounted anew.
    pub fn read_only(&self, yes: bool) -> anyhow::Result<()> {
        let options = if yes { "remount,ro" } else { "remount,rw" };
        run(&["mount", "-o", options, &self.at.to_string_lossy()])
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A disk in use is let go when its last user ends.
        let _busy = run(&["umount", "-l", &self.at.to_string_lossy()]);
    }
}

fn run(command: &[&str]) -> anyhow::Result<()> {
    let mut arguments = command.to_vec();
    if !nix::unistd::geteuid().is_root() {
        arguments.splice(0..0, ["sudo", "-n"]);
    }
    let done = Command::new(arguments[0]).args(&arguments[1..]).output();
    let done = done.with_context(|| format!("running {}", arguments[0]))?;
    ensure!(
        done.status.success(),
        "{}: {}",
        command.join(" "),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}
