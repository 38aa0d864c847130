//! Guided gradient of a unit (guided backpropagation; Springenberg et al. 2015).

use nn::{ForwardCtx, Mode, Network};
use tensor::{Tensor, autograd};

/// The guided gradient of one unit `[y, x, feature]` of `layer`, whose outputs are maps, for each
/// of the inputs `[N, H, W, C]`; of the same shape. A 1 at the unit is propagated backward, and
/// passes a rectifier only where both the gradient and the rectifier's input are positive: that
/// keeps the pixels that excite the unit and drops those that inhibit it.
///
/// # Panics
/// Panics if there is no such layer or unit.
#[track_caller]
pub fn guided_gradient(
    network: &Network,
    input: &Tensor,
    condition: Option<&Tensor>,
    layer: &str,
    units: &[[usize; 3]],
) -> Tensor {
    let input = input.leaf();
    let pass = ForwardCtx::from(Mode::SAMPLE).with_condition(condition).with_guidance();
    // The backward pass is batch-invariant too.
    tensor::batch_invariant(|| {
        let (_, found) = network.features(&input, pass, &[layer]);
        let shape = *found[0].shape();
        let mut seed = vec![0.0; found[0].len()];
        let [_, h, w, k] = shape[..] else {
            panic!("guided_gradient: features of shape {shape:?} are not maps")
        };
        for (i, &[y, x, feature]) in units.iter().enumerate() {
            assert!(
                y < h && x < w && feature < k,
                "guided_gradient: no unit {:?} in maps {:?}",
                [y, x, feature],
                [h, w, k]
            );
            seed[((i * h + y) * w + x) * k + feature] = 1.0;
        }
        let seed = Tensor::from_slice(&seed, shape).to_device(&input.device());
        let keys: Vec<_> = input.id().into_iter().collect();
        let found =
            autograd::grad(&[(&found[0], &seed)], &keys, false).into_iter().flatten().next();
        // A layer that does not depend on the input has no gradient.
        found.unwrap_or_else(|| input.detach().scale(0.0))
    })
}
