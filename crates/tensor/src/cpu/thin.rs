//! The convolution's input gradient for images of up to four channels (the picture's end of every network), where a product with one column per
//! channel would leave most of a register empty: here registers run along the pixels.
//!
//! A task turns one image of dy into planes, one per channel, with the zeros around it. A residue of the pixels by the stride is then a
//! correlation along the flattened planes: for each tap and channel, a stretch of plane times one weight, added to the stretch of each of the
//! image's channels. What falls between the end of a line and the next is computed and dropped.

use super::conv::{ConvCall, Phase, phases, span};
use super::simd::{Portable, Simd};
use super::{Buffer, Isa, SendPtr, isa, multiversion, par_for};

/// Images of so many channels are thin.
pub(crate) const THIN: usize = 4;
/// Registers along the pixels, at most.
const LONG: usize = 8;
/// Fewer images than this are cut into bands.
const FEW: usize = 8;
/// Numbers that the widest of them hold: what is computed at a time at most, and read beyond the last pixel.
const SLACK: usize = LONG * 16;

/// One residue of the pixels: its taps' places in the planes, and their weights, `[tap][co][ci]`.
struct Residue {
    rows: Phase,
    columns: Phase,
    offsets: Vec<usize>,
    weights: Vec<f32>,
}

/// `dx[n, y, x, ci] = Σ dy[n, oy, ox, co] · w[kh, kw, ci, co]`, as [`conv2d_input_grad`](super::conv::conv2d_input_grad), for at most
/// [`THIN`] channels. Each result is one multiply-add chain over taps and channels, whatever the batch.
pub(crate) fn input_grad(dy: &[f32], w: &[f32], dx: &mut [f32], call: ConvCall) {
    let ConvCall { geom, batch, cin, cout } = call;
    let [h, wid] = geom.input;
    let [oh, ow] = geom.output();
    let [sh, sw] = geom.stride;
    let rows_of = phases(h, geom.kernel[0], sh, geom.pad[0][0]);
    let columns_of = phases(wid, geom.kernel[1], sw, geom.pad[1][0]);
    let ((top, tall), (left, broad)) = (span(&rows_of), span(&columns_of));
    let (lines, width) = (h.div_ceil(sh), wid.div_ceil(sw) - 1 + broad);
    // Few images are cut into bands of lines, so that there is a task for every thread; no result depends on it.
    let bands = if batch < FEW { lines.div_ceil(8).min(FEW) } else { 1 };
    let step = lines.div_ceil(bands);
    let residue = |rows: &Phase, columns: &Phase| {
        let taps = || (0..rows.count).flat_map(|t| (0..columns.count).map(move |u| (t, u)));
        let place = |(t, u)| ((rows.shift - top) as usize + t) * width + (columns.shift - left) as usize + u;
        let mut weights = Vec::with_capacity(rows.count * columns.count * cout * cin);
        for (t, u) in taps() {
            let tap = ((rows.last - t * sh) * geom.kernel[1] + columns.last - u * sw) * cin;
            weights.extend((0..cout).flat_map(|co| (0..cin).map(move |ci| (tap + ci) * cout + co)).map(|at| w[at]));
        }
        Residue { rows: *rows, columns: *columns, offsets: taps().map(place).collect(), weights }
    };
    let residues: Vec<Residue> = rows_of.iter().flat_map(|a| columns_of.iter().map(move |b| residue(a, b))).collect();
    let out = SendPtr(dx.as_mut_ptr());
    par_for(batch * bands, |task| {
        let (n, band) = (task / bands, task % bands * step..lines.min((task % bands + 1) * step));
        if band.is_empty() {
            return;
        }
        let height = band.len() - 1 + tall;
        let plane = height * width + SLACK;
        let mut planes = Buffer::uninit(plane * cout);
        let image = &dy[n * oh * ow * cout..(n + 1) * oh * ow * cout];
        turn(image, [oh, ow], [top + band.start as isize, left], [height, width], &mut planes);
        // Of each residue: the lines that it has in the band (its last one may lie beyond the image), and the pixels of a line.
        let sizes = residues.iter().map(|r| {
            let end = band.end.min((h - r.rows.offset).div_ceil(sh));
            (end.saturating_sub(band.start), (wid - r.columns.offset).div_ceil(sw))
        });
        let sizes: Vec<_> = sizes.collect();
        let pixels = sizes.iter().map(|&(lines, columns)| if lines == 0 { 0 } else { (lines - 1) * width + columns }).max();
        let mut sums = Buffer::uninit(plane * cin * residues.len());
        run(&planes, plane, &residues, [cin, cout], pixels.unwrap_or(0), &mut sums);
        for ((residue, (lines, columns)), sums) in residues.iter().zip(sizes).zip(sums.chunks_exact(plane * cin)) {
            for line in 0..lines {
                let y = (band.start + line) * sh + residue.rows.offset;
                // SAFETY: the lines of a band are its task's alone.
                let row = unsafe { std::slice::from_raw_parts_mut(out.get().add((n * h + y) * wid * cin), wid * cin) };
                let row = &mut row[residue.columns.offset * cin..];
                for ci in 0..cin {
                    let from = &sums[ci * plane + line * width..ci * plane + line * width + columns];
                    row[ci..].iter_mut().step_by(sw * cin).zip(from).for_each(|(slot, v)| *slot = *v);
                }
            }
        }
    });
}

/// One image of dy as planes, `[co][height · width]` and [`SLACK`] zeros each; row 0 is output row `top`, which may lie above the image.
fn turn(image: &[f32], [oh, ow]: [usize; 2], [top, left]: [isize; 2], [height, width]: [usize; 2], planes: &mut [f32]) {
    let plane = height * width + SLACK;
    let cout = planes.len() / plane;
    // The output's columns that the planes have, and where the first of them lies in a line.
    let (first, margin) = (usize::try_from(left).unwrap_or(0), usize::try_from(-left).unwrap_or(0));
    let count = ow.saturating_sub(first).min(width - margin.min(width));
    let zero_end = |planes: &mut [f32], row: usize, from: usize, len: usize| {
        (0..cout).for_each(|co| planes[co * plane + row * width + from..][..len].fill(0.0));
    };
    for row in 0..height {
        let y = usize::try_from(row as isize + top).ok().filter(|y| *y < oh && count > 0);
        let Some(y) = y else {
            zero_end(planes, row, 0, width);
            continue;
        };
        zero_end(planes, row, 0, margin);
        zero_end(planes, row, margin + count, width - margin - count);
        let line = &image[(y * ow + first) * cout..(y * ow + first + count) * cout];
        transpose(line, cout, &mut planes[row * width + margin..], plane);
    }
    (0..cout).for_each(|co| planes[co * plane + height * width..(co + 1) * plane].fill(0.0));
}

multiversion! {
    /// `to[c · pitch + i] = from[i · width + c]` for lines of `width` numbers, by blocks of 16 × 16.
    fn transpose(from: &[f32], width: usize, to: &mut [f32], pitch: usize) {
        const SIDE: usize = 16;
        let count = from.len() / width;
        for i in (0..count).step_by(SIDE) {
            for c in (0..width).step_by(SIDE) {
                if i + SIDE <= count && c + SIDE <= width {
                    let mut block = [[0f32; SIDE]; SIDE];
                    for (k, line) in block.iter_mut().enumerate() {
                        line.copy_from_slice(&from[(i + k) * width + c..][..SIDE]);
                    }
                    for k in 0..SIDE {
                        let column: [f32; SIDE] = std::array::from_fn(|j| block[j][k]);
                        to[(c + k) * pitch + i..][..SIDE].copy_from_slice(&column);
                    }
                } else {
                    for k in c..width.min(c + SIDE) {
                        for j in i..count.min(i + SIDE) {
                            to[k * pitch + j] = from[j * width + k];
                        }
                    }
                }
            }
        }
    }
}

/// `sums[r · cin · plane + ci · plane + p] = Σ_tap Σ_co planes[co · plane + p + offset(tap)] · weight` for each residue r and `pixels` positions p
/// (and some beyond): all residues of a stretch of positions, while it is in the first-level cache.
fn run(planes: &[f32], plane: usize, residues: &[Residue], [cin, cout]: [usize; 2], pixels: usize, sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
    unsafe fn avx512(task: &Task<'_>, cin: usize, pixels: usize) {
        // SAFETY: the caller's promise.
        unsafe { lines::<super::simd::x86::Avx512>(task, cin, pixels) }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(task: &Task<'_>, cin: usize, pixels: usize) {
        // SAFETY: the caller's promise.
        unsafe { lines::<super::simd::x86::Avx2>(task, cin, pixels) }
    }
    assert!(planes.len() >= plane * cout && sums.len() >= plane * cin * residues.len() && pixels + SLACK <= plane);
    let task = Task { planes: planes.as_ptr(), plane, residues, cout, sums: sums.as_mut_ptr() };
    // SAFETY: a block begins below `pixels` and is at most SLACK long, so that it ends within a plane and its slack. A tap's offset is at most
    // `tall − 1` lines and `broad − 1` places, which leads from the last pixel of any residue to the plane's last place at most. `isa()` names
    // only what this processor has.
    unsafe {
        match isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512(&task, cin, pixels),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(&task, cin, pixels),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => lines::<super::simd::arm::Neon>(&task, cin, pixels),
            _ => lines::<Portable>(&task, cin, pixels),
        }
    }
}

struct Task<'a> {
    planes: *const f32,
    plane: usize,
    residues: &'a [Residue],
    cout: usize,
    sums: *mut f32,
}

/// # Safety
/// The instruction set must be present, and the planes as [`run`] has them.
#[inline(always)]
unsafe fn lines<S: Simd>(task: &Task<'_>, cin: usize, pixels: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        // As many registers along the pixels as the register file has beside them.
        match (cin, S::WIDE >= 4 && S::LANES == 16) {
            (1, true) => line::<S, 1, 8>(task, pixels),
            (2, true) => line::<S, 2, 8>(task, pixels),
            (3, true) => line::<S, 3, 7>(task, pixels),
            (_, true) => line::<S, 4, 6>(task, pixels),
            (1, false) => line::<S, 1, 8>(task, pixels),
            (2, false) => line::<S, 2, 6>(task, pixels),
            (3, false) => line::<S, 3, 4>(task, pixels),
            (_, false) => line::<S, 4, 3>(task, pixels),
        }
    }
}

/// # Safety
/// As for [`lines`].
#[inline(always)]
unsafe fn line<S: Simd, const C: usize, const NV: usize>(task: &Task<'_>, pixels: usize) {
    let mut at = 0;
    // SAFETY: as for `lines`.
    unsafe {
        while at + (NV - 1) * S::LANES < pixels {
            stretch::<S, C, NV>(task, at);
            at += NV * S::LANES;
        }
        while at < pixels {
            stretch::<S, C, 1>(task, at);
            at += S::LANES;
        }
    }
}

/// # Safety
/// As for [`lines`], for the `NV` registers from position `at` on.
#[inline(always)]
unsafe fn stretch<S: Simd, const C: usize, const NV: usize>(task: &Task<'_>, at: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        for (number, residue) in task.residues.iter().enumerate() {
            let mut sums = [[S::zero(); NV]; C];
            let mut weight = residue.weights.as_ptr();
            for &offset in &residue.offsets {
                let mut from = task.planes.add(at + offset);
                for _ in 0..task.cout {
                    let values: [S::V; NV] = std::array::from_fn(|v| S::load(from.add(v * S::LANES)));
                    for sums in &mut sums {
                        let w = S::splat(weight);
                        weight = weight.add(1);
                        for v in 0..NV {
                            sums[v] = S::fma(w, values[v], sums[v]);
                        }
                    }
                    from = from.add(task.plane);
                }
            }
            let out = task.sums.add(number * C * task.plane + at);
            for (c, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    S::store(out.add(c * task.plane + v * S::LANES), *sum);
                }
            }
        }
    }
}
