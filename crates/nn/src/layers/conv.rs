//! The convolution and the transposed convolution.

use super::config::{
    LayerInput, LayerPlan, LayerSpec, MAX_KERNEL, MAX_UNITS, check_count, default, product,
};
use super::module::{
    Layer, Module, NamedTensor, add_bias_and_activate, affine_module, bias_to_onnx, fold_bias,
    weight_and_bias,
};
use super::weight::{Parametrization, Weight, weight_methods};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Attribute, Graph, Value};
use crate::export::pytorch::{Code, pair};
use crate::inference_layer::InferenceLayer;
use crate::layout::Layout;
use crate::mode::ForwardCtx;
use crate::param::Param;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tensor::{Activation, ConvGeom, Tensor, WeightCache};

/// Kernel, stride and padding of a convolution or transposed convolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps down and across.
    pub stride: [usize; 2],
    /// Zeros around the larger image: `[[top, bottom], [left, right]]`.
    pub pad: [[usize; 2]; 2],
}

impl Window {
    /// The geometry of a convolution of `input` pixels.
    fn geometry(&self, input: [usize; 2]) -> ConvGeom {
        ConvGeom { input, kernel: self.kernel, stride: self.stride, pad: self.pad }
    }

    /// A kernel of zeros from `inputs` to `outputs` channels.
    fn weight(&self, inputs: usize, outputs: usize, transposed: bool) -> Weight {
        let [kh, kw] = self.kernel;
        let [a, b] = if transposed { [outputs, inputs] } else { [inputs, outputs] };
        let summed = Layout::units([kh, kw, inputs]);
        Weight::new(Layout::kernel([kh, kw, a, b]), summed, Layout::plain(&[outputs]), transposed)
    }

    /// Kernel, stride and padding as attributes of an ONNX node.
    fn attributes<R>(&self, use_them: impl FnOnce([(&str, Attribute<'_>); 3]) -> R) -> R {
        let [[top, bottom], [left, right]] = self.pad;
        let ints = |values: [usize; 2]| values.map(|value| value as i64);
        use_them([
            ("kernel_shape", Attribute::Ints(&ints(self.kernel))),
            ("strides", Attribute::Ints(&ints(self.stride))),
            ("pads", Attribute::Ints(&[top, left, bottom, right].map(|pad| pad as i64))),
        ])
    }

    /// The padding, if PyTorch's layers have it: the same before and after.
    fn symmetric_pad(&self) -> Option<[usize; 2]> {
        let [[top, bottom], [left, right]] = self.pad;
        (top == bottom && left == right).then_some([top, left])
    }

    /// Kernel, stride and padding as arguments of PyTorch's layers.
    fn arguments(&self) -> String {
        let mut arguments = pair(self.kernel);
        if self.stride != [1; 2] {
            arguments += &format!(", stride={}", pair(self.stride));
        }
        match self.symmetric_pad() {
            Some(pad) if pad != [0; 2] => arguments + &format!(", padding={}", pair(pad)),
            _ => arguments,
        }
    }

    /// Kernel, stride and padding in words.
    fn describe(&self) -> String {
        let Self { kernel: [kh, kw], stride: [stride, _], pad: [[top, bottom], [left, right]] } =
            self;
        let pad = if [bottom, left, right] == [top; 3] {
            top.to_string()
        } else {
            format!("{top}/{bottom}, {left}/{right}")
        };
        format!("{kh}x{kw}, stride {stride}, padding {pad}")
    }
}

/// Convolution: `[N, H, W, in]` to `[N, OH, OW, out]`. The weight is `[kh, kw, in, out]`; in a
/// state dict `[out, in, kh, kw]`.
pub struct Conv2d {
    weight: Weight,
    bias: Option<Param>,
    window: Window,
}

impl Conv2d {
    /// A layer of zeros from `inputs` to `outputs` channels.
    pub fn new(inputs: usize, outputs: usize, window: Window, bias: bool) -> Self {
        let weight = window.weight(inputs, outputs, false);
        Self { weight, bias: bias.then(|| Param::new(Tensor::zeros([outputs]))), window }
    }

    weight_methods!("[kh, kw, in, out]");

    pub(super) fn inner_weight(&self) -> &Weight {
        &self.weight
    }

    /// Adds the layer, with its tensors under `prefix`, to an ONNX graph; its output and the form
    /// of that.
    pub(super) fn add_to_graph(
        &self,
        prefix: &str,
        x: &Value,
        graph: &mut Graph,
    ) -> Result<(String, Form), NnError> {
        let Some([h, w, _]) = x.form.image() else { return Err(graph.refuse("Conv2d")) };
        let weight = self.weight.to_host();
        let name = graph.weight(&format!("{prefix}weight"), &weight)?;
        let bias = bias_to_onnx(prefix, self.bias.as_ref(), self.weight.outputs(), graph);
        let inputs: Vec<&str> = [&x.name, &name].into_iter().chain(&bias).map(|s| &**s).collect();
        let y = self.window.attributes(|attributes| graph.node("Conv", &inputs, &attributes));
        let [oh, ow] = self.window.geometry([h, w]).output();
        Ok((y, Form::new(&[oh, ow, weight.shape[0]])))
    }

    /// The PyTorch constructor, and the output channels.
    pub(super) fn constructor(&self, code: &mut Code) -> (String, usize) {
        let shape = self.weight.layout().outer();
        let (inputs, outputs) = (shape[1], shape[0]);
        let bias = if self.bias.is_some() { "" } else { ", bias=False" };
        let arguments = self.window.arguments();
        let layer = format!("nn.Conv2d({inputs}, {outputs}, {arguments}{bias})");
        (self.weight.reparametrized(layer, code), outputs)
    }

    /// A copy of the values, for sampling only.
    pub(super) fn copy(&self) -> Self {
        let bias = self.bias.as_ref().map(Param::deep_clone);
        Self { weight: self.weight.deep_clone(), bias, window: self.window }
    }
}

impl Module for Conv2d {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        assert_eq!(x.shape().rank(), 4, "Conv2d: shape {:?} is not [N, H, W, C]", x.shape());
        let geom = self.window.geometry([x.shape()[1], x.shape()[2]]);
        let out = tensor::conv2d(x, &self.weight.leaf(ctx), &geom);
        add_bias_and_activate(out, self.bias.as_ref(), ctx, activation)
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let Window { stride, pad, .. } = self.window;
        let operation = InferenceLayer::new("conv", json!({ "stride": stride, "pad": pad }));
        let bias = self.bias.as_ref().map(Param::value);
        Some(operation.with("weight", self.weight.value()).with("bias", bias))
    }

    fn deep_clone(&self) -> Layer {
        self.copy().into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let (name, form) = self.add_to_graph("", &x, graph)?;
        Ok(Value::new(name, form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        let Some([h, w, _]) = form.image() else { return Err(code.refuse("Conv2d")) };
        if self.window.symmetric_pad().is_none() {
            let [[top, bottom], [left, right]] = self.window.pad;
            code.line(format!("x = F.pad(x, ({left}, {right}, {top}, {bottom}))"));
        }
        let (layer, outputs) = self.constructor(code);
        code.call(layer);
        let [oh, ow] = self.window.geometry([h, w]).output();
        Ok(Form::new(&[oh, ow, outputs]))
    }

    affine_module!();

    fn fold_affine(&self, scale: &Tensor, offset: &Tensor) -> Option<Layer> {
        let bias = fold_bias(self.bias.as_ref(), scale, offset);
        Some(Self { weight: self.weight.scale_outputs(scale), bias, window: self.window }.into())
    }
}

/// Transposed convolution: `[N, h, w, in]` to `[N, H, W, out]`. The weight is `[kh, kw, out, in]`;
/// in a state dict `[in, out, kh, kw]`.
pub struct ConvTranspose2d {
    weight: Weight,
    bias: Option<Param>,
    window: Window,
    output_padding: [usize; 2],
    /// The packed weight of a network for sampling only, whose weights stay the same.
    cache: Option<WeightCache>,
}

impl ConvTranspose2d {
    /// A layer of zeros from `inputs` to `outputs` channels; `output_padding` rows and columns are
    /// added at the bottom and right.
    pub fn new(
        inputs: usize,
        outputs: usize,
        window: Window,
        output_padding: [usize; 2],
        bias: bool,
    ) -> Self {
        Self {
            weight: window.weight(inputs, outputs, true),
            bias: bias.then(|| Param::new(Tensor::zeros([outputs]))),
            window,
            output_padding,
            cache: None,
        }
    }

    weight_methods!("[kh, kw, out, in]");

    /// The form of images after the layer.
    fn output_form(&self, form: &Form) -> Option<Form> {
        let [h, w, _] = form.image()?;
        let Window { kernel, stride, pad } = self.window;
        let geometry = ConvGeom::transposed([h, w], kernel, stride, pad, self.output_padding);
        let [oh, ow] = geometry.ok()?.input;
        Some(Form::new(&[oh, ow, self.weight.layout().outer()[1]]))
    }
}

impl Module for ConvTranspose2d {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let (weight, Window { stride, pad, .. }) = (self.weight.leaf(ctx), self.window);
        let out = match &self.cache {
            Some(cache) => {
                tensor::conv_transpose2d_cached(x, &weight, cache, stride, pad, self.output_padding)
            }
            None => tensor::conv_transpose2d(x, &weight, stride, pad, self.output_padding),
        };
        add_bias_and_activate(out, self.bias.as_ref(), ctx, activation)
    }

    fn inference_layer(&self) -> Option<InferenceLayer> {
        let (Window { stride, pad, .. }, output_padding) = (self.window, self.output_padding);
        let settings = json!({ "stride": stride, "pad": pad, "output_padding": output_padding });
        let operation = InferenceLayer::new("conv-transpose", settings);
        let bias = self.bias.as_ref().map(Param::value);
        Some(operation.with("weight", self.weight.value()).with("bias", bias))
    }

    fn deep_clone(&self) -> Layer {
        let (weight, bias) = (self.weight.deep_clone(), self.bias.as_ref().map(Param::deep_clone));
        Self { weight, bias, cache: Some(WeightCache::default()), ..*self }.into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let form = self.output_form(&x.form).ok_or_else(|| graph.refuse("ConvTranspose2d"))?;
        let weight = graph.weight("weight", &self.weight.to_host())?;
        let bias = bias_to_onnx("", self.bias.as_ref(), self.weight.outputs(), graph);
        let inputs: Vec<&str> = [&x.name, &weight].into_iter().chain(&bias).map(|s| &**s).collect();
        let added = self.output_padding.map(|side| side as i64);
        let name = self.window.attributes(|[kernel, stride, pad]| {
            let added = ("output_padding", Attribute::Ints(&added));
            graph.node("ConvTranspose", &inputs, &[kernel, stride, pad, added])
        });
        Ok(Value::new(name, form))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        let form = self.output_form(&form).ok_or_else(|| code.refuse("ConvTranspose2d"))?;
        let shape = self.weight.layout().outer();
        let (inputs, outputs, mut arguments) = (shape[0], shape[1], self.window.arguments());
        if self.output_padding != [0; 2] {
            arguments += &format!(", output_padding={}", pair(self.output_padding));
        }
        let bias = if self.bias.is_some() { "" } else { ", bias=False" };
        let layer = format!("nn.ConvTranspose2d({inputs}, {outputs}, {arguments}{bias})");
        let layer = self.weight.reparametrized(layer, code);
        code.call(layer);
        if self.window.symmetric_pad().is_none() {
            let [[top, bottom], [left, right]] = self.window.pad;
            code.line(format!("x = F.pad(x, (-{left}, -{right}, -{top}, -{bottom}))"));
        }
        Ok(form)
    }

    affine_module!();

    fn fold_affine(&self, scale: &Tensor, offset: &Tensor) -> Option<Layer> {
        let weight = self.weight.scale_outputs(scale);
        let bias = fold_bias(self.bias.as_ref(), scale, offset);
        Some(Self { weight, bias, cache: Some(WeightCache::default()), ..*self }.into())
    }
}

/// A convolution in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvConfig {
    /// Output channels; 0 stands for the image's.
    pub channels: usize,
    /// The kernel's side, or height and width.
    pub kernel: HeightWidth,
    /// Steps down and across.
    #[serde(default = "default::one", skip_serializing_if = "default::is_one")]
    pub stride: usize,
    /// Zeros around the image.
    #[serde(default, skip_serializing_if = "default::is_default")]
    pub pad: Pad,
    /// Whether a bias is added.
    #[serde(default = "default::yes", skip_serializing_if = "default::is_yes")]
    pub bias: bool,
}

/// A transposed convolution in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvTransposeConfig {
    /// Output channels; 0 stands for the image's.
    pub channels: usize,
    /// The kernel's side, or height and width.
    pub kernel: HeightWidth,
    /// Steps down and across.
    #[serde(default = "default::one", skip_serializing_if = "default::is_one")]
    pub stride: usize,
    /// Rows and columns that are cut off around the result.
    #[serde(default, skip_serializing_if = "default::is_default")]
    pub pad: Pad,
    /// Rows and columns added at the bottom and right, less than the stride.
    #[serde(default, skip_serializing_if = "default::is_default")]
    pub output_padding: usize,
    /// Whether a bias is added.
    #[serde(default = "default::yes", skip_serializing_if = "default::is_yes")]
    pub bias: bool,
}

/// Refuses what neither a convolution nor a transposed one can have.
fn check_window(
    channels: usize,
    kernel: HeightWidth,
    stride: usize,
    pad: Pad,
) -> Result<(), String> {
    if channels > MAX_UNITS {
        return Err(format!("channels must be at most {MAX_UNITS}"));
    }
    kernel.get().into_iter().try_for_each(|side| check_count("kernel", side, MAX_KERNEL))?;
    check_count("stride", stride, MAX_KERNEL)?;
    let pads = match pad {
        Pad::All(pad) => [[pad; 2]; 2],
        Pad::Sides(pads) => pads,
        Pad::Named(_) => [[0; 2]; 2],
    };
    let check = |&pad: &usize| check_count("1 + pad", pad.saturating_add(1), MAX_KERNEL);
    pads.iter().flatten().try_for_each(check)
}

impl LayerSpec for ConvConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let [h, w, c] = input.image()?;
        let Self { channels, kernel, stride, pad, bias } = *self;
        check_window(channels, kernel, stride, pad)?;
        let window = pad.window(kernel, stride, [h, w]);
        let channels = if channels == 0 { input.env.image_channels } else { channels };
        let [oh, ow] = window.geometry([h, w]).try_output().unwrap_or([0, 0]);
        if oh == 0 || ow == 0 {
            return Err(format!("the kernel does not fit an image of {h}x{w} pixels"));
        }
        let parametrization = input.env.parametrization;
        let weights = product(&window.kernel) * product(&[c, channels]);
        let summary = format!("Conv2d {}", window.describe());
        let build = move || {
            Conv2d::new(c, channels, window, bias).with_parametrization(parametrization).into()
        };
        Ok(input.affine_plan([oh, ow, channels], weights, [oh, ow], bias, summary, build))
    }
}

impl LayerSpec for ConvTransposeConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let [h, w, c] = input.image()?;
        let Self { channels, kernel, stride, pad, output_padding, bias } = *self;
        check_window(channels, kernel, stride, pad)?;
        // "same" padding belongs to the convolution that this one transposes, whose input is the
        // larger image.
        let window = pad.window(kernel, stride, [h * stride, w * stride]);
        let channels = if channels == 0 { input.env.image_channels } else { channels };
        let output_padding = [output_padding; 2];
        let Window { kernel, stride, pad } = window;
        let [oh, ow] = ConvGeom::transposed([h, w], kernel, stride, pad, output_padding)
            .map_or([0, 0], |geom| geom.input);
        if oh == 0 || ow == 0 {
            return Err(format!(
                "leaves nothing of an image of {h}x{w} pixels, or output_padding is not below the \
                 stride"
            ));
        }
        let parametrization = input.env.parametrization;
        let weights = product(&window.kernel) * product(&[c, channels]);
        let summary = format!("ConvTranspose2d {}", window.describe());
        let build = move || {
            ConvTranspose2d::new(c, channels, window, output_padding, bias)
                .with_parametrization(parametrization)
                .into()
        };
        Ok(input.affine_plan([oh, ow, channels], weights, [h, w], bias, summary, build))
    }
}

/// A square's side, or height and width.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeightWidth {
    /// The side of a square.
    Square(usize),
    /// Height and width.
    Both([usize; 2]),
}

impl HeightWidth {
    /// Height and width.
    pub fn get(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Both(sides) => sides,
        }
    }
}

/// Zeros around an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pad {
    /// The same number of pixels on every side.
    All(usize),
    /// A padding mode by name.
    Named(PaddingMode),
    /// `[[top, bottom], [left, right]]`.
    Sides([[usize; 2]; 2]),
}

/// The padding modes of TensorFlow and Keras.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaddingMode {
    /// No padding.
    Valid,
    /// Enough pixels that ⌈side / stride⌉ pixels remain (a transposed convolution: side · stride);
    /// the odd one at the bottom and right.
    Same,
}

impl Default for Pad {
    fn default() -> Self {
        Self::All(0)
    }
}

impl Pad {
    /// The window with this padding in a convolution of `[h, w]` pixels.
    fn window(self, kernel: HeightWidth, stride: usize, [h, w]: [usize; 2]) -> Window {
        let kernel = kernel.get();
        let same = |side: usize, kernel: usize| {
            let total =
                (side.div_ceil(stride).saturating_sub(1) * stride + kernel).saturating_sub(side);
            [total / 2, total - total / 2]
        };
        let pad = match self {
            Self::All(pad) => [[pad; 2]; 2],
            Self::Sides(pad) => pad,
            Self::Named(PaddingMode::Valid) => [[0; 2]; 2],
            Self::Named(PaddingMode::Same) => [same(h, kernel[0]), same(w, kernel[1])],
        };
        Window { kernel, stride: [stride; 2], pad }
    }
}
