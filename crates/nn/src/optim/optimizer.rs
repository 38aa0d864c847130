//! An optimiser over a whole network at once.

use crate::error::NnError;
use crate::layers::TensorRole;
use crate::layout::Layout;
use crate::network::Network;
use crate::state::{StateDict, StateTensor, TensorSpec, read_state};
use tensor::autograd::Gradients;
use tensor::{FiniteCheck, HostTensor, OptimizerKind, ParamUpdate, Tensor, UpdateStep};

/// A rule with its rate.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OptimizerOptions {
    /// How parameters move along their gradients.
    pub rule: OptimizerKind,
    /// Learning rate, at least 0.
    pub lr: f64,
    /// L2 penalty, added to the gradient unless the rule decouples it.
    pub weight_decay: f64,
}

/// The optimiser of one network. It owns what its rule remembers of each parameter, by name.
pub struct Optimizer {
    options: OptimizerOptions,
    steps: u64,
    parameters: Vec<Parameter>,
}

struct Parameter {
    name: String,
    layout: Layout,
    /// What [`OptimizerKind::state_names`] names.
    memory: Vec<Tensor>,
}

impl Optimizer {
    /// An optimiser for the parameters of `net`, which remembers zeros on the same device.
    pub fn new(net: &Network, options: OptimizerOptions) -> Self {
        let parameters = net
            .named_tensors()
            .filter_map(|(name, entry)| match entry.role {
                TensorRole::Param(param) => {
                    let value = param.value();
                    let zeros = || Tensor::full_on(&value.device(), *value.shape(), 0.0);
                    let memory = options.rule.state_names().iter().map(|_| zeros()).collect();
                    Some(Parameter { name, layout: entry.layout, memory })
                }
                TensorRole::Buffer(_) | TensorRole::Copied(_) | TensorRole::Count(_) => None,
            })
            .collect();
        Self { options, steps: 0, parameters }
    }

    /// One step along `grads`, unless the guard has seen a number that is not finite. Parameters without a gradient stay as they are, and so
    /// does what is remembered of them. Returns how many tensors had to be copied because someone else still held their storage: none in a
    /// steady loop that drops its graphs.
    ///
    /// # Panics
    /// When `net` has not the parameters that this optimiser was made for.
    #[track_caller]
    pub fn step(&mut self, net: &Network, grads: &Gradients, guard: &FiniteCheck) -> usize {
        let params = net.params();
        assert!(
            params.len() == self.parameters.len()
                && params.iter().zip(&self.parameters).all(|((name, _), own)| *name == own.name),
            "Optimizer: made for another network"
        );
        self.steps += 1;
        let OptimizerOptions { rule, lr, weight_decay } = self.options;
        let step = UpdateStep { rule, lr, weight_decay, step: self.steps };
        let mut guards: Vec<_> = params.iter().map(|(_, param)| param.shared().write()).collect();
        let mut slots: Vec<ParamUpdate<'_>> = guards
            .iter_mut()
            .zip(&mut self.parameters)
            .zip(&params)
            .filter_map(|((value, own), (_, param))| {
                let grad = grads.get(param.key())?;
                Some(ParamUpdate { value, grad, state: &mut own.memory })
            })
            .collect();
        tensor::update(&mut slots, &step, guard)
    }

    /// Another learning rate from the next step on.
    pub fn set_lr(&mut self, lr: f64) {
        self.options.lr = lr;
    }

    /// Another momentum from the next step on; Adam has none.
    ///
    /// # Panics
    /// When momentum comes or goes altogether: what is remembered would have to.
    #[track_caller]
    pub fn set_momentum(&mut self, value: f64) {
        if let OptimizerKind::Sgd { momentum, .. } | OptimizerKind::RmsProp { momentum, .. } =
            &mut self.options.rule
        {
            assert_eq!(*momentum == 0.0, value == 0.0, "set_momentum: from {momentum} to {value}");
            *momentum = value;
        }
    }

    /// The rule and its constants.
    pub fn options(&self) -> OptimizerOptions {
        self.options
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The whole state but the constants: for each parameter what [`OptimizerKind::state_names`] names, `<param>.m` for example, in the layout of the
    /// parameter, and `steps`.
    pub fn state(&self) -> StateDict {
        let mut state = StateDict::new();
        for own in &self.parameters {
            for (name, value) in self.memories(own).zip(&own.memory) {
                state.insert(name, own.layout.to_host(value));
            }
        }
        state.insert(
            "steps".into(),
            HostTensor::scalar_i64(i64::try_from(self.steps).unwrap_or(i64::MAX)),
        );
        state
    }

    /// The names of what is remembered of a parameter.
    fn memories(&self, parameter: &Parameter) -> impl Iterator<Item = String> {
        self.options.rule.state_names().iter().map(|memory| format!("{}.{memory}", parameter.name))
    }

    /// Takes over the state of an optimiser of the same network with the same rule.
    ///
    /// # Errors
    /// As [`Network::load_state_dict`]; nothing is changed then.
    pub fn load_state(&mut self, state: &StateDict) -> Result<(), NnError> {
        let mut expected: Vec<(String, TensorSpec)> = vec![("steps".into(), TensorSpec::Count)];
        for own in &self.parameters {
            expected
                .extend(self.memories(own).map(|name| (name, TensorSpec::F32(own.layout.clone()))));
        }
        let mut loaded = read_state(&expected, state)?.into_iter();
        if let Some(StateTensor::Count(steps)) = loaded.next() {
            self.steps = u64::try_from(steps).map_err(|_| NnError::BadTensor {
                name: "steps".into(),
                problem: format!("is {steps}, not a number of steps"),
            })?;
        }
        for (own, value) in self.parameters.iter_mut().flat_map(|p| &mut p.memory).zip(loaded) {
            if let StateTensor::F32(value) = value {
                *own = value.to_device(&own.device());
            }
        }
        Ok(())
    }
}
