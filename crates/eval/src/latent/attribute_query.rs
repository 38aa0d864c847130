//! What exemplars are picked by: their number, a seed, or what a model sees in them.

use crate::EvalError;

/// What a model says of pictures: for each a number per name, above 0 for yes, and the larger the surer.
pub struct Scores {
    names: usize,
    values: Vec<f32>,
}

impl Scores {
    /// `values` are `[pictures, names]`.
    ///
    /// # Panics
    /// When they are no such table.
    #[track_caller]
    pub fn new(names: usize, values: Vec<f32>) -> Self {
        assert!(
            names > 0 && values.len().is_multiple_of(names),
            "Scores: {} values for {names} names",
            values.len()
        );
        Self { names, values }
    }

    /// The numbers of each picture.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.names)
    }

    /// One of several classes becomes yes or no for each: by how much its logit is above the best other one.
    #[must_use]
    pub fn one_of_many(self) -> Self {
        let margins = self.rows().flat_map(|row| {
            (0..row.len()).map(move |k| {
                let other = row
                    .iter()
                    .enumerate()
                    .filter(|(i, _)| *i != k)
                    .map(|(_, value)| *value)
                    .fold(f32::NEG_INFINITY, f32::max);
                row[k] - other
            })
        });
        let values = margins.collect();
        Self { values, ..self }
    }
}

/// Some names that shall be seen, and some that shall not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeQuery(pub Vec<(usize, bool)>);

impl AttributeQuery {
    /// `glasses=1,man=0`, or `Sneaker` for `Sneaker=1`.
    ///
    /// # Errors
    /// A name that is not among `names`, with those that are.
    pub fn parse(text: &str, names: &[String]) -> Result<Self, EvalError> {
        let position = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name));
        let term = |part: &str| match (position(part), part.rsplit_once('=')) {
            (Some(at), _) => Some((at, true)),
            (None, Some((name, "1"))) => Some((position(name)?, true)),
            (None, Some((name, "0"))) => Some((position(name)?, false)),
            _ => None,
        };
        let terms = text.split(',').map(str::trim).map(|part| {
            let unknown = || {
                format!(
                    "{part:?}: the model knows {}; say NAME=1 or NAME=0, several with commas",
                    names.join(", ")
                )
            };
            term(part).ok_or_else(|| EvalError::Setting(unknown()))
        });
        terms.collect::<Result<_, _>>().map(Self)
    }

    /// How surely a picture with these scores is one: the least sure of its terms. Above 0 it is.
    pub fn strength(&self, scores: &[f32]) -> f32 {
        let term = |&(at, wanted): &(usize, bool)| {
            scores.get(at).map_or(f32::NEG_INFINITY, |s| if wanted { *s } else { -s })
        };
        self.0.iter().map(term).fold(f32::INFINITY, f32::min)
    }

    /// The pictures that are one, the surest first; of equals the one that came first.
    pub fn ranked(&self, scores: &Scores) -> Vec<usize> {
        let strengths: Vec<f32> = scores.rows().map(|row| self.strength(row)).collect();
        let mut found: Vec<usize> = (0..strengths.len()).filter(|&i| strengths[i] > 0.0).collect();
        found.sort_by(|&a, &b| strengths[b].total_cmp(&strengths[a]).then(a.cmp(&b)));
        found
    }
}

/// How exemplars are picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExemplarSpec {
    /// By their numbers among the candidates.
    Rows(Vec<usize>),
    /// The first latent of each seed.
    Seeds(Vec<u64>),
    /// The candidates that a model takes for it most surely.
    Described(String),
}

impl ExemplarSpec {
    /// `3,17,42`; `seed:5,seed:9`; anything else describes what a model shall see, with `score:` in front where it would be a number.
    ///
    /// # Errors
    /// Seeds that are no numbers.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = || text.split(',').map(str::trim);
        if let Some(described) = text.strip_prefix("score:") {
            return Ok(Self::Described(described.to_owned()));
        }
        if let Ok(rows) = parts().map(str::parse).collect::<Result<Vec<usize>, _>>() {
            return Ok(Self::Rows(rows));
        }
        if !text.contains("seed:") {
            return if text.is_empty() {
                Err("say which: 3,17,42".into())
            } else {
                Ok(Self::Described(text.to_owned()))
            };
        }
        let seed = |part: &str| {
            part.strip_prefix("seed:")
                .and_then(|n| n.parse::<u64>().ok())
                .filter(|n| i64::try_from(*n).is_ok())
        };
        let seeds: Option<Vec<u64>> = parts().map(seed).collect();
        seeds.map(Self::Seeds).ok_or_else(|| "seeds are given as in seed:5,seed:9".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["glasses", "man", "fur=brown"].map(String::from).to_vec()
    }

    #[test]
    fn concepts_are_read_by_name() {
        let parse = |text: &str| AttributeQuery::parse(text, &names());
        assert_eq!(parse("glasses=1,man=0").unwrap().0, [(0, true), (1, false)]);
        assert_eq!(
            parse("Man, fur=brown, fur=brown=0").unwrap().0,
            [(1, true), (2, true), (2, false)]
        );
        for bad in ["hat", "man=2", "", "man,,glasses"] {
            let message = parse(bad).unwrap_err().to_string();
            assert!(message.contains("glasses, man, fur=brown"), "{message}");
        }
    }

    #[test]
    fn the_surest_come_first() {
        let scores = Scores::new(
            3,
            [[0.5, -1.0, 0.0], [2.0, -0.5, 0.0], [3.0, 0.1, 0.0], [0.5, -2.0, 0.0]].concat(),
        );
        let concept = AttributeQuery(vec![(0, true), (1, false)]);
        assert_eq!(concept.ranked(&scores), [0, 1, 3]);
        assert_eq!(AttributeQuery(vec![(2, true)]).ranked(&scores), [0usize; 0], "0 is no yes");
        assert_eq!(concept.strength(&[1.0]), f32::NEG_INFINITY);
    }

    #[test]
    fn of_several_classes_one_is_seen() {
        let scores = Scores::new(3, vec![1.0, 4.0, 2.0, -1.0, -3.0, -1.5]).one_of_many();
        assert_eq!(
            scores.rows().map(<[f32]>::to_vec).collect::<Vec<_>>(),
            [[-3.0, 2.0, -2.0], [0.5, -2.0, -0.5]]
        );
    }

    #[test]
    fn picks_are_numbers_seeds_or_words() {
        assert_eq!(ExemplarSpec::parse("3, 17,42"), Ok(ExemplarSpec::Rows(vec![3, 17, 42])));
        assert_eq!(ExemplarSpec::parse("seed:5,seed:9"), Ok(ExemplarSpec::Seeds(vec![5, 9])));
        assert_eq!(ExemplarSpec::parse("man=1"), Ok(ExemplarSpec::Described("man=1".into())));
        assert_eq!(ExemplarSpec::parse("score:7"), Ok(ExemplarSpec::Described("7".into())));
        for bad in ["", "seed:x", "seed:1,2", "seed:99999999999999999999"] {
            assert!(ExemplarSpec::parse(bad).is_err(), "{bad}");
        }
    }
}
