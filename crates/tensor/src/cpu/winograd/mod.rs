//! Convolutions with fewer multiplications: one of stride 2 is, over the 2×2 space-to-depth of the padded image, one of stride 1 with half the taps
//! across, R×R of them. For 4×4 kernels R is 2, and Winograd's F(2×2, 2×2) and F(4×4, 2×2) need 9 products for 16 and 25 for 64; for 5×5 kernels it
//! is 3 (the sixth tap 0), and F(2×2, 3×3) and F(4×4, 3×3) need 64 products where the definition has 100, and 144 for 400. For 3×3 kernels of stride 1
//! the latter forms need 16 for 36, and 36 for 144.
//!
//! With X a tile of the space-to-depth image, g the kernel and dy a tile of the output's gradient:
//! V = Bᵀ X B, U = G g Gᵀ, E = A dy Aᵀ, and y = Aᵀ[Σ V⊙U]A, dX = B[Σ E⊙U]Bᵀ, dg = Gᵀ[Σ V⊙E]G.
//! At each of the T² points the sum is a matrix product over channels (or, for dg, over tiles).
//!
//! A row or column of such a product over the input's side is a *place* (a, b, c): channel c of the pixels whose padded
//! coordinates are ≡ (a, b), the *phase*, modulo the stride. Nothing is rearranged in memory: tiles are read through one pointer per pixel, which
//! leads to a row of zeros where the pixel lies outside. Transformed weights are made block by block where they are
//! used; even those of a middle layer (52 MB) would cost more to write and read back than to make. So are the transformed images: a block of
//! channels of them meets all its columns before the next one is made, and only sums wait.

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
