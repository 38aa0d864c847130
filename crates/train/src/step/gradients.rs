//! The gradients of an update: the sum over the losses of a process, and over all processes.

use std::collections::VecDeque;
use tensor::autograd::{self, Gradients, TensorId};
use tensor::distributed::{PendingAllReduce, ProcessGroup};
use tensor::{Device, Shape, Tensor};

/// Elements after which the gradients that are complete are sent: enough that a message's latency
/// does not matter, and few enough that most are on their way while the rest is computed.
const BUCKET: usize = 1 << 20;

/// Adds up the gradients of an update, and sends them to the other processes.
///
/// Each process must add gradients of the same graphs in the same order.
pub(super) struct GradientSum {
    group: ProcessGroup,
    sum: Gradients,
    bucket: Bucket,
    sent: VecDeque<(Vec<(TensorId, Shape)>, PendingAllReduce)>,
}

/// Gradients, one after the other, that are sent in one message.
#[derive(Default)]
struct Bucket {
    gradients: Vec<(TensorId, Shape)>,
    values: Vec<f32>,
}

impl GradientSum {
    pub fn new(group: &ProcessGroup) -> Self {
        Self {
            group: group.clone(),
            sum: Gradients::default(),
            bucket: Bucket::default(),
            sent: VecDeque::new(),
        }
    }

    /// Adds gradients.
    pub fn add(&mut self, gradients: Gradients) {
        self.sum.accumulate(gradients);
    }

    /// Adds the gradients of `loss`. If it `is_last`, those that are complete are sent while the
    /// others are computed.
    pub fn backward(&mut self, loss: &Tensor, is_last: bool) {
        // Reading a gradient from a GPU would wait for it.
        if !is_last || self.group.is_single() || loss.device() != Device::Cpu {
            return self.add(loss.backward());
        }
        let one = Tensor::full_on(&loss.device(), *loss.shape(), 1.0);
        autograd::backward_with_hook(&[(loss, &one)], &mut |id, gradient| {
            self.add([(id, gradient)].into_iter().collect());
            if let Some(gradient) = self.sum.remove(id) {
                self.send(id, &gradient);
            }
        });
    }

    fn send(&mut self, id: TensorId, gradient: &Tensor) {
        self.bucket.gradients.push((id, *gradient.shape()));
        gradient.append_to(&mut self.bucket.values);
        if self.bucket.values.len() >= BUCKET {
            self.send_bucket();
        }
        for (_, pending) in &mut self.sent {
            if !pending.make_progress() {
                break;
            }
        }
    }

    fn send_bucket(&mut self) {
        let Bucket { gradients, values } = std::mem::take(&mut self.bucket);
        self.sent.push_back((gradients, self.group.start_all_reduce(values)));
    }

    /// The gradients and `losses`, scalars, summed over all processes.
    pub fn finish<const N: usize>(mut self, losses: [&Tensor; N]) -> (Gradients, [Tensor; N]) {
        if self.group.is_single() {
            return (self.sum, losses.map(Tensor::detach));
        }
        let device = losses.first().map_or(Device::Cpu, |loss| loss.device());
        let rest = std::mem::take(&mut self.sum);
        let all: Vec<&Tensor> = rest.iter().map(|(_, gradient)| gradient).chain(losses).collect();
        self.bucket.gradients.extend(rest.iter().map(|(id, gradient)| (id, *gradient.shape())));
        self.bucket.values.extend(tensor::read_async(&all).wait());
        self.send_bucket();
        let (mut summed, mut last) = (Vec::new(), Vec::new());
        for (gradients, pending) in self.sent {
            let values = pending.wait();
            let mut at = 0;
            for (id, shape) in gradients {
                let own = &values[at..at + shape.len()];
                summed.push((id, Tensor::from_slice(own, shape).to_device(&device)));
                at += shape.len();
            }
            last = values[at..].to_vec();
        }
        let losses = <[f32; N]>::try_from(last).unwrap_or_else(|last| {
            panic!("GradientSum: the last message has {} losses, not {N}", last.len())
        });
        (summed.into_iter().collect(), losses.map(|loss| Tensor::full_on(&device, [], loss)))
    }
}
