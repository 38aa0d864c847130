//! Experiments in latent space (the DCGAN paper's walks, vector arithmetic and turn vectors;
//! Radford et al. 2016, §6.1 and §6.3.2), GAN inversion and image restoration, and images that
//! can be reproduced from their metadata.
//!
//! Every image is generated from a weighted sum of latents ([`Terms`]): an interpolation has two
//! terms, a mean of three has three, A − B + C of means has nine. A [`SampleSpec`] lists the
//! latents and the sums, which is all that reproducing an image takes.
//!
//! ```
//! use eval::latent::{LatentSource, SampleSpec, TurnVector, positions};
//! use nn::Recipe;
//! use runs::GridOptions;
//!
//! let latents = vec![LatentSource::of_rows(7, None, &[0, 1, 2])];
//! let base = SampleSpec::plain(latents, None, GridOptions::default());
//! // Latent 2 moved along the direction from latent 1 to latent 0, in three steps.
//! let turn = TurnVector { a: vec![0], b: vec![1], bases: vec![2] };
//! let (latents, _) = turn.samples(base, &positions(3, 1.0)).inputs(&Recipe::preset("torch")?)?;
//! assert_eq!(latents.shape()[..], [3, 100]);
//! # Ok::<(), eval::EvalError>(())
//! ```

mod arithmetic;
mod attribute_query;
mod image_error;
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

pub use arithmetic::{Equation, ResultNoise};
pub use attribute_query::{AttributeQuery, ExemplarSpec, Scores};
pub use image_error::{StartResult, psnr};
pub use invert::{Inversion, InvertOptions, invert};
pub use pixel_attributes::PixelAttributes;
pub use poisson_blend::poisson;
pub use projector::LatentOptimizer;
pub use provenance::{KEYWORD, ModelId, Provenance};
pub use reproduce::{Reproduction, reproduce};
pub use restore::{Corruption, Restoration, RestoreOptions, restore, upsample_bicubic};
pub use sample_spec::{Cell, ConditionTable, LatentCombination, LatentSource, SampleSpec, Span};
pub use success_rate::{SuccessRate, TrialResults, draw_trials};
pub use turn_vector::{TurnVector, positions};
pub use walk::{Smoothness, Walk};
pub use weighted_sum::{InterpolationPath, Terms, combine, interpolation_weights, mean, sum};
