//! The measured peak rates of an adapter.

use super::launch::each;
use super::movement::full;
use crate::gpu::buffer::GpuBuffer;
use crate::gpu::context::Gpu;
use crate::gpu::dispatch::{Dispatch, Params};
use crate::gpu::shader::ShaderSpec;

/// Multiply-adds of a thread in one round: eight repeats of eight chains of four lanes.
const PER_ROUND: f64 = 256.0;

fn spec(fma: bool) -> ShaderSpec {
    ShaderSpec::new("peak").flag("FMA", fma)
}

pub(super) fn specializations() -> Vec<ShaderSpec> {
    [true, false].map(spec).into()
}

/// The best rates that simple kernels reach on an adapter.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// Floating-point operations per second, a multiply-add being two, single precision.
    pub flops: f64,
    /// Bytes read and written per second by a copy of more than caches hold.
    pub bytes: f64,
}

impl Gpu {
    /// Measures this adapter: the best of several short runs.
    pub fn peak(&self) -> Peak {
        let software = self.adapter().software;
        let (groups, rounds) = if software { (64, 64) } else { (8192, 512) };
        let out = GpuBuffer::uninit(self, groups * 256 * 4);
        let fma = || {
            self.run(&Dispatch {
                spec: spec(true),
                inputs: &[],
                outputs: &[&out],
                params: Params::new().sizes([rounds]).floats([0.999, 0.001]),
                groups: groups as u64,
                depth: 1,
                work: 1.0,
            });
        };
        let flops = 2.0 * PER_ROUND * (groups * 256 * rounds) as f64;
        // Small enough for every adapter to bind.
        let len = if software { 4 << 20 } else { 32 << 20 };
        let (from, to) = (full(self, len, 1.0), GpuBuffer::uninit(self, len));
        let copy = || each(spec(false), &[&from], &to, 4, |p| p);
        let best = |f: &dyn Fn()| (0..5).map(|_| self.time(f)).fold(f64::INFINITY, f64::min);
        fma();
        copy();
        Peak { flops: flops / best(&fma), bytes: 8.0 * len as f64 / best(&copy) }
    }
}
