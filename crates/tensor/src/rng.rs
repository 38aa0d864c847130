//! Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3" (SC 2011): the word at a position is a pure function of (seed, stream, position), so
//! a stream can be filled by any number of threads, continued from three saved integers, and
//! repeated on a GPU.
//!
//! ```
//! use tensor::rng::Philox;
//! let mut rng = Philox::new(42, 0);
//! let mut copy = rng.clone();
//! assert_eq!(rng.normal([4], 0.0, 1.0).to_vec(), copy.normal([4], 0.0, 1.0).to_vec());
//! ```

use crate::cpu::buffer::Buffer;
use crate::cpu::math;
use crate::cpu::parallel::par_chunks_mut;
pub use crate::descriptors::Distribution;
use crate::device::Device;
use crate::gpu::kernels::random;
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::ops::Range;

const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The ten-round Philox4x32 bijection: `counter` (4 words) under `key` (2 words).
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(MULTIPLIER[0]) * u64::from(counter[0]);
        let b = u64::from(MULTIPLIER[1]) * u64::from(counter[2]);
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// A random stream, whose state is three integers. A clone repeats the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Philox {
    seed: u64,
    stream: u64,
    /// Position in the stream, in 32-bit words.
    position: u64,
}

impl Philox {
    /// The start of stream `stream` of `seed`. Streams of one seed are independent.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { seed, stream, position: 0 }
    }

    fn block(&self, index: u64) -> [u32; 4] {
        philox4x32(
            [index as u32, (index >> 32) as u32, self.stream as u32, (self.stream >> 32) as u32],
            [self.seed as u32, (self.seed >> 32) as u32],
        )
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let word = self.block(self.position / 4)[(self.position % 4) as usize];
        self.position += 1;
        word
    }

    /// An unbiased integer in `[0, n)` (Lemire's rejection method).
    ///
    /// # Panics
    /// Panics if `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "Philox::below: the range is empty");
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(n);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Shuffles `items` uniformly (Fisher-Yates, from the last item down).
    ///
    /// # Panics
    /// Panics if there are more items than 32 bits can count.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        assert!(u32::try_from(items.len()).is_ok(), "Philox::shuffle: {} items", items.len());
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }

    /// Moves `count` items, sampled uniformly without replacement, to the front of `items` in
    /// random order (the first `count` steps of a Fisher-Yates shuffle). With `count` beyond the
    /// length all items are shuffled.
    pub fn partial_shuffle<T>(&mut self, items: &mut [T], count: usize) {
        for i in 0..count.min(items.len()) {
            let left = u32::try_from(items.len() - i).unwrap_or(u32::MAX);
            items.swap(i, i + self.below(left) as usize);
        }
    }

    /// `count` different indices below `len` in random order; all of them if `len` is at most
    /// `count`.
    ///
    /// ```
    /// let mut rng = tensor::rng::Philox::new(7, 0);
    /// let mut sample = rng.sample_without_replacement(10, 4);
    /// sample.sort_unstable();
    /// sample.dedup();
    /// assert!(sample.len() == 4 && sample.iter().all(|&index| index < 10));
    /// ```
    pub fn sample_without_replacement(&mut self, len: usize, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..len).collect();
        self.partial_shuffle(&mut all, count);
        all.truncate(count);
        all
    }

    /// A tensor of independent U(low, high) values on the CPU; `high` is excluded but for rounding.
    pub fn uniform(&mut self, shape: impl Into<Shape>, low: f32, high: f32) -> Tensor {
        self.draw(&Device::Cpu, shape, Distribution::Uniform { low, high })
    }

    /// A tensor of independent N(mean, std²) values on the CPU.
    pub fn normal(&mut self, shape: impl Into<Shape>, mean: f32, std: f32) -> Tensor {
        self.draw(&Device::Cpu, shape, Distribution::Normal { mean, std })
    }

    /// A tensor of independent values. The stream is the same on every device: its words are equal,
    /// and the values computed from them agree but for the last bits of a division or a logarithm.
    /// Every call starts at a new block of four words, so element `i` is a function of the position
    /// and `i` alone.
    pub fn draw(
        &mut self,
        device: &Device,
        shape: impl Into<Shape>,
        distribution: Distribution,
    ) -> Tensor {
        let shape = shape.into();
        let first = self.position.div_ceil(4);
        self.position = (first + (shape.len() as u64).div_ceil(4)) * 4;
        let gpu = match device {
            Device::Cpu => return self.fill(first, shape, distribution),
            Device::Gpu(gpu) => gpu,
        };
        let start = [self.seed, self.stream, first];
        Tensor::from_gpu_buffer(random::fill(gpu, shape.len(), distribution, start), shape)
    }

    /// These rows of the tensor that [`draw`](Self::draw) returns for `shape`; the stream moves on
    /// as by all of it. So processes that each need some rows draw what one process would.
    ///
    /// # Panics
    /// Panics if the tensor does not have these rows.
    #[track_caller]
    pub fn draw_rows(
        &mut self,
        device: &Device,
        shape: impl Into<Shape>,
        rows: Range<usize>,
        distribution: Distribution,
    ) -> Tensor {
        let shape = shape.into();
        let count = shape.first().copied().unwrap_or(0);
        assert!(rows.start <= rows.end && rows.end <= count, "draw_rows: {rows:?} of {shape:?}");
        if rows.len() == count {
            return self.draw(device, shape, distribution);
        }
        let first = self.position.div_ceil(4);
        self.position = (first + (shape.len() as u64).div_ceil(4)) * 4;
        let row = shape.len() / count;
        let (start, len) = (rows.start * row, rows.len() * row);
        let mut own = shape.to_vec();
        own[0] = rows.len();
        // From the start of a block of four words.
        let skip = start % 4;
        let first = first + (start / 4) as u64;
        let wide =
            Self { position: first * 4, ..self.clone() }.draw(device, [skip + len], distribution);
        wide.narrow(0, skip, len).reshape(&own[..])
    }

    fn fill(&self, first: u64, shape: Shape, distribution: Distribution) -> Tensor {
        match distribution {
            Distribution::Uniform { low, high } => self
                .fill_with(first, shape, move |words| words.map(|w| low + (high - low) * unit(w))),
            Distribution::Normal { mean, std } => self.fill_with(first, shape, move |w| {
                let [a, b] = box_muller(w[0], w[1]);
                let [c, d] = box_muller(w[2], w[3]);
                [a, b, c, d].map(|z| mean + std * z)
            }),
            Distribution::Bernoulli { keep, value } => self.fill_with(first, shape, move |words| {
                words.map(|w| if unit(w) < keep { value } else { 0.0 })
            }),
        }
    }

    fn fill_with(
        &self,
        first: u64,
        shape: Shape,
        f: impl Fn([u32; 4]) -> [f32; 4] + Sync,
    ) -> Tensor {
        let mut out = Buffer::uninit(shape.len());
        const CHUNK: usize = 4096;
        par_chunks_mut(&mut out, CHUNK, |chunk, values| {
            for (i, four) in values.chunks_mut(4).enumerate() {
                let block = f(self.block(first + (chunk * CHUNK / 4 + i) as u64));
                four.copy_from_slice(&block[..four.len()]);
            }
        });
        Tensor::from_buffer(out, shape)
    }
}

/// 24 random bits as a float in `[0, 1)`.
fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Two independent N(0, 1) values from two words (Box & Muller 1958), in f32 and by `cpu/math.rs`:
/// the same bits on every machine.
fn box_muller(a: u32, b: u32) -> [f32; 2] {
    // (a + 1) / 2^32 is in (0, 1], so the logarithm is finite.
    let radius = (-2.0 * math::ln((a as f32 + 1.0) * (1.0 / 4_294_967_296.0))).sqrt();
    let (sin, cos) = math::sin_cos_turn(b);
    [radius * cos, radius * sin]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Random123's `kat_vectors` for philox4x32-10.
    #[test]
    fn known_answers() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([!0; 4], [!0; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn moments_of_the_distributions() {
        let n = 200_000usize;
        let moments = |t: Tensor| {
            let v = t.to_vec();
            let mean = v.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
            let var = v.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n as f64;
            (mean, var)
        };
        let mut rng = Philox::new(7, 1);
        let (mean, var) = moments(rng.normal([n], 1.0, 2.0));
        assert!((mean - 1.0).abs() < 0.02 && (var - 4.0).abs() < 0.05, "normal: {mean} {var}");
        let (mean, var) = moments(rng.uniform([n], -1.0, 1.0));
        assert!(mean.abs() < 0.01 && (var - 1.0 / 3.0).abs() < 0.005, "uniform: {mean} {var}");
        let mask = Distribution::Bernoulli { keep: 0.8, value: 1.25 };
        let (mean, _) = moments(rng.draw(&Device::Cpu, [n], mask));
        assert!((mean - 1.0).abs() < 0.01, "dropout mask: {mean}");
    }

    #[test]
    fn a_saved_state_continues_the_stream() {
        let mut rng = Philox::new(3, 9);
        rng.normal([5], 0.0, 1.0);
        rng.next_u32();
        let mut copy = rng.clone();
        assert_eq!(rng.uniform([7], 0.0, 1.0).to_vec(), copy.uniform([7], 0.0, 1.0).to_vec());
        assert_eq!(rng, copy);
        let mut other = Philox::new(3, 10);
        assert_ne!(
            other.uniform([7], 0.0, 1.0).to_vec(),
            Philox::new(3, 9).uniform([7], 0.0, 1.0).to_vec()
        );
    }

    #[test]
    fn rows_are_those_of_the_whole_tensor() {
        let kinds = [
            Distribution::Normal { mean: 0.5, std: 2.0 },
            Distribution::Bernoulli { keep: 0.5, value: 2.0 },
        ];
        for distribution in kinds {
            let start = {
                let mut rng = Philox::new(5, 6);
                rng.next_u32();
                rng
            };
            let mut whole = start.clone();
            let all = whole.draw(&Device::Cpu, [7, 5, 3], distribution);
            for rows in [0..7, 0..2, 3..4, 1..7, 6..7, 2..2] {
                let mut rng = start.clone();
                let some = rng.draw_rows(&Device::Cpu, [7, 5, 3], rows.clone(), distribution);
                assert_eq!(some.to_vec(), all.narrow(0, rows.start, rows.len()).to_vec());
                assert_eq!(rng, whole);
            }
        }
    }

    #[test]
    fn below_is_in_range_and_uniform() {
        let mut rng = Philox::new(1, 0);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[rng.below(6) as usize] += 1;
        }
        assert!(counts.iter().all(|&c| (9_500..10_500).contains(&c)), "{counts:?}");
    }
}
