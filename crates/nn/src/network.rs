//! A network: named layers in sequence.

use crate::error::NnError;
use crate::layers::{Entry, Layer, Place};
use crate::mode::{Mode, Pass, Statistics};
use crate::param::Param;
use crate::state::{Expected, Loaded, StateDict, StateValue, read};
use std::sync::atomic::Ordering;
use tensor::autograd::Key;
use tensor::rng::Philox;
use tensor::{Activation, Device, Tensor};

/// Layers applied one after another, with names like PyTorch's (`main.0`, `main.1`, …).
pub struct Network {
    layers: Vec<(String, Layer)>,
}

impl Network {
    /// The network of these layers, whose names must differ.
    pub fn new(layers: Vec<(String, Layer)>) -> Self {
        Self { layers }
    }

    /// The layers with their names, in order.
    pub fn layers(&self) -> &[(String, Layer)] {
        &self.layers
    }

    /// The network applied to `x`. An activation is fused with a batch norm or a bias before it.
    ///
    /// # Panics
    /// When `x` has not the shape of the first layer's input.
    #[track_caller]
    pub fn forward<'a>(&self, x: &Tensor, pass: impl Into<Pass<'a>>) -> Tensor {
        self.features(x, pass, &[]).0
    }

    /// [`forward`](Self::forward), and what the layers of these names put out on the way, in the order of the names. Of an activation that is the
    /// activated tensor, of the layer before it the tensor before the activation.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), and when no layer has one of the names.
    #[track_caller]
    pub fn features<'a>(&self, x: &Tensor, pass: impl Into<Pass<'a>>, names: &[&str]) -> (Tensor, Vec<Tensor>) {
        let pass = pass.into();
        let mut x = x.clone();
        let mut found = vec![None; names.len()];
        for (name, layer, activation) in self.steps(names) {
            x = layer.forward(&x, pass, activation);
            names.iter().zip(&mut found).filter(|(n, _)| **n == name).for_each(|(_, slot)| *slot = Some(x.clone()));
        }
        let taken = names.iter().zip(found).map(|(name, slot)| match slot {
            Some(tensor) => tensor,
            None => panic!("features: no layer is called \"{name}\""),
        });
        (x, taken.collect())
    }

    /// The layers with the activation that each is fused with, under the name of the last of the two. What the layers called `apart` put
    /// out is not activated.
    fn steps(&self, apart: &[&str]) -> Vec<(&str, &Layer, Activation)> {
        let mut steps: Vec<(&str, &Layer, Activation)> = Vec::with_capacity(self.layers.len());
        for (name, layer) in &self.layers {
            match (layer, steps.last_mut()) {
                (Layer::Activation(own), Some((last, _, activation)))
                    if matches!(activation, Activation::None) && !apart.contains(last) =>
                {
                    (*last, *activation) = (name, *own);
                }
                _ => steps.push((name, layer, Activation::None)),
            }
        }
        steps
    }

    /// Replaces the running statistics by the plain average over these input batches (PyTorch's `momentum=None`): for weights that
    /// came without them, or whose own lag behind. Without batches nothing changes.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), and when a batch leaves batch norm a single value per channel.
    #[track_caller]
    pub fn recalibrate(&self, batches: impl IntoIterator<Item = Tensor>) {
        let mode = Mode { statistics: Statistics::Batch { update: true }, track: false };
        for (i, batch) in batches.into_iter().enumerate() {
            if i == 0 {
                self.layers.iter().for_each(|(_, layer)| {
                    if let Layer::BatchNorm(norm) = layer {
                        norm.reset_statistics();
                    }
                });
            }
            self.forward(&batch, Pass { momentum: Some(1.0 / (i + 1) as f32), ..mode.into() });
        }
    }

    /// Draws weights of linear and convolution layers from N(0, std²) and γ from N(1, gamma_std²), in the order of the layers.
    /// Biases and β stay as they are (0 in a new network).
    pub fn initialise(&self, std: f32, gamma_std: f32, rng: &mut Philox) {
        for (_, layer) in &self.layers {
            let (param, mean, std) = match layer {
                Layer::Linear(l) => (l.weight(), 0.0, std),
                Layer::Conv2d(l) => (l.weight(), 0.0, std),
                Layer::ConvTranspose2d(l) => (l.weight(), 0.0, std),
                Layer::BatchNorm(l) => (l.gamma(), 1.0, gamma_std),
                Layer::Activation(_) | Layer::Reshape(_) | Layer::Pool2d(_) | Layer::Upsample(_) => continue,
            };
            let shape = *param.slot().read().shape();
            param.set(rng.normal(shape, mean, std));
        }
    }

    /// Brings all numbers to `device`, where the network computes from then on.
    pub fn to_device(&self, device: &Device) {
        for (_, entry) in self.entries() {
            match entry.place {
                Place::Param(param) => param.slot().move_to(device),
                Place::Buffer(slot) => slot.move_to(device),
                Place::Count(_) => {}
            }
        }
    }

    /// Everything the layers own, under full names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (String, Entry<'_>)> {
        self.layers
            .iter()
            .flat_map(|(layer, l)| l.entries().into_iter().map(move |entry| (format!("{layer}.{}", entry.name), entry)))
    }

    /// The trainable tensors with their names, in the order of the layers.
    pub fn params(&self) -> Vec<(String, &Param)> {
        self.entries()
            .filter_map(|(name, entry)| match entry.place {
                Place::Param(param) => Some((name, param)),
                Place::Buffer(_) | Place::Count(_) => None,
            })
            .collect()
    }

    /// The keys of [`params`](Self::params), in the same order.
    pub fn keys(&self) -> Vec<Key> {
        self.params().iter().map(|(_, param)| param.key()).collect()
    }

    /// The number of trainable numbers.
    pub fn num_parameters(&self) -> usize {
        self.params().iter().map(|(_, param)| param.slot().read().len()).sum()
    }

    /// Parameters and buffers under PyTorch's names, in PyTorch's layouts.
    pub fn state_dict(&self) -> StateDict {
        self.entries()
            .map(|(name, entry)| {
                let value = match entry.place {
                    Place::Param(param) => StateValue::of(&entry.layout, &param.value()),
                    Place::Buffer(slot) => StateValue::of(&entry.layout, &slot.get()),
                    Place::Count(count) => StateValue::count(count.load(Ordering::Relaxed)),
                };
                (name, value)
            })
            .collect()
    }

    /// Takes over parameters and buffers from a state dict with exactly this network's names and shapes.
    ///
    /// # Errors
    /// When a tensor is missing, does not belong here, or has another shape or kind of number; the network is then unchanged.
    pub fn load_state_dict(&self, state: &StateDict) -> Result<(), NnError> {
        let loaded = read(&self.expected(), state)?;
        for ((_, entry), value) in self.entries().zip(loaded) {
            match (entry.place, value) {
                (Place::Param(param), Loaded::F32(value)) => param.set(value),
                (Place::Buffer(slot), Loaded::F32(value)) => slot.set(value),
                (Place::Count(count), Loaded::Count(value)) => count.store(value, Ordering::Relaxed),
                _ => unreachable!("`read` returns what was expected"),
            }
        }
        Ok(())
    }

    /// What a state dict of this network holds.
    pub(crate) fn expected(&self) -> Vec<(String, Expected)> {
        self.entries()
            .map(|(name, entry)| {
                let what = match entry.place {
                    Place::Param(_) | Place::Buffer(_) => Expected::F32(entry.layout),
                    Place::Count(_) => Expected::Count,
                };
                (name, what)
            })
            .collect()
    }
}
