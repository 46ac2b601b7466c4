//! What a process has cost so far: its own CPU time and its memory, as the kernel counts them.

use std::fs::read_to_string;
use std::ops::Sub;

use anyhow::Context as _;

/// How many ticks the kernel's interface counts a second (`USER_HZ`), whatever its own clock does.
const TICKS: f64 = 100.0;

/// The CPU time of one process, all its threads together, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu(pub(crate) f64);

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self(self.0 - earlier.0)
    }
}

/// What a process and, where it is a server that forks, its children have used until now.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Cpu> {
    let mut ticks = own_ticks(pid)?;
    let children = read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_ascii_whitespace().filter_map(|child| child.parse().ok()) {
        // One that ended meanwhile is counted with its parent's waited-for children.
        ticks += own_ticks(child).unwrap_or(0);
    }
    #[expect(clippy::cast_precision_loss, reason = "ticks of a run are far below 2^53")]
    Ok(Cpu(ticks as f64 / TICKS))
}

/// Ticks of a process and of the children that it has waited for.
fn own_ticks(pid: u32) -> anyhow::Result<u64> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} has ended"))?;
    // The second field is a name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("a stat line")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let used = fields.get(11..15).context("a stat line's times")?;
    used.iter()
        .map(|ticks| ticks.parse::<u64>().context("a count of ticks"))
        .sum()
}

/// The most memory that a process has had resident, in bytes.
pub(crate) fn peak_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(kib.context("a peak of memory")?.parse::<u64>()? * 1024)
}
