//! Reconstruction errors of images: RMS error and PSNR.

/// The reconstruction error of one random start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StartResult {
    /// The index of its candidate condition; 0 without conditions.
    pub candidate: usize,
    /// Root mean square error, in gray levels of 255.
    pub error: f64,
}

/// Root mean square difference of images in [−1, 1], in gray levels of 255.
pub(super) fn rms(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (sum / a.len().max(1) as f64).sqrt() * 127.5
}

/// Peak signal-to-noise ratio (PSNR) of images in [−1, 1], in decibels; infinite for equal ones.
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    20.0 * (255.0 / rms(a, b)).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_is_that_of_eight_bits() {
        // An error of one gray level everywhere: 20 log₁₀ 255.
        let shifted = [0.1f32 + 2.0 / 255.0; 4];
        assert!((psnr(&[0.1; 4], &shifted) - 48.1308).abs() < 1e-3);
        assert_eq!(psnr(&[0.5], &[0.5]), f64::INFINITY);
    }
}
