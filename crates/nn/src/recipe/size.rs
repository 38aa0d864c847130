//! Which image sizes the networks can make.

/// The smallest seed.
const SEED: usize = 4;
/// The smallest side: a seed doubled once.
const SMALLEST: usize = 2 * SEED;

/// How often both sides can be halved while the smaller stays at least 4; `None` where that is never.
pub fn halvings(size: [usize; 2]) -> Option<usize> {
    let mut sides = size;
    let mut count = 0;
    while sides.iter().all(|side| side % 2 == 0 && side / 2 >= SEED) {
        sides = sides.map(|side| side / 2);
        count += 1;
    }
    (count > 0).then_some(count)
}

/// The nearest sizes that can be made: one not larger in any side, where there is one, and one not smaller.
pub fn nearest_sizes(size: [usize; 2]) -> Vec<[usize; 2]> {
    let below = size.map(|side| side / 2 * 2);
    let above = size.map(|side| side.div_ceil(2).saturating_mul(2).max(SMALLEST));
    let mut sizes = Vec::new();
    if below.iter().all(|&side| side >= SMALLEST) {
        sizes.push(below);
    }
    if above != below {
        sizes.push(above);
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_stays_at_least_four() {
        for (size, expected) in [
            ([28, 28], Some(2)),
            ([32, 32], Some(3)),
            ([64, 64], Some(4)),
            ([96, 96], Some(4)),
            ([48, 64], Some(3)),
            ([8, 8], Some(1)),
            ([10, 8], Some(1)),
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
    fn every_neighbour_named_is_valid_and_none_is_nearer() {
        for h in 0..40 {
            for w in 0..40 {
                if halvings([h, w]).is_some() {
                    continue;
                }
                let sizes = nearest_sizes([h, w]);
                assert!(!sizes.is_empty());
                for [a, b] in sizes {
                    assert!(halvings([a, b]).is_some(), "{h}x{w} → {a}x{b}");
                    assert!(a.abs_diff(h) <= 1 || h < SMALLEST, "{h}x{w} → {a}x{b}");
                    assert!(b.abs_diff(w) <= 1 || w < SMALLEST, "{h}x{w} → {a}x{b}");
                }
            }
        }
        assert_eq!(nearest_sizes([33, 32]), [[32, 32], [34, 32]]);
        assert_eq!(nearest_sizes([2, 2]), [[8, 8]]);
    }
}
