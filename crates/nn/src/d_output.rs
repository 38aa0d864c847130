//! The discriminator's output, split into the logit of "real" and class logits.

use crate::loss::real_logit;
use crate::recipe::Recipe;
use tensor::Tensor;

/// D's output for a batch: the logits of "real", the class logits of a classifier, and features.
///
/// ```
/// use nn::{DiscriminatorOutput, Recipe};
/// use tensor::Tensor;
///
/// let recipe = Recipe::preset("small")?;
/// let output = DiscriminatorOutput::split(&recipe, Tensor::zeros([4]), Vec::new());
/// assert_eq!(output.logits.shape()[..], [4]);
/// assert!(output.classes.is_none());
/// # Ok::<(), nn::NnError>(())
/// ```
pub struct DiscriminatorOutput {
    /// Logits of "real", `[N]`.
    pub logits: Tensor,
    /// Class logits `[N, K]` of an auxiliary (ACGAN) or semi-supervised classifier.
    pub classes: Option<Tensor>,
    /// Outputs of the requested layers, such as those for feature matching.
    pub features: Vec<Tensor>,
}

impl DiscriminatorOutput {
    /// Splits D's output: `[N]`; `[N, 1 + K]` of an auxiliary classifier; or `[N, K]` of a
    /// semi-supervised one, where the logit of "real" is the log-sum-exp of the classes
    /// ([`real_logit`]).
    pub fn split(recipe: &Recipe, output: Tensor, features: Vec<Tensor>) -> Self {
        if recipe.objective.semi_supervised {
            return Self { logits: real_logit(&output), classes: Some(output), features };
        }
        let (logits, classes) = match recipe.num_d_outputs() {
            1 => (output, None),
            n => {
                let logits = output.narrow(1, 0, 1).reshape([output.shape()[0]]);
                (logits, Some(output.narrow(1, 1, n - 1)))
            }
        };
        Self { logits, classes, features }
    }
}
