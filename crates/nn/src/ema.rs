//! An exponential moving average of a network.

use crate::error::NnError;
use crate::layers::Place;
use crate::layout::Layout;
use crate::network::Network;
use crate::state::{Expected, Loaded, StateDict, read};
use std::sync::atomic::Ordering;
use tensor::{EmaUpdate, HostTensor, Tensor};

/// average ← decay · average + (1 − decay) · network, for every parameter and running statistic; counters, the vectors of
/// spectral norm and reference batches are copied. The average of a generator draws steadier pictures than the generator itself.
pub struct Ema {
    decay: f32,
    values: Vec<(String, Value)>,
}

enum Value {
    Average(Layout, Tensor),
    Copied(Layout, Tensor),
    Count(i64),
}

impl Ema {
    /// An average that starts at the present values of `net`. `decay` is in [0, 1): the nearer to 1, the longer the memory, of
    /// about 1 / (1 − decay) updates.
    pub fn new(net: &Network, decay: f32) -> Self {
        let values = net
            .entries()
            .map(|(name, entry)| {
                let value = match entry.place {
                    Place::Param(param) => Value::Average(entry.layout, param.value()),
                    Place::Buffer(slot) => Value::Average(entry.layout, slot.get()),
                    Place::Copied(slot) => Value::Copied(entry.layout, slot.get()),
                    Place::Count(count) => Value::Count(count.load(Ordering::Relaxed)),
                };
                (name, value)
            })
            .collect();
        Self { decay, values }
    }

    /// Moves the average towards the present values of `net`.
    ///
    /// # Panics
    /// When `net` has not the tensors that this average was made for.
    #[track_caller]
    pub fn update(&mut self, net: &Network) {
        self.follow(net, self.decay);
    }

    /// [`update`](Self::update) after the `step`-th training step, counted from 1: until about 10 / (1 − decay) steps the memory is shorter, (1 + step) / (10 + step),
    /// so that the first weights, which are noise, do not stay in the average (as in TensorFlow's `ExponentialMovingAverage`).
    ///
    /// # Panics
    /// As [`update`](Self::update).
    #[track_caller]
    pub fn update_at(&mut self, net: &Network, step: u64) {
        self.follow(net, self.decay.min(((1 + step) as f64 / (10 + step) as f64) as f32));
    }

    #[track_caller]
    fn follow(&mut self, net: &Network, keep: f32) {
        let mut moved = Vec::new();
        self.with(net, |own, place| match (own, place) {
            (Value::Average(_, average), Place::Param(param)) => {
                moved.push((average, param.value()))
            }
            (Value::Average(_, average), Place::Buffer(slot)) => moved.push((average, slot.get())),
            (Value::Copied(_, own), Place::Copied(slot)) => *own = slot.get(),
            (Value::Count(own), Place::Count(count)) => *own = count.load(Ordering::Relaxed),
            _ => panic!("Ema: made for another network"),
        });
        let mut averages: Vec<_> = moved
            .iter_mut()
            .map(|(average, value)| EmaUpdate { average, value, keep, factor: 1.0 })
            .collect();
        tensor::lerp(&mut averages);
    }

    /// Exchanges the average and the values of `net`: once to sample from the average, once more to go on training.
    ///
    /// # Panics
    /// As [`update`](Self::update).
    #[track_caller]
    pub fn swap(&mut self, net: &Network) {
        self.with(net, |own, place| match (own, place) {
            (Value::Average(_, average), Place::Param(param)) => {
                std::mem::swap(average, &mut *param.slot().write())
            }
            (Value::Average(_, own), Place::Buffer(slot))
            | (Value::Copied(_, own), Place::Copied(slot)) => {
                std::mem::swap(own, &mut *slot.write());
            }
            (Value::Count(own), Place::Count(count)) => *own = count.swap(*own, Ordering::Relaxed),
            _ => panic!("Ema: made for another network"),
        });
    }

    #[track_caller]
    fn with<'a>(&'a mut self, net: &Network, mut f: impl FnMut(&'a mut Value, Place<'_>)) {
        let entries: Vec<_> = net.entries().collect();
        let same = entries.len() == self.values.len()
            && entries.iter().zip(&self.values).all(|((a, _), (b, _))| a == b);
        assert!(same, "Ema: made for another network");
        for ((_, own), (_, entry)) in self.values.iter_mut().zip(&entries) {
            f(own, entry.place);
        }
    }

    /// The average, in the form of [`Network::state_dict`], so that any network of the same recipe can load it.
    pub fn state_dict(&self) -> StateDict {
        self.values
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    Value::Average(layout, own) | Value::Copied(layout, own) => layout.to_host(own),
                    Value::Count(count) => HostTensor::scalar_i64(*count),
                };
                (name.clone(), value)
            })
            .collect()
    }

    /// Takes over an average from a state dict.
    ///
    /// # Errors
    /// As [`Network::load_state_dict`]; nothing is changed then.
    pub fn load_state_dict(&mut self, state: &StateDict) -> Result<(), NnError> {
        let expected: Vec<(String, Expected)> = self
            .values
            .iter()
            .map(|(name, value)| {
                let what = match value {
                    Value::Average(layout, _) | Value::Copied(layout, _) => {
                        Expected::F32(layout.clone())
                    }
                    Value::Count(_) => Expected::Count,
                };
                (name.clone(), what)
            })
            .collect();
        for ((_, own), value) in self.values.iter_mut().zip(read(&expected, state)?) {
            match (own, value) {
                (Value::Average(_, own) | Value::Copied(_, own), Loaded::F32(value)) => {
                    *own = value.to_device(&own.device())
                }
                (Value::Count(own), Loaded::Count(value)) => *own = value,
                _ => unreachable!("`read` returns what was expected"),
            }
        }
        Ok(())
    }
}
