//! Poisson blending (Pérez et al. 2003): pastes a region of one image into another without a
//! visible seam.

/// `generated` where `missing`, `known` elsewhere, both `[H, W, C]` in [−1, 1]. The pasted region
/// keeps its own gradients: it is shifted by the solution of Laplace's equation whose values on the
/// border are the differences there.
///
/// # Panics
/// Panics if lengths and shape differ.
#[track_caller]
pub fn poisson(
    known: &[f32],
    generated: &[f32],
    missing: &[bool],
    [h, w, c]: [usize; 3],
) -> Vec<f32> {
    assert!(
        known.len() == h * w * c && generated.len() == known.len() && missing.len() == h * w,
        "poisson: lengths and shape differ"
    );
    let hole: Vec<usize> = (0..h * w).filter(|&p| missing[p]).collect();
    let neighbors = |p: usize| {
        let (y, x) = (p / w, p % w);
        [
            (y > 0).then(|| p - w),
            (y + 1 < h).then(|| p + w),
            (x > 0).then(|| p - 1),
            (x + 1 < w).then(|| p + 1),
        ]
        .into_iter()
        .flatten()
    };
    // Successive over-relaxation with the optimal factor for a square of this side (Young 1954).
    let relaxation = 2.0 / (1.0 + (std::f64::consts::PI / (h.max(w) + 1) as f64).sin());
    let mut out = known.to_vec();
    for channel in 0..c {
        let at = |p: usize| p * c + channel;
        let mut shift: Vec<f64> = (0..h * w)
            .map(|p| {
                if missing[p] { 0.0 } else { f64::from(known[at(p)]) - f64::from(generated[at(p)]) }
            })
            .collect();
        for _ in 0..20 * (h + w) {
            let mut most = 0.0f64;
            for &p in &hole {
                let (sum, count) =
                    neighbors(p).fold((0.0, 0.0), |(sum, count), q| (sum + shift[q], count + 1.0));
                let change = relaxation * (sum / f64::max(count, 1.0) - shift[p]);
                shift[p] += change;
                most = most.max(change.abs());
            }
            if most < 1e-6 {
                break;
            }
        }
        hole.iter().for_each(|&p| {
            out[at(p)] = (f64::from(generated[at(p)]) + shift[p]).clamp(-1.0, 1.0) as f32
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [9, 7, 2];

    fn hole() -> Vec<bool> {
        (0..63).map(|p| (2..7).contains(&(p / 7)) && (2..6).contains(&(p % 7))).collect()
    }

    #[test]
    fn difference_by_a_plane_is_removed_exactly() {
        // A plane solves Laplace's equation, so the seam disappears and the image is whole again.
        let known: Vec<f32> = (0..126).map(|i| ((i * 37 % 50) as f32 / 50.0 - 0.5) * 0.8).collect();
        let plane =
            |i: usize| 0.01 * (i / 14) as f32 - 0.02 * (i / 2 % 7) as f32 + 0.05 * (i % 2) as f32;
        let generated: Vec<f32> = known.iter().enumerate().map(|(i, v)| v + plane(i)).collect();
        let blended = poisson(&known, &generated, &hole(), SHAPE);
        let off = blended.iter().zip(&known).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4, "{off}");
        assert!(generated.iter().zip(&known).any(|(a, b)| (a - b).abs() > 0.1));
    }

    #[test]
    fn known_pixels_stay_unchanged() {
        let known = vec![0.9; 126];
        let generated: Vec<f32> = (0..126).map(|i| (i as f32 * 0.3).sin() * 0.5).collect();
        let blended = poisson(&known, &generated, &hole(), SHAPE);
        for (i, value) in blended.iter().enumerate() {
            assert!(if hole()[i / 2] { value.abs() <= 1.0 } else { *value == 0.9 }, "{i}");
        }
        assert_eq!(poisson(&known, &generated, &[true; 63], SHAPE), generated);
        assert_eq!(poisson(&known, &generated, &[false; 63], SHAPE), known);
    }
}
