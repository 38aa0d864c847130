//! The DCGAN paper's experiments in latent space (Radford et al. 2016, §6.1 and §6.3.2), latents of given pictures, and pictures that remember how they were drawn.
//!
//! Every picture is drawn from a weighted sum of latents (a [`Terms`]): an interpolation has two, a mean of three has three, A − B + C of means has nine.
//! A [`Drawing`] lists the latents and the sums, which is all that drawing a picture again takes.

mod again;
mod arithmetic;
mod blend;
mod concept;
mod critic;
mod descent;
mod drawing;
mod hits;
mod invert;
mod mix;
mod origin;
mod pixels;
mod restore;
mod turn;
mod walk;

pub use again::{Again, again};
pub use arithmetic::{Equation, Noise};
pub use blend::poisson;
pub use concept::{Concept, Pick, Scores};
pub use critic::Critic;
pub use descent::Descent;
pub use drawing::{Block, Cell, Drawing, Mix, Span, Told};
pub use hits::{Grouped, Rate, trials};
pub use invert::{Inversion, InvertOptions, Start, invert};
pub use mix::{Path, Terms, between, combine, mean, sum};
pub use origin::{KEYWORD, Networks, Origin};
pub use pixels::PixelScores;
pub use restore::{Damage, Restoration, RestoreOptions, enlarged, psnr, restore};
pub use turn::{Turn, positions};
pub use walk::{Smoothness, Walk};
