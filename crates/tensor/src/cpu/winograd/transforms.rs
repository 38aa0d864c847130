//! The linear maps of a Winograd convolution, applied on both sides of small square tiles, a
//! register of channels at a time.

use crate::cpu::simd::{Simd, simd_dispatch};

/// The matrices of F(M×M, R×R): M×M outputs from T×T inputs (T = M + R − 1) with T² products
/// instead of R²·M².
pub(crate) trait Matrices<const M: usize, const T: usize, const R: usize> {
    /// The transformed input: V = Bᵀ X B.
    const BT: [[f32; T]; T];
    /// The transformed kernel: U = G g Gᵀ.
    const G: [[f32; R]; T];
    /// From an output's gradient: E = A dy Aᵀ; transposed, from the products to the output.
    const A: [[f32; M]; T];
}

/// F(M×M, R×R) with T = M + R − 1.
pub(crate) struct Form<const M: usize, const T: usize, const R: usize>;

impl Matrices<2, 3, 2> for Form<2, 3, 2> {
    const BT: [[f32; 3]; 3] = [[1.0, -1.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 1.0]];
    const G: [[f32; 2]; 3] = [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    const A: [[f32; 2]; 3] = [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
}

/// Interpolation points 0, −½, 1, −2, ∞: of those tried, with the smallest errors, on average and
/// at worst, with operands of both signs and of one (the generator's activations after a ReLU,
/// which take this path in a transposed convolution). With −1 instead of −½ errors are 1.6 times as
/// large, with 2 instead of −2 twice as large.
impl Matrices<4, 5, 2> for Form<4, 5, 2> {
    const BT: [[f32; 5]; 5] = [
        [-1.0, -1.5, 1.5, 1.0, 0.0],
        [0.0, -2.0, 1.0, 1.0, 0.0],
        [0.0, 1.0, 2.5, 1.0, 0.0],
        [0.0, -0.5, -0.5, 1.0, 0.0],
        [0.0, -1.0, -1.5, 1.5, 1.0],
    ];
    const G: [[f32; 2]; 5] = [
        [-1.0, 0.0],
        [8.0 / 9.0, -4.0 / 9.0],
        [2.0 / 9.0, 2.0 / 9.0],
        [-1.0 / 9.0, 2.0 / 9.0],
        [0.0, 1.0],
    ];
    const A: [[f32; 4]; 5] = [
        [1.0, 0.0, 0.0, 0.0],
        [1.0, -0.5, 0.25, -0.125],
        [1.0, 1.0, 1.0, 1.0],
        [1.0, -2.0, 4.0, -8.0],
        [0.0, 0.0, 0.0, 1.0],
    ];
}

/// Interpolation points 0, 1, −1, ∞.
impl Matrices<2, 4, 3> for Form<2, 4, 3> {
    const BT: [[f32; 4]; 4] =
        [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]];
    const G: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    const A: [[f32; 2]; 4] = [[1.0, 0.0], [1.0, 1.0], [1.0, -1.0], [0.0, 1.0]];
}

/// Interpolation points 0, ±⅝, ±3/2, ∞: of those tried, with the smallest errors, on average and
/// at worst, with operands of both signs and of one; 0.7 times those of 0, ±1, ½, −2, ∞.
impl Matrices<4, 6, 3> for Form<4, 6, 3> {
    const BT: [[f32; 6]; 6] = [
        [A2 * B2, 0.0, -A2 - B2, 0.0, 1.0, 0.0],
        [0.0, -0.625 * B2, -B2, 0.625, 1.0, 0.0],
        [0.0, 0.625 * B2, -B2, -0.625, 1.0, 0.0],
        [0.0, -1.5 * A2, -A2, 1.5, 1.0, 0.0],
        [0.0, 1.5 * A2, -A2, -1.5, 1.0, 0.0],
        [0.0, A2 * B2, 0.0, -A2 - B2, 0.0, 1.0],
    ];
    const G: [[f32; 3]; 6] = [
        [1.0 / (A2 * B2), 0.0, 0.0],
        [0.5 / (A2 * (A2 - B2)), 0.3125 / (A2 * (A2 - B2)), 0.5 / (A2 - B2)],
        [0.5 / (A2 * (A2 - B2)), -0.3125 / (A2 * (A2 - B2)), 0.5 / (A2 - B2)],
        [0.5 / (B2 * (B2 - A2)), 0.75 / (B2 * (B2 - A2)), 0.5 / (B2 - A2)],
        [0.5 / (B2 * (B2 - A2)), -0.75 / (B2 * (B2 - A2)), 0.5 / (B2 - A2)],
        [0.0, 0.0, 1.0],
    ];
    const A: [[f32; 4]; 6] = [
        [1.0, 0.0, 0.0, 0.0],
        [1.0, 0.625, A2, 0.625 * A2],
        [1.0, -0.625, A2, -0.625 * A2],
        [1.0, 1.5, B2, 1.5 * B2],
        [1.0, -1.5, B2, -1.5 * B2],
        [0.0, 0.0, 0.0, 1.0],
    ];
}

/// The squares of the points ±⅝ and ±3/2. All products of these in the matrices but those of G are
/// exact.
const A2: f32 = 0.625 * 0.625;
const B2: f32 = 1.5 * 1.5;

const fn transpose<const I: usize, const O: usize>(m: [[f32; I]; O]) -> [[f32; O]; I] {
    let mut t = [[0.0; O]; I];
    let mut i = 0;
    while i < I * O {
        t[i % I][i / I] = m[i / I][i % I];
        i += 1;
    }
    t
}

/// A map of I×I tiles to O×O tiles, X ↦ M X Mᵀ. M is a constant of a type, so its zeros and
/// ones cost no multiplications.
pub(crate) trait Map<const I: usize, const O: usize> {
    const M: [[f32; I]; O];
}

macro_rules! maps {
    ($($(#[$meta:meta])* $name:ident: $i:ident to $o:ident = $matrix:expr;)+) => {$(
        $(#[$meta])*
        pub(crate) struct $name<const M: usize, const T: usize, const R: usize>;
        impl<const M: usize, const T: usize, const R: usize> Map<$i, $o> for $name<M, T, R>
        where
            Form<M, T, R>: Matrices<M, T, R>,
        {
            const M: [[f32; $i]; $o] = $matrix;
        }
    )+};
}

maps! {
    /// X ↦ Bᵀ X B.
    InputMap: T to T = Form::<M, T, R>::BT;
    /// The transpose, for the input gradient.
    InputBack: T to T = transpose(Form::<M, T, R>::BT);
    /// dy ↦ A dy Aᵀ.
    OutputGrad: M to T = Form::<M, T, R>::A;
    /// The transpose, for the output.
    OutputMap: T to M = transpose(Form::<M, T, R>::A);
}

/// g ↦ G g Gᵀ.
pub(crate) struct KernelMap<const M: usize, const T: usize, const R: usize>;
impl<const M: usize, const T: usize, const R: usize> Map<R, T> for KernelMap<M, T, R>
where
    Form<M, T, R>: Matrices<M, T, R>,
{
    const M: [[f32; R]; T] = Form::<M, T, R>::G;
}

/// The transpose of [`KernelMap`], for the weight gradient.
pub(crate) struct KernelBack<const M: usize, const T: usize, const R: usize>;
impl<const M: usize, const T: usize, const R: usize> Map<T, R> for KernelBack<M, T, R>
where
    Form<M, T, R>: Matrices<M, T, R>,
{
    const M: [[f32; T]; R] = transpose(Form::<M, T, R>::G);
}

/// An unrolled loop over `0..n`, n ≤ 6: the compiler does not unroll loops over so many
/// registers, and would keep the registers in memory.
macro_rules! unroll {
    ($i:ident < $n:expr, $body:expr) => {
        unroll!(@ $i < $n, $body; 0 1 2 3 4 5)
    };
    (@ $i:ident < $n:expr, $body:expr; $($at:literal)+) => {$(
        if $at < $n {
            let $i = $at;
            $body
        }
    )+};
}

/// `M · x` for one column of registers.
/// # Safety
/// The instruction set must be present.
#[inline(always)]
unsafe fn apply<S: Simd, F: Map<I, O>, const I: usize, const O: usize>(x: [S::V; I]) -> [S::V; O] {
    // SAFETY: the caller's promise; the constants are readable.
    unsafe {
        let mut out = [S::zero(); O];
        unroll!(o < O, {
            let row = const { &F::M }[o];
            let mut sum = S::zero();
            let mut empty = true;
            unroll!(i < I, {
                let factor = row[i];
                // `row` is a constant, so the compiler removes the branches and the terms with
                // zeros.
                if factor != 0.0 {
                    sum = match (empty, factor == 1.0) {
                        (true, true) => x[i],
                        (false, true) => S::add(x[i], sum),
                        _ => S::fma(x[i], S::splat(&factor), sum),
                    };
                    empty = false;
                }
            });
            let _ = empty;
            out[o] = sum;
        });
        out
    }
}

/// M X Mᵀ for one register of channels.
/// # Safety
/// The instruction set must be present, and the functions must accept all indices of their tiles.
#[inline(always)]
unsafe fn both_sides<S: Simd, F: Map<I, O>, const I: usize, const O: usize>(
    load: impl Fn(usize, usize) -> S::V,
    mut store: impl FnMut(usize, usize, S::V),
) {
    // SAFETY: the caller's promise.
    unsafe {
        // First M X, column by column, then (M X) Mᵀ, row by row.
        let mut half = [[S::zero(); I]; O];
        unroll!(j < I, {
            let mut column = [S::zero(); I];
            unroll!(i < I, column[i] = load(i, j));
            let mapped = apply::<S, F, I, O>(column);
            unroll!(o < O, half[o][j] = mapped[o]);
        });
        unroll!(o < O, {
            let mapped = apply::<S, F, I, O>(half[o]);
            unroll!(q < O, store(o, q, mapped[q]));
        });
    }
}

#[inline(always)]
unsafe fn gather_body<S: Simd, F: Map<I, O>, const I: usize, const O: usize>(
    from: &[[*const f32; I]; I],
    to: *mut f32,
    stride: usize,
    len: usize,
) {
    let mut c = 0;
    while c < len {
        // SAFETY: the caller's promise.
        unsafe {
            both_sides::<S, F, I, O>(
                |i, j| S::load(from[i][j].add(c)),
                |o, q, v| S::store(to.add((o * O + q) * stride + c), v),
            );
        }
        c += S::LANES;
    }
}

#[inline(always)]
unsafe fn scatter_body<S: Simd, F: Map<I, O>, const I: usize, const O: usize>(
    from: *const f32,
    stride: usize,
    overlap: [usize; 2],
    to: &[[*mut f32; O]; O],
    len: usize,
) {
    let mut c = 0;
    while c < len {
        // SAFETY: the caller's promise.
        unsafe {
            both_sides::<S, F, I, O>(
                |i, j| S::load(from.add((i * I + j) * stride + c)),
                |o, q, v| {
                    let at = to[o][q].add(c);
                    S::store(
                        at,
                        if o < overlap[0] || q < overlap[1] { S::add(S::load(at), v) } else { v },
                    );
                },
            );
        }
        c += S::LANES;
    }
}

#[inline(always)]
unsafe fn write_body<S: Simd, F: Map<I, O>, const I: usize, const O: usize>(
    from: *const f32,
    stride: usize,
    to: &[[*mut f32; O]; O],
    len: usize,
) {
    let mut c = 0;
    while c < len {
        // SAFETY: the caller's promise.
        unsafe {
            both_sides::<S, F, I, O>(
                |i, j| S::load(from.add((i * I + j) * stride + c)),
                |o, q, v| S::store(to[o][q].add(c), v),
            );
        }
        c += S::LANES;
    }
}

simd_dispatch! {
    /// Maps the tile whose pixel (i, j) is `len` channels at `from[i][j]`; point p of the result
    /// goes to `to + p · stride`.
    /// # Safety
    /// All of that must be readable and writable; `len` is a multiple of 16.
    pub(crate) unsafe fn gather[F: Map<I, O>, const I: usize, const O: usize](
        from: &[[*const f32; I]; I],
        to: *mut f32,
        stride: usize,
        len: usize,
    ) = gather_body[F, I, O]
}

simd_dispatch! {
    /// Maps the tile whose point p is `len` channels at `from + p · stride`, and writes pixel (i,
    /// j) to `to[i][j]`.
    /// # Safety
    /// As for [`gather`].
    pub(crate) unsafe fn write[F: Map<I, O>, const I: usize, const O: usize](
        from: *const f32,
        stride: usize,
        to: &[[*mut f32; O]; O],
        len: usize,
    ) = write_body[F, I, O]
}

simd_dispatch! {
    /// [`write()`], but adds to the first `overlap[0]` rows of pixels and to the first `overlap[1]`
    /// columns.
    /// # Safety
    /// As for [`gather`].
    pub(crate) unsafe fn scatter[F: Map<I, O>, const I: usize, const O: usize](
        from: *const f32,
        stride: usize,
        overlap: [usize; 2],
        to: &[[*mut f32; O]; O],
        len: usize,
    ) = scatter_body[F, I, O]
}
