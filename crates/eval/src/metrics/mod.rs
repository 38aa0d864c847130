//! How near generated pictures are to real ones, by numbers.
//!
//! Every function takes features, row by row ([`Rows`]), and does not care where they come from; [`Source`] makes them of pictures, with an
//! [`Extractor`](crate::network::Extractor). docs/eval.md tells what the numbers mean, and what they do not.

pub mod frechet;
pub mod inception;
mod kept;
pub mod kid;
pub mod manifold;
pub mod neighbours;
mod report;
mod rows;
mod source;
pub mod spread;

pub use kid::Subsets;
pub use manifold::Training;
pub use report::{Better, Figure, Measured, Metric, Options, Report, compare};
pub use rows::Rows;
pub use source::{Source, Told};
