//! The convolution triple as implicit matrix products: no patch matrix is ever written.
//!
//! A task copies the pixels it needs, with their zero padding, into a scratch image that stays in
//! the L2 cache. After that, a row of a window is kw·C contiguous elements, which the micro-kernel
//! reads in place, and no inner loop tests for the border.

use super::buffer::Buffer;
use super::conv_algo::{ConvAlgorithm, ConvOp, algorithm};
use super::gemm::{
    PackedRhs, Rhs, RowTask, TASK_ROWS, k_blocks, packed_columns, rows_times_packed, run_block,
};
use super::microkernel::{Columns, KSegment, Out};
use super::norm::BiasActivation;
use super::parallel::{SendPtr, par_for_with_scratch};
use super::reduce::sum_partials;
use super::{few_channel_conv, winograd};
use crate::descriptors::{ConvGeom, ConvParams};

/// With fewer row tasks than this, the columns are split into tasks too.
const MIN_TASKS: usize = 8;
/// Columns are split in multiples of this, which is a multiple of every instruction set's panel.
const SHARE: usize = 64;
/// A weight-gradient task accumulates at most this many elements, which stay in the L2 cache.
const GRAD_TILE: usize = 256 * 1024;
/// Splitting the sum over images keeps at most this many partial results.
const MAX_PARTIALS: usize = 4 * 1024 * 1024;

/// The split of the rows of a result into tasks: groups of whole images, or bands of lines of one
/// image.
struct TaskSplit {
    images: usize,
    lines: usize,
    groups: usize,
    bands: usize,
}

impl TaskSplit {
    /// `batch` images of `lines` lines with `width` result rows of `columns` each.
    fn new(batch: usize, lines: usize, width: usize, columns: usize) -> Self {
        let rows = lines * width;
        // Few images are split into bands until there are enough tasks, counting those by columns.
        let few = MIN_TASKS.div_ceil(batch.max(1) * columns.div_ceil(SHARE)).min(lines);
        if rows >= 2 * TASK_ROWS || few > 1 {
            let band = (TASK_ROWS / width).min(lines.div_ceil(few)).max(1);
            Self { images: 1, lines: band, groups: batch, bands: lines.div_ceil(band) }
        } else {
            let images = (TASK_ROWS / rows.max(1)).max(1);
            Self { images, lines, groups: batch.div_ceil(images), bands: 1 }
        }
    }

    fn tasks(&self) -> usize {
        self.groups * self.bands
    }

    /// The images and lines of task `i`.
    fn task(
        &self,
        i: usize,
        batch: usize,
        lines: usize,
    ) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let (image, line) = (i / self.bands * self.images, i % self.bands * self.lines);
        (image..batch.min(image + self.images), line..lines.min(line + self.lines))
    }
}

/// The columns of a result in panel-aligned shares: one share, unless there are too few row tasks
/// for all threads.
fn column_shares(row_tasks: usize, n: usize) -> Vec<std::ops::Range<usize>> {
    let shares = if row_tasks >= MIN_TASKS {
        1
    } else {
        MIN_TASKS.div_ceil(row_tasks.max(1)).min(n.div_ceil(SHARE)).max(1)
    };
    let step = n.div_ceil(shares).next_multiple_of(SHARE);
    (0..n).step_by(step).map(|start| start..n.min(start + step)).collect()
}

/// Copies the `size` window at (`top`, `left`) of an `[h, w, c]` image; pixels outside the image
/// are zeros.
fn copy_window(
    image: &[f32],
    [h, w]: [usize; 2],
    c: usize,
    [top, left]: [isize; 2],
    size: [usize; 2],
    out: &mut [f32],
) {
    // The columns `before..end` of the window are inside the image.
    let before = (-left).clamp(0, size[1] as isize) as usize;
    let end = (w as isize - left).clamp(before as isize, size[1] as isize) as usize;
    for (i, line) in out.chunks_exact_mut(size[1] * c).enumerate() {
        let y = top + i as isize;
        if y < 0 || y >= h as isize || before == end {
            line.fill(0.0);
            continue;
        }
        let start = (y as usize * w) as isize + left + before as isize;
        line[..before * c].fill(0.0);
        line[before * c..end * c]
            .copy_from_slice(&image[start as usize * c..(start as usize + end - before) * c]);
        line[end * c..].fill(0.0);
    }
}

/// Computes the call by Winograd and returns if the table of algorithms selects it; else execution
/// continues with the direct algorithm.
macro_rules! winograd_or_continue {
    ($op:expr, $params:ident, $f:ident($($operand:expr),+)) => {
        match (algorithm($op, &$params), winograd::taps(&$params.geom)) {
            (ConvAlgorithm::F2, Some(2)) => return winograd::$f::<2, 3, 2>($($operand),+),
            (ConvAlgorithm::F4, Some(2)) => return winograd::$f::<4, 5, 2>($($operand),+),
            (ConvAlgorithm::F2, _) => return winograd::$f::<2, 4, 3>($($operand),+),
            (ConvAlgorithm::F4, _) => return winograd::$f::<4, 6, 3>($($operand),+),
            (ConvAlgorithm::Auto | ConvAlgorithm::Direct, _) => {}
        }
    };
}

/// `y[n, oy, ox, co] = Σ x[n, oy·s + kh − p, ox·s + kw − p, ci] · w[kh, kw, ci, co]`.
/// Each row is given to `after`, if there is one.
pub(crate) fn conv2d(
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    params: ConvParams,
    after: Option<BiasActivation<'_>>,
) {
    winograd_or_continue!(ConvOp::Forward, params, forward(x, w, y, params, after));
    let ConvParams { geom, batch, cin, cout } = params;
    let [oh, ow] = geom.output();
    let [kh, kw] = geom.kernel;
    let [sh, sw] = geom.stride;
    let width = (ow - 1) * sw + kw;
    let pitch = width * cin;
    // A row of a window is contiguous in the scratch image: one segment of k per kernel row.
    let segs: Vec<KSegment> = (0..kh).map(|i| KSegment { off: i * pitch, len: kw * cin }).collect();
    let packed = PackedRhs::new(&Rhs { data: w, row: |k| k * cout, stride: 1, n: cout }, &segs);
    let split = TaskSplit::new(batch, oh, ow, cout);
    let shares = column_shares(split.tasks(), cout);
    let image_len = geom.input[0] * geom.input[1] * cin;
    let out = SendPtr(y.as_mut_ptr());
    // The rows of the product are the pixels themselves, each read by one window: a copy would gain
    // nothing.
    let in_place = geom.kernel == [1; 2] && geom.stride == [1; 2] && geom.pad == [[0; 2]; 2];
    let height = |lines: usize| if in_place { 0 } else { lines.saturating_sub(1) * sh + kh };
    let scratch_len = split.images.min(batch) * height(split.lines) * pitch;
    par_for_with_scratch(split.tasks() * shares.len(), [scratch_len], |task, [scratch]| {
        let (images, lines) = split.task(task / shares.len(), batch, oh);
        let height = height(lines.len());
        let top = (lines.start * sh) as isize - geom.pad[0][0] as isize;
        let mut lhs_offsets = Vec::with_capacity(images.len() * lines.len() * ow);
        let mut out_offsets = Vec::with_capacity(lhs_offsets.capacity());
        for (i, n) in images.enumerate() {
            if !in_place {
                copy_window(
                    &x[n * image_len..(n + 1) * image_len],
                    geom.input,
                    cin,
                    [top, -(geom.pad[1][0] as isize)],
                    [height, width],
                    &mut scratch[i * height * pitch..(i + 1) * height * pitch],
                );
            }
            for (line, oy) in lines.clone().enumerate() {
                for ox in 0..ow {
                    lhs_offsets.push(match in_place {
                        true => ((n * oh + oy) * ow + ox) * cin,
                        false => (i * height + line * sh) * pitch + ox * sw * cin,
                    });
                    out_offsets.push(((n * oh + oy) * ow + ox) * cout);
                }
            }
        }
        let rows = RowTask {
            lhs: if in_place { x.as_ptr() } else { scratch.as_ptr() },
            lhs_offsets: &lhs_offsets,
            out: out.get(),
            out_offsets: &out_offsets,
        };
        let columns = shares[task % shares.len()].clone();
        // SAFETY: every window is inside the scratch image, or is a pixel of `x`, which has the
        // size of `params`; tasks write different output rows or columns.
        unsafe { rows_times_packed(&rows, &packed, columns.clone()) }
        let Some(after) = after else { return };
        for &at in &out_offsets {
            // SAFETY: this task has written these columns of the row, and no other does.
            let row = unsafe {
                std::slice::from_raw_parts_mut(out.get().add(at + columns.start), columns.len())
            };
            after.apply(row, columns.start);
        }
    });
}

/// The kernel taps along one axis that reach the input pixels `≡ phase (mod stride)`: output
/// pixel `i + shift + t` holds tap `last − t·stride`, for `t < count`, where the input pixel is
/// `i·stride + phase`.
#[derive(Clone, Copy)]
struct StridePhase {
    offset: usize,
    shift: isize,
    last: usize,
    count: usize,
}

/// The stride phases of an axis of `side` pixels.
fn phases(side: usize, kernel: usize, stride: usize, pad: usize) -> Vec<StridePhase> {
    (0..stride.min(side))
        .map(|offset| {
            let first = (offset + pad) % stride;
            if first >= kernel {
                return StridePhase { offset, shift: 0, last: 0, count: 0 };
            }
            let count = (kernel - first).div_ceil(stride);
            let last = first + (count - 1) * stride;
            StridePhase {
                offset,
                shift: ((offset + pad) as isize - last as isize) / stride as isize,
                last,
                count,
            }
        })
        .collect()
}

/// The window of output pixels that all phases together read: its first offset and length.
fn span(all: &[StridePhase]) -> (isize, usize) {
    let used = || all.iter().filter(|p| p.count > 0);
    let low = used().map(|p| p.shift).min().unwrap_or(0);
    let high = used().map(|p| p.shift + p.count as isize).max().unwrap_or(1);
    (low, (high - low) as usize)
}

/// `dx[n, y, x, ci] = Σ dy[n, oy, ox, co] · w[kh, kw, ci, co]` over oy·s + kh − p = y and
/// likewise for x: the transposed convolution. Each of the s·s stride phases of (y, x) is a
/// stride-1 convolution with its own taps (sub-pixel decomposition), so no multiplication by an
/// inserted zero occurs.
pub(crate) fn conv2d_input_grad(dy: &[f32], w: &[f32], dx: &mut [f32], params: ConvParams) {
    winograd_or_continue!(ConvOp::InputGrad, params, input_grad(dy, w, dx, params));
    InputGradWeight::new(w, &params).input_grad(dy, dx, params);
}

/// Whether [`conv2d_input_grad`] uses the direct algorithm here.
pub(crate) fn is_direct(params: &ConvParams) -> bool {
    algorithm(ConvOp::InputGrad, params) == ConvAlgorithm::Direct
}

/// The weight, packed for the direct input gradient of one geometry.
pub(crate) enum InputGradWeight {
    /// The weight for images of few channels.
    FewChannels(PackedRhs),
    /// The weight for other images, by stride phases.
    StridePhases(StridePhases),
}

/// The stride phases of the pixels, and the packed weights of the phases that a window covers.
pub(crate) struct StridePhases {
    pairs: Vec<(StridePhase, StridePhase)>,
    packed: Vec<Option<PackedRhs>>,
    /// The first line and column of dy that the phases read, and by how many lines and columns that
    /// window exceeds a phase.
    corner: [isize; 2],
    reach: [usize; 2],
}

impl InputGradWeight {
    pub(crate) fn new(w: &[f32], params: &ConvParams) -> Self {
        if params.cin <= few_channel_conv::FEW_CHANNELS {
            Self::FewChannels(few_channel_conv::pack(w, params))
        } else {
            Self::StridePhases(StridePhases::new(w, params))
        }
    }

    /// [`conv2d_input_grad`] by the definition.
    pub(crate) fn input_grad(&self, dy: &[f32], dx: &mut [f32], params: ConvParams) {
        match self {
            Self::FewChannels(packed) => few_channel_conv::input_grad(dy, packed, dx, params),
            Self::StridePhases(phases) => phases.input_grad(dy, dx, params),
        }
    }
}

/// The lines and columns of the largest phase.
fn phase_sides(geom: &ConvGeom) -> [usize; 2] {
    [0, 1].map(|axis| geom.input[axis].div_ceil(geom.stride[axis]))
}

impl StridePhases {
    fn new(w: &[f32], params: &ConvParams) -> Self {
        let ConvParams { geom, cin, cout, .. } = *params;
        let [sh, sw] = geom.stride;
        let kw = geom.kernel[1];
        let rows_of = phases(geom.input[0], geom.kernel[0], sh, geom.pad[0][0]);
        let columns_of = phases(geom.input[1], kw, sw, geom.pad[1][0]);
        let ((top, tall), (left, broad)) = (span(&rows_of), span(&columns_of));
        let pitch = (phase_sides(&geom)[1] - 1 + broad) * cout;
        let pairs: Vec<(StridePhase, StridePhase)> =
            rows_of.iter().flat_map(|a| columns_of.iter().map(move |b| (*a, *b))).collect();
        let pack = |&(a, b): &(StridePhase, StridePhase)| {
            // No tap reaches these pixels, as the stride exceeds the kernel: their gradient is 0.
            if a.count * b.count == 0 {
                return None;
            }
            let segs: Vec<KSegment> = (0..a.count)
                .map(|t| KSegment {
                    off: ((a.shift - top) as usize + t) * pitch + (b.shift - left) as usize * cout,
                    len: b.count * cout,
                })
                .collect();
            let row = |k: usize| {
                let (t, rest) = (k / (b.count * cout), k % (b.count * cout));
                let (u, co) = (rest / cout, rest % cout);
                (((a.last - t * sh) * kw + b.last - u * sw) * cin) * cout + co
            };
            Some(PackedRhs::new(&Rhs { data: w, row, stride: cout, n: cin }, &segs))
        };
        let packed = pairs.iter().map(pack).collect();
        Self { pairs, packed, corner: [top, left], reach: [tall, broad] }
    }

    fn input_grad(&self, dy: &[f32], dx: &mut [f32], params: ConvParams) {
        let ConvParams { geom, batch, cin, cout } = params;
        let ([h, wid], [oh, ow], [sh, sw]) = (geom.input, geom.output(), geom.stride);
        let Self { pairs, packed, corner: [top, left], reach: [tall, broad] } = self;
        let [lines, columns] = phase_sides(&geom);
        let width = columns - 1 + broad;
        let pitch = width * cout;
        let split = TaskSplit::new(batch, lines, columns, cin);
        let shares = column_shares(split.tasks(), cin);
        let image_len = oh * ow * cout;
        let out = SendPtr(dx.as_mut_ptr());
        let scratch_len = split.images.min(batch) * (split.lines.saturating_sub(1) + tall) * pitch;
        par_for_with_scratch(split.tasks() * shares.len(), [scratch_len], |task, [scratch]| {
            let (images, band) = split.task(task / shares.len(), batch, lines);
            let share = shares[task % shares.len()].clone();
            let height = band.len() - 1 + tall;
            for (i, n) in images.clone().enumerate() {
                let window = &mut scratch[i * height * pitch..(i + 1) * height * pitch];
                let image = &dy[n * image_len..(n + 1) * image_len];
                copy_window(
                    image,
                    [oh, ow],
                    cout,
                    [band.start as isize + top, *left],
                    [height, width],
                    window,
                );
            }
            // All phases read the same scratch window; each writes its own pixels.
            for (&(a, b), packed) in pairs.iter().zip(packed) {
                let mut lhs_offsets = Vec::with_capacity(images.len() * band.len() * columns);
                let mut out_offsets = Vec::with_capacity(lhs_offsets.capacity());
                for (i, n) in images.clone().enumerate() {
                    for (line, y) in band
                        .clone()
                        .enumerate()
                        .map(|(l, i)| (l, i * sh + a.offset))
                        .filter(|&(_, y)| y < h)
                    {
                        for (j, x) in
                            (0..columns).map(|j| (j, j * sw + b.offset)).filter(|&(_, x)| x < wid)
                        {
                            lhs_offsets.push((i * height + line) * pitch + j * cout);
                            out_offsets.push(((n * h + y) * wid + x) * cin);
                        }
                    }
                }
                match packed {
                    Some(packed) => {
                        let rows = RowTask {
                            lhs: scratch.as_ptr(),
                            lhs_offsets: &lhs_offsets,
                            out: out.get(),
                            out_offsets: &out_offsets,
                        };
                        // SAFETY: every window is inside the scratch image; tasks write different
                        // pixels or channels.
                        unsafe { rows_times_packed(&rows, packed, share.clone()) }
                    }
                    None => {
                        for &at in &out_offsets {
                            // SAFETY: only this task writes these channels of this pixel.
                            unsafe {
                                std::slice::from_raw_parts_mut(
                                    out.get().add(at + share.start),
                                    share.len(),
                                )
                            }
                            .fill(0.0);
                        }
                    }
                }
            }
        });
    }
}

/// `dw[kh, kw, ci, co] = Σ x[n, oy·s + kh − p, ox·s + kw − p, ci] · dy[n, oy, ox, co]`: a
/// sum over pixels of outer products of contiguous rows. Large results are split into tasks by
/// their rows; small ones also by images, and the partial sums are added in order. All splits are
/// functions of the shape.
pub(crate) fn conv2d_weight_grad(x: &[f32], dy: &[f32], dw: &mut [f32], params: ConvParams) {
    winograd_or_continue!(ConvOp::WeightGrad, params, weight_grad(x, dy, dw, params));
    let ConvParams { geom, batch, cin, cout } = params;
    let [oh, ow] = geom.output();
    let [kh, kw] = geom.kernel;
    let [sh, sw] = geom.stride;
    let pixels = oh * ow;
    let (height, width) = ((oh - 1) * sh + kh, (ow - 1) * sw + kw);
    let pitch = width * cin;
    let total = kh * kw * cin;
    // So many images that their pixels fill at least one block of k are summed together.
    let group = 128usize.div_ceil(pixels).min(batch).max(1);
    let groups = batch.div_ceil(group);
    let tile = (GRAD_TILE / cout).max(64).min(total);
    let row_tasks = total.div_ceil(tile);
    // Enough tasks for the threads even where dw is small.
    let wanted = 16usize.div_ceil(row_tasks).min(groups);
    let splits = wanted.min(MAX_PARTIALS / (total * cout)).max(1);
    let mut partials = (splits > 1).then(|| Buffer::uninit(splits * total * cout));
    let target = SendPtr(partials.as_mut().map_or(dw.as_mut_ptr(), |p| p.as_mut_ptr()));
    let out_offsets: Vec<usize> = (0..total).map(|m| m * cout).collect();
    let columns = packed_columns(cout);
    let blocks = k_blocks(&[KSegment { off: 0, len: group * pixels }]);
    let longest = blocks.iter().map(|b| b.len).max().unwrap_or(0);
    let scratch_lens = [group * height * pitch, longest * columns];
    par_for_with_scratch(splits * row_tasks, scratch_lens, |task, [scratch, panel]| {
        let (s, r) = (task / row_tasks, task % row_tasks);
        let rows = r * tile..total.min((r + 1) * tile);
        // SAFETY: inside the partial results; tasks of one split write different rows.
        let out = unsafe { target.get().add(s * total * cout) };
        let my_groups = groups * s / splits..groups * (s + 1) / splits;
        let mut add = false;
        for g in my_groups {
            let images = g * group..batch.min((g + 1) * group);
            let image_len = geom.input[0] * geom.input[1] * cin;
            let mut offsets = Vec::with_capacity(images.len() * pixels);
            for (i, n) in images.clone().enumerate() {
                let window = &mut scratch[i * height * pitch..(i + 1) * height * pitch];
                let corner = [-(geom.pad[0][0] as isize), -(geom.pad[1][0] as isize)];
                copy_window(
                    &x[n * image_len..(n + 1) * image_len],
                    geom.input,
                    cin,
                    corner,
                    [height, width],
                    window,
                );
                for oy in 0..oh {
                    offsets
                        .extend((0..ow).map(|ox| (i * height + oy * sh) * pitch + ox * sw * cin));
                }
            }
            let first = images.start * pixels;
            for b in &blocks {
                let ks = b.start..offsets.len().min(b.start + b.len);
                if ks.is_empty() {
                    continue;
                }
                Rhs { data: dy, row: |k| (first + k) * cout, stride: 1, n: cout }
                    .pack_block(ks.clone(), panel);
                // Rows of dw within one kernel row have pixels at the same offsets, so they form
                // one block.
                let mut m = rows.start;
                while m < rows.end {
                    let (line, at) = (m / (kw * cin), m % (kw * cin));
                    let count = (kw * cin - at).min(rows.end - m);
                    // SAFETY: line `line` of every window has kw·cin elements from its pixel on;
                    // only this task writes its rows.
                    unsafe {
                        let lhs = Columns {
                            base: scratch.as_ptr().add(line * pitch + at),
                            offsets: &offsets[ks.clone()],
                        };
                        let out = Out { base: out, offsets: &out_offsets[m..m + count], add };
                        run_block(lhs, count, ks.len(), panel.as_ptr(), out, 0..cout);
                    }
                    m += count;
                }
                add = true;
            }
        }
    });
    if let Some(partials) = &partials {
        sum_partials(partials, dw);
    }
}
