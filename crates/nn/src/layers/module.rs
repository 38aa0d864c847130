//! The interface of a layer to a network: forward pass, named tensors, initialization.

use super::weight::Weight;
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Graph, Value};
use crate::export::pytorch::Code;
use crate::inference_layer::InferenceLayer;
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::{Param, SharedTensor};
use std::any::Any;
use std::sync::atomic::AtomicI64;
use tensor::{Activation, Tensor};

/// The behavior of a layer (PyTorch: `nn.Module`). Each file of this folder implements it for its
/// own layers; methods with a default only matter to layers that have the thing in question.
pub trait Module: Any + Send + Sync {
    /// The layer applied to `x`, then `activation`; layers with a fused kernel apply both at once.
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor;

    /// Another layer with the same values, for sampling only: no tensor is shared.
    fn deep_clone(&self) -> Layer;

    /// Adds the layer to an ONNX graph. It computes what [`forward`](Self::forward) does under
    /// [`Mode::SAMPLE`](crate::Mode::SAMPLE), with images as `[N, C, H, W]`.
    ///
    /// # Errors
    /// Returns [`NnError::Untranslatable`] for a layer without a translation.
    fn to_onnx(&self, _x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        Err(graph.refuse(self.type_name()))
    }

    /// Adds the layer to a PyTorch module, with its tensors under the names of the state dict.
    ///
    /// # Errors
    /// Returns [`NnError::Untranslatable`] for a layer without a counterpart.
    fn to_pytorch(&self, _form: Form, code: &mut Code) -> Result<Form, NnError> {
        Err(code.refuse(self.type_name()))
    }

    /// The tensors of the layer, in PyTorch's order.
    fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
        Vec::new()
    }

    /// The weights that an initializer draws.
    fn weights(&self) -> Vec<&Weight> {
        Vec::new()
    }

    /// γ of a normalization, which an initializer draws.
    fn gamma(&self) -> Option<&Param> {
        None
    }

    /// Tensors that are neither trained nor saved.
    fn constants(&self) -> Vec<&SharedTensor> {
        Vec::new()
    }

    /// The data-dependent initialization, from the layer's input.
    #[track_caller]
    fn data_dependent_init(&self, _x: &Tensor, _ctx: ForwardCtx<'_>) {}

    /// The layer whose results are multiplied by `scale` and have `offset` added, `[features]`
    /// each; `None` for a layer without weights to fold them into.
    fn fold_affine(&self, _scale: &Tensor, _offset: &Tensor) -> Option<Layer> {
        None
    }

    /// The layer as a plain operation on each sample, for engines outside this program; `None` if
    /// it is none, so that a network with it is refused there.
    fn inference_layer(&self) -> Option<InferenceLayer> {
        None
    }

    /// The name of the layer's type.
    fn type_name(&self) -> &'static str {
        let path = std::any::type_name::<Self>();
        path.rsplit("::").next().unwrap_or(path)
    }

    /// The layer's name if the samples of a batch depend on each other in it.
    fn batch_dependence(&self) -> Option<&'static str> {
        None
    }

    /// Whether the layer is a matrix product or convolution, with or without bias.
    fn is_affine_map(&self) -> bool {
        false
    }

    /// The activation if the layer is nothing else, so that it can be fused with the layer before.
    fn as_activation(&self) -> Option<Activation> {
        None
    }
}

/// The methods of [`Module`] that layers of a `weight` and an optional `bias` have alike.
macro_rules! affine_module {
    () => {
        fn named_tensors(&self) -> Vec<NamedTensor<'_>> {
            weight_and_bias(&self.weight, self.bias.as_ref())
        }

        fn weights(&self) -> Vec<&Weight> {
            vec![&self.weight]
        }

        #[track_caller]
        fn data_dependent_init(&self, x: &Tensor, ctx: ForwardCtx<'_>) {
            let output = || self.forward(x, ctx, Activation::None);
            self.weight.data_dependent_init(self.bias.as_ref(), output);
        }

        fn is_affine_map(&self) -> bool {
            true
        }
    };
}
pub(super) use affine_module;

/// One layer of a [`Network`](crate::Network), of any type in [`layers`](super).
///
/// ```
/// use nn::Layer;
/// use nn::layers::{Conv2d, Linear};
///
/// let layer = Layer::from(Linear::new(3, 2, true));
/// assert!(layer.is::<Linear>() && layer.downcast_ref::<Conv2d>().is_none());
/// ```
pub struct Layer(Box<dyn Module>);

impl<M: Module> From<M> for Layer {
    fn from(module: M) -> Self {
        Self(Box::new(module))
    }
}

impl Layer {
    /// Whether the layer is an `M`.
    pub fn is<M: Module>(&self) -> bool {
        self.downcast_ref::<M>().is_some()
    }

    /// The layer as an `M`, or `None` if it is of another type.
    pub fn downcast_ref<M: Module>(&self) -> Option<&M> {
        (self.module() as &dyn Any).downcast_ref()
    }

    /// Whether the layer is fully connected, a convolution or a transposed convolution.
    pub fn is_affine_map(&self) -> bool {
        self.0.is_affine_map()
    }

    pub(crate) fn module(&self) -> &dyn Module {
        &*self.0
    }

    /// The layer applied to `x`, then `activation`.
    #[track_caller]
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        ctx: ForwardCtx<'_>,
        activation: Activation,
    ) -> Tensor {
        // The backward pass of a fused kernel is the derivative, not guided backpropagation's rule.
        if ctx.guided && activation != Activation::None {
            return activation.guided(&self.forward(x, ctx, Activation::None));
        }
        self.0.forward(x, ctx, activation)
    }
}

/// A tensor of a layer or network.
pub struct NamedTensor<'a> {
    /// The tensor's name within the layer, as PyTorch has it.
    pub name: String,
    /// The tensor's layout in a state dict.
    pub layout: Layout,
    /// The tensor, by its role.
    pub role: TensorRole<'a>,
}

/// The role of a layer's tensor, and where its values are.
#[derive(Clone, Copy)]
pub enum TensorRole<'a> {
    /// A trained tensor.
    Param(&'a Param),
    /// A running average, which [`Ema`](crate::Ema) averages.
    Buffer(&'a SharedTensor),
    /// A tensor that [`Ema`](crate::Ema) copies: a vector of spectral norm, a reference batch.
    Copied(&'a SharedTensor),
    /// A counter, such as `num_batches_tracked`.
    Count(&'a AtomicI64),
}

impl<'a> NamedTensor<'a> {
    pub(super) fn new(name: impl Into<String>, layout: Layout, role: TensorRole<'a>) -> Self {
        Self { name: name.into(), layout, role }
    }

    pub(super) fn param(name: impl Into<String>, layout: Layout, param: &'a Param) -> Self {
        Self::new(name, layout, TensorRole::Param(param))
    }
}

/// `x`, plus the bias if there is one, then the activation.
#[track_caller]
pub(super) fn add_bias_and_activate(
    x: Tensor,
    bias: Option<&Param>,
    ctx: ForwardCtx<'_>,
    activation: Activation,
) -> Tensor {
    match bias {
        Some(bias) => x.bias_activation(&bias.leaf(ctx.mode.track), activation),
        None => activation.apply(&x),
    }
}

/// The bias as an input of a node, in its order in a state dict.
pub(super) fn bias_to_onnx(
    prefix: &str,
    bias: Option<&Param>,
    layout: &Layout,
    graph: &mut Graph,
) -> Option<String> {
    bias.map(|bias| {
        let values = layout.export(&bias.value());
        graph.vector(&format!("{prefix}bias"), &[values.len()], &values)
    })
}

/// The bias of a layer whose results are multiplied by `scale` and have `offset` added.
pub(super) fn fold_bias(bias: Option<&Param>, scale: &Tensor, offset: &Tensor) -> Option<Param> {
    Some(Param::new(match bias {
        Some(bias) => bias.value().mul(scale).add(offset),
        None => offset.clone(),
    }))
}

/// `weight`, as it is parametrized, and `bias`.
pub(super) fn weight_and_bias<'a>(
    weight: &'a Weight,
    bias: Option<&'a Param>,
) -> Vec<NamedTensor<'a>> {
    let mut tensors = weight.named_tensors("weight");
    tensors.extend(bias.map(|bias| NamedTensor::param("bias", weight.outputs().clone(), bias)));
    tensors
}

/// γ as `weight` and β as `bias`.
pub(super) fn affine_tensors<'a>(
    gamma: &'a Param,
    beta: &'a Param,
    layout: &Layout,
) -> Vec<NamedTensor<'a>> {
    vec![
        NamedTensor::param("weight", layout.clone(), gamma),
        NamedTensor::param("bias", layout.clone(), beta),
    ]
}

/// The tensors of a part of a layer, under `part.`.
pub(super) fn with_prefix<'a>(part: &str, tensors: Vec<NamedTensor<'a>>) -> Vec<NamedTensor<'a>> {
    let prefixed =
        |tensor: NamedTensor<'a>| NamedTensor { name: format!("{part}.{}", tensor.name), ..tensor };
    tensors.into_iter().map(prefixed).collect()
}
