//! The weight of a linear layer or a convolution: trained itself, or a function of what is trained.

use super::module::{NamedTensor, TensorRole};
use super::orthogonal::orthogonal;
use crate::export::pytorch::Code;
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::{Param, SharedTensor};
use serde::{Deserialize, Serialize};
use tensor::rng::Philox;
use tensor::{HostTensor, Tensor};

/// A weight whose outputs are its last axis or, in a transposed convolution, the axis before the
/// last.
pub struct Weight {
    param: Param,
    parametrization: ParametrizationState,
    transposed: bool,
    layout: Layout,
    inputs: Layout,
    outputs: Layout,
}

/// How the weight W is computed; V is the trained tensor of its shape.
enum ParametrizationState {
    /// W = V.
    Plain,
    /// W = V / σ, σ = uᵀVv, where V is a matrix from all that one output sums over, `v`, to the
    /// outputs, `u`.
    Spectral { u: SharedTensor, v: SharedTensor },
    /// W = g · V / ‖V‖ for each output.
    Norm { g: Param },
}

/// How weights are parametrized.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parametrization {
    /// The weight is trained itself.
    #[default]
    Plain,
    /// Spectral normalization: divided by its largest singular value (Miyato et al. 2018).
    SpectralNorm,
    /// Weight normalization: a length for each output times a direction (Salimans & Kingma 2016).
    WeightNorm,
}

impl Parametrization {
    /// The end of a layer's line in a summary.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::SpectralNorm => ", spectral norm",
            Self::WeightNorm => ", weight norm",
        }
    }

    /// Trained values per output in addition to the weight: a bias, and the length of weight norm.
    pub(super) fn parameters_per_output(self, bias: bool) -> u128 {
        u128::from(bias) + u128::from(self == Self::WeightNorm)
    }
}

/// PyTorch's `eps` of spectral norm, squared: it keeps a vector of zeros from being divided by
/// zero.
const EPS: f32 = 1e-24;
/// Power iterations that a new spectral norm starts with: as many as PyTorch's
/// `parametrizations.spectral_norm`.
const FIRST_ITERATIONS: usize = 15;

impl Weight {
    /// A weight of zeros. `inputs` is the layout of what one output sums over, `outputs` that of
    /// one value per output.
    pub(crate) fn new(layout: Layout, inputs: Layout, outputs: Layout, transposed: bool) -> Self {
        let param = Param::new(Tensor::zeros(layout.inner()));
        Self {
            param,
            parametrization: ParametrizationState::Plain,
            transposed,
            layout,
            inputs,
            outputs,
        }
    }

    /// The weight with this parametrization.
    ///
    /// # Panics
    /// Panics if it is reparametrized already.
    #[track_caller]
    pub(crate) fn with_parametrization(self, parametrization: Parametrization) -> Self {
        assert!(
            matches!(self.parametrization, ParametrizationState::Plain),
            "with_parametrization: the weight is reparametrized already"
        );
        let unit = |layout: &Layout| SharedTensor::new(unit(&Tensor::ones(layout.inner())));
        let parametrization = match parametrization {
            Parametrization::Plain => ParametrizationState::Plain,
            Parametrization::SpectralNorm => {
                ParametrizationState::Spectral { u: unit(&self.outputs), v: unit(&self.inputs) }
            }
            Parametrization::WeightNorm => {
                let norms = self.norms(&self.param.value()).reshape(self.outputs.inner());
                ParametrizationState::Norm { g: Param::new(norms) }
            }
        };
        Self { parametrization, ..self }
    }

    /// The trained tensor of the weight's shape.
    pub(crate) fn param(&self) -> &Param {
        &self.param
    }

    /// The layout of one value per output.
    pub(crate) fn outputs(&self) -> &Layout {
        &self.outputs
    }

    /// The layout of what one output sums over.
    pub(crate) fn inputs(&self) -> &Layout {
        &self.inputs
    }

    /// The weight's own layout.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The effective weight in PyTorch's layout.
    pub(crate) fn to_host(&self) -> HostTensor {
        self.layout.to_host(&self.value())
    }

    /// The PyTorch constructor of a layer with this weight, reparametrized in the same way.
    pub(crate) fn reparametrized(&self, layer: String, code: &mut Code) -> String {
        match self.parametrization {
            ParametrizationState::Plain => layer,
            ParametrizationState::Spectral { .. } => code.wrap("spectral_norm", &layer, ""),
            ParametrizationState::Norm { .. } => {
                // PyTorch's default is the axis of the outputs, but not of a transposed kernel.
                let axis = if self.transposed { ", dim=1" } else { "" };
                code.wrap("weight_norm", &layer, axis)
            }
        }
    }

    /// The weight for one forward pass. In a training step this also runs one power iteration.
    pub(crate) fn leaf(&self, ctx: ForwardCtx<'_>) -> Tensor {
        if ctx.trains() {
            self.power_iteration();
        }
        let track = ctx.mode.track;
        let g = match &self.parametrization {
            ParametrizationState::Norm { g } => Some(g.leaf(track)),
            ParametrizationState::Plain | ParametrizationState::Spectral { .. } => None,
        };
        self.compute_weight(&self.param.leaf(track), g.as_ref())
    }

    /// The weight computed from the current values, outside the graph.
    pub(crate) fn value(&self) -> Tensor {
        let g = match &self.parametrization {
            ParametrizationState::Norm { g } => Some(g.value()),
            ParametrizationState::Plain | ParametrizationState::Spectral { .. } => None,
        };
        self.compute_weight(&self.param.value(), g.as_ref())
    }

    fn compute_weight(&self, value: &Tensor, g: Option<&Tensor>) -> Tensor {
        match (&self.parametrization, g) {
            (ParametrizationState::Spectral { u, v }, _) => {
                // u and v are constants of the gradient, as in Miyato et al. 2018: σ = uᵀWv is
                // linear in W.
                let sigma = self.matvec(&self.matrices(value), &v.get()).mul(&u.get()).sum_all();
                value.mul(&sigma.recip())
            }
            (ParametrizationState::Norm { .. }, Some(g)) => {
                value.mul(&self.per_output(g).div(&self.norms(value)))
            }
            _ => value.clone(),
        }
    }

    /// One value per output, shaped to be broadcast over the weight.
    fn per_output(&self, values: &Tensor) -> Tensor {
        if self.transposed { values.reshape([values.len(), 1]) } else { values.clone() }
    }

    /// The length of each output's vector, shaped to be broadcast over the weight.
    fn norms(&self, value: &Tensor) -> Tensor {
        let rank = value.shape().rank();
        let own = rank - 1 - usize::from(self.transposed);
        let others: Vec<usize> = (0..rank).filter(|&axis| axis != own).collect();
        value.square().sum(&others, true).sqrt()
    }

    /// The weight as `[taps, in, out]`, or transposed as `[taps, out, in]`.
    fn matrices(&self, value: &Tensor) -> Tensor {
        let s = value.shape();
        let columns = s[s.rank() - 1];
        let rows = if self.transposed { s[s.rank() - 2] } else { value.len() / columns };
        value.reshape([value.len() / (rows * columns), rows, columns])
    }

    /// Vv, one value per output.
    fn matvec(&self, matrices: &Tensor, v: &Tensor) -> Tensor {
        let taps = matrices.shape()[0];
        let v = v.reshape([taps, v.len() / taps, 1]);
        let parts = matrices.matmul(&v, !self.transposed, false);
        parts.sum(&[0], false).reshape(self.outputs.inner())
    }

    /// Vᵀu, one value per input.
    fn matvec_t(&self, matrices: &Tensor, u: &Tensor) -> Tensor {
        let u = u.reshape([1, u.len(), 1]).broadcast_to([matrices.shape()[0], u.len(), 1]);
        matrices.matmul(&u, self.transposed, false).reshape(self.inputs.inner())
    }

    fn power_iteration(&self) {
        let ParametrizationState::Spectral { u, v } = &self.parametrization else { return };
        let matrices = self.matrices(&self.param.value());
        v.set(unit(&self.matvec_t(&matrices, &u.get())));
        u.set(unit(&self.matvec(&matrices, &v.get())));
    }

    /// Draws the weight from N(0, std²) truncated at `bound` · std: values beyond it are redrawn.
    pub(crate) fn init_normal(&self, std: f32, bound: Option<f32>, rng: &mut Philox) {
        let mut values = rng.normal(self.layout.inner(), 0.0, std).to_vec();
        while let Some(bound) = bound {
            let beyond: Vec<&mut f32> =
                values.iter_mut().filter(|value| value.abs() > bound * std).collect();
            if beyond.is_empty() {
                break;
            }
            let drawn = rng.normal([beyond.len()], 0.0, std).to_vec();
            beyond.into_iter().zip(drawn).for_each(|(value, new)| *value = new);
        }
        self.param.set(Tensor::from_slice(&values, self.layout.inner()));
        self.refit_parametrization(rng);
    }

    /// Draws the weight as a matrix `[out, rest]` whose rows, or columns where they are fewer, are
    /// orthogonal and of length `gain` (Saxe et al. 2014).
    pub(crate) fn init_orthogonal(&self, gain: f32, rng: &mut Philox) {
        let len: usize = self.layout.inner().iter().product();
        let outputs: usize = self.outputs.inner().iter().product();
        let rest = len / outputs;
        let matrix = orthogonal(outputs, rest, gain, rng);
        let value = if self.transposed {
            let inputs = self.layout.inner()[self.layout.inner().len() - 1];
            Tensor::from_slice(&matrix, [outputs, rest / inputs, inputs]).permute(&[1, 0, 2])
        } else {
            Tensor::from_slice(&matrix, [outputs, rest]).transpose()
        };
        self.param.set(value.reshape(self.layout.inner()));
        self.refit_parametrization(rng);
    }

    /// Draws the weight from U(−a, a), a = √(6 / (inputs + outputs)) (Glorot & Bengio 2010,
    /// equation 16), both counted with the kernel's area.
    pub(crate) fn init_glorot(&self, rng: &mut Philox) {
        let shape = self.layout.inner();
        let (area, ends) = shape.split_at(shape.len().saturating_sub(2));
        let fans = area.iter().product::<usize>() * ends.iter().sum::<usize>();
        let bound = (6.0 / fans as f64).sqrt() as f32;
        self.param.set(rng.uniform(shape, -bound, bound));
        self.refit_parametrization(rng);
    }

    /// Updates the other tensors for a new V: g so that W = V, u and v near V's first singular
    /// vectors.
    fn refit_parametrization(&self, rng: &mut Philox) {
        match &self.parametrization {
            ParametrizationState::Plain => {}
            ParametrizationState::Norm { g } => {
                g.set(self.norms(&self.param.value()).reshape(self.outputs.inner()))
            }
            ParametrizationState::Spectral { u, .. } => {
                u.set(unit(&rng.normal(self.outputs.inner(), 0.0, 1.0)));
                (0..FIRST_ITERATIONS).for_each(|_| self.power_iteration());
            }
        }
    }

    /// Under weight norm, changes g and the bias so that each output of `results`, which this layer
    /// computed, has mean 0 and variance 1 (Salimans & Kingma 2016, equation 6).
    pub(crate) fn data_dependent_init(
        &self,
        bias: Option<&Param>,
        results: impl FnOnce() -> Tensor,
    ) {
        let ParametrizationState::Norm { g } = &self.parametrization else { return };
        let results = results();
        let axes: Vec<usize> = (0..results.shape().rank() - 1).collect();
        let mean = results.mean(&axes, true);
        let variance = results.sub(&mean).square().mean(&axes, false);
        // 1e-10 as in the authors' code: an output that never changes stays finite.
        let scale = variance.add_scalar(1e-10).sqrt().recip().reshape(self.outputs.inner());
        g.set(g.value().mul(&scale));
        if let Some(bias) = bias {
            bias.set(bias.value().sub(&mean.reshape(self.outputs.inner())).mul(&scale));
        }
    }

    /// A plain weight with these values.
    fn plain(&self, value: Tensor) -> Self {
        let [layout, inputs, outputs] =
            [&self.layout, &self.inputs, &self.outputs].map(Layout::clone);
        Self {
            param: Param::new(value),
            parametrization: ParametrizationState::Plain,
            transposed: self.transposed,
            layout,
            inputs,
            outputs,
        }
    }

    /// A plain weight of the same values, for drawing alone.
    pub(crate) fn deep_clone(&self) -> Self {
        self.plain(self.value())
    }

    /// A plain weight whose results are this one's, times `scale` (`[out]`).
    pub(crate) fn scale_outputs(&self, scale: &Tensor) -> Self {
        self.plain(self.value().mul(&self.per_output(scale)))
    }

    /// The tensors of the weight, under PyTorch's names for a tensor `name`.
    pub(crate) fn named_tensors(&self, name: &str) -> Vec<NamedTensor<'_>> {
        let entry = |suffix: &str, layout: &Layout, role| NamedTensor {
            name: format!("{name}{suffix}"),
            layout: layout.clone(),
            role,
        };
        let own = |suffix| entry(suffix, &self.layout, TensorRole::Param(&self.param));
        match &self.parametrization {
            ParametrizationState::Plain => vec![own("")],
            ParametrizationState::Spectral { u, v } => {
                vec![
                    own("_orig"),
                    entry("_u", &self.outputs, TensorRole::Copied(u)),
                    entry("_v", &self.inputs, TensorRole::Copied(v)),
                ]
            }
            ParametrizationState::Norm { g } => {
                let mut axes = vec![1; self.layout.outer().len()];
                axes[usize::from(self.transposed)] = self.outputs.inner().iter().product();
                vec![
                    entry(
                        "_g",
                        &self.outputs.clone().with_outer_shape(&axes),
                        TensorRole::Param(g),
                    ),
                    own("_v"),
                ]
            }
        }
    }
}

fn unit(x: &Tensor) -> Tensor {
    x.mul(&x.square().sum_all().add_scalar(EPS).sqrt().recip())
}

/// Methods of layers that consist of a `weight`, of this shape, and a bias.
macro_rules! weight_methods {
    ($shape:literal) => {
        /// The layer with spectral norm: its weight divided by its largest singular value (Miyato
        /// et al. 2018), which one power iteration per training forward pass tracks. Names and
        /// values as in `torch.nn.utils.spectral_norm`. A weight of zeros gives NaN.
        ///
        /// # Panics
        /// Panics if the weight is reparametrized already.
        #[track_caller]
        pub fn with_spectral_norm(self) -> Self {
            self.with_parametrization(Parametrization::SpectralNorm)
        }

        /// The layer with weight norm: the vector of each output is a length times a direction
        /// (Salimans & Kingma 2016). Names and values as in `torch.nn.utils.weight_norm`. A weight
        /// of zeros gives NaN. See
        /// [`Network::data_dependent_init`](crate::Network::data_dependent_init).
        ///
        /// # Panics
        /// Panics if the weight is reparametrized already.
        #[track_caller]
        pub fn with_weight_norm(self) -> Self {
            self.with_parametrization(Parametrization::WeightNorm)
        }

        #[track_caller]
        pub(super) fn with_parametrization(self, parametrization: Parametrization) -> Self {
            Self { weight: self.weight.with_parametrization(parametrization), ..self }
        }

        #[doc = concat!("The trained tensor of the weight, `", $shape, "`.")]
        pub fn weight(&self) -> &Param {
            self.weight.param()
        }
    };
}
pub(super) use weight_methods;
