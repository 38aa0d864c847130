//! A network: named layers in sequence.

use crate::error::NnError;
use crate::layers::{BatchNorm, Conv2d, Layer, NamedTensor, TensorRole, VirtualBatchNorm};
use crate::layout::Layout;
use crate::mode::{BatchNormStats, ForwardCtx, Mode};
use crate::param::{Param, SharedTensor};
use crate::state::{StateDict, StateTensor, TensorSpec, adapt, check_variances, read_state};
use std::sync::atomic::Ordering;
use tensor::autograd::TensorId;
use tensor::distributed::ProcessGroup;
use tensor::rng::Philox;
use tensor::{Activation, Device, HostTensor, Tensor, concat};

/// A sequential network: layers applied one after another, with PyTorch-style names (`main.0`,
/// `main.1`, …).
pub struct Network {
    layers: Vec<(String, Layer)>,
    reference: Option<VirtualBatchNormBatch>,
}

/// The reference batch of virtual batch norm, and its condition.
pub(crate) struct VirtualBatchNormBatch {
    pub x: SharedTensor,
    pub condition: Option<SharedTensor>,
}

impl Network {
    /// Creates a network from these layers, whose names must differ.
    ///
    /// # Panics
    /// Panics if it combines a [`VirtualBatchNorm`](crate::layers::VirtualBatchNorm) with a layer
    /// that mixes the samples of a batch, because that layer would also mix in the reference batch.
    #[track_caller]
    pub fn new(layers: Vec<(String, Layer)>) -> Self {
        let network = Self { layers, reference: None };
        if network.needs_reference()
            && let Some(other) =
                network.layers.iter().find_map(|(_, layer)| layer.module().batch_dependence())
        {
            panic!(
                "Network: {other} with VirtualBatchNorm would take the reference batch as a part \
                 of the batch"
            );
        }
        network
    }

    /// Returns whether [`forward`](Self::forward) needs a [reference batch](Self::set_reference),
    /// as virtual batch norm does.
    pub fn needs_reference(&self) -> bool {
        self.layers.iter().any(|(_, layer)| {
            layer.downcast_ref::<VirtualBatchNorm>().is_some_and(VirtualBatchNorm::needs_reference)
        })
    }

    /// Sets the reference batch of virtual batch norm: inputs `[n, …]`, and their condition `[n,
    /// K]` if the network is conditional. It becomes part of the state dict as `reference` and
    /// `reference_condition`, so it must be set, with its shape, before a state dict is loaded.
    ///
    /// # Panics
    /// Panics if the network does not need it, if it has no rows, or if the condition has a
    /// different number of rows.
    #[track_caller]
    pub fn set_reference(&mut self, x: Tensor, condition: Option<Tensor>) {
        assert!(self.needs_reference(), "set_reference: the network has no virtual batch norm");
        let rows = x.shape().first().copied().unwrap_or(0);
        assert!(rows > 0, "set_reference: shape {:?} has no rows", x.shape());
        if let Some(condition) = &condition {
            let (c, s) = (condition.shape(), x.shape());
            assert!(
                c.rank() == 2 && c[0] == rows,
                "set_reference: a condition {c:?} for images {s:?}"
            );
        }
        self.reference = Some(VirtualBatchNormBatch {
            x: SharedTensor::new(x),
            condition: condition.map(SharedTensor::new),
        });
    }

    pub(crate) fn reference(&self) -> Option<&VirtualBatchNormBatch> {
        self.reference.as_ref()
    }

    /// Calls `f` with the input and the pass, with the reference batch prepended if the network
    /// needs one.
    #[track_caller]
    fn with_reference<R>(
        &self,
        x: &Tensor,
        pass: ForwardCtx<'_>,
        f: impl FnOnce(&Tensor, ForwardCtx<'_>) -> R,
    ) -> R {
        if !self.needs_reference() {
            return f(x, pass);
        }
        let Some(reference) = &self.reference else {
            panic!("Network: virtual batch norm without a reference (set_reference)")
        };
        let head = reference.x.get();
        let condition = match (&reference.condition, pass.condition) {
            (Some(own), Some(condition)) => Some(concat(&[&own.get(), condition], 0)),
            (None, None) => None,
            (Some(_), None) => {
                panic!("Network: the reference batch has a condition, the pass has none")
            }
            (None, Some(_)) => panic!(
                "Network: the pass has a condition, the reference batch has none (set_reference)"
            ),
        };
        f(
            &concat(&[&head, x], 0),
            ForwardCtx { condition: condition.as_ref(), reference: head.shape()[0], ..pass },
        )
    }

    /// The layers with their names, in order.
    pub fn layers(&self) -> &[(String, Layer)] {
        &self.layers
    }

    /// Applies the network to `x`. An activation is fused with the batch norm or bias before it.
    ///
    /// # Panics
    /// Panics if `x` does not have the input shape of the first layer.
    #[track_caller]
    pub fn forward<'a>(&self, x: &Tensor, pass: impl Into<ForwardCtx<'a>>) -> Tensor {
        self.features(x, pass, &[]).0
    }

    /// Applies the network as [`forward`](Self::forward) does and also returns the outputs of the
    /// named layers, in the order of the names. The output of an activation layer is the activated
    /// tensor, that of the layer before it the tensor before the activation.
    ///
    /// # Panics
    /// Panics under the same conditions as [`forward`](Self::forward), and if no layer has one of
    /// the names.
    #[track_caller]
    pub fn features<'a>(
        &self,
        x: &Tensor,
        pass: impl Into<ForwardCtx<'a>>,
        names: &[&str],
    ) -> (Tensor, Vec<Tensor>) {
        self.run_layers(x, pass.into(), names, self.layers.len())
    }

    /// Returns the outputs of the named layers as [`features`](Self::features) does, without
    /// running the layers after the last of them.
    ///
    /// # Panics
    /// Panics under the same conditions as [`features`](Self::features).
    #[track_caller]
    pub fn forward_features<'a>(
        &self,
        x: &Tensor,
        pass: impl Into<ForwardCtx<'a>>,
        names: &[&str],
    ) -> Vec<Tensor> {
        let last = self.layers.iter().rposition(|(name, _)| names.contains(&name.as_str()));
        self.run_layers(x, pass.into(), names, last.map_or(0, |last| last + 1)).1
    }

    /// Applies the first `count` layers to `x` and also returns the outputs of the named ones.
    #[track_caller]
    fn run_layers(
        &self,
        x: &Tensor,
        pass: ForwardCtx<'_>,
        names: &[&str],
        count: usize,
    ) -> (Tensor, Vec<Tensor>) {
        self.with_reference(x, pass, |x, pass| {
            let mut x = x.clone();
            let mut found = vec![None; names.len()];
            for (name, layer, activation) in Self::fused_steps(&self.layers[..count], names) {
                x = layer.forward(&x, pass, activation);
                names
                    .iter()
                    .zip(&mut found)
                    .filter(|(n, _)| **n == name)
                    .for_each(|(_, slot)| *slot = Some(x.clone()));
            }
            let own = |all: Tensor| match pass.reference {
                0 => all,
                head => all.narrow(0, head, all.shape()[0] - head),
            };
            let taken = names.iter().zip(found).map(|(name, slot)| match slot {
                Some(tensor) => own(tensor),
                None => panic!("features: no layer is called \"{name}\""),
            });
            let taken = taken.collect();
            (own(x), taken)
        })
    }

    /// Applies the network as [`forward`](Self::forward) does, but replaces the named layer's
    /// output, as defined by [`features`](Self::features), with the result of `edit`: a tensor of
    /// the same shape.
    ///
    /// # Panics
    /// Panics under the same conditions as [`features`](Self::features).
    #[track_caller]
    pub fn forward_with_hook<'a>(
        &self,
        x: &Tensor,
        pass: impl Into<ForwardCtx<'a>>,
        name: &str,
        edit: impl FnOnce(&Tensor) -> Tensor,
    ) -> Tensor {
        self.with_reference(x, pass.into(), |x, pass| {
            let head = pass.reference;
            let own = |all: &Tensor| {
                if head == 0 { all.clone() } else { all.narrow(0, head, all.shape()[0] - head) }
            };
            let (mut x, mut edit) = (x.clone(), Some(edit));
            for (at, layer, activation) in Self::fused_steps(&self.layers, &[name]) {
                x = layer.forward(&x, pass, activation);
                if at == name
                    && let Some(edit) = edit.take()
                {
                    let edited = edit(&own(&x));
                    x = if head == 0 {
                        edited
                    } else {
                        concat(&[&x.narrow(0, 0, head), &edited], 0)
                    };
                }
            }
            assert!(edit.is_none(), "edited: no layer is called \"{name}\"");
            own(&x)
        })
    }

    /// The layers, each with the activation it is fused with, under the name of the last of the
    /// two. The outputs of the layers named in `apart` are not activated.
    fn fused_steps<'l>(
        layers: &'l [(String, Layer)],
        apart: &[&str],
    ) -> Vec<(&'l str, &'l Layer, Activation)> {
        let mut steps: Vec<(&str, &Layer, Activation)> = Vec::with_capacity(layers.len());
        for (name, layer) in layers {
            match (layer.module().as_activation(), steps.last_mut()) {
                (Some(own), Some((last, _, activation)))
                    if matches!(activation, Activation::None) && !apart.contains(last) =>
                {
                    (*last, *activation) = (name, own);
                }
                _ => steps.push((name, layer, Activation::None)),
            }
        }
        steps
    }

    /// Recalibrates batch norm: replaces the running statistics with the plain average over these
    /// input batches (PyTorch's `momentum=None`). This is for weights that came without running
    /// statistics, or whose running statistics lag behind. Without batches nothing changes.
    ///
    /// # Panics
    /// Panics under the same conditions as [`forward`](Self::forward), and if a batch has only a
    /// single value per channel for batch norm.
    #[track_caller]
    pub fn recalibrate(&self, batches: impl IntoIterator<Item = Tensor>) {
        self.recalibrate_bn_with_condition(batches.into_iter().map(|batch| (batch, None)));
    }

    /// Recalibrates batch norm as [`recalibrate`](Self::recalibrate) does, with a condition for
    /// each batch.
    ///
    /// # Panics
    /// Panics under the same conditions as [`recalibrate`](Self::recalibrate).
    #[track_caller]
    pub fn recalibrate_bn_with_condition(
        &self,
        batches: impl IntoIterator<Item = (Tensor, Option<Tensor>)>,
    ) {
        let mode = Mode { statistics: BatchNormStats::Batch { update: true }, track: false };
        for (i, (batch, condition)) in batches.into_iter().enumerate() {
            if i == 0 {
                self.layers.iter().for_each(|(_, layer)| {
                    if let Some(norm) = layer.downcast_ref::<BatchNorm>() {
                        norm.reset_statistics();
                    }
                });
            }
            let pass = ForwardCtx { momentum: Some(1.0 / (i + 1) as f32), ..mode.into() };
            self.forward(&batch, pass.with_condition(condition.as_ref()));
        }
    }

    /// Normal (DCGAN) initialization: draws all weights from N(0, std²) and γ of normalizations
    /// from N(1, gamma_std²), in the order of the layers. Under weight normalization the drawn
    /// weight is the effective one; under spectral normalization it is divided by its largest
    /// singular value. Biases, β, the γ of attention and the scales of minibatch discrimination are
    /// unchanged.
    pub fn init_normal(&self, std: f32, gamma_std: f32, rng: &mut Philox) {
        self.init_normal_weights(std, gamma_std, |_| false, rng);
    }

    /// Truncated normal initialization: as [`init_normal`](Self::init_normal), but the weights of
    /// convolutions, not of transposed ones, are redrawn while their magnitude exceeds 2 · std.
    /// This is TensorFlow's truncated normal distribution, whose standard deviation is 0.88 · std.
    pub fn init_truncated_normal(&self, std: f32, gamma_std: f32, rng: &mut Philox) {
        self.init_normal_weights(std, gamma_std, Layer::is::<Conv2d>, rng);
    }

    fn init_normal_weights(
        &self,
        std: f32,
        gamma_std: f32,
        truncated: impl Fn(&Layer) -> bool,
        rng: &mut Philox,
    ) {
        for (_, layer) in &self.layers {
            let bound = truncated(layer).then_some(2.0);
            layer
                .module()
                .weights()
                .into_iter()
                .for_each(|weight| weight.init_normal(std, bound, rng));
            if let Some(gamma) = layer.module().gamma() {
                let shape = *gamma.shared().read().shape();
                gamma.set(rng.normal(shape, 1.0, gamma_std));
            }
        }
    }

    /// Orthogonal initialization (Saxe et al. 2014): draws all weights as orthogonal matrices times
    /// `gain`. Each weight, viewed as `[out, everything that one output sums over]`, has orthogonal
    /// rows, or orthogonal columns if they are fewer. All other tensors are unchanged.
    pub fn init_orthogonal(&self, gain: f32, rng: &mut Philox) {
        let weights = self.layers.iter().flat_map(|(_, layer)| layer.module().weights());
        weights.for_each(|weight| weight.init_orthogonal(gain, rng));
    }

    /// Glorot (Xavier) uniform initialization (Glorot & Bengio 2010), as in Keras: draws all
    /// weights such that signals keep their scale. All other tensors are unchanged.
    pub fn init_glorot(&self, rng: &mut Philox) {
        self.layers
            .iter()
            .flat_map(|(_, layer)| layer.module().weights())
            .for_each(|weight| weight.init_glorot(rng));
    }

    /// Data-dependent initialization, in one pass over a batch. Under weight normalization each
    /// output of a linear layer or a convolution gets mean 0 (through its bias, if it has one) and
    /// variance 1 (Salimans & Kingma 2016, section 3), and minibatch discrimination in the form of
    /// the authors' code sets its scales. Networks without such layers are unchanged.
    ///
    /// # Panics
    /// Panics under the same conditions as [`forward`](Self::forward), and with a single sample for
    /// minibatch discrimination.
    #[track_caller]
    pub fn data_dependent_init<'a>(&self, batch: &Tensor, pass: impl Into<ForwardCtx<'a>>) {
        let pass = pass.into();
        let mode = Mode { track: false, ..pass.mode };
        self.with_reference(batch, ForwardCtx { mode, ..pass }, |x, pass| {
            let mut x = x.clone();
            for (_, layer, activation) in Self::fused_steps(&self.layers, &[]) {
                layer.module().data_dependent_init(&x, pass);
                x = layer.forward(&x, pass, activation);
            }
        });
    }

    /// Moves all tensors to `device`, where the network computes from then on.
    pub fn to_device(&self, device: &Device) {
        self.layers
            .iter()
            .flat_map(|(_, layer)| layer.module().constants())
            .for_each(|slot| slot.move_to(device));
        for (_, entry) in self.named_tensors() {
            match entry.role {
                TensorRole::Param(param) => param.shared().move_to(device),
                TensorRole::Buffer(slot) | TensorRole::Copied(slot) => slot.move_to(device),
                TensorRole::Count(_) => {}
            }
        }
    }

    /// All tensors of the layers, under full names.
    pub(crate) fn named_tensors(&self) -> impl Iterator<Item = (String, NamedTensor<'_>)> {
        let own = self.layers.iter();
        let own = own.flat_map(|(layer, l)| {
            l.module()
                .named_tensors()
                .into_iter()
                .map(move |entry| (format!("{layer}.{}", entry.name), entry))
        });
        own.chain(self.reference.iter().flat_map(VirtualBatchNormBatch::entries))
    }

    /// The trainable tensors with their names, in the order of the layers.
    pub fn params(&self) -> Vec<(String, &Param)> {
        self.named_tensors()
            .filter_map(|(name, entry)| match entry.role {
                TensorRole::Param(param) => Some((name, param)),
                TensorRole::Buffer(_) | TensorRole::Copied(_) | TensorRole::Count(_) => None,
            })
            .collect()
    }

    /// The keys of [`params`](Self::params), in the same order.
    pub fn param_ids(&self) -> Vec<TensorId> {
        self.params().iter().map(|(_, param)| param.key()).collect()
    }

    /// Replaces running statistics by their means over the processes of `group`, each of which has
    /// those of its own images.
    pub fn average_running_statistics(&self, group: &ProcessGroup) {
        let buffers: Vec<&SharedTensor> = self
            .layers
            .iter()
            .flat_map(|(_, layer)| layer.module().named_tensors())
            .filter_map(|entry| match entry.role {
                TensorRole::Buffer(slot) => Some(slot),
                TensorRole::Param(_) | TensorRole::Copied(_) | TensorRole::Count(_) => None,
            })
            .collect();
        let mut values: Vec<f32> = buffers.iter().flat_map(|slot| slot.get().to_vec()).collect();
        group.all_reduce(&mut values);
        let ranks = group.world_size() as f32;
        values.iter_mut().for_each(|value| *value /= ranks);
        let mut rest = &values[..];
        for slot in buffers {
            let old = slot.get();
            let (own, after) = rest.split_at(old.len());
            slot.set(Tensor::from_slice(own, *old.shape()).to_device(&old.device()));
            rest = after;
        }
    }

    /// Returns the state dict: parameters and buffers under PyTorch's names, in PyTorch's layouts.
    pub fn state_dict(&self) -> StateDict {
        self.named_tensors()
            .map(|(name, entry)| {
                let value = match entry.role {
                    TensorRole::Param(param) => entry.layout.to_host(&param.value()),
                    TensorRole::Buffer(slot) | TensorRole::Copied(slot) => {
                        entry.layout.to_host(&slot.get())
                    }
                    TensorRole::Count(count) => {
                        HostTensor::scalar_i64(count.load(Ordering::Relaxed))
                    }
                };
                (name, value)
            })
            .collect()
    }

    /// Loads parameters and buffers from a state dict of another program: one whose names may all
    /// have one prefix in addition (`module.`, `_orig_mod.`, `generator.`), and whose
    /// `num_batches_tracked` may be missing, then 0, or of a floating-point type.
    ///
    /// # Errors
    /// Returns the errors of [`load_state_dict`](Self::load_state_dict), with names without the
    /// prefix, and an error if a running variance is below 0.
    pub fn import_state_dict(&self, state: StateDict) -> Result<(), NnError> {
        let state = adapt(&self.tensor_specs(), state);
        check_variances(&state)?;
        self.load_state_dict(&state)
    }

    /// Loads parameters and buffers from a state dict with exactly this network's names and shapes.
    ///
    /// # Errors
    /// Returns an error if a tensor is missing, unknown, has another shape or element type, or
    /// holds NaN or infinity; the network is then unchanged.
    pub fn load_state_dict(&self, state: &StateDict) -> Result<(), NnError> {
        let loaded = read_state(&self.tensor_specs(), state)?;
        for ((_, entry), value) in self.named_tensors().zip(loaded) {
            match (entry.role, value) {
                (TensorRole::Param(param), StateTensor::F32(value)) => param.set(value),
                (TensorRole::Buffer(slot) | TensorRole::Copied(slot), StateTensor::F32(value)) => {
                    slot.set(value)
                }
                (TensorRole::Count(count), StateTensor::Count(value)) => {
                    count.store(value, Ordering::Relaxed)
                }
                _ => unreachable!("`read` returns what was expected"),
            }
        }
        Ok(())
    }

    /// The tensors that a state dict of this network holds.
    pub(crate) fn tensor_specs(&self) -> Vec<(String, TensorSpec)> {
        self.named_tensors()
            .map(|(name, entry)| {
                let what = match entry.role {
                    TensorRole::Param(_) | TensorRole::Buffer(_) | TensorRole::Copied(_) => {
                        TensorSpec::F32(entry.layout)
                    }
                    TensorRole::Count(_) => TensorSpec::Count,
                };
                (name, what)
            })
            .collect()
    }
}

impl VirtualBatchNormBatch {
    fn entries(&self) -> Vec<(String, NamedTensor<'_>)> {
        let named = |name: &str, slot| {
            let layout = match &slot_shape(slot)[..] {
                shape @ [_, _, _, _] => Layout::image(shape),
                shape => Layout::plain(shape),
            };
            (
                name.to_string(),
                NamedTensor { name: name.into(), layout, role: TensorRole::Copied(slot) },
            )
        };
        let condition = self.condition.as_ref().map(|slot| named("reference_condition", slot));
        std::iter::once(named("reference", &self.x)).chain(condition).collect()
    }
}

fn slot_shape(slot: &SharedTensor) -> tensor::Shape {
    *slot.read().shape()
}
