//! Batch norm with known statistics, folded into the weights before it: what a generator that only draws needs no pass for.

use crate::layers::{BatchNorm, Layer, VirtualBatchNorm};
use crate::mode::{ForwardCtx, Mode};
use crate::network::Network;
use crate::param::SharedTensor;
use tensor::Activation;

impl Network {
    /// The network that does under [`Mode::SAMPLE`](crate::Mode::SAMPLE) what this one does with the values it has now, to
    /// rounding: each batch norm that follows a linear layer or a convolution becomes that layer's bias and a factor of its
    /// weights, reparametrised weights become plain ones, and virtual batch norm remembers the statistics of the reference. It is
    /// for drawing alone: it has fewer tensors than its recipe says, and nothing of it is shared with this network.
    ///
    /// # Panics
    /// When virtual batch norm has no reference.
    #[track_caller]
    pub fn folded(&self) -> Self {
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
                (Some(norm), Some((_, before))) => {
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
