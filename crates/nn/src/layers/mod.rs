//! The layers: one file each, with its configuration in a recipe, shape inference and refusals,
//! forward pass, tensors under PyTorch's names, memory estimate and summary line.
//!
//! A new layer is a file here, its lines in this file, and one line in the list of [`LayerConfig`].
//! Images are `[N, H, W, C]`, vectors `[N, F]`.
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

pub use activation::{LeakyReluConfig, ReluConfig, SigmoidConfig, TanhConfig};
pub use attention::{AttentionConfig, SelfAttention};
pub use batch_norm::{BatchNorm, BatchNormLayerConfig};
pub use condition::{AppendConditionConfig, ConcatCondition, Embed};
pub use config::LayerConfig;
pub use conv::{
    Conv2d, ConvConfig, ConvTranspose2d, ConvTransposeConfig, HeightWidth, Pad, PaddingMode, Window,
};
pub use dropout::{Dropout, DropoutConfig};
pub use gaussian_noise::{GaussianNoise, GaussianNoiseConfig};
pub use instance_norm::{InstanceNorm, InstanceNormConfig};
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use linear::{Linear, LinearConfig};
pub use maxout::{Maxout, MaxoutConfig};
pub use minibatch_discrimination::{
    MinibatchDiscrimination, MinibatchDiscriminationConfig, MinibatchForm,
};
pub use minibatch_stddev::{MinibatchStdDev, MinibatchStddevConfig};
pub use module::Layer;
pub use pool::{
    AveragePoolConfig, GlobalAverageConfig, GlobalPool, GlobalSumConfig, MaxPoolConfig, Pool2d,
    PoolKind,
};
pub use projection::{ProjectionConfig, ProjectionHead};
pub use reshape::{FlattenConfig, Reshape, ReshapeConfig};
pub use upsample::{Upsample, UpsampleConfig};
pub use virtual_batch_norm::{VirtualBatchNorm, VirtualBatchNormConfig};
pub use weight::Parametrization;

pub(crate) use config::{LayerEnv, LayerInput, LayerPlan, num_elements};
pub(crate) use module::{NamedTensor, TensorRole};
