//! A network for sampling as a list of plain operations, for engines outside this program: names,
//! settings and values, without modes, parametrizations and the graph.

use crate::error::NnError;
use crate::layers::Layer;
use crate::network::Network;
use serde_json::Value;
use tensor::Tensor;

/// One operation of a network for sampling.
///
/// | `op` | settings | tensors | result |
/// | --- | --- | --- | --- |
/// | `identity` | | | x |
/// | `linear` | | `weight` `[in, out]`, `bias` `[out]` | x · W + b |
/// | `conv` | `stride`, `pad` | `weight` `[kh, kw, in, out]`, `bias` | convolution |
/// | `conv-transpose` | `stride`, `pad`, `output_padding` | `weight` `[kh, kw, out, in]`, `bias` | transposed convolution |
/// | `scale-shift` | | `scale`, `shift` `[C]` | x · scale + shift per channel |
/// | `instance-norm` | `eps` | `scale`, `shift` `[C]` | statistics of each channel of the image |
/// | `layer-norm` | `eps` | `scale`, `shift` of the sample's shape | statistics of the sample |
/// | `virtual-batch-norm` | `eps`, `rows` | `scale`, `shift`, `mean`, `variance` `[C]` | statistics of `rows` reference samples, blended with the image's own |
/// | `activation` | `name`, `slope` | | `relu`, `leaky-relu`, `tanh`, `sigmoid` |
/// | `maxout` | `pieces` | | the largest of consecutive channels |
/// | `max-pool`, `average-pool` | `size`, `stride` | | windows without padding |
/// | `global-sum`, `global-average` | | | one value per channel |
/// | `upsample` | `scale` | | nearest neighbor |
/// | `reshape` | `shape` | | another shape, row-major |
/// | `attention` | | `f`, `g` `[C, C/8]`, `h` `[C, C]`, `gamma` `[1]` | x + γ · softmax(g fᵀ) h |
/// | `condition` | | `weight` `[K, features]` if it is embedded | the condition appended |
///
/// Images are `[H, W, C]`; `stride` is `[down, across]`, `pad` is `[[top, bottom], [left, right]]`.
/// A bias that is missing is 0.
pub struct InferenceLayer {
    /// The name of the operation.
    pub op: &'static str,
    /// Its settings, a JSON object.
    pub settings: Value,
    /// Its values, in this crate's layouts, on the device of the network.
    pub tensors: Vec<(&'static str, Tensor)>,
}

impl InferenceLayer {
    pub(crate) fn new(op: &'static str, settings: Value) -> Self {
        Self { op, settings, tensors: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Option<Tensor>>) -> Self {
        self.tensors.extend(value.into().map(|value| (name, value)));
        self
    }
}

impl Network {
    /// The operations of this network, which computes them in sequence on each sample alone, each
    /// with the name of its layer; for a network that was [`folded`](Self::folded) they are the
    /// fewest.
    ///
    /// ```
    /// use nn::Recipe;
    /// use tensor::rng::Philox;
    ///
    /// let (generator, _) = Recipe::preset("torch")?.build(&mut Philox::new(0, 0))?;
    /// let layers = generator.folded().inference_layers()?;
    /// let ops: Vec<&str> = layers.iter().map(|(_, layer)| layer.op).collect();
    /// assert_eq!(ops[..3], ["reshape", "conv-transpose", "activation"]);
    /// # Ok::<(), nn::NnError>(())
    /// ```
    ///
    /// # Errors
    /// Returns [`NnError::NoInferenceLayer`] for a layer that has no such operation, as one that
    /// mixes the samples of a batch.
    pub fn inference_layers(&self) -> Result<Vec<(String, InferenceLayer)>, NnError> {
        let operation = |(name, layer): &(String, Layer)| match layer.module().inference_layer() {
            Some(operation) => Ok((name.clone(), operation)),
            None => {
                let kind = layer.module().type_name();
                Err(NnError::NoInferenceLayer { layer: name.clone(), kind })
            }
        };
        self.layers().iter().map(operation).collect()
    }
}
