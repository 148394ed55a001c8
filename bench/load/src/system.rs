//! What the kernel knows: processor time, memory, limits, places to run.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What is kept free of the limit for open files: passive ports, data connections of those that are just coming, pipes.
const SPARE_FILES: u64 = 600;

/// Which processors take what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// Load and backend: this process.
    pub(crate) load: usize,
    /// The proxy.
    pub(crate) proxy: usize,
}

impl Places {
    /// The first two processors this process may use; a machine with one has to share it. Moves this process to its own.
    pub(crate) fn take() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        let load = usable.next().context("no processor to run on")?;
        let places = Self { load, proxy: usable.next().unwrap_or(load) };
        let mut own = CpuSet::new();
        own.set(places.load);
        sched_setaffinity(None, &own)?;
        Ok(places)
    }
}

/// Raises the limit for open files as far as it goes, for this process and those it starts. What it is then.
pub(crate) fn raise_files() -> Result<u64> {
    const WANTED: u64 = 100_000;
    let now = getrlimit(Resource::Nofile);
    let all = Rlimit { current: Some(WANTED), maximum: Some(now.maximum.unwrap_or(WANTED).max(WANTED)) };
    if setrlimit(Resource::Nofile, all).is_ok() {
        return Ok(WANTED);
    }
    // To go beyond the hard limit takes CAP_SYS_RESOURCE.
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum })?;
    Ok(now.maximum.unwrap_or(WANTED))
}

/// How many sessions fit below a limit for open files: two files each, on either side.
pub(crate) fn sessions_that_fit(files: u64) -> usize {
    usize::try_from(files.saturating_sub(SPARE_FILES) / 2).unwrap_or(usize::MAX)
}

/// A process and all that come from it.
fn family(root: u32) -> Result<Vec<(u32, Vec<u64>)>> {
    let mut by_parent: HashMap<u32, Vec<(u32, Vec<u64>)>> = HashMap::new();
    let mut own = None;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended since the folder was listed.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name, in parentheses, may hold anything. Behind it: state, ppid, …; proc_pid_stat(5) counts from 3 there.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<_> = rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect();
        let parent = u32::try_from(fields.first().copied().unwrap_or(0)).unwrap_or(0);
        if pid == root {
            own = Some((pid, fields));
        } else {
            by_parent.entry(parent).or_default().push((pid, fields));
        }
    }
    let mut members = vec![own.with_context(|| format!("process {root} has gone"))?];
    let mut at = 0;
    while at < members.len() {
        members.extend(by_parent.remove(&members[at].0).unwrap_or_default());
        at += 1;
    }
    Ok(members)
}

/// Processor seconds, user and system, of a process, its children, and those that have ended and been waited for.
pub(crate) fn cpu_seconds(root: u32) -> Result<f64> {
    // utime, stime, cutime, cstime are 14 to 17 of proc_pid_stat(5); ppid is 4 and stands first here.
    let ticks: u64 = family(root)?.iter().map(|(_, fields)| fields.iter().skip(10).take(4).sum::<u64>()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Bytes of memory of a process and its children that are theirs: PSS.
pub(crate) fn pss_bytes(root: u32) -> Result<f64> {
    let mut sum = 0.0;
    for (pid, _) in family(root)? {
        // A child that has ended in the meantime has no memory.
        let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        sum += kilobytes(&rollup, "Pss:").unwrap_or(0.0) * 1024.0;
    }
    Ok(sum)
}

/// Bytes of memory that the whole kernel has for processes and sockets: slabs but those of file systems, stacks, page tables,
/// and what TCP has in its buffers.
pub(crate) fn kernel_bytes() -> Result<f64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let own = ["KernelStack:", "PageTables:"].iter().filter_map(|name| kilobytes(&meminfo, name)).sum::<f64>();
    // Only root may read it.
    let slabs = fs::read_to_string("/proc/slabinfo").context("kernel memory is for root to see")?;
    let sockets = fs::read_to_string("/proc/net/sockstat")?;
    let pages = sockets.lines().find(|line| line.starts_with("TCP:")).and_then(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.windows(2).find(|pair| pair[0] == "mem")?[1].parse::<f64>().ok()
    });
    let pages = pages.context("no TCP memory in sockstat")? + slab_pages(&slabs);
    Ok(own * 1024.0 + pages * rustix::param::page_size() as f64)
}

/// Pages of all slabs (slabinfo(5)) that do not come and go with the files that anybody reads.
fn slab_pages(slabinfo: &str) -> f64 {
    let of_files = |name: &str| {
        let inodes = name.contains("inode") && !name.starts_with("sock");
        inodes || ["ext4", "jbd2", "dentry", "radix_tree", "buffer_head"].iter().any(|begin| name.starts_with(begin))
    };
    let pages = |line: &str| {
        // name active_objs num_objs objsize objperslab pagesperslab : tunables … : slabdata active_slabs num_slabs …
        let fields: Vec<_> = line.split_whitespace().collect();
        let data = fields.iter().position(|field| *field == "slabdata")?;
        let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
        (!of_files(fields.first()?)).then_some(number(5)? * number(data + 2)?)
    };
    slabinfo.lines().filter_map(pages).sum()
}

fn kilobytes(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Waits until the connections of earlier parts are forgotten. Each keeps its port for a minute, and with many of them every
/// new connection takes longer to find one: ours, the proxy's and the backend's.
pub(crate) async fn forgotten() -> Result<()> {
    const FEW: u64 = 1000;
    const PATIENCE: Duration = Duration::from_secs(75);
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let sockets = fs::read_to_string("/proc/net/sockstat")?;
        let mut words = sockets.split_whitespace().skip_while(|word| *word != "tw").skip(1);
        if words.next().and_then(|waiting| waiting.parse::<u64>().ok()).is_none_or(|waiting| waiting < FEW) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_of_file_systems_do_not_count() {
        let line = |name: &str, pages, slabs| {
            format!("{name} 10 16 2048 16 {pages} : tunables 0 0 0 : slabdata {slabs} {slabs} 0\n")
        };
        let text = "slabinfo - version: 2.1\n# name\n".to_owned()
            + &line("TCP", 8, 3)
            + &line("sock_inode_cache", 4, 2)
            + &line("ext4_inode_cache", 8, 1000)
            + &line("dentry", 1, 1000);
        assert_eq!(slab_pages(&text), 32.0);
    }

    #[test]
    fn a_process_takes_processor_time_and_memory() {
        let own = std::process::id();
        let before = cpu_seconds(own).unwrap();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        while cpu_seconds(own).unwrap() - before < 2.0 / ticks {}
        assert!(pss_bytes(own).unwrap() > 100_000.0);
    }

    #[test]
    fn two_files_make_a_session() {
        assert_eq!(sessions_that_fit(20_000), 9700);
        assert_eq!(sessions_that_fit(0), 0);
    }
}
