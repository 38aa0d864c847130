//! Compares the memory that a command needs with the memory that there is, before anything is
//! allocated.

use crate::distributed;
use crate::error::CliError;
use crate::render::Renderer;
use indicatif::HumanBytes;
use std::fmt;
use std::path::{Path, PathBuf};

/// Memory of the program itself: its code, threads and small buffers (measured by `cargo xtask
/// memory`).
pub const PROGRAM_BYTES: u64 = 24 << 20;

/// Address space that threads will still reserve, most of it never used: the loader, the writer and
/// a progress bar have a stack of 2 MiB each, and glibc gives each an arena of 64 MiB. The threads
/// that compute were started before and have both, as part of what this process uses.
const THREAD_ADDRESS_SPACE: u64 = 3 * (66 << 20);

/// Memory that this process can still take, and what limits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AvailableMemory {
    pub bytes: u64,
    limit: Limit,
    /// The ranks of this node, each of which can take as much.
    ranks: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Limit {
    System,
    Cgroup,
    AddressSpace,
}

impl fmt::Display for AvailableMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.limit {
            Limit::System => "",
            Limit::Cgroup => " under the limit of the container or control group",
            Limit::AddressSpace => " under the limit of the address space (ulimit -v)",
        };
        write!(f, "{} are available{by}", HumanBytes(self.bytes))?;
        match self.ranks {
            1 => Ok(()),
            ranks => write!(f, " to each of {ranks} ranks"),
        }
    }
}

/// The least of what the system has without swapping, what the limits of this process's control
/// groups leave, and its limit of address space; what the system and the groups have is divided
/// among the ranks of the node. `None` where the system does not say (it is not Linux).
pub fn available() -> Option<AvailableMemory> {
    available_below(Path::new("/"), distributed::ranks().group().local_size() as u64)
}

/// Checks that a training run fits into memory. `hint` ends the message.
///
/// # Errors
/// Returns an error if it does not fit; with `dry_run` this is a warning.
pub fn check_run(
    needed: u64,
    batch: usize,
    hint: &str,
    dry_run: bool,
    render: &Renderer,
) -> Result<(), CliError> {
    let Some(available) = available().filter(|available| needed > available.bytes) else {
        return Ok(());
    };
    let needed = HumanBytes(needed);
    let text = format!("training on {batch} images a step takes {needed}, and {available}: {hint}");
    if !dry_run {
        return Err(CliError::Failed(text));
    }
    render.warning(&text);
    Ok(())
}

/// Checks that `what` of this many bytes fits into memory. `hint` ends the message.
///
/// # Errors
/// Returns an error if it does not fit.
pub fn check(what: &str, needed: u64, hint: &str) -> Result<(), CliError> {
    match available().filter(|available| needed > available.bytes) {
        Some(available) => {
            Err(failure!("{what} take {}, and {available}: {hint}", HumanBytes(needed)))
        }
        None => Ok(()),
    }
}

/// [`available`] by the files below `root`, to each of `ranks` ranks of this node.
fn available_below(root: &Path, ranks: u64) -> Option<AvailableMemory> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let system = read("proc/meminfo").and_then(|table| kilobytes(&table, "MemAvailable:"));
    let address_space = || {
        let limit = address_space_limit(&read("proc/self/limits")?)?;
        let used = kilobytes(&read("proc/self/status")?, "VmSize:")?;
        Some(limit.saturating_sub(used).saturating_sub(THREAD_ADDRESS_SPACE))
    };
    let shared = |bytes, limit| AvailableMemory { bytes: bytes / ranks, limit, ranks };
    let limits = [
        system.map(|bytes| shared(bytes, Limit::System)),
        cgroup_memory(root).map(|bytes| shared(bytes, Limit::Cgroup)),
        address_space().map(|bytes| AvailableMemory {
            bytes,
            limit: Limit::AddressSpace,
            ranks: 1,
        }),
    ];
    limits.into_iter().flatten().min()
}

/// The value of a line `name   N kB`, in bytes.
fn kilobytes(table: &str, name: &str) -> Option<u64> {
    let value = table.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The soft limit of `/proc/self/limits`; none if it is unlimited.
fn address_space_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What the memory limits of this process's control groups leave, and those of the groups around
/// them, of version 1 and 2.
fn cgroup_memory(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let mounts = read("proc/self/mountinfo")?;
    let groups = read("proc/self/cgroup")?;
    let mounts = mounts.lines().filter_map(Mount::parse);
    let left = mounts.flat_map(|mount| {
        let group = groups.lines().find_map(|line| mount.group(line));
        group.into_iter().flat_map(move |group| mount.left_in(root, &group))
    });
    left.min()
}

/// The mount of a hierarchy of control groups that knows memory.
struct Mount {
    is_v2: bool,
    /// The group that is mounted, `/` outside of containers.
    group: String,
    /// Where it is mounted, without the leading `/`.
    at: PathBuf,
}

impl Mount {
    /// Parses a line of `/proc/self/mountinfo`: id, parent, device, root, mount point, options,
    /// any number of tags, `-`, type, source, options of the file system.
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut file_system = file_system.split(' ');
        let is_v2 = match file_system.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let options = file_system.nth(1).unwrap_or_default();
        if !is_v2 && !options.split(',').any(|option| option == "memory") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (group, at) = (fields.next()?, fields.next()?);
        let at = unescape(at);
        Some(Self { is_v2, group: unescape(group), at: at.trim_start_matches('/').into() })
    }

    /// The path of this process's group below the mount, if this line of `/proc/self/cgroup`
    /// (hierarchy, controllers, path) is of this hierarchy.
    fn group(&self, line: &str) -> Option<String> {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_own = match self.is_v2 {
            true => controllers.is_empty(),
            false => controllers.split(',').any(|controller| controller == "memory"),
        };
        // Without a namespace of its own, a container has the path from the outside, and the mount
        // begins at its group.
        let below = path.strip_prefix(self.group.trim_end_matches('/')).unwrap_or("");
        is_own.then(|| below.trim_matches('/').to_owned())
    }

    /// What is left in the group, and in each group around it, up to the mount.
    fn left_in(&self, root: &Path, group: &str) -> Vec<u64> {
        let mount = root.join(&self.at);
        let (limits, usage, reclaimable): (&[&str], _, _) = match self.is_v2 {
            true => (&["memory.max", "memory.high"], "memory.current", "inactive_file "),
            false => (&["memory.limit_in_bytes"], "memory.usage_in_bytes", "total_inactive_file "),
        };
        let mut left = Vec::new();
        for path in Path::new(group).ancestors() {
            let folder = mount.join(path);
            let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
            let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
            let Some(limit) = limits.iter().filter_map(|name| number(name)).min() else { continue };
            // Pages of files that were not used lately are given up before anything else.
            let of_files = read("memory.stat")
                .and_then(|table| {
                    table.lines().find_map(|l| l.strip_prefix(reclaimable)?.parse().ok())
                })
                .unwrap_or(0);
            let used = number(usage).unwrap_or(0).saturating_sub(of_files);
            left.push(limit.saturating_sub(used));
        }
        left
    }
}

/// A path of mountinfo, in which a space is `\040`.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       24684180 kB\nMemFree:        20605248 kB\n\
                           MemAvailable:   23179776 kB\nBuffers: 0 kB\n";
    const GIB: u64 = 1 << 30;

    /// A file system of these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn found(files: &[(&str, &str)]) -> Option<(u64, Limit)> {
        let all = [files, &[("proc/meminfo", MEMINFO)]].concat();
        available_below(root(&all).path(), 1).map(|found| (found.bytes, found.limit))
    }

    #[test]
    fn the_systems_memory_is_read() {
        assert_eq!(found(&[]), Some((23_179_776 * 1024, Limit::System)));
        for bad in [
            "",
            "MemTotal: 1 kB\n",
            "MemAvailable: many kB\n",
            "MemAvailable: 3\n",
            "MemAvailable: 99999999999999999999 kB",
        ] {
            assert_eq!(available_below(root(&[("proc/meminfo", bad)]).path(), 1), None, "{bad}");
        }
        let shared = available_below(root(&[("proc/meminfo", MEMINFO)]).path(), 4).unwrap();
        assert_eq!(shared.bytes, 23_179_776 * 256);
        assert!(shared.to_string().ends_with("are available to each of 4 ranks"), "{shared}");
    }

    #[test]
    fn the_least_limit_of_all_groups_of_version_2_counts() {
        let mount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let group = "sys/fs/cgroup/user.slice/app.scope";
        let at = |name: &str| format!("{group}/{name}");
        let [max, current, stat] = ["memory.max", "memory.current", "memory.stat"].map(at);
        let own = [
            ("proc/self/mountinfo", mount),
            ("proc/self/cgroup", "0::/user.slice/app.scope\n"),
            (&*max, "4294967296\n"),
            (&*current, "3221225472\n"),
            (&*stat, "anon 12\ninactive_file 1073741824\nactive_file 7\n"),
        ];
        assert_eq!(found(&own), Some((2 * GIB, Limit::Cgroup)));
        // A group around it has a lower limit, or a soft one.
        for name in ["memory.max", "memory.high"] {
            let outer = format!("sys/fs/cgroup/user.slice/{name}");
            let current = "sys/fs/cgroup/user.slice/memory.current";
            let nested =
                [&own[..], &[(&*outer, "2147483648\n"), (current, "1073741824\n")]].concat();
            assert_eq!(found(&nested), Some((GIB, Limit::Cgroup)), "{name}");
        }
        let mut unlimited = own;
        unlimited[2].1 = "max\n";
        assert_eq!(found(&unlimited), Some((23_179_776 * 1024, Limit::System)));
        // More is in use than the limit, which was just lowered.
        unlimited[2].1 = "1048576\n";
        assert_eq!(found(&unlimited), Some((0, Limit::Cgroup)));
    }

    #[test]
    fn containers_of_version_1_see_their_own_group() {
        let mount = "49 32 0:36 /docker/4f /sys/fs/cgroup/memory ro,nosuid master:11 - cgroup \
                     cgroup rw,memory\n\
                     48 32 0:35 /docker/4f /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        let files = [
            ("proc/self/mountinfo", mount),
            ("proc/self/cgroup", "4:memory:/docker/4f\n3:cpu,cpuacct:/docker/4f\n0::/system\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "268435456\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 5\ntotal_inactive_file 134217728\n"),
        ];
        assert_eq!(found(&files), Some(((512 - 128) << 20, Limit::Cgroup)));
        // Unlimited groups have a limit that no machine reaches.
        let mut unlimited = files;
        unlimited[2].1 = "9223372036854771712\n";
        assert_eq!(found(&unlimited), Some((23_179_776 * 1024, Limit::System)));
        // Nested groups, outside of a container.
        let nested = [
            ("proc/self/mountinfo", "49 32 0:36 / /sys/fs/cgroup/memory rw - cgroup cgroup memory"),
            ("proc/self/cgroup", "4:memory:/batch/job 7\n"),
            ("sys/fs/cgroup/memory/batch/memory.limit_in_bytes", "1073741824\n"),
            ("sys/fs/cgroup/memory/batch/memory.usage_in_bytes", "1073741000\n"),
            ("sys/fs/cgroup/memory/batch/job 7/memory.limit_in_bytes", "536870912\n"),
            ("sys/fs/cgroup/memory/batch/job 7/memory.usage_in_bytes", "1\n"),
        ];
        assert_eq!(found(&nested), Some((824, Limit::Cgroup)));
    }

    #[test]
    fn the_limit_of_the_address_space_counts_without_what_is_mapped() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max data size             unlimited            unlimited            bytes\n\
                      Max address space         1073741824           unlimited            bytes\n";
        let files = [
            ("proc/self/limits", limits),
            ("proc/self/status", "Name:\tdcgan\nVmSize:\t  524288 kB\n"),
        ];
        let left = GIB / 2 - THREAD_ADDRESS_SPACE;
        assert_eq!(found(&files), Some((left, Limit::AddressSpace)));
        let unlimited = limits.replace("1073741824", "unlimited ");
        let files = [("proc/self/limits", &*unlimited), files[1]];
        assert_eq!(found(&files), Some((23_179_776 * 1024, Limit::System)));
    }
}
