//! Optimizers: which update rule, with which constants.

/// An optimizer's update rule, with the semantics and names of `torch.optim`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum OptimizerKind {
    /// Adam (Kingma & Ba 2015, algorithm 1), or AdamW (Loshchilov & Hutter 2019) when `decoupled`.
    Adam {
        /// Decay of the first moment, in [0, 1).
        beta1: f64,
        /// Decay of the second moment, in [0, 1).
        beta2: f64,
        /// Added to the square root of the second moment, outside the bias correction.
        eps: f64,
        /// Whether weight decay shrinks the parameter directly instead of being added to the
        /// gradient.
        decoupled: bool,
    },
    /// SGD, without dampening.
    Sgd {
        /// Decay of the momentum buffer, in [0, 1).
        momentum: f64,
        /// Nesterov momentum (Nesterov 1983, as Sutskever et al. 2013 write it). Without momentum
        /// it changes nothing.
        nesterov: bool,
    },
    /// RMSprop, not centered (Tieleman & Hinton 2012).
    RmsProp {
        /// Decay of the mean of the squared gradient, in [0, 1).
        alpha: f64,
        /// Added to the square root of that mean.
        eps: f64,
        /// Decay of the momentum buffer, in [0, 1).
        momentum: f64,
    },
}

impl OptimizerKind {
    /// The names of the state tensors of each parameter, which have its shape and start at 0: `m`
    /// and `v` are the running means of g and g², `momentum` is the momentum buffer.
    pub fn state_names(&self) -> &'static [&'static str] {
        match *self {
            OptimizerKind::Adam { .. } => &["m", "v"],
            OptimizerKind::Sgd { momentum: 0.0, .. } => &[],
            OptimizerKind::Sgd { .. } => &["momentum"],
            OptimizerKind::RmsProp { momentum: 0.0, .. } => &["v"],
            OptimizerKind::RmsProp { .. } => &["v", "momentum"],
        }
    }
}

/// The constants of one optimizer step.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct UpdateStep {
    /// The update rule.
    pub rule: OptimizerKind,
    /// Learning rate.
    pub lr: f64,
    /// L2 penalty, added to the gradient unless the rule decouples it.
    pub weight_decay: f64,
    /// The number of this step, from 1.
    pub step: u64,
}

impl UpdateStep {
    /// The constants that kernels take, in f64 until here, since 1 − 0.999 in f32 is off by 1e-5:
    /// - Adam: step size, β₁, 1 − β₁, β₂, 1 − β₂, eps, weight decay, 1 / √(1 −
    ///   β₂ᵗ), and the factor that decoupled decay multiplies a parameter by;
    /// - SGD: rate, weight decay, momentum, the weights of g and of the momentum buffer in the
    ///   step;
    /// - RMSprop: rate, weight decay, α, 1 − α, eps, momentum.
    pub(crate) fn constants(&self) -> StepConstants {
        let UpdateStep { rule, lr, weight_decay, step } = *self;
        let mut all = [0f64; 9];
        match rule {
            OptimizerKind::Adam { beta1, beta2, eps, decoupled } => {
                let power = |beta: f64| 1.0 - beta.powi(step.min(i32::MAX as u64) as i32);
                let (decay, remains) =
                    if decoupled { (0.0, 1.0 - lr * weight_decay) } else { (weight_decay, 1.0) };
                let (step_size, root) = (lr / power(beta1), 1.0 / power(beta2).sqrt());
                all =
                    [step_size, beta1, 1.0 - beta1, beta2, 1.0 - beta2, eps, decay, root, remains];
            }
            OptimizerKind::Sgd { momentum, nesterov } => {
                let [grad_scale, buffer_scale] =
                    if nesterov { [1.0, momentum] } else { [0.0, 1.0] };
                all[..5].copy_from_slice(&[lr, weight_decay, momentum, grad_scale, buffer_scale]);
            }
            OptimizerKind::RmsProp { alpha, eps, momentum } => {
                all[..6].copy_from_slice(&[lr, weight_decay, alpha, 1.0 - alpha, eps, momentum]);
            }
        }
        all.map(|c| c as f32)
    }
}

/// The values of [`UpdateStep::constants`].
pub(crate) type StepConstants = [f32; 9];
