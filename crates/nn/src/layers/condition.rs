//! Layers that read what the pictures are conditioned on.

use super::weight::Weight;
use super::{Linear, NamedTensor, with_prefix};
use crate::mode::ForwardCtx;
use tensor::{Activation, Tensor, concat};

/// The condition of the pass, `[N, K]`.
#[track_caller]
fn condition<'a>(layer: &str, pass: ForwardCtx<'a>) -> &'a Tensor {
    pass.condition.unwrap_or_else(|| {
        panic!("{layer}: the pass has no condition (ForwardCtx::with_condition)")
    })
}

/// `[N, F]` with `[N, K]` to `[N, F + K]`, or `[N, H, W, C]` to `[N, H, W, C + K]` with the same at every pixel.
#[track_caller]
pub(super) fn concat_condition(layer: &str, x: &Tensor, pass: ForwardCtx<'_>) -> Tensor {
    append(layer, x, condition(layer, pass))
}

#[track_caller]
fn append(layer: &str, x: &Tensor, y: &Tensor) -> Tensor {
    let (s, k) = (*x.shape(), *y.shape());
    assert!(
        k.rank() == 2 && s.rank() > 0 && s[0] == k[0],
        "{layer}: a condition {k:?} beside {s:?}"
    );
    match s.rank() {
        2 => concat(&[x, y], 1),
        4 => concat(&[x, &y.reshape([k[0], 1, 1, k[1]]).broadcast_to([k[0], s[1], s[2], k[1]])], 3),
        _ => panic!("{layer}: shape {s:?} is neither [N, F] nor [N, H, W, C]"),
    }
}

/// A linear map of the condition, appended: of a one-hot class the embedding. `[N, F]` to `[N, F + features]`, or `[N, H, W, C]`
/// to `[N, H, W, C + features]` with the same at every pixel. In a state dict the weight is `[features, K]`.
pub struct Embed {
    map: Linear,
}

impl Embed {
    /// A map of zeros from `inputs`, the K of the condition, without bias.
    pub fn new(inputs: usize, features: usize) -> Self {
        Self { map: Linear::new(inputs, features, false) }
    }

    /// The layer with spectral norm, as [`Linear::with_spectral_norm`].
    ///
    /// # Panics
    /// When it has it already.
    #[track_caller]
    pub fn with_spectral_norm(self) -> Self {
        Self { map: self.map.with_spectral_norm() }
    }

    #[track_caller]
    pub(super) fn forward(&self, x: &Tensor, pass: ForwardCtx<'_>) -> Tensor {
        append("Embed", x, &self.map.forward(condition("Embed", pass), pass, Activation::None))
    }

    pub(super) fn inner_weight(&self) -> &Weight {
        self.map.inner_weight()
    }

    pub(super) fn duplicate(&self) -> Self {
        Self { map: self.map.duplicate() }
    }

    pub(super) fn entries(&self) -> Vec<NamedTensor<'_>> {
        self.map.entries()
    }
}

/// The head of a projection discriminator (Miyato & Koyama 2018, equation 3): from features φ `[N, F]` the logit ψ(φ) + ⟨E y, φ⟩,
/// `[N, 1]`, with ψ linear with a bias and E linear without. In a state dict: `linear.weight` `[1, F]`, `linear.bias` `[1]`,
/// `embed.weight` `[F, K]`.
pub struct ProjectionHead {
    /// ψ and E.
    maps: Box<[Linear; 2]>,
}

impl ProjectionHead {
    /// A head of zeros for this many features and conditions `[N, inputs]`.
    pub fn new(features: usize, inputs: usize) -> Self {
        Self {
            maps: Box::new([Linear::new(features, 1, true), Linear::new(inputs, features, false)]),
        }
    }

    /// The head with spectral norm in both maps, as the authors have it.
    ///
    /// # Panics
    /// When they have it already.
    #[track_caller]
    pub fn with_spectral_norm(self) -> Self {
        Self { maps: Box::new(self.maps.map(Linear::with_spectral_norm)) }
    }

    #[track_caller]
    pub(super) fn forward(&self, x: &Tensor, pass: ForwardCtx<'_>) -> Tensor {
        let [linear, embed] = &*self.maps;
        let embedded = embed.forward(condition("ProjectionHead", pass), pass, Activation::None);
        assert_eq!(
            x.shape(),
            embedded.shape(),
            "ProjectionHead: features and the embedded condition"
        );
        linear.forward(x, pass, Activation::None).add(&embedded.mul(x).sum(&[1], true))
    }

    pub(super) fn weights(&self) -> Vec<&Weight> {
        self.maps.iter().map(Linear::inner_weight).collect()
    }

    pub(super) fn duplicate(&self) -> Self {
        Self { maps: Box::new(self.maps.each_ref().map(Linear::duplicate)) }
    }

    pub(super) fn entries(&self) -> Vec<NamedTensor<'_>> {
        ["linear", "embed"]
            .into_iter()
            .zip(&*self.maps)
            .flat_map(|(name, map)| with_prefix(name, map.entries()))
            .collect()
    }
}
