//! Layers that let a discriminator see a batch as a whole.

use super::weight::Weight;
use super::{NamedTensor, TensorRole};
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::Param;
use serde::{Deserialize, Serialize};
use tensor::{Tensor, concat};

/// How much the samples of a group differ, as one more channel (Karras et al. 2018, section 3): the standard deviation of each
/// feature over the group, averaged over all features and pixels. `[N, F]` to `[N, F + 1]`, or `[N, H, W, C]` to `[N, H, W, C +
/// 1]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinibatchStdDev {
    group: usize,
}

impl MinibatchStdDev {
    /// Groups of this many samples; the whole batch is one group where it cannot be divided so. As in the authors' code a group
    /// is every (N / group)-th sample.
    ///
    /// # Panics
    /// When `group` is 0.
    #[track_caller]
    pub fn new(group: usize) -> Self {
        assert!(group > 0, "MinibatchStdDev: groups of no samples");
        Self { group }
    }

    #[track_caller]
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let s = *x.shape();
        assert!(
            (s.rank() == 2 || s.rank() == 4) && s[0] > 0,
            "MinibatchStdDev: shape {s:?} is neither [N, F] nor [N, H, W, C] with samples"
        );
        let group = if s[0].is_multiple_of(self.group) { self.group } else { s[0] };
        let groups = s[0] / group;
        let members = x.reshape([group, groups, x.len() / s[0]]);
        let variance = members.sub(&members.mean(&[0], true)).square().mean(&[0], false);
        // 1e-8 as in the authors' code: the root has a slope at 0.
        let spread = variance.add_scalar(1e-8).sqrt().mean(&[1], true);
        let spread = spread.reshape([1, groups, 1]).broadcast_to([group, groups, 1]);
        let mut axes = s.to_vec();
        axes[s.rank() - 1] = 1;
        let (rows, last) = (spread.reshape([s[0], 1]), s.rank() - 1);
        let channel = if s.rank() == 2 {
            rows
        } else {
            rows.reshape([s[0], 1, 1, 1]).broadcast_to(&axes[..])
        };
        concat(&[x, &channel], last)
    }
}

/// Which form of minibatch discrimination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MinibatchForm {
    /// The paper's: T as it is, no bias.
    #[default]
    Paper,
    /// The paper's, divided by N − 1: nearness between 0 and 1 whatever the batch. A sum over a large batch is so much larger than the other
    /// features that each of Adam's steps on its weights is a leap.
    Mean,
    /// That of the authors' code (openai/improved-gan): each column of T has length e^s, with s learnt, and a bias that starts at −1.
    Code,
}

/// Minibatch discrimination (Salimans et al. 2016, section 3.2): with M = x · T, `[N, B, C]`, each sample gets the B numbers
/// Σ_{j≠i} exp(−‖M_ib − M_jb‖₁) appended: `[N, A]` to `[N, A + B]`. T is `[A, B, C]`.
pub struct MinibatchDiscrimination {
    kernels: usize,
    dims: usize,
    form: MinibatchForm,
    weight: Weight,
    /// Log-scale `[B · C]` and bias `[B]`.
    code: Option<(Param, Param)>,
}

impl MinibatchDiscrimination {
    /// A layer of `inputs` features with T = 0, to be initialised; `kernels` is B and `dims` C.
    pub fn new(inputs: usize, kernels: usize, dims: usize, form: MinibatchForm) -> Self {
        let columns = kernels * dims;
        let layout = Layout::plain(&[inputs, columns]).with_outer_shape(&[inputs, kernels, dims]);
        let weight =
            Weight::new(layout, Layout::plain(&[inputs]), Layout::plain(&[columns]), false);
        let code =
            || (Param::new(Tensor::zeros([columns])), Param::new(Tensor::full([kernels], -1.0)));
        Self { kernels, dims, form, weight, code: (form == MinibatchForm::Code).then(code) }
    }

    /// # Panics
    /// When `x` is not `[N, A]`.
    #[track_caller]
    pub(super) fn forward(&self, x: &Tensor, pass: ForwardCtx<'_>) -> Tensor {
        // A sample is at distance 0 from itself.
        let near = self.distances(x, pass).neg().exp().sum(&[1], false).add_scalar(-1.0);
        let near = match &self.code {
            Some((_, bias)) => near.add(&bias.leaf(pass.mode.track)),
            None if self.form == MinibatchForm::Mean => {
                near.scale(1.0 / (x.shape()[0].max(2) - 1) as f32)
            }
            None => near,
        };
        concat(&[x, &near], 1)
    }

    /// ‖M_ib − M_jb‖₁, `[N, N, B]`.
    #[track_caller]
    fn distances(&self, x: &Tensor, pass: ForwardCtx<'_>) -> Tensor {
        assert_eq!(
            x.shape().rank(),
            2,
            "MinibatchDiscrimination: shape {:?} is not [N, A]",
            x.shape()
        );
        let theta = self.weight.leaf(pass);
        let t = match &self.code {
            Some((scale, _)) => {
                let lengths = theta.square().sum(&[0], true).sqrt();
                theta.mul(&scale.leaf(pass.mode.track).exp().div(&lengths))
            }
            None => theta,
        };
        x.matmul(&t, false, false).reshape([x.shape()[0], self.kernels, self.dims]).pairwise_l1()
    }

    /// The code's data-dependent start: the log-scale makes the nearest neighbour in this batch 2 away on average, the bias
    /// brings the mean of the new features to 0. The paper's form has none.
    ///
    /// # Panics
    /// With fewer than two samples.
    #[track_caller]
    pub(super) fn adapt(&self, x: &Tensor, pass: ForwardCtx<'_>) {
        let Some((scale, bias)) = &self.code else { return };
        let (n, kernels) = (x.shape()[0], self.kernels);
        assert!(n > 1, "MinibatchDiscrimination: {n} samples have no neighbours to start from");
        let distances = self.distances(x, pass).to_vec();
        let others = |i: usize, b: usize| {
            let row = &distances[i * n * kernels..];
            (0..n).filter(move |&j| j != i).map(move |j| f64::from(row[j * kernels + b]))
        };
        let mean = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        let (mut scales, mut biases) = (scale.value().to_vec(), Vec::with_capacity(kernels));
        for b in 0..kernels {
            // Samples that are all the same stay finite.
            let near = (0.5 * mean(&|i| others(i, b).fold(f64::INFINITY, f64::min))).max(1e-6);
            scales[b * self.dims..][..self.dims].iter_mut().for_each(|s| *s -= near.ln() as f32);
            biases.push(-mean(&|i| others(i, b).map(|d| (-d / near).exp()).sum()) as f32);
        }
        scale.set(Tensor::from_slice(&scales, [scales.len()]));
        bias.set(Tensor::from_slice(&biases, [kernels]));
    }

    pub(super) fn inner_weight(&self) -> &Weight {
        &self.weight
    }

    pub(super) fn duplicate(&self) -> Self {
        let code = self.code.as_ref().map(|(scale, bias)| (scale.deep_clone(), bias.deep_clone()));
        Self { weight: self.weight.deep_clone(), code, ..*self }
    }

    /// `T`, or `theta`, `log_weight_scale` and `b` as in the code.
    pub(super) fn entries(&self) -> Vec<NamedTensor<'_>> {
        let Some((scale, bias)) = &self.code else { return self.weight.named_tensors("T") };
        let scales =
            Layout::plain(&[self.kernels * self.dims]).with_outer_shape(&[self.kernels, self.dims]);
        let entry = |name: &str, layout, param| NamedTensor {
            name: name.into(),
            layout,
            role: TensorRole::Param(param),
        };
        let mut entries = self.weight.named_tensors("theta");
        entries.push(entry("log_weight_scale", scales, scale));
        entries.push(entry("b", Layout::plain(&[self.kernels]), bias));
        entries
    }
}
