//! Hash codes of images, and groups of near ones (multi-index hashing).

use std::collections::HashMap;

/// A hash code of 128 bits.
pub type Code = u128;

/// The connected groups, of two or more codes each, of the graph in which codes with a Hamming
/// distance of at most `radius` are adjacent; groups and the indices in them are ascending.
///
/// A hash table finds equal codes in linear time. Within a radius r, two codes agree in at least
/// one of r + 1 parts (multi-index hashing; Norouzi et al. 2012), so only codes that share a part
/// are compared, each distinct code once.
///
/// # Panics
/// Panics if the radius is 128 or more.
#[track_caller]
pub fn hash_groups(codes: &[Code], radius: u32) -> Vec<Vec<usize>> {
    assert!(
        radius < Code::BITS,
        "hash_groups: a radius of {radius} in codes of {} bits",
        Code::BITS
    );
    let mut firsts: HashMap<Code, usize> = HashMap::new();
    let mut sets = UnionFind((0..codes.len()).collect());
    let mut distinct: Vec<usize> = Vec::new();
    for (i, &code) in codes.iter().enumerate() {
        let first = *firsts.entry(code).or_insert_with(|| {
            distinct.push(i);
            i
        });
        sets.join(first, i);
    }
    if radius > 0 {
        join_near(codes, &distinct, radius, &mut sets);
    }
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    (0..codes.len()).for_each(|i| members.entry(sets.root(i)).or_default().push(i));
    let mut groups: Vec<Vec<usize>> =
        members.into_values().filter(|group| group.len() > 1).collect();
    groups.sort();
    groups
}

fn join_near(codes: &[Code], distinct: &[usize], radius: u32, sets: &mut UnionFind) {
    let parts = radius + 1;
    for part in 0..parts {
        let (start, end) = (Code::BITS * part / parts, Code::BITS * (part + 1) / parts);
        let mask = if end - start == Code::BITS { Code::MAX } else { (1 << (end - start)) - 1 };
        let mut tables: HashMap<Code, Vec<usize>> = HashMap::new();
        for &i in distinct {
            let bucket = tables.entry(codes[i] >> start & mask).or_default();
            for &other in bucket.iter() {
                if (codes[i] ^ codes[other]).count_ones() <= radius {
                    sets.join(other, i);
                }
            }
            bucket.push(i);
        }
    }
}

/// Disjoint sets of indices. Each index points towards the smallest of its set.
struct UnionFind(Vec<usize>);

impl UnionFind {
    /// The smallest index of the set of `i`.
    fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            // Path halving keeps the trees flat.
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::rng::Philox;

    #[test]
    fn groups_equal_those_of_comparing_all_pairs() {
        let mut rng = Philox::new(4, 0);
        let mut word = || (0..4).fold(0, |code, _| code << 32 | Code::from(rng.next_u32()));
        let mut codes: Vec<Code> = (0..60).map(|_| word()).collect();
        for i in 0..60 {
            // Near codes, 0 to 5 bits away, all over the code.
            let near = (0..i % 6).fold(codes[i], |code, bit| code ^ 1 << ((bit * 23 + i) % 128));
            codes.push(near);
        }
        for radius in [0, 1, 3, 5] {
            let mut sets = UnionFind((0..codes.len()).collect());
            for i in 0..codes.len() {
                (0..i)
                    .filter(|&j| (codes[i] ^ codes[j]).count_ones() <= radius)
                    .for_each(|j| sets.join(j, i));
            }
            let found = hash_groups(&codes, radius);
            let joined: usize = found.iter().map(|group| group.len() - 1).sum();
            assert_eq!(
                joined,
                (0..codes.len()).filter(|&i| sets.root(i) != i).count(),
                "radius {radius}"
            );
            for group in &found {
                assert!(group.iter().all(|&i| sets.root(i) == group[0]));
            }
        }
        assert_eq!(hash_groups(&[5, 7, 5, 5, 9, 7], 0), [vec![0, 2, 3], vec![1, 5]]);
        assert!(hash_groups(&[1], 0).is_empty() && hash_groups(&[], 2).is_empty());
    }
}
