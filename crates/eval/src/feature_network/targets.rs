//! Targets of a feature network: the classes of a dataset, or its attributes.

use crate::EvalError;
use data::{AttributeKind, Dataset};
use nn::loss::ClassTargets;
use serde::{Deserialize, Serialize};
use tensor::Tensor;

/// The most classes.
pub(crate) const MAX_CLASSES: usize = 4096;
/// The most words of an attribute column. Columns with more hold names or other texts that an
/// image does not show.
pub(crate) const MAX_WORDS: usize = 32;

/// A group of outputs with one answer: the classes, or one attribute column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetHead {
    /// `class`, or the column's name.
    pub name: String,
    /// The mutually exclusive answers, one output each; empty for a binary column, which has one
    /// output.
    #[serde(alias = "answers")]
    pub words: Vec<String>,
    /// The index of the attribute column; `None` for classes.
    pub column: Option<usize>,
}

impl TargetHead {
    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.words.len().max(1)
    }

    /// The names of all answers; for a binary column `no NAME` and `NAME`.
    pub fn answer_names(&self) -> Vec<String> {
        if self.words.is_empty() {
            vec![format!("no {}", self.name), self.name.clone()]
        } else {
            self.words.clone()
        }
    }

    /// The true answer: 0 or 1, or the index of a word or class.
    fn answer(&self, dataset: &Dataset, index: usize, attributes: &[f32]) -> usize {
        match self.column {
            None => dataset.label(index).map_or(usize::MAX, |label| label as usize),
            Some(column) => attributes.get(column).map_or(0, |&value| value as usize),
        }
    }
}

/// The heads of a feature network, in the order of its outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// One-hot classes by softmax, or attributes by a sigmoid each.
    pub kind: ClassTargets,
    /// The output heads, one for each prediction.
    #[serde(alias = "questions")]
    pub heads: Vec<TargetHead>,
}

impl Targets {
    /// The classes of a dataset.
    ///
    /// # Errors
    /// Returns an error if the dataset has no labels, one class, or more than 4096 classes.
    pub fn classes(dataset: &Dataset) -> Result<Self, EvalError> {
        let words = dataset.class_names().to_vec();
        let dataset = dataset.name().to_owned();
        match words.len() {
            0 => Err(EvalError::NoLabels { dataset }),
            classes if classes == 1 || classes > MAX_CLASSES => {
                Err(EvalError::ClassCount { dataset, classes, most: MAX_CLASSES })
            }
            _ => Ok(Self {
                kind: ClassTargets::OneHot,
                heads: vec![TargetHead { name: "class".into(), words, column: None }],
            }),
        }
    }

    /// The attributes of a dataset that are binary or one of 2 to 32 words.
    ///
    /// # Errors
    /// Returns an error if the dataset has no such attributes.
    pub fn attributes(dataset: &Dataset) -> Result<Self, EvalError> {
        let columns = dataset
            .attribute_columns()
            .iter()
            .enumerate()
            .filter(|(_, attribute)| attribute.describes());
        let heads = columns.filter_map(|(column, attribute)| {
            let words = match &attribute.kind {
                AttributeKind::Binary => Vec::new(),
                AttributeKind::Category(words) if (2..=MAX_WORDS).contains(&words.len()) => {
                    words.clone()
                }
                AttributeKind::Category(_) | AttributeKind::Number => return None,
            };
            Some(TargetHead { name: attribute.name.clone(), words, column: Some(column) })
        });
        let heads: Vec<TargetHead> = heads.collect();
        if heads.is_empty() {
            return Err(EvalError::NoAttributes { dataset: dataset.name().to_owned() });
        }
        Ok(Self { kind: ClassTargets::Attributes, heads })
    }

    /// The number of outputs of all heads.
    pub fn outputs(&self) -> usize {
        self.heads.iter().map(TargetHead::outputs).sum()
    }

    /// The name of each output: a class, a binary column, or `column=word`.
    pub fn names(&self) -> Vec<String> {
        let of = |head: &TargetHead| match (&head.words[..], head.column) {
            ([], _) => vec![head.name.clone()],
            (words, None) => words.to_vec(),
            (words, Some(_)) => words.iter().map(|word| format!("{}={word}", head.name)).collect(),
        };
        self.heads.iter().flat_map(of).collect()
    }

    /// The true answers of the first head for these images, as indices of its
    /// [`TargetHead::answer_names`]; `None` if one of them has no label.
    pub fn first_answers(&self, dataset: &Dataset, indices: &[usize]) -> Option<Vec<usize>> {
        let head = self.heads.first()?;
        let known = head.answer_names().len();
        let answer = |&index: &usize| {
            Some(head.answer(dataset, index, &dataset.attributes(index))).filter(|&at| at < known)
        };
        indices.iter().map(answer).collect()
    }

    /// The targets of these images, `[N, outputs]` of 0 and 1.
    pub(super) fn rows(&self, dataset: &Dataset, indices: &[usize]) -> Tensor {
        let mut rows = vec![0.0; indices.len() * self.outputs()];
        let mut at = 0;
        for &index in indices {
            let attributes = dataset.attributes(index);
            for head in &self.heads {
                let answer = head.answer(dataset, index, &attributes);
                let own = rows.get_mut(at..at + head.outputs()).unwrap_or_default();
                if head.words.is_empty() {
                    own.iter_mut().for_each(|target| *target = answer as f32);
                } else if let Some(target) = own.get_mut(answer) {
                    *target = 1.0;
                }
                at += head.outputs();
            }
        }
        Tensor::from_slice(&rows, [indices.len(), self.outputs()])
    }

    /// The number of these images for which each head's answer is right, by logits `[N, outputs]`.
    pub(super) fn correct(
        &self,
        dataset: &Dataset,
        indices: &[usize],
        logits: &Tensor,
    ) -> Vec<usize> {
        let values = logits.to_vec();
        let mut correct = vec![0; self.heads.len()];
        for (row, &index) in values.chunks_exact(self.outputs()).zip(indices) {
            let attributes = dataset.attributes(index);
            let mut rest = row;
            for (head, correct) in self.heads.iter().zip(&mut correct) {
                let (own, later) = rest.split_at(head.outputs());
                let predicted = if head.words.is_empty() {
                    usize::from(own.iter().all(|&v| v > 0.0))
                } else {
                    argmax(own)
                };
                *correct += usize::from(predicted == head.answer(dataset, index, &attributes));
                rest = later;
            }
        }
        correct
    }
}

fn argmax(values: &[f32]) -> usize {
    values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at)
}
