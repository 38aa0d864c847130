//! Every operation on 1 to 4 ranks: the test starts itself under `mpirun` (or the launcher that the
//! variable MPIRUN names).

use mpi_group::{MpiCommunicator, finalize, join};
use std::process::Command;
use tensor::distributed::{Communicator, ProcessGroup};

fn main() {
    if std::env::args().any(|arg| arg == "--rank") {
        return rank();
    }
    let program = std::env::current_exe().expect("this test's path");
    let launcher = std::env::var_os("MPIRUN").unwrap_or("mpirun".into());
    for ranks in ["1", "2", "3", "4"] {
        let status = Command::new(&launcher)
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
            .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
            .args(["-n", ranks])
            .arg(&program)
            .arg("--rank")
            .status()
            .expect("a launcher: install OpenMPI or MPICH, or name one in MPIRUN");
        assert!(status.success(), "{ranks} ranks: {status}");
    }
}

fn rank() {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        mpi_group::abort(101)
    }));
    let communicator = join().expect("a library with threads");
    let (rank, size) = (communicator.rank(), communicator.world_size());
    assert!(join().is_err() && !mpi_group::library_version().contains('\0'));
    assert_eq!((communicator.local_rank(), communicator.local_size()), (rank, size));
    assert!(!communicator.node().is_empty());
    blocking_operations(&communicator);
    background_operations(&communicator);

    let group = ProcessGroup::new(communicator);
    let terms: Vec<f32> = (0..100_001).map(|i| (i % 7 + rank) as f32 * 0.1).collect();
    let mut sums = terms.clone();
    group.all_reduce(&mut sums);
    let expected = |i: usize| (0..size).fold(0.0, |sum, r| sum + (i % 7 + r) as f32 * 0.1);
    assert!(sums.iter().enumerate().all(|(i, &sum)| sum == expected(i)), "{sums:?}");
    finalize();
}

fn blocking_operations(communicator: &MpiCommunicator) {
    let (rank, size) = (communicator.rank(), communicator.world_size());
    let mut all = vec![0; 3 * size];
    communicator.all_gather(&[rank as u8; 3], &mut all);
    assert!(all.iter().enumerate().all(|(i, &value)| usize::from(value) == i / 3));
    for root in 0..size {
        let mut message = vec![rank as u8; 5];
        communicator.broadcast(root, &mut message);
        assert_eq!(message, [root as u8; 5]);
    }
    communicator.barrier();
}

/// Operations of the two kinds overlap, are finished in another order than they were started in,
/// and one is dropped while it goes on.
fn background_operations(communicator: &MpiCommunicator) {
    let (rank, size) = (communicator.rank(), communicator.world_size());
    for len in [1, 10_000, 1 << 20] {
        let pieces = (0..size).flat_map(|to| vec![(10 * rank + to) as f32; len]).collect();
        let mut scattered = communicator.start_all_to_all(pieces);
        drop(communicator.start_all_to_all(vec![7.0; len * size]));
        let gathered = communicator.start_all_gather(vec![rank as f32; len]);
        communicator.barrier();
        let gathered = gathered.wait();
        assert!(gathered.iter().enumerate().all(|(i, &value)| value == (i / len) as f32));
        while !scattered.is_done() {
            std::thread::yield_now();
        }
        assert!(scattered.is_done());
        let scattered = scattered.wait();
        let from = |i: usize| (10 * (i / len) + rank) as f32;
        assert!(scattered.iter().enumerate().all(|(i, &value)| value == from(i)));
    }
}
