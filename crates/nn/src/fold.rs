//! Batch norm folding for inference: known statistics are folded into the preceding weights, so
//! that sampling needs no separate batch norm pass.

use crate::layers::{BatchNorm, Layer, VirtualBatchNorm};
use crate::mode::{ForwardCtx, Mode};
use crate::network::Network;
use crate::param::SharedTensor;
use tensor::Activation;

impl Network {
    /// Returns the network with batch norm folded into the weights, for sampling only. It computes
    /// what this network computes under [`Mode::SAMPLE`](crate::Mode::SAMPLE) with its current
    /// values, up to rounding: each batch norm that follows a linear layer or a convolution becomes
    /// that layer's bias and a factor of its weights, reparametrized weights become plain weights,
    /// and virtual batch norm stores the statistics of the reference batch. The result has fewer
    /// tensors than its recipe specifies and shares nothing with this network.
    ///
    /// # Panics
    /// Panics if virtual batch norm has no reference batch.
    #[track_caller]
    pub fn folded(&self) -> Self {
        self.frozen(true)
    }

    /// [`folded`](Self::folded), or the same with batch norm as layers of its own.
    #[track_caller]
    pub(crate) fn frozen(&self, fold: bool) -> Self {
        let mut layers: Vec<(String, Layer)> = Vec::new();
        let reference = self.reference().filter(|_| self.needs_reference());
        let mut trace = reference.map(|reference| reference.x.get());
        let condition =
            reference.and_then(|reference| reference.condition.as_ref()).map(SharedTensor::get);
        let pass = ForwardCtx {
            reference: trace.as_ref().map_or(0, |x| x.shape()[0]),
            ..Mode::SAMPLE.into()
        };
        for (name, layer) in self.layers() {
            let folded = match (layer.downcast_ref::<BatchNorm>(), layers.last()) {
                (Some(norm), Some((_, before))) if fold => {
                    let (scale, offset) = norm.affine();
                    before.module().fold_affine(&scale, &offset)
                }
                _ => None,
            };
            if let (Some(folded), Some((_, before))) = (folded, layers.last_mut()) {
                *before = folded;
                continue;
            }
            let virtual_norm =
                layer.downcast_ref::<VirtualBatchNorm>().filter(|norm| norm.needs_reference());
            let copy = match (virtual_norm, &trace) {
                (Some(norm), Some(x)) => norm.with_reference_stats(x).into(),
                (Some(_), None) => {
                    panic!("folded: virtual batch norm without a reference (set_reference)")
                }
                (None, _) => layer.module().deep_clone(),
            };
            trace = trace.map(|x| {
                layer.forward(&x, pass.with_condition(condition.as_ref()), Activation::None)
            });
            layers.push((name.clone(), copy));
        }
        Self::new(layers)
    }
}
