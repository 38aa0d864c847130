//! The losses of Goodfellow et al. 2014: binary cross-entropies of logits, so that nothing overflows.
//!
//! The discriminator minimises [`real`] + [`fake`], the generator the non-saturating [`generator`].

use tensor::Tensor;

/// The discriminator's loss on real images: the mean of −log σ(x) over logits of any shape. A scalar.
pub fn real(logits: &Tensor) -> Tensor {
    logits.bce_with_logits(&Tensor::full_on(&logits.device(), [], 1.0))
}

/// The discriminator's loss on generated images: the mean of −log(1 − σ(x)). A scalar.
pub fn fake(logits: &Tensor) -> Tensor {
    logits.bce_with_logits(&Tensor::full_on(&logits.device(), [], 0.0))
}

/// The generator's loss on the discriminator's logits of its images: the mean of −log σ(x), whose gradient does not vanish where
/// the discriminator is sure (the second form of section 3 of the paper). A scalar.
pub fn generator(logits: &Tensor) -> Tensor {
    real(logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_gradients() {
        let logits = Tensor::from_slice(&[-2.0, 0.0, 3.0, 200.0], [4]).leaf();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let xs = [-2.0, 0.0, 3.0, 200.0];
        for (loss, sign) in [(real(&logits), -1.0), (fake(&logits), 1.0), (generator(&logits), -1.0)] {
            let expected = xs.iter().map(|x| softplus(sign * x)).sum::<f64>() / 4.0;
            assert!((f64::from(loss.item()) - expected).abs() < 1e-5 * expected, "{} {expected}", loss.item());
            let gradients = loss.backward();
            let gradient = gradients.of(&logits).map(Tensor::to_vec).unwrap_or_default();
            assert_eq!(gradient.len(), 4);
            for (g, x) in gradient.iter().zip(xs) {
                let expected = sign * sigmoid(sign * x) / 4.0;
                assert!((f64::from(*g) - expected).abs() < 1e-6, "{g} {expected}");
            }
        }
    }
}
