//! Winograd convolutions, with fewer multiplications than the definition.
//!
//! A convolution of stride 2 equals, over the 2×2 space-to-depth of the padded image, a
//! convolution of stride 1 with half the taps across, R×R of them. For 4×4 kernels R is 2:
//! F(2×2, 2×2) and F(4×4, 2×2) need 9 multiplications for 16 and 25 for 64. For 5×5 kernels R
//! is 3 (the sixth tap is 0): F(2×2, 3×3) and F(4×4, 3×3) need 64 multiplications where the
//! definition has 100, and 144 for 400. For 3×3 kernels of stride 1 the latter forms need 16 for
//! 36, and 36 for 144.
//!
//! With X a tile of the space-to-depth image, g the kernel and dy a tile of the output gradient: V
//! = Bᵀ X B, U = G g Gᵀ, E = A dy Aᵀ, and y = Aᵀ[Σ V⊙U]A, dX = B[Σ E⊙U]Bᵀ, dg =
//! Gᵀ[Σ V⊙E]G. At each of the T² points the sum is a matrix product over channels (or, for
//! dg, over tiles).
//!
//! A row or column of such a product over the input side is a *phase channel* (a, b, c): channel c
//! of the pixels whose padded coordinates are ≡ (a, b), the *phase*, modulo the stride. Nothing
//! is rearranged in memory: tiles are read through one pointer per pixel, which points to a row of
//! zeros if the pixel is outside the image. Transformed weights are computed block by block where
//! they are used: even those of a middle layer (52 MB) would cost more to write and read back than
//! to compute. So are the transformed images: a block of their channels is multiplied with all its
//! columns before the next one is computed, and only the sums are kept.

mod forward;
mod input_grad;
#[cfg(test)]
mod tests;
mod tiling;
mod transforms;
mod weight_grad;

pub(super) use forward::forward;
pub(super) use input_grad::input_grad;
pub(super) use tiling::{LANES, taps};
pub(super) use weight_grad::weight_grad;
