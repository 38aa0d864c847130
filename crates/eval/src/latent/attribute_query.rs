//! Queries for exemplars: by index, by seed, or by the attributes that a model recognizes.

use crate::EvalError;

/// A model's scores of images: one value per image and attribute, above 0 if the image has the
/// attribute, and the larger the more certain.
pub struct Scores {
    names: usize,
    values: Vec<f32>,
}

impl Scores {
    /// `values` are `[images, names]`.
    ///
    /// # Panics
    /// Panics if the values do not fill the last row.
    #[track_caller]
    pub fn new(names: usize, values: Vec<f32>) -> Self {
        assert!(
            names > 0 && values.len().is_multiple_of(names),
            "Scores: {} values for {names} names",
            values.len()
        );
        Self { names, values }
    }

    /// The scores of each image.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.names)
    }

    /// Turns class logits into a score for each class: the margin of its logit over the largest
    /// other one.
    pub fn class_margins(self) -> Self {
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

/// Attributes that an image must have (true) or must not have (false), by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeQuery(pub Vec<(usize, bool)>);

impl AttributeQuery {
    /// Parses `glasses=1,man=0`, or `Sneaker` for `Sneaker=1`.
    ///
    /// # Errors
    /// Returns an error if a name is not among `names`.
    pub fn parse(text: &str, names: &[String]) -> Result<Self, EvalError> {
        let position = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name));
        let term = |part: &str| match (position(part), part.rsplit_once('=')) {
            (Some(at), _) => Some((at, true)),
            (None, Some((name, "1"))) => Some((position(name)?, true)),
            (None, Some((name, "0"))) => Some((position(name)?, false)),
            _ => None,
        };
        let terms = text.split(',').map(str::trim).map(|part| {
            let unknown =
                || EvalError::UnknownAttribute { term: part.to_owned(), known: names.to_vec() };
            term(part).ok_or_else(unknown)
        });
        terms.collect::<Result<_, _>>().map(Self)
    }

    /// The certainty that an image with these scores matches: that of its least certain term, above
    /// 0 for a match.
    pub fn strength(&self, scores: &[f32]) -> f32 {
        let term = |&(at, wanted): &(usize, bool)| {
            scores.get(at).map_or(f32::NEG_INFINITY, |s| if wanted { *s } else { -s })
        };
        self.0.iter().map(term).fold(f32::INFINITY, f32::min)
    }

    /// The indices of matching images, the most certain first; equal ones in their order.
    pub fn ranked(&self, scores: &Scores) -> Vec<usize> {
        let strengths: Vec<f32> = scores.rows().map(|row| self.strength(row)).collect();
        let mut found: Vec<usize> = (0..strengths.len()).filter(|&i| strengths[i] > 0.0).collect();
        found.sort_by(|&a, &b| strengths[b].total_cmp(&strengths[a]).then(a.cmp(&b)));
        found
    }
}

/// Which exemplars are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExemplarSpec {
    /// Candidates by index.
    Indices(Vec<usize>),
    /// The first latent of each seed.
    Seeds(Vec<u64>),
    /// The candidates that match an [`AttributeQuery`] with the highest certainty.
    Query(String),
}

impl ExemplarSpec {
    /// The number of exemplars, of a query `per_query`.
    #[must_use]
    pub fn count(&self, per_query: usize) -> usize {
        match self {
            Self::Indices(rows) => rows.len(),
            Self::Seeds(seeds) => seeds.len(),
            Self::Query(_) => per_query,
        }
    }

    /// Parses `3,17,42` (indices), `seed:5,seed:9` (seeds), or a query; `score:7` is a query for
    /// the attribute named 7.
    ///
    /// # Errors
    /// Returns an error if the text is empty or a seed is not a number.
    pub fn parse(text: &str) -> Result<Self, EvalError> {
        let parts = || text.split(',').map(str::trim);
        if let Some(query) = text.strip_prefix("score:") {
            return Ok(Self::Query(query.to_owned()));
        }
        if let Ok(indices) = parts().map(str::parse).collect::<Result<Vec<usize>, _>>() {
            return Ok(Self::Indices(indices));
        }
        if !text.is_empty() && !text.contains("seed:") {
            return Ok(Self::Query(text.to_owned()));
        }
        let seed = |part: &str| {
            part.strip_prefix("seed:")
                .and_then(|n| n.parse::<u64>().ok())
                .filter(|n| i64::try_from(*n).is_ok())
        };
        let seeds: Option<Vec<u64>> = parts().map(seed).collect();
        seeds.map(Self::Seeds).ok_or_else(|| EvalError::ExemplarSpec { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["glasses", "man", "fur=brown"].map(String::from).to_vec()
    }

    #[test]
    fn queries_are_parsed_by_name() {
        let parse = |text: &str| AttributeQuery::parse(text, &names());
        assert_eq!(parse("glasses=1,man=0").unwrap().0, [(0, true), (1, false)]);
        assert_eq!(
            parse("Man, fur=brown, fur=brown=0").unwrap().0,
            [(1, true), (2, true), (2, false)]
        );
        for (text, wrong) in [("hat", "hat"), ("man=2", "man=2"), ("", ""), ("man,,glasses", "")] {
            let error = parse(text).unwrap_err();
            let EvalError::UnknownAttribute { term, known } = &error else { panic!("{error}") };
            assert_eq!((term.as_str(), known), (wrong, &names()));
        }
    }

    #[test]
    fn most_certain_come_first() {
        let scores = Scores::new(
            3,
            [[0.5, -1.0, 0.0], [2.0, -0.5, 0.0], [3.0, 0.1, 0.0], [0.5, -2.0, 0.0]].concat(),
        );
        let query = AttributeQuery(vec![(0, true), (1, false)]);
        assert_eq!(query.ranked(&scores), [0, 1, 3]);
        assert_eq!(AttributeQuery(vec![(2, true)]).ranked(&scores), [0usize; 0], "0 matches none");
        assert_eq!(query.strength(&[1.0]), f32::NEG_INFINITY);
    }

    #[test]
    fn margins_are_positive_for_one_class() {
        let scores = Scores::new(3, vec![1.0, 4.0, 2.0, -1.0, -3.0, -1.5]).class_margins();
        assert_eq!(
            scores.rows().map(<[f32]>::to_vec).collect::<Vec<_>>(),
            [[-3.0, 2.0, -2.0], [0.5, -2.0, -0.5]]
        );
    }

    #[test]
    fn exemplars_are_indices_seeds_or_a_query() {
        let parse = |text: &str| ExemplarSpec::parse(text).unwrap();
        assert_eq!(parse("3, 17,42"), ExemplarSpec::Indices(vec![3, 17, 42]));
        assert_eq!(parse("seed:5,seed:9"), ExemplarSpec::Seeds(vec![5, 9]));
        assert_eq!(parse("man=1"), ExemplarSpec::Query("man=1".into()));
        assert_eq!(parse("score:7"), ExemplarSpec::Query("7".into()));
        for bad in ["", "seed:x", "seed:1,2", "seed:99999999999999999999"] {
            let error = ExemplarSpec::parse(bad).unwrap_err();
            assert!(matches!(&error, EvalError::ExemplarSpec { text } if text == bad), "{error}");
        }
    }
}
