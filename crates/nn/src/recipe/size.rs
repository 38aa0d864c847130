//! Valid image sizes of the networks.

/// The smallest base resolution.
const SMALLEST_BASE: usize = 4;
/// The largest value of a base resolution's smaller side. Beyond it, one matrix product would make
/// too much of the image.
const LARGEST_BASE: usize = 15;

/// How often both sides can be halved while the smaller one stays at least 4. `None` if they cannot
/// be halved, or if the smaller one stays above 15.
pub fn halvings(size: [usize; 2]) -> Option<usize> {
    let mut sides = size;
    let mut count = 0;
    while sides.iter().all(|side| side % 2 == 0 && side / 2 >= SMALLEST_BASE) {
        sides = sides.map(|side| side / 2);
        count += 1;
    }
    (count > 0 && sides[0].min(sides[1]) <= LARGEST_BASE).then_some(count)
}

/// The nearest valid sizes: one not larger in any side, if there is one, and one not smaller.
pub fn nearest_sizes(size: [usize; 2]) -> Vec<[usize; 2]> {
    let distance =
        |other: &[usize; 2]| other[0].abs_diff(size[0]).saturating_add(other[1].abs_diff(size[1]));
    let nearest = |round: &dyn Fn(usize, usize) -> Option<usize>| {
        let at =
            |halvings: u32| Some([round(size[0], 1 << halvings)?, round(size[1], 1 << halvings)?]);
        (1..usize::BITS - 3)
            .filter_map(at)
            .filter(|&other| halvings(other).is_some())
            .min_by_key(distance)
    };
    let below = nearest(&|side, step| Some(side / step * step));
    let above = nearest(&|side, step| side.div_ceil(step).max(SMALLEST_BASE).checked_mul(step));
    let mut sizes: Vec<[usize; 2]> = below.into_iter().chain(above).collect();
    sizes.dedup();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_resolution_is_at_least_four() {
        for (size, expected) in [
            ([28, 28], Some(2)),
            ([32, 32], Some(3)),
            ([64, 64], Some(4)),
            ([96, 96], Some(4)),
            ([48, 64], Some(3)),
            ([8, 8], Some(1)),
            ([10, 8], Some(1)),
            ([30, 30], Some(1)),
            ([62, 62], None),
            ([4, 4], None),
            ([6, 8], None),
            ([33, 32], None),
            ([0, 0], None),
            ([usize::MAX, 8], None),
        ] {
            assert_eq!(halvings(size), expected, "{size:?}");
        }
    }

    #[test]
    fn the_sizes_named_are_the_nearest_valid_ones() {
        for side in 0..300 {
            if halvings([side; 2]).is_some() {
                continue;
            }
            let valid = |s: &usize| halvings([*s; 2]).is_some();
            let expected: Vec<[usize; 2]> = (0..side)
                .rev()
                .find(valid)
                .into_iter()
                .chain((side..).find(valid))
                .map(|s| [s; 2])
                .collect();
            assert_eq!(nearest_sizes([side; 2]), expected, "{side}");
        }
        assert_eq!(nearest_sizes([33, 33]), [[32, 32], [36, 36]]);
        assert_eq!(nearest_sizes([33, 32]), [[32, 32], [36, 32]]);
        assert_eq!(nearest_sizes([2, 2]), [[8, 8]]);
        assert_eq!(nearest_sizes([62, 64]), [[60, 64], [64, 64]]);
        assert!(nearest_sizes([usize::MAX; 2]).len() <= 2);
    }
}
