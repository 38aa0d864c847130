//! An optimizer for all parameters of a network.

use crate::error::{NnError, TensorProblem};
use crate::layers::TensorRole;
use crate::layout::Layout;
use crate::network::Network;
use crate::state::{StateDict, StateTensor, TensorSpec, read_state};
use tensor::autograd::Gradients;
use tensor::{FiniteCheck, HostTensor, OptimizerKind, ParamUpdate, Tensor, UpdateStep};

/// An optimizer's update rule with its hyperparameters.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OptimizerOptions {
    /// The update rule.
    pub rule: OptimizerKind,
    /// Learning rate, at least 0.
    pub lr: f64,
    /// L2 penalty, added to the gradient unless the rule decouples it.
    pub weight_decay: f64,
}

/// The optimizer of one network. It owns the optimizer state of each parameter, by name.
pub struct Optimizer {
    options: OptimizerOptions,
    steps: u64,
    parameters: Vec<Parameter>,
}

struct Parameter {
    name: String,
    layout: Layout,
    /// The optimizer state, as named by [`OptimizerKind::state_names`].
    memory: Vec<Tensor>,
}

impl Optimizer {
    /// Creates an optimizer for the parameters of `net`, with zero state on the same device.
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

    /// Takes one optimizer step along `grads`, unless the guard has found a NaN or infinity.
    /// Parameters without a gradient are unchanged, and so is their optimizer state. Returns how
    /// many tensors had to be copied because their storage was still shared: none in a steady loop
    /// that drops its graphs.
    ///
    /// # Panics
    /// Panics if `net` does not have the parameters that this optimizer was created for.
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

    /// Sets the learning rate from the next step on.
    pub fn set_lr(&mut self, lr: f64) {
        self.options.lr = lr;
    }

    /// Sets the momentum from the next step on; Adam has none.
    ///
    /// # Panics
    /// Panics if momentum is turned on or off, because the optimizer state would have to be added
    /// or removed.
    #[track_caller]
    pub fn set_momentum(&mut self, value: f64) {
        if let OptimizerKind::Sgd { momentum, .. } | OptimizerKind::RmsProp { momentum, .. } =
            &mut self.options.rule
        {
            assert_eq!(*momentum == 0.0, value == 0.0, "set_momentum: from {momentum} to {value}");
            *momentum = value;
        }
    }

    /// The update rule and its hyperparameters.
    pub fn options(&self) -> OptimizerOptions {
        self.options
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns the whole optimizer state except the hyperparameters: for each parameter the tensors
    /// named by [`OptimizerKind::state_names`], for example `<param>.m`, in the layout of the
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

    /// The names of a parameter's optimizer state.
    fn memories(&self, parameter: &Parameter) -> impl Iterator<Item = String> {
        self.options.rule.state_names().iter().map(|memory| format!("{}.{memory}", parameter.name))
    }

    /// Loads the state of an optimizer of the same network with the same rule.
    ///
    /// # Errors
    /// Returns an error under the same conditions as [`Network::load_state_dict`]; nothing is
    /// changed then.
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
                problem: TensorProblem::Count(steps),
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
