//! The alpha-beta model of a data-parallel step: a message of n bytes takes α + n·β seconds.
//!
//! Modelled are the messages that a rank sends one after the other, on a network where all pairs of
//! ranks may send at once, and computing that grows with the rank's images. Not modelled are ranks
//! that wait because another computes longer, congested switches, and reading data.

use serde::{Deserialize, Serialize};

/// Messages up to this many bytes are summed by one all-gather, as in `tensor::distributed`.
const SMALL: f64 = 16384.0;

/// The messages that a rank sends one after the other in a collective operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CriticalPath {
    pub messages: f64,
    pub bytes: f64,
}

/// How the values of all ranks are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// That of `tensor::distributed`, in the order of the ranks: for small messages an all-gather
    /// by recursive doubling, after which each rank adds; for others an all-to-all and an
    /// all-gather of p − 1 messages each.
    RankOrder,
    /// Ring: 2(p − 1) messages of n/p bytes (Patarasuk & Yuan 2009).
    Ring,
    /// Recursive halving, then doubling: 2·log₂ p messages, 2(p − 1)/p · n bytes together
    /// (Rabenseifner 2004).
    HalvingDoubling,
}

impl Algorithm {
    /// The sum of `bytes` bytes over `ranks` ranks.
    pub fn all_reduce(self, bytes: f64, ranks: usize) -> CriticalPath {
        let others = ranks.saturating_sub(1) as f64;
        let rounds = rounds(ranks);
        let scattered = 2.0 * others / ranks.max(1) as f64 * bytes;
        match self {
            Self::RankOrder if bytes <= SMALL => {
                CriticalPath { messages: rounds, bytes: others * bytes }
            }
            Self::RankOrder | Self::Ring => {
                CriticalPath { messages: 2.0 * others, bytes: scattered }
            }
            Self::HalvingDoubling => CriticalPath { messages: 2.0 * rounds, bytes: scattered },
        }
    }

    /// The sum of a small message, such as the statistics of a batch norm. Where the order of the
    /// sum is free, by recursive doubling: log₂ p messages of all bytes.
    pub fn small_sum(self, bytes: f64, ranks: usize) -> CriticalPath {
        let others = ranks.saturating_sub(1) as f64;
        let rounds = rounds(ranks);
        let bytes = if self == Self::RankOrder { others * bytes } else { rounds * bytes };
        CriticalPath { messages: rounds, bytes }
    }
}

/// ⌈log₂ p⌉.
fn rounds(ranks: usize) -> f64 {
    f64::from(ranks.max(1).next_power_of_two().trailing_zeros())
}

/// A link between two ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Link {
    /// Seconds per message.
    pub alpha: f64,
    /// Seconds per byte.
    pub beta: f64,
}

impl Link {
    /// The seconds that the messages take.
    pub fn seconds(self, path: CriticalPath) -> f64 {
        path.messages * self.alpha + path.bytes * self.beta
    }

    /// The link that fits measured seconds with the least squares of relative errors (absolute ones
    /// would leave α to the noise of the longest messages); neither value is below 0. `None` unless
    /// there are two different paths.
    pub fn fit(measured: &[(CriticalPath, f64)]) -> Option<Self> {
        let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
            measured.iter().map(|(path, t)| term(path.messages / t, path.bytes / t)).sum()
        };
        let [aa, ab, bb] = [sum(&|a, _| a * a), sum(&|a, b| a * b), sum(&|_, b| b * b)];
        let [a, b] = [sum(&|a, _| a), sum(&|_, b| b)];
        let determinant = aa * bb - ab * ab;
        if determinant.is_nan() || determinant <= 1e-9 * aa * bb {
            return None;
        }
        let (alpha, beta) = ((a * bb - b * ab) / determinant, (b * aa - a * ab) / determinant);
        Some(if alpha < 0.0 {
            Self { alpha: 0.0, beta: b / bb }
        } else if beta < 0.0 {
            Self { alpha: a / aa, beta: 0.0 }
        } else {
            Self { alpha, beta }
        })
    }
}

/// The seconds that one process computes in a step without communication.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Computing {
    /// Independent of the batch: the optimizers, packing of weights.
    pub per_step: f64,
    pub per_image: f64,
}

impl Computing {
    /// The line through measured numbers of images and seconds with the least squares of relative
    /// errors; `per_step` is not below 0. `None` unless there are two different numbers of images.
    pub fn fit(measured: &[(usize, f64)]) -> Option<Self> {
        let path =
            |&(images, t): &(usize, f64)| (CriticalPath { messages: 1.0, bytes: images as f64 }, t);
        let line = Link::fit(&measured.iter().map(path).collect::<Vec<_>>())?;
        Some(Self { per_step: line.alpha, per_image: line.beta })
    }

    /// The seconds for a step on `images` images.
    pub fn seconds(self, images: f64) -> f64 {
        self.per_step + self.per_image * images
    }
}

/// The collective operations of one step, by the bytes of a rank's message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Sums of gradients, which go on while the rank computes.
    pub gradients: Vec<usize>,
    /// Small sums that the rank waits for: batch statistics in the forward and backward pass.
    pub sums: Vec<usize>,
}

/// A training step on many ranks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepModel {
    pub computing: Computing,
    pub traffic: Traffic,
    /// The share of computing during which gradients are under way.
    pub overlap: f64,
}

/// The seconds of a step, by what they are spent on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepTime {
    pub computing: f64,
    /// Sums that the rank waits for.
    pub sums: f64,
    /// Sums of gradients, hidden or not.
    pub gradients: f64,
    /// computing + sums + max(0, gradients − overlap · computing).
    pub total: f64,
}

impl StepModel {
    /// A step of `ranks` ranks with `images` images each. `slower` multiplies all of it, where
    /// ranks share cores.
    pub fn step(
        &self,
        images: f64,
        ranks: usize,
        link: Link,
        algorithm: Algorithm,
        slower: f64,
    ) -> StepTime {
        let of = |messages: &[usize], path: fn(Algorithm, f64, usize) -> CriticalPath| -> f64 {
            messages.iter().map(|&n| link.seconds(path(algorithm, n as f64, ranks))).sum()
        };
        let computing = slower * self.computing.seconds(images);
        let sums = slower * of(&self.traffic.sums, Algorithm::small_sum);
        let gradients = slower * of(&self.traffic.gradients, Algorithm::all_reduce);
        let total = computing + sums + (gradients - self.overlap * computing).max(0.0);
        StepTime { computing, sums, gradients, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Algorithm; 3] = [Algorithm::RankOrder, Algorithm::Ring, Algorithm::HalvingDoubling];

    fn path(messages: f64, bytes: f64) -> CriticalPath {
        CriticalPath { messages, bytes }
    }

    #[test]
    fn paths_are_those_of_the_formulas() {
        // 1 MB over 8 ranks: each sends 2 · 7/8 MB, in 14 messages or 2 · log₂ 8.
        assert_eq!(Algorithm::Ring.all_reduce(1e6, 8), path(14.0, 1.75e6));
        assert_eq!(Algorithm::RankOrder.all_reduce(1e6, 8), path(14.0, 1.75e6));
        assert_eq!(Algorithm::HalvingDoubling.all_reduce(1e6, 8), path(6.0, 1.75e6));
        // Three ranks need two rounds, as four do.
        assert_eq!(Algorithm::HalvingDoubling.all_reduce(3e6, 3), path(4.0, 4e6));
        // Small messages: everybody's, or log₂ 8 times the own one.
        assert_eq!(Algorithm::RankOrder.all_reduce(1000.0, 8), path(3.0, 7000.0));
        assert_eq!(Algorithm::RankOrder.small_sum(1000.0, 8), path(3.0, 7000.0));
        assert_eq!(Algorithm::Ring.small_sum(1000.0, 8), path(3.0, 3000.0));
    }

    #[test]
    fn one_rank_sends_nothing() {
        for algorithm in ALL {
            for bytes in [1e3, 1e8] {
                assert_eq!(algorithm.all_reduce(bytes, 1), path(0.0, 0.0));
                assert_eq!(algorithm.small_sum(bytes, 1), path(0.0, 0.0));
            }
        }
    }

    #[test]
    fn many_ranks_send_twice_the_bytes() {
        for algorithm in ALL {
            let sent = algorithm.all_reduce(1e9, 1 << 20).bytes;
            assert!((sent / 2e9 - 1.0).abs() < 1e-5, "{sent}");
        }
    }

    #[test]
    fn a_fit_recovers_the_link() {
        let link = Link { alpha: 37e-6, beta: 0.8e-9 };
        let sizes = [4096.0, 65536.0, 1048576.0, 67108864.0];
        let paths = sizes.map(|n| Algorithm::Ring.all_reduce(n, 3));
        let found = Link::fit(&paths.map(|path| (path, link.seconds(path)))).unwrap();
        assert!((found.alpha / link.alpha - 1.0).abs() < 1e-9, "{found:?}");
        assert!((found.beta / link.beta - 1.0).abs() < 1e-9, "{found:?}");
        // One size does not tell α from β.
        assert_eq!(Link::fit(&[(paths[0], 1.0), (paths[0], 2.0)]), None);
        assert_eq!(Link::fit(&[]), None);
    }

    #[test]
    fn a_fit_is_never_below_0() {
        // Time that grows faster than the bytes would give a negative α.
        let measured = [(path(2.0, 1e3), 1e-6), (path(2.0, 1e6), 1.0)];
        let link = Link::fit(&measured).unwrap();
        assert!(link.alpha == 0.0 && link.beta > 0.0, "{link:?}");
    }

    #[test]
    fn computing_is_a_line() {
        let line = Computing { per_step: 0.02, per_image: 0.01 };
        let measured = [8, 32, 128].map(|n| (n, line.seconds(n as f64)));
        let found = Computing::fit(&measured).unwrap();
        assert!((found.per_step - 0.02).abs() < 1e-9 && (found.per_image - 0.01).abs() < 1e-9);
    }

    #[test]
    fn a_step_hides_gradients_behind_computing() {
        let model = StepModel {
            computing: Computing { per_step: 0.1, per_image: 0.01 },
            traffic: Traffic { gradients: vec![1_000_000], sums: vec![1000, 1000] },
            overlap: 0.5,
        };
        let link = Link { alpha: 1e-3, beta: 1e-7 };
        let step = |images, slower| model.step(images, 4, link, Algorithm::Ring, slower);
        // 6 messages and 1.5 MB: 0.006 + 0.15 s; twice 2 messages and 2 kB: 2 · 0.0022 s.
        let slow = step(90.0, 1.0);
        assert!((slow.gradients - 0.156).abs() < 1e-9 && (slow.sums - 0.0044).abs() < 1e-9);
        assert!((slow.total - 1.0044).abs() < 1e-9, "half a second hides the gradients: {slow:?}");
        let fast = step(10.0, 1.0);
        assert!((fast.total - (0.2 + 0.0044 + 0.056)).abs() < 1e-9, "{fast:?}");
        assert!((step(10.0, 3.0).total - 3.0 * fast.total).abs() < 1e-9);
        let alone = model.step(90.0, 1, link, Algorithm::RankOrder, 1.0);
        assert_eq!((alone.total, alone.sums, alone.gradients), (1.0, 0.0, 0.0));
    }
}
