//! Matrix products with sides around the edges of the tiles.

use super::{BOUND, config, error, random, usual, wide};
use proptest::prelude::*;

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn matmul_of_any_sides(
        [m, k, n] in {
            let side = || prop_oneof![
                2 => 0usize..=8, 2 => 15usize..=17, 2 => 63usize..=65, 2 => 127usize..=129,
                1 => 255usize..=257, 1 => 511usize..=520, 3 => 1usize..=40,
            ];
            [side(), side(), side()]
                .prop_filter("small", |s| s.iter().product::<usize>() <= 2_500_000)
        },
        batch in prop_oneof![4 => Just(None), 1 => (0usize..=3).prop_map(Some)],
        trans_a: bool, trans_b: bool, seed in any::<u32>(),
    ) {
        let shape = |r: usize, c: usize, trans: bool| -> Vec<usize> {
            batch.into_iter().chain(if trans { [c, r] } else { [r, c] }).collect()
        };
        let a = random(u64::from(seed), &shape(m, k, trans_a));
        let b = random(u64::from(seed) + 1, &shape(k, n, trans_b));
        let (av, bv) = (wide(&a), wide(&b));
        let mut expected = Vec::with_capacity(batch.unwrap_or(1) * m * n);
        for q in 0..batch.unwrap_or(1) {
            for i in 0..m {
                let mut row = vec![0f64; n];
                for p in 0..k {
                    let left = av[q * m * k + if trans_a { p * m + i } else { i * k + p }];
                    for (j, slot) in row.iter_mut().enumerate() {
                        *slot += left * bv[q * k * n + if trans_b { j * k + p } else { p * n + j }];
                    }
                }
                expected.extend(row);
            }
        }
        let ours = a.matmul(&b, trans_a, trans_b);
        prop_assert_eq!(&ours.shape()[..], &shape(m, n, false)[..]);
        prop_assert!(error(&ours, &expected, usual(k)) <= BOUND, "{}×{}×{}", m, k, n);
    }
}
