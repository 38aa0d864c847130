//! Batch norm with known statistics, folded into the weights before it: what a generator that only draws needs no pass for.

use crate::layers::Layer;
use crate::network::Network;

impl Network {
    /// The network that does under [`Mode::SAMPLE`](crate::Mode::SAMPLE) what this one does with the values it has now, to rounding: each batch norm that follows
    /// a linear layer or a convolution becomes that layer's bias and a factor of its weights. It is for drawing alone: it has fewer tensors
    /// than its recipe says, and nothing of it is shared with this network.
    pub fn folded(&self) -> Self {
        let mut layers: Vec<(String, Layer)> = Vec::new();
        for (name, layer) in self.layers() {
            if let (Layer::BatchNorm(norm), Some((_, before))) = (layer, layers.last_mut()) {
                let (scale, offset) = norm.affine();
                if let Some(folded) = before.scaled(&scale, &offset) {
                    *before = folded;
                    continue;
                }
            }
            layers.push((name.clone(), layer.duplicate()));
        }
        Self::new(layers)
    }
}
