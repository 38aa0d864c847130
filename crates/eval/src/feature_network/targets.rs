//! What a feature network learns to tell: the classes of a set, or its attributes.

use crate::EvalError;
use data::{AttributeKind, Dataset};
use nn::loss::ClassTargets;
use serde::{Deserialize, Serialize};
use tensor::Tensor;

/// The most classes. A column of more words than [`MOST_WORDS`] (names, for one) is nothing that a picture shows.
const MOST_CLASSES: usize = 4096;
const MOST_WORDS: usize = 32;

/// Outputs that answer one head: the classes, or one column of the attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetHead {
    /// `class`, or the column's name.
    pub name: String,
    /// The answers that exclude each other; none where the answer is yes or no, which is one output.
    pub answers: Vec<String>,
    /// The column among the set's attributes; none for classes.
    pub column: Option<usize>,
}

impl TargetHead {
    /// How many outputs it has.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.answers.len().max(1)
    }

    /// What each answer is called: for a head of yes or no, `no` and the column's name.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        if self.answers.is_empty() {
            vec![format!("no {}", self.name), self.name.clone()]
        } else {
            self.answers.clone()
        }
    }
}

/// All heads, and how the outputs answer them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// One-hot classes by softmax, or attributes by a sigmoid each.
    pub kind: ClassTargets,
    /// In the order of the outputs.
    pub heads: Vec<TargetHead>,
}

impl Targets {
    /// The classes of a set.
    ///
    /// # Errors
    /// A set without labels, of one class, or of more than 4096.
    pub fn classes(dataset: &Dataset) -> Result<Self, EvalError> {
        let answers = dataset.class_names().to_vec();
        let name = dataset.name();
        match answers.len() {
            0 => Err(EvalError::Mismatch(format!(
                "{name:?} has no labels to learn features from: use features of a checkpoint (d:CHECKPOINT) or pixels, or a network trained \
                 on another set"
            ))),
            1 => Err(EvalError::Mismatch(format!(
                "{name:?} has a single class: a network learns nothing from it"
            ))),
            n if n > MOST_CLASSES => {
                Err(EvalError::Mismatch(format!("{name:?} has {n} classes, over {MOST_CLASSES}")))
            }
            _ => Ok(Self {
                kind: ClassTargets::OneHot,
                heads: vec![TargetHead { name: "class".into(), answers, column: None }],
            }),
        }
    }

    /// The attributes of a set that are yes or no, or one of at most 32 words, but for the column `split`.
    ///
    /// # Errors
    /// A set without such attributes.
    pub fn attributes(dataset: &Dataset) -> Result<Self, EvalError> {
        let columns = dataset
            .attribute_columns()
            .iter()
            .enumerate()
            .filter(|(_, attribute)| attribute.describes());
        let heads = columns.filter_map(|(column, attribute)| {
            let answers = match &attribute.kind {
                AttributeKind::Binary => Vec::new(),
                AttributeKind::Category(words) if (2..=MOST_WORDS).contains(&words.len()) => {
                    words.clone()
                }
                AttributeKind::Category(_) | AttributeKind::Number => return None,
            };
            Some(TargetHead { name: attribute.name.clone(), answers, column: Some(column) })
        });
        let heads: Vec<TargetHead> = heads.collect();
        if heads.is_empty() {
            return Err(EvalError::Mismatch(format!(
                "{:?} has no attributes that are yes or no, or one of 2 to {MOST_WORDS} words: leave --attributes out to learn its classes",
                dataset.name()
            )));
        }
        Ok(Self { kind: ClassTargets::Attributes, heads })
    }

    /// How many outputs there are.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.heads.iter().map(TargetHead::outputs).sum()
    }

    /// What each output is called: a class, a yes-or-no column, or `column=word`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let of = |head: &TargetHead| match (&head.answers[..], head.column) {
            ([], _) => vec![head.name.clone()],
            (answers, None) => answers.to_vec(),
            (answers, Some(_)) => {
                answers.iter().map(|answer| format!("{}={answer}", head.name)).collect()
            }
        };
        self.heads.iter().flat_map(of).collect()
    }

    /// The answers to the first head for these pictures, as numbers of its [`TargetHead::words`]; `None` where one of them has no label.
    #[must_use]
    pub fn first(&self, dataset: &Dataset, indices: &[usize]) -> Option<Vec<usize>> {
        let head = self.heads.first()?;
        let known = head.words().len();
        let said = |&index: &usize| {
            Some(answer(head, dataset, index, &dataset.attributes(index))).filter(|&at| at < known)
        };
        indices.iter().map(said).collect()
    }

    /// The targets of these pictures, `[N, outputs]` of 0 and 1.
    pub(super) fn rows(&self, dataset: &Dataset, indices: &[usize]) -> Tensor {
        let mut rows = vec![0.0; indices.len() * self.outputs()];
        let mut at = 0;
        for &index in indices {
            let attributes = dataset.attributes(index);
            for head in &self.heads {
                let value = answer(head, dataset, index, &attributes);
                let places = rows.get_mut(at..at + head.outputs()).unwrap_or_default();
                match (
                    head.answers.is_empty(),
                    places.get_mut(if head.answers.is_empty() { 0 } else { value }),
                ) {
                    (true, Some(place)) => *place = value as f32,
                    (false, Some(place)) => *place = 1.0,
                    (_, None) => {}
                }
                at += head.outputs();
            }
        }
        Tensor::from_slice(&rows, [indices.len(), self.outputs()])
    }

    /// How many of these pictures each head is answered right for, by logits `[N, outputs]`.
    pub(super) fn right(
        &self,
        dataset: &Dataset,
        indices: &[usize],
        logits: &Tensor,
    ) -> Vec<usize> {
        let values = logits.to_vec();
        let mut right = vec![0; self.heads.len()];
        for (row, &index) in values.chunks_exact(self.outputs()).zip(indices) {
            let attributes = dataset.attributes(index);
            let mut rest = row;
            for (head, right) in self.heads.iter().zip(&mut right) {
                let (own, later) = rest.split_at(head.outputs());
                let said = if head.answers.is_empty() {
                    usize::from(own.iter().all(|&v| v > 0.0))
                } else {
                    largest(own)
                };
                *right += usize::from(said == answer(head, dataset, index, &attributes));
                rest = later;
            }
        }
        right
    }
}

/// The right answer: 0 or 1, or a word's or class's number.
fn answer(head: &TargetHead, dataset: &Dataset, index: usize, attributes: &[f32]) -> usize {
    match head.column {
        None => dataset.label(index).map_or(usize::MAX, |label| label as usize),
        Some(column) => attributes.get(column).map_or(0, |&value| value as usize),
    }
}

fn largest(values: &[f32]) -> usize {
    values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at)
}
