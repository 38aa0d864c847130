//! Minibatch standard deviation.

use super::config::{LayerInput, LayerPlan, LayerSpec, MAX_UNITS, check_count};
use super::module::{Layer, Module};
use crate::error::NnError;
use crate::export::Form;
use crate::export::onnx::{Attribute, Graph, Value};
use crate::export::pytorch::Code;
use crate::mode::ForwardCtx;
use serde::{Deserialize, Serialize};
use tensor::{Activation, Tensor, concat};

/// Minibatch standard deviation (Karras et al. 2018, section 3): the standard deviation of each
/// feature over a group of samples, averaged over all features and pixels, as one more channel.
/// `[N, F]` to `[N, F + 1]`, or `[N, H, W, C]` to `[N, H, W, C + 1]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinibatchStdDev {
    group: usize,
}

impl MinibatchStdDev {
    /// Groups of this many samples; the whole batch is one group if it cannot be divided so. As in
    /// the authors' code a group is every (N / group)-th sample.
    ///
    /// # Panics
    /// Panics if `group` is 0.
    #[track_caller]
    pub fn new(group: usize) -> Self {
        assert!(group > 0, "MinibatchStdDev: groups of no samples");
        Self { group }
    }

    /// The value that is appended to each sample, `[N, 1]`, where `x` is the whole batch.
    fn spreads(self, x: &Tensor) -> Tensor {
        let s = *x.shape();
        let group = if s[0].is_multiple_of(self.group) { self.group } else { s[0] };
        let groups = s[0] / group;
        let members = x.reshape([group, groups, x.len() / s[0]]);
        let variance = members.sub(&members.mean(&[0], true)).square().mean(&[0], false);
        // 1e-8 as in the authors' code: the root has a slope at 0.
        let spread = variance.add_scalar(1e-8).sqrt().mean(&[1], true);
        let spread = spread.reshape([1, groups, 1]).broadcast_to([group, groups, 1]);
        spread.reshape([s[0], 1])
    }
}

impl Module for MinibatchStdDev {
    #[track_caller]
    fn forward(&self, x: &Tensor, ctx: ForwardCtx<'_>, activation: Activation) -> Tensor {
        let s = *x.shape();
        assert!(
            (s.rank() == 2 || s.rank() == 4) && s[0] > 0,
            "MinibatchStdDev: shape {s:?} is neither [N, F] nor [N, H, W, C] with samples"
        );
        let rows = ctx.over_batch(x, |x| self.spreads(x));
        let mut axes = s.to_vec();
        axes[s.rank() - 1] = 1;
        let channel = if s.rank() == 2 {
            rows
        } else {
            rows.reshape([s[0], 1, 1, 1]).broadcast_to(&axes[..])
        };
        activation.apply(&concat(&[x, &channel], s.rank() - 1))
    }

    fn deep_clone(&self) -> Layer {
        (*self).into()
    }

    fn to_onnx(&self, x: Value, graph: &mut Graph) -> Result<Value, NnError> {
        let count = graph.batch_len(&x.name);
        let wanted = graph.ints(&[self.group as i64]);
        let rest = graph.node("Mod", &[&count, &wanted], &[]);
        let zero = graph.ints(&[0]);
        let divides = graph.node("Equal", &[&rest, &zero], &[]);
        let group = graph.node("Where", &[&divides, &wanted, &count], &[]);
        let groups = graph.node("Div", &[&count, &group], &[]);
        let along = [("axis", Attribute::Int(0))];
        let rest = graph.ints(&[-1]);
        let shape = graph.node("Concat", &[&group, &groups, &rest], &along);
        let members = graph.node("Reshape", &[&x.name, &shape], &[]);
        let mean = graph.mean(&members, &[0], true);
        let centered = graph.node("Sub", &[&members, &mean], &[]);
        let squares = graph.node("Mul", &[&centered, &centered], &[]);
        let variance = graph.mean(&squares, &[0], false);
        let variance = graph.with_number("Add", &variance, 1e-8);
        let deviation = graph.unary("Sqrt", &variance);
        let spread = graph.mean(&deviation, &[1], false);
        let shape = graph.node("Concat", &[&group, &groups], &along);
        let spread = graph.node("Expand", &[&spread, &shape], &[]);
        let spread = graph.reshape(&spread, &[1]);
        Ok(graph.append(x, &spread, 1))
    }

    fn to_pytorch(&self, form: Form, code: &mut Code) -> Result<Form, NnError> {
        code.helper(SPREAD);
        Ok(code.append(form, &format!("spread(x, {})", self.group), 1))
    }

    fn batch_dependence(&self) -> Option<&'static str> {
        Some("MinibatchStdDev")
    }
}

const SPREAD: &str = "\
def spread(x, size):
    \"\"\"Minibatch standard deviation [N, 1] over groups of samples: Karras et al. 2018.\"\"\"
    size = size if len(x) % size == 0 else len(x)
    groups = x.reshape(size, len(x) // size, -1)
    return (groups.var(0, correction=0) + 1e-8).sqrt().mean(1).repeat(size)[:, None]
";

/// Minibatch standard deviation in a recipe.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinibatchStddevConfig {
    /// Samples in a group.
    pub group: usize,
}

impl LayerSpec for MinibatchStddevConfig {
    fn plan(&self, input: &LayerInput<'_>) -> Result<LayerPlan, String> {
        let group = self.group;
        check_count("group", group, MAX_UNITS)?;
        let output = input.with_channels(input.channels() + 1);
        let summary = format!("MinibatchStdDev of {group}");
        let plan = input.plan(output, summary, move || MinibatchStdDev::new(group).into());
        Ok(LayerPlan { flattened: None, ..plan })
    }
}
