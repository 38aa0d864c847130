//! Pooling windows over NHWC images.

use super::isa::multiversion;
use super::parallel::{SendPtr, par_chunks_mut, par_for};
use crate::descriptors::PoolParams;

/// For each output, the index within its image of the window's largest element, the first of
/// equals; a NaN counts as largest.
pub(crate) fn argmax(x: &[f32], out: &mut [u32], params: PoolParams) {
    let [n, h, w, c] = params.input;
    let [_, oh, ow, _] = params.output();
    let elements = x.len() / n.max(1);
    assert!(
        u32::try_from(elements).is_ok(),
        "max: {elements} elements in one image or group, and indices have 32 bits"
    );
    let base = SendPtr(out.as_mut_ptr());
    par_for(n, |image| {
        let x = &x[image * h * w * c..(image + 1) * h * w * c];
        // SAFETY: only task `image` writes the indices of its image.
        let out = unsafe {
            std::slice::from_raw_parts_mut(base.get().add(image * oh * ow * c), oh * ow * c)
        };
        for (i, slot) in out.iter_mut().enumerate() {
            let (oy, ox, ch) = (i / (ow * c), i / c % ow, i % c);
            let mut best = (oy * params.stride[0] * w + ox * params.stride[1]) * c + ch;
            for ky in 0..params.kernel[0] {
                for kx in 0..params.kernel[1] {
                    let at =
                        ((oy * params.stride[0] + ky) * w + ox * params.stride[1] + kx) * c + ch;
                    // A comparison with NaN is false, so NaN needs its own.
                    if x[at] > x[best] || (x[at].is_nan() && !x[best].is_nan()) {
                        best = at;
                    }
                }
            }
            *slot = best as u32;
        }
    });
}

multiversion! {
    /// `out[i] = max(out[i], x[i])`, where a NaN counts as the largest.
    fn raise(out: &mut [f32], x: &[f32]) {
        for (best, &x) in out.iter_mut().zip(x) {
            *best = if x > *best || x.is_nan() { x } else { *best };
        }
    }
}

/// The elements of [`argmax`] themselves, for results without a gradient: all channels of a pixel
/// at a time.
pub(crate) fn maximum(x: &[f32], out: &mut [f32], params: PoolParams) {
    let [_, h, w, c] = params.input;
    let [_, oh, ow, _] = params.output();
    par_chunks_mut(out, ow * c, |line, out| {
        let (image, oy) = (line / oh, line % oh);
        for (ox, best) in out.chunks_exact_mut(c).enumerate() {
            let corner = (image * h + oy * params.stride[0]) * w + ox * params.stride[1];
            best.copy_from_slice(&x[corner * c..][..c]);
            for ky in 0..params.kernel[0] {
                for kx in 0..params.kernel[1] {
                    if ky + kx > 0 {
                        raise(best, &x[(corner + ky * w + kx) * c..][..c]);
                    }
                }
            }
        }
    });
}

/// `out[g, i] = x[g, index[g, i]]` for each of `groups` equal parts.
pub(crate) fn gather(x: &[f32], index: &[u32], out: &mut [f32], groups: usize) {
    let (from, to) = (x.len() / groups, out.len() / groups);
    par_chunks_mut(out, to, |g, out| {
        let x = &x[g * from..(g + 1) * from];
        for (o, &i) in out.iter_mut().zip(&index[g * to..(g + 1) * to]) {
            *o = x[i as usize];
        }
    });
}

/// The adjoint of [`gather`]: `out[g, j] = Σ x[g, i]` over the i with `index[g, i] = j`, in order;
/// one task per group.
pub(crate) fn scatter_add(x: &[f32], index: &[u32], out: &mut [f32], groups: usize) {
    let (from, to) = (x.len() / groups, out.len() / groups);
    par_chunks_mut(out, to, |g, out| {
        out.fill(0.0);
        for (&v, &i) in x[g * from..(g + 1) * from].iter().zip(&index[g * from..(g + 1) * from]) {
            out[i as usize] += v;
        }
    });
}

/// The mean of each window.
pub(crate) fn average(x: &[f32], out: &mut [f32], params: PoolParams) {
    let [_, h, w, c] = params.input;
    let [_, oh, ow, _] = params.output();
    let scale = 1.0 / (params.kernel[0] * params.kernel[1]) as f32;
    par_chunks_mut(out, oh * ow * c, |image, out| {
        let x = &x[image * h * w * c..(image + 1) * h * w * c];
        for (i, slot) in out.chunks_exact_mut(c).enumerate() {
            slot.fill(0.0);
            for ky in 0..params.kernel[0] {
                for kx in 0..params.kernel[1] {
                    let at =
                        ((i / ow * params.stride[0] + ky) * w + i % ow * params.stride[1] + kx) * c;
                    slot.iter_mut().zip(&x[at..at + c]).for_each(|(s, v)| *s += v * scale);
                }
            }
        }
    });
}

/// The adjoint of [`average`]: each window adds its share to its pixels.
pub(crate) fn average_grad(dy: &[f32], dx: &mut [f32], params: PoolParams) {
    let [_, h, w, c] = params.input;
    let [_, oh, ow, _] = params.output();
    let scale = 1.0 / (params.kernel[0] * params.kernel[1]) as f32;
    // Windows may overlap, so one task adds up all windows of an image.
    par_chunks_mut(dx, h * w * c, |image, dx| {
        dx.fill(0.0);
        for (i, dy) in
            dy[image * oh * ow * c..(image + 1) * oh * ow * c].chunks_exact(c).enumerate()
        {
            for ky in 0..params.kernel[0] {
                for kx in 0..params.kernel[1] {
                    let at =
                        ((i / ow * params.stride[0] + ky) * w + i % ow * params.stride[1] + kx) * c;
                    dx[at..at + c].iter_mut().zip(dy).for_each(|(d, v)| *d += v * scale);
                }
            }
        }
    });
}
