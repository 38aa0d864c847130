//! Batch norm with known statistics, folded into the weights before it: what a generator that only draws needs no pass for.

use crate::layers::Layer;
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
            let drawn = match (layer, layers.last_mut()) {
                (Layer::BatchNorm(norm), Some((_, before))) => {
                    let (scale, offset) = norm.affine();
                    if let Some(folded) = before.fold_affine(&scale, &offset) {
                        *before = folded;
                        continue;
                    }
                    layer.deep_clone()
                }
                (Layer::VirtualBatchNorm(norm), _) if norm.needs_reference() => match &trace {
                    Some(x) => Layer::VirtualBatchNorm(norm.knowing(x)),
                    None => {
                        panic!("folded: virtual batch norm without a reference (set_reference)")
                    }
                },
                _ => layer.deep_clone(),
            };
            trace = trace.map(|x| {
                layer.forward(&x, pass.with_condition(condition.as_ref()), Activation::None)
            });
            layers.push((name.clone(), drawn));
        }
        Self::new(layers)
    }
}
