//! The DCGAN paper's experiments in latent space (Radford et al. 2016, §6.1 and §6.3.2), latents of given pictures, and pictures that remember how they were drawn.
//!
//! Every picture is drawn from a weighted sum of latents (a [`Terms`]): an interpolation has two, a mean of three has three, A − B + C of means has nine.
//! A [`SampleSpec`] lists the latents and the sums, which is all that drawing a picture again takes.

mod arithmetic;
mod attribute_query;
mod discriminator_scorer;
mod invert;
mod pixel_attributes;
mod poisson_blend;
mod projector;
mod provenance;
mod reproduce;
mod restore;
mod sample_spec;
mod success_rate;
mod turn_vector;
mod walk;
mod weighted_sum;

pub use arithmetic::{Equation, Noise};
pub use attribute_query::{AttributeQuery, ExemplarSpec, Scores};
pub use discriminator_scorer::DiscriminatorScorer;
pub use invert::{Inversion, InvertOptions, StartResult, invert};
pub use pixel_attributes::PixelAttributes;
pub use poisson_blend::poisson;
pub use projector::LatentOptimizer;
pub use provenance::{KEYWORD, ModelId, Provenance};
pub use reproduce::{Reproduction, reproduce};
pub use restore::{Corruption, Restoration, RestoreOptions, psnr, restore, upsample_bicubic};
pub use sample_spec::{Cell, ConditionTable, LatentCombination, LatentSource, SampleSpec, Span};
pub use success_rate::{SuccessRate, TrialResults, draw_trials};
pub use turn_vector::{TurnVector, positions};
pub use walk::{Smoothness, Walk};
pub use weighted_sum::{InterpolationPath, Terms, combine, interpolation_weights, mean, sum};
