//! The layers: one file each, with its configuration in a recipe, shape inference and refusals,
//! forward pass, tensors under PyTorch's names, and summary line.
//!
//! A new layer is a file here, with its three lines in this one: `mod`, `pub use`, and its variant
//! of [`LayerConfig`]. Images are `[N, H, W, C]`, vectors `[N, F]`.
//!
//! ```
//! use nn::layers::{Linear, Maxout};
//! use nn::{Layer, Mode, Network};
//! use tensor::Tensor;
//!
//! let network = Network::new(vec![
//!     ("fc".into(), Layer::from(Linear::new(3, 4, true))),
//!     ("maxout".into(), Layer::from(Maxout::new(2))),
//! ]);
//! assert_eq!(network.forward(&Tensor::zeros([5, 3]), Mode::SAMPLE).shape()[..], [5, 2]);
//! ```

mod activation;
mod attention;
mod batch_norm;
mod condition;
mod config;
mod conv;
mod dropout;
mod gaussian_noise;
mod instance_norm;
mod layer_norm;
mod linear;
mod maxout;
mod minibatch_discrimination;
mod minibatch_stddev;
mod module;
mod orthogonal;
mod pool;
mod projection;
mod reshape;
mod upsample;
mod virtual_batch_norm;
mod weight;

pub use activation::*;
pub use attention::*;
pub use batch_norm::*;
pub use condition::*;
pub use conv::*;
pub use dropout::*;
pub use gaussian_noise::*;
pub use instance_norm::*;
pub use layer_norm::*;
pub use linear::*;
pub use maxout::*;
pub use minibatch_discrimination::*;
pub use minibatch_stddev::*;
pub use module::Layer;
#[cfg(test)]
pub(crate) use module::Module;
pub use pool::*;
pub use projection::*;
pub use reshape::*;
pub use upsample::*;
pub use virtual_batch_norm::*;
pub use weight::Parametrization;

pub(crate) use config::{LayerEnv, LayerInput, LayerPlan, num_elements};
pub(crate) use module::{NamedTensor, TensorRole};

config::layer_configs! {
    Linear(LinearConfig),
    Reshape(ReshapeConfig),
    Flatten(FlattenConfig),
    Conv(ConvConfig),
    ConvTranspose(ConvTransposeConfig),
    BatchNorm(BatchNormLayerConfig),
    InstanceNorm(InstanceNormConfig),
    LayerNorm(LayerNormConfig),
    VirtualBatchNorm(VirtualBatchNormConfig),
    Relu(ReluConfig),
    LeakyRelu(LeakyReluConfig),
    Tanh(TanhConfig),
    Sigmoid(SigmoidConfig),
    Maxout(MaxoutConfig),
    Dropout(DropoutConfig),
    Noise(GaussianNoiseConfig),
    MaxPool(MaxPoolConfig),
    AveragePool(AveragePoolConfig),
    GlobalAverage(GlobalAverageConfig),
    GlobalSum(GlobalSumConfig),
    Upsample(UpsampleConfig),
    Attention(AttentionConfig),
    MinibatchStddev(MinibatchStddevConfig),
    MinibatchDiscrimination(MinibatchDiscriminationConfig),
    Condition(AppendConditionConfig),
    Projection(ProjectionConfig),
}
