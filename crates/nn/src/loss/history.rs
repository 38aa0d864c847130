//! Historical averaging.

use crate::error::{NnError, TensorProblem};
use crate::layers::TensorRole;
use crate::layout::Layout;
use crate::network::Network;
use crate::state::{StateDict, StateTensor, TensorSpec, read_state};
use tensor::autograd::Gradients;
use tensor::{EmaUpdate, HostTensor, Tensor};

/// The historical averaging term ‖θ − (1/t) Σ θᵢ‖² of each network's loss (Salimans et al. 2016,
/// section 3.3). It pulls the parameters of one network towards the mean of all their past values.
/// Its gradient is 2(θ − mean), with the past values held constant.
pub struct HistoricalAverage {
    count: u64,
    means: Vec<Mean>,
}

struct Mean {
    name: String,
    layout: Layout,
    value: Tensor,
}

impl HistoricalAverage {
    /// Creates an empty history for the parameters of `net`.
    pub fn new(net: &Network) -> Self {
        let means = net
            .named_tensors()
            .filter_map(|(name, entry)| match entry.role {
                TensorRole::Param(param) => {
                    Some(Mean { name, layout: entry.layout, value: param.value() })
                }
                TensorRole::Buffer(_) | TensorRole::Copied(_) | TensorRole::Count(_) => None,
            })
            .collect();
        Self { count: 0, means }
    }

    /// Adds `weight` times the gradient of the term to `grads`; adds nothing before the first
    /// [`update`](Self::update).
    ///
    /// # Panics
    /// Panics if `net` does not have the parameters that this history was created for.
    #[track_caller]
    pub fn add_gradients(&self, net: &Network, grads: &mut Gradients, weight: f64) {
        self.require(net);
        if self.count == 0 {
            return;
        }
        let pull = |mean: &Mean, value: Tensor| value.sub(&mean.value).scale(2.0 * weight as f32);
        grads.accumulate(
            net.params()
                .iter()
                .zip(&self.means)
                .map(|((_, p), mean)| (p.key(), pull(mean, p.value())))
                .collect(),
        );
    }

    /// Updates the mean with the current values of `net`.
    ///
    /// # Panics
    /// Panics under the same conditions as [`add_gradients`](Self::add_gradients).
    #[track_caller]
    pub fn update(&mut self, net: &Network) {
        self.require(net);
        self.count += 1;
        let keep = (1.0 - 1.0 / self.count as f64) as f32;
        let values: Vec<Tensor> = net.params().iter().map(|(_, param)| param.value()).collect();
        let moved = self.means.iter_mut().zip(&values);
        tensor::lerp(
            &mut moved
                .map(|(m, value)| EmaUpdate { average: &mut m.value, value, keep, factor: 1.0 })
                .collect::<Vec<_>>(),
        );
    }

    #[track_caller]
    fn require(&self, net: &Network) {
        let params = net.params();
        let same = params.len() == self.means.len()
            && params.iter().zip(&self.means).all(|((name, _), own)| *name == own.name);
        assert!(same, "HistoricalAverage: made for another network");
    }

    /// Returns the whole state: `<param>.mean` in the layout of the parameter, and `count`.
    pub fn state(&self) -> StateDict {
        let mut state: StateDict = self
            .means
            .iter()
            .map(|m| (format!("{}.mean", m.name), m.layout.to_host(&m.value)))
            .collect();
        state.insert(
            "count".into(),
            HostTensor::scalar_i64(i64::try_from(self.count).unwrap_or(i64::MAX)),
        );
        state
    }

    /// Loads the state of a history of the same network.
    ///
    /// # Errors
    /// Returns an error under the same conditions as [`Network::load_state_dict`]; nothing is
    /// changed then.
    pub fn load_state(&mut self, state: &StateDict) -> Result<(), NnError> {
        let mut expected: Vec<(String, TensorSpec)> = vec![("count".into(), TensorSpec::Count)];
        expected.extend(
            self.means
                .iter()
                .map(|m| (format!("{}.mean", m.name), TensorSpec::F32(m.layout.clone()))),
        );
        let mut loaded = read_state(&expected, state)?.into_iter();
        if let Some(StateTensor::Count(count)) = loaded.next() {
            self.count = u64::try_from(count).map_err(|_| NnError::BadTensor {
                name: "count".into(),
                problem: TensorProblem::Count(count),
            })?;
        }
        for (own, value) in self.means.iter_mut().zip(loaded) {
            if let StateTensor::F32(value) = value {
                own.value = value.to_device(&own.value.device());
            }
        }
        Ok(())
    }
}
