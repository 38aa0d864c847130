//! Adam (Kingma & Ba 2015) over a whole network at once.

use crate::error::NnError;
use crate::layers::Place;
use crate::layout::Layout;
use crate::network::Network;
use crate::state::{Expected, Loaded, StateDict, StateValue, read};
use tensor::autograd::Gradients;
use tensor::{AdamSlot, AdamStep, Guard, Tensor};

/// Adam's constants.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AdamOptions {
    /// Learning rate, > 0.
    pub lr: f64,
    /// Decay of the mean of the gradient, in [0, 1).
    pub beta1: f64,
    /// Decay of the mean of its square, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second moment, outside the bias correction.
    pub eps: f64,
    /// L2 penalty, added to the gradient as in `torch.optim.Adam` (not decoupled).
    pub weight_decay: f64,
}

/// The optimiser of one network. It owns two moments per parameter, by name.
pub struct Adam {
    options: AdamOptions,
    steps: u64,
    moments: Vec<Moments>,
}

struct Moments {
    name: String,
    layout: Layout,
    m: Tensor,
    v: Tensor,
}

impl Adam {
    /// An optimiser for the parameters of `net`, with moments at 0 on the same device.
    pub fn new(net: &Network, options: AdamOptions) -> Self {
        let moments = net
            .entries()
            .filter_map(|(name, entry)| match entry.place {
                Place::Param(param) => {
                    let value = param.value();
                    let zeros = || Tensor::full_on(&value.device(), *value.shape(), 0.0);
                    Some(Moments { name, layout: entry.layout, m: zeros(), v: zeros() })
                }
                Place::Buffer(_) | Place::Copied(_) | Place::Count(_) => None,
            })
            .collect();
        Self { options, steps: 0, moments }
    }

    /// One step along `grads`, unless the guard has seen a number that is not finite. Parameters without a gradient stay as they are, and so do their moments. Returns how many tensors had to be
    /// copied because someone else still held their storage: none in a steady loop that drops its graphs.
    ///
    /// # Panics
    /// When `net` has not the parameters that this optimiser was made for.
    #[track_caller]
    pub fn step(&mut self, net: &Network, grads: &Gradients, guard: &Guard) -> usize {
        let params = net.params();
        assert!(
            params.len() == self.moments.len() && params.iter().zip(&self.moments).all(|((name, _), own)| *name == own.name),
            "Adam: made for another network"
        );
        self.steps += 1;
        let AdamOptions { lr, beta1, beta2, eps, weight_decay } = self.options;
        let step = AdamStep { lr, beta1, beta2, eps, weight_decay, step: self.steps };
        let mut guards: Vec<_> = params.iter().map(|(_, param)| param.slot().write()).collect();
        let mut slots: Vec<AdamSlot<'_>> = guards
            .iter_mut()
            .zip(&mut self.moments)
            .zip(&params)
            .filter_map(|((value, own), (_, param))| {
                let grad = grads.get(param.key())?;
                Some(AdamSlot { value, grad, m: &mut own.m, v: &mut own.v })
            })
            .collect();
        tensor::adam(&mut slots, &step, guard)
    }

    /// Another learning rate from the next step on.
    pub fn set_lr(&mut self, lr: f64) {
        self.options.lr = lr;
    }

    /// The constants.
    pub fn options(&self) -> AdamOptions {
        self.options
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The whole state but the constants: `<param>.m` and `<param>.v` in the layout of the parameter, and `steps`.
    pub fn state(&self) -> StateDict {
        let mut state = StateDict::new();
        for Moments { name, layout, m, v } in &self.moments {
            state.insert(format!("{name}.m"), StateValue::of(layout, m));
            state.insert(format!("{name}.v"), StateValue::of(layout, v));
        }
        state.insert("steps".into(), StateValue::count(i64::try_from(self.steps).unwrap_or(i64::MAX)));
        state
    }

    /// Takes over the state of an optimiser of the same network.
    ///
    /// # Errors
    /// As [`Network::load_state_dict`]; nothing is changed then.
    pub fn load_state(&mut self, state: &StateDict) -> Result<(), NnError> {
        let mut expected: Vec<(String, Expected)> = vec![("steps".into(), Expected::Count)];
        for own in &self.moments {
            expected.push((format!("{}.m", own.name), Expected::F32(own.layout.clone())));
            expected.push((format!("{}.v", own.name), Expected::F32(own.layout.clone())));
        }
        let mut loaded = read(&expected, state)?.into_iter();
        if let Some(Loaded::Count(steps)) = loaded.next() {
            self.steps = u64::try_from(steps).map_err(|_| NnError::BadTensor {
                name: "steps".into(),
                problem: format!("is {steps}, not a number of steps"),
            })?;
        }
        for own in &mut self.moments {
            if let (Some(Loaded::F32(m)), Some(Loaded::F32(v))) = (loaded.next(), loaded.next()) {
                let device = own.m.device();
                (own.m, own.v) = (m.to_device(&device), v.to_device(&device));
            }
        }
        Ok(())
    }
}
