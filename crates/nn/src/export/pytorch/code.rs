//! A Python file in the making: the submodules of a class, and the lines of its `forward`.

use crate::error::NnError;
use crate::export::{AxesStep, Form};
use crate::network::Network;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A PyTorch module in the making: its submodules and the lines of its `forward`.
#[derive(Default)]
pub struct Code {
    /// The layer that is being added.
    pub layer: String,
    /// The number of samples of a reference batch that precede the others.
    pub reference: usize,
    /// K, if `forward` has a condition `y` `[N, K]`.
    pub condition: Option<usize>,
    modules: Vec<(String, String)>,
    lines: Vec<String>,
    helpers: Vec<&'static str>,
    /// What `torch.nn.utils` provides.
    utilities: BTreeSet<&'static str>,
}

impl Code {
    /// Adds a line of `forward`, which reads `x` and assigns to it.
    pub fn line(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// Makes `constructor` the submodule with the tensors of the layer, and returns its name in
    /// `forward`.
    pub fn module(&mut self, constructor: impl Into<String>) -> String {
        let number = self.layer.strip_prefix("main.").unwrap_or(&self.layer);
        let name = format!("main[\"{number}\"]");
        self.modules.push((number.into(), constructor.into()));
        name
    }

    /// [`module`](Self::module), which is applied to `x` alone.
    pub fn call(&mut self, constructor: impl Into<String>) {
        let module = self.module(constructor);
        self.line(format!("x = {module}(x)"));
    }

    /// Adds a function or class that layers without a counterpart in PyTorch need.
    pub fn helper(&mut self, source: &'static str) {
        if !self.helpers.contains(&source) {
            self.helpers.push(source);
        }
    }

    /// Wraps `constructor` in a function of `torch.nn.utils`.
    pub fn wrap(&mut self, utility: &'static str, constructor: &str, arguments: &str) -> String {
        self.utilities.insert(utility);
        format!("{utility}({constructor}{arguments})")
    }

    /// Applies these steps to `x`.
    pub fn apply_steps(&mut self, steps: Vec<AxesStep>) {
        let mut line = "x = x".to_owned();
        for step in &steps {
            let (method, first, axes) = match step {
                AxesStep::Reshape(axes) => ("reshape", Some("-1".to_owned()), axes),
                AxesStep::Permute(axes) => ("permute", None, axes),
            };
            let axes = first.into_iter().chain(axes.iter().map(ToString::to_string));
            let _ = write!(line, ".{method}({})", axes.collect::<Vec<_>>().join(", "));
        }
        if !steps.is_empty() {
            self.line(line);
        }
    }

    /// `form` with a vector's elements in the order of `image`, or of this crate.
    pub fn order_units(&mut self, mut form: Form, image: Option<[usize; 3]>) -> Form {
        let steps = form.order_units(image);
        self.apply_steps(steps);
        form
    }

    /// Appends the expression `y`, `[N, width]`, at every pixel of an image.
    pub fn append(&mut self, form: Form, y: &str, width: usize) -> Form {
        let form = self.order_units(form, None);
        self.helper(APPEND);
        self.line(format!("x = append(x, {y})"));
        form.with_channels(form.channels() + width)
    }

    /// The error of a layer that has no translation.
    pub fn refuse(&self, kind: &'static str) -> NnError {
        NnError::Untranslatable { layer: self.layer.clone(), kind, format: "PyTorch" }
    }

    /// K of the condition `y` `[N, K]`, for the layer of this type.
    pub fn condition(&self, kind: &'static str) -> Result<usize, NnError> {
        self.condition.ok_or_else(|| self.refuse(kind))
    }

    /// Adds all layers of a network.
    pub fn add(&mut self, network: &Network, mut form: Form) -> Result<(), NnError> {
        if let Some(reference) = network.reference() {
            let rows = reference.x.read().shape()[0];
            self.reference = rows;
            self.line("x = torch.cat([self.reference, x])");
            if reference.condition.is_some() {
                self.line("y = torch.cat([self.reference_condition, y])");
            }
        }
        for (name, layer) in network.layers() {
            self.layer.clone_from(name);
            form = layer.module().to_pytorch(form, self)?;
        }
        self.order_units(form, None);
        if self.reference > 0 {
            self.line(format!("x = x[{}:]", self.reference));
        }
        Ok(())
    }

    /// The file with the class `name`, whose `forward` has this result.
    pub fn file(self, network: &Network, name: &str, about: &str, result: &str) -> String {
        let mut file = format!("\"\"\"{about}\"\"\"\n\nfrom pathlib import Path\n\nimport torch\n");
        let body = self.lines.join("\n");
        if body.contains("F.") || self.helpers.iter().any(|helper| helper.contains("F.")) {
            file += "import torch.nn.functional as F\n";
        }
        file += "from safetensors.torch import load_file\nfrom torch import nn\n";
        if !self.utilities.is_empty() {
            let names: Vec<&str> = self.utilities.iter().copied().collect();
            let _ = writeln!(file, "from torch.nn.utils import {}", names.join(", "));
        }
        for helper in &self.helpers {
            file += "\n\n";
            file += helper;
        }
        let _ = write!(
            file,
            "\n\nclass {name}(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        );
        if let Some(reference) = network.reference() {
            let mut buffer = |name: &str, shape: &[usize]| {
                let axes: Vec<String> = shape.iter().map(ToString::to_string).collect();
                let axes = axes.join(", ");
                let _ =
                    writeln!(file, "        self.register_buffer(\"{name}\", torch.zeros({axes}))");
            };
            buffer("reference", reference.x.read().shape());
            if let Some(condition) = &reference.condition {
                buffer("reference_condition", condition.read().shape());
            }
        }
        let arguments = if self.condition.is_some() { "x, y" } else { "x" };
        file += "        self.main = nn.ModuleDict({\n";
        for (number, constructor) in &self.modules {
            let _ = writeln!(file, "            \"{number}\": {constructor},");
        }
        let _ = write!(
            file,
            "        }})\n\n    def forward(self, {arguments}):\n        main = self.main\n"
        );
        for line in &self.lines {
            let _ = writeln!(file, "        {line}");
        }
        let _ = write!(
            file,
            "        return {result}\n\n\n\
             def load(file=Path(__file__).with_suffix(\".safetensors\")):\n    \
             network = {name}()\n    \
             network.load_state_dict(load_file(file))\n    \
             return network.eval()\n"
        );
        file
    }
}

/// A number if both are equal, or a tuple.
pub(crate) fn pair([a, b]: [usize; 2]) -> String {
    if a == b { a.to_string() } else { format!("({a}, {b})") }
}

const APPEND: &str = "\
def append(x, y):
    \"\"\"x with y [N, K] appended, at every pixel of an image.\"\"\"
    if x.dim() == 4:
        y = y[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, y], 1)
";
