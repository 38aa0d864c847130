//! Optimizers, learning rate schedules and clipping.
//!
//! ```
//! use nn::layers::Linear;
//! use nn::{Layer, Mode, Network, Optimizer, OptimizerKind, OptimizerOptions};
//! use tensor::{Device, FiniteCheck, Tensor};
//!
//! let network = Network::new(vec![("fc".into(), Layer::from(Linear::new(1, 1, false)))]);
//! let rule = OptimizerKind::Sgd { momentum: 0.0, nesterov: false };
//! let mut sgd = Optimizer::new(&network, OptimizerOptions { rule, lr: 0.5, weight_decay: 0.0 });
//! let loss = network.forward(&Tensor::ones([1, 1]), Mode::TRAIN).sum_all();
//! sgd.step(&network, &loss.backward(), &FiniteCheck::new(&Device::Cpu));
//! let weight = network.params()[0].1.value();
//! assert_eq!(weight.to_vec(), [-0.5]); // New layers have weights of 0.
//! ```

mod clip;
mod optimizer;
mod schedule;

pub use clip::{clip_gradients, clip_weights};
pub use optimizer::{Optimizer, OptimizerOptions};
pub use schedule::Schedule;
pub use tensor::OptimizerKind;
