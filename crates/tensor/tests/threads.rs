//! The number of threads never changes a bit.

mod common;

use common::workload;
use tensor::{Device, Tensor};

type Results = Vec<(String, Tensor)>;

fn in_pool(threads: usize, f: impl Fn() -> Results + Send) -> Results {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

fn compare(f: impl Fn() -> Results + Send + Copy) {
    let alone = in_pool(1, f);
    assert!(
        alone.iter().all(|(name, t)| !t.is_empty() && t.to_vec().iter().all(|v| v.is_finite())
            || panic!("{name}"))
    );
    for threads in [2, 3] {
        let together = in_pool(threads, f);
        assert_eq!(alone.len(), together.len());
        for ((name, a), (_, b)) in alone.iter().zip(&together) {
            assert_eq!(a.shape(), b.shape(), "{name}");
            let differ = a
                .to_vec()
                .iter()
                .zip(b.to_vec())
                .filter(|(a, b)| a.to_bits() != b.to_bits())
                .count();
            assert_eq!(
                differ,
                0,
                "{name}: {differ} of {} elements differ between 1 and {threads} threads",
                a.len()
            );
        }
    }
}

#[test]
fn every_kernel_family() {
    compare(|| workload::kernels(&Device::Cpu));
}

#[test]
fn training_a_small_network() {
    compare(|| workload::training(&Device::Cpu));
}
