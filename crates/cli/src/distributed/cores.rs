//! The cores of a node, divided among its ranks.

use std::collections::BTreeSet;
use std::thread::available_parallelism;
use tensor::distributed::ProcessGroup;

/// The part of a node's cores that a rank has.
#[derive(Debug, PartialEq, Eq)]
pub struct CoreShare {
    /// As many threads as it should start.
    pub threads: u32,
    /// Says that the launcher leaves cores of a node unused.
    pub warning: Option<String>,
}

/// Divides the cores. Ranks that may run on the same cores share them; a rank that is bound to some
/// has those. All ranks call this together.
pub fn share(group: &ProcessGroup, nodes: &[String]) -> CoreShare {
    let own = allowed("self").unwrap_or_default();
    let launcher = parent().and_then(|parent| allowed(&parent)).unwrap_or_default();
    let text = |cores: &BTreeSet<u32>| cores.iter().map(u32::to_string).collect::<Vec<_>>();
    let message = [text(&own).join(","), text(&launcher).join(",")].join(";");
    let all = group.all_gather(message.as_bytes());
    let cores: Vec<[BTreeSet<u32>; 2]> = all
        .iter()
        .map(|message| {
            let message = String::from_utf8_lossy(message);
            let (own, launcher) = message.split_once(';').unwrap_or_default();
            [own, launcher].map(|list| parse(list).unwrap_or_default())
        })
        .collect();
    let available = available_parallelism().map_or(1, |cores| cores.get());
    let sharing = (0..nodes.len())
        .filter(|&rank| nodes[rank] == nodes[group.rank()] && cores[rank][0] == own)
        .count()
        // Nodes may have the same name.
        .min(group.local_size());
    let threads = u32::try_from((available / sharing.max(1)).max(1)).unwrap_or(u32::MAX);
    CoreShare { threads, warning: unused_cores(nodes, &cores) }
}

/// Says on which node ranks are bound to fewer cores than their launcher may use.
fn unused_cores(nodes: &[String], cores: &[[BTreeSet<u32>; 2]]) -> Option<String> {
    nodes.iter().find_map(|node| {
        let of_node = || (0..nodes.len()).filter(|&rank| nodes[rank] == *node);
        let used: BTreeSet<u32> = of_node().flat_map(|rank| cores[rank][0].clone()).collect();
        let usable: BTreeSet<u32> = of_node().flat_map(|rank| cores[rank][1].clone()).collect();
        (used.len() < usable.len()).then(|| {
            format!(
                "mpirun binds the {} ranks of {node} to {} of its {} cores: start them with \
                 mpirun --bind-to none",
                of_node().count(),
                used.len(),
                usable.len()
            )
        })
    })
}

/// The cores that a process may run on, by the number of the process or `self`. `None` where the
/// system does not say (it is not Linux).
fn allowed(process: &str) -> Option<BTreeSet<u32>> {
    parse(&status(process, "Cpus_allowed_list:")?)
}

/// The number of the process that started this one.
fn parent() -> Option<String> {
    status("self", "PPid:")
}

fn status(process: &str, key: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(value.trim().to_owned())
}

/// The numbers of a list such as `0-3,8`.
fn parse(list: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for range in list.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::distributed::run_on_threads;

    #[test]
    fn unbound_ranks_divide_the_cores_of_their_node() {
        let available = available_parallelism().unwrap().get();
        for ranks in [2, 3] {
            let nodes = vec!["a".to_owned(); ranks];
            for own in run_on_threads(ranks, |group| share(&group, &nodes)) {
                assert_eq!(own.threads as usize, (available / ranks).max(1));
            }
        }
        // On nodes of their own they share nothing.
        let nodes = ["a", "b"].map(str::to_owned);
        for own in run_on_threads(2, |group| share(&group, &nodes)) {
            assert_eq!(own.threads as usize, available);
        }
    }

    #[test]
    fn bound_ranks_are_noticed_where_cores_are_left() {
        let nodes = ["a", "a", "b"].map(str::to_owned);
        let cores = |lists: [[&str; 2]; 3]| lists.map(|pair| pair.map(|list| parse(list).unwrap()));
        let enough = cores([["0", "0-1"], ["1", "0-1"], ["0-3", "0-3"]]);
        assert_eq!(unused_cores(&nodes, &enough), None);
        let few = cores([["0", "0-1"], ["1", "0-1"], ["2", "0-3,8"]]);
        let text = unused_cores(&nodes, &few).unwrap();
        assert!(text.contains("the 1 ranks of b to 1 of its 5 cores"), "{text}");
        // Unknown, as outside of Linux.
        assert_eq!(unused_cores(&nodes, &cores([["", ""]; 3])), None);
    }

    #[test]
    fn lists_of_cores_are_read() {
        let read = |list| parse(list).map(|numbers| numbers.into_iter().collect::<Vec<_>>());
        assert_eq!(read("0-2,8"), Some(vec![0, 1, 2, 8]));
        assert_eq!((read(""), read("x"), read("1-")), (Some(vec![]), None, None));
    }
}
