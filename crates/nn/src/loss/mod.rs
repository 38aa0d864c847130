//! Losses of D and G: GAN losses on logits, and terms that can be added to them.
//!
//! Every loss is an unweighted scalar tensor in the graph, a mean over the batch: the caller
//! applies weights and sums.
//!
//! ```
//! use nn::loss::GanLoss;
//! use tensor::Tensor;
//!
//! let (real, fake) = (Tensor::from_slice(&[2.0], [1]), Tensor::from_slice(&[-0.5], [1]));
//! let d_loss = GanLoss::Hinge.real(&real, None).add(&GanLoss::Hinge.fake(&fake, None));
//! // The real logit is beyond the margin of 1, the generated one half-way to it.
//! assert_eq!(d_loss.item(), 0.5);
//! assert_eq!(GanLoss::Hinge.generator(&fake).item(), 0.5);
//! ```

mod classes;
mod features;
mod gan_loss;
mod history;
mod labels;
mod penalty;

pub use classes::{
    ClassTargets, auxiliary_classifier, real_logit, semi_supervised_fake_loss,
    semi_supervised_real_loss, supervised_class_loss,
};
pub use features::{FeatureNorm, feature_matching};
pub use gan_loss::GanLoss;
pub use history::HistoricalAverage;
pub use labels::Labels;
pub use penalty::{gradient_penalty, gradients, r1};
