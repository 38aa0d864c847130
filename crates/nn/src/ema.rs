//! Exponential moving average (EMA) of a network's weights.

use crate::error::NnError;
use crate::layers::TensorRole;
use crate::layout::Layout;
use crate::network::Network;
use crate::state::{StateDict, StateTensor, TensorSpec, read_state};
use std::sync::atomic::Ordering;
use tensor::{EmaUpdate, HostTensor, Tensor};

/// The EMA of a network: average ← decay · average + (1 − decay) · network, for every parameter and
/// running statistic. Counters, the vectors of spectral normalization and reference batches are
/// copied. The EMA of a generator gives more consistent images than the generator itself.
///
/// ```
/// use nn::layers::Linear;
/// use nn::{Ema, Layer, Network};
/// use tensor::Tensor;
///
/// let network = Network::new(vec![("fc".into(), Layer::from(Linear::new(1, 1, false)))]);
/// let mut ema = Ema::new(&network, 0.75);
/// network.params()[0].1.set(Tensor::ones([1, 1]));
/// ema.update(&network);
/// ema.swap(&network); // The network has the average now, and `ema` the network's weights.
/// assert_eq!(network.params()[0].1.value().to_vec(), [0.25]);
/// ```
pub struct Ema {
    decay: f32,
    values: Vec<(String, EmaValue)>,
}

enum EmaValue {
    Average(Layout, Tensor),
    Copied(Layout, Tensor),
    Count(i64),
}

impl Ema {
    /// Creates an EMA that starts at the current values of `net`. `decay` is in [0, 1); the average
    /// spans about 1 / (1 − decay) updates.
    pub fn new(net: &Network, decay: f32) -> Self {
        let values = net
            .named_tensors()
            .map(|(name, entry)| {
                let value = match entry.role {
                    TensorRole::Param(param) => EmaValue::Average(entry.layout, param.value()),
                    TensorRole::Buffer(slot) => EmaValue::Average(entry.layout, slot.get()),
                    TensorRole::Copied(slot) => EmaValue::Copied(entry.layout, slot.get()),
                    TensorRole::Count(count) => EmaValue::Count(count.load(Ordering::Relaxed)),
                };
                (name, value)
            })
            .collect();
        Self { decay, values }
    }

    /// Updates the EMA with the current values of `net`.
    ///
    /// # Panics
    /// Panics if `net` does not have the tensors that this average was created for.
    #[track_caller]
    pub fn update(&mut self, net: &Network) {
        self.blend(net, self.decay);
    }

    /// Updates the EMA after the `step`-th training step, counted from 1, with a warm-up of the
    /// decay. Until about 10 / (1 − decay) steps the decay is smaller, (1 + step) / (10 + step), so
    /// that the random initial weights do not stay in the average (as in TensorFlow's
    /// `ExponentialMovingAverage`).
    ///
    /// # Panics
    /// Panics under the same conditions as [`update`](Self::update).
    #[track_caller]
    pub fn update_at(&mut self, net: &Network, step: u64) {
        self.blend(net, self.decay.min(((1 + step) as f64 / (10 + step) as f64) as f32));
    }

    #[track_caller]
    fn blend(&mut self, net: &Network, keep: f32) {
        let mut moved = Vec::new();
        self.with(net, |own, place| match (own, place) {
            (EmaValue::Average(_, average), TensorRole::Param(param)) => {
                moved.push((average, param.value()))
            }
            (EmaValue::Average(_, average), TensorRole::Buffer(slot)) => {
                moved.push((average, slot.get()))
            }
            (EmaValue::Copied(_, own), TensorRole::Copied(slot)) => *own = slot.get(),
            (EmaValue::Count(own), TensorRole::Count(count)) => {
                *own = count.load(Ordering::Relaxed)
            }
            _ => panic!("Ema: made for another network"),
        });
        let mut averages: Vec<_> = moved
            .iter_mut()
            .map(|(average, value)| EmaUpdate { average, value, keep, factor: 1.0 })
            .collect();
        tensor::lerp(&mut averages);
    }

    /// Swaps the EMA with the values of `net`: call it once to sample from the average and once
    /// more to resume training.
    ///
    /// # Panics
    /// Panics under the same conditions as [`update`](Self::update).
    #[track_caller]
    pub fn swap(&mut self, net: &Network) {
        self.with(net, |own, place| match (own, place) {
            (EmaValue::Average(_, average), TensorRole::Param(param)) => {
                std::mem::swap(average, &mut *param.shared().write())
            }
            (EmaValue::Average(_, own), TensorRole::Buffer(slot))
            | (EmaValue::Copied(_, own), TensorRole::Copied(slot)) => {
                std::mem::swap(own, &mut *slot.write());
            }
            (EmaValue::Count(own), TensorRole::Count(count)) => {
                *own = count.swap(*own, Ordering::Relaxed)
            }
            _ => panic!("Ema: made for another network"),
        });
    }

    #[track_caller]
    fn with<'a>(&'a mut self, net: &Network, mut f: impl FnMut(&'a mut EmaValue, TensorRole<'_>)) {
        let entries: Vec<_> = net.named_tensors().collect();
        let same = entries.len() == self.values.len()
            && entries.iter().zip(&self.values).all(|((a, _), (b, _))| a == b);
        assert!(same, "Ema: made for another network");
        for ((_, own), (_, entry)) in self.values.iter_mut().zip(&entries) {
            f(own, entry.role);
        }
    }

    /// Returns the EMA in the format of [`Network::state_dict`], which any network of the same
    /// recipe can load.
    pub fn state_dict(&self) -> StateDict {
        self.values
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    EmaValue::Average(layout, own) | EmaValue::Copied(layout, own) => {
                        layout.to_host(own)
                    }
                    EmaValue::Count(count) => HostTensor::scalar_i64(*count),
                };
                (name.clone(), value)
            })
            .collect()
    }

    /// Loads an EMA from a state dict.
    ///
    /// # Errors
    /// Returns an error under the same conditions as [`Network::load_state_dict`]; nothing is
    /// changed then.
    pub fn load_state_dict(&mut self, state: &StateDict) -> Result<(), NnError> {
        let expected: Vec<(String, TensorSpec)> = self
            .values
            .iter()
            .map(|(name, value)| {
                let what = match value {
                    EmaValue::Average(layout, _) | EmaValue::Copied(layout, _) => {
                        TensorSpec::F32(layout.clone())
                    }
                    EmaValue::Count(_) => TensorSpec::Count,
                };
                (name.clone(), what)
            })
            .collect();
        for ((_, own), value) in self.values.iter_mut().zip(read_state(&expected, state)?) {
            match (own, value) {
                (EmaValue::Average(_, own) | EmaValue::Copied(_, own), StateTensor::F32(value)) => {
                    *own = value.to_device(&own.device())
                }
                (EmaValue::Count(own), StateTensor::Count(value)) => *own = value,
                _ => unreachable!("`read` returns what was expected"),
            }
        }
        Ok(())
    }
}
