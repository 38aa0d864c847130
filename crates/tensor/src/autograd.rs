//! Reverse-mode differentiation, define-by-run.
//!
//! Every operation on a tracked tensor makes a [`Node`] that knows its parents, what it saved, and a backward
//! function written in differentiable operations, so gradients of gradients need nothing more. Node ids
//! ascend with time; walking them in descending order visits each node after all of its users.

use crate::{Shape, Tensor, tensor::Storage};
use smallvec::SmallVec;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Names a leaf (or any node of the graph) when asking for its gradient.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct TensorId(u64);

impl TensorId {
    /// A key nobody else has.
    pub fn fresh() -> Self {
        Self(NEXT_ID.fetch_add(1, Ordering::Relaxed))
    }
}

/// One gradient per parent; `None` where the parent needs none.
pub(crate) type ParentGrads = SmallVec<[Option<Tensor>; 3]>;

type BackwardFn = Box<dyn Fn(&BackwardCtx<'_>, &Tensor) -> ParentGrads + Send + Sync>;

/// What a backward function may need of the forward pass.
pub(crate) enum SavedTensor {
    /// An operand, with its node: under `create_graph` gradients flow into it.
    Input(Tensor),
    /// Nothing: no parent that wants a gradient needs it.
    Nothing,
    /// The operation's own result, without its node (a node that held itself would never be freed).
    Output(Storage, Shape),
}

impl SavedTensor {
    pub(crate) fn input(t: &Tensor) -> Self {
        Self::Input(t.clone())
    }
    /// `t` when the gradient of `other`, which is made of it, will be wanted.
    pub(crate) fn if_other_needs_grad(t: &Tensor, other: &Tensor) -> Self {
        if other.is_tracked() { Self::input(t) } else { Self::Nothing }
    }
    pub(crate) fn output(t: &Tensor) -> Self {
        Self::Output(t.storage.clone(), t.shape)
    }
}

type SaveList = SmallVec<[SavedTensor; 4]>;

/// A vertex of the graph.
pub struct Node {
    id: u64,
    key: TensorId,
    name: &'static str,
    parents: SmallVec<[Option<Arc<Node>>; 3]>,
    saved: Mutex<Option<SaveList>>,
    backward: Option<BackwardFn>,
}

impl Node {
    pub(crate) fn leaf(key: TensorId) -> Arc<Self> {
        let id = TensorId::fresh().0;
        Arc::new(Self {
            id,
            key,
            name: "leaf",
            parents: SmallVec::new(),
            saved: Mutex::new(None),
            backward: None,
        })
    }

    pub(crate) fn key(&self) -> TensorId {
        self.key
    }
}

impl Node {
    /// Takes out everything that this node keeps alive.
    fn take_unshared_parents(&mut self) -> Vec<Arc<Node>> {
        let saved = self.saved.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let mut orphans: Vec<Arc<Node>> = self.parents.drain(..).flatten().collect();
        for save in saved.into_iter().flatten() {
            if let SavedTensor::Input(tensor) = save {
                orphans.extend(tensor.node);
            }
        }
        orphans
    }
}

impl Drop for Node {
    /// Frees the graph below without recursion: a chain of a million operations must not overflow the stack.
    fn drop(&mut self) {
        let mut queue = self.take_unshared_parents();
        while let Some(node) = queue.pop() {
            if let Some(mut last) = Arc::into_inner(node) {
                queue.append(&mut last.take_unshared_parents());
            }
        }
    }
}

/// What a backward function sees: the saved tensors, and which parents want a gradient.
pub(crate) struct BackwardCtx<'a> {
    tensors: SmallVec<[Tensor; 4]>,
    needs: &'a [bool],
    create_graph: bool,
}

impl BackwardCtx<'_> {
    /// The `i`-th saved tensor: tracked only under `create_graph`.
    pub(crate) fn get(&self, i: usize) -> &Tensor {
        &self.tensors[i]
    }
    /// Whether parent `i` wants a gradient.
    pub(crate) fn needs_input_grad(&self, i: usize) -> bool {
        self.needs[i]
    }
    /// Whether the gradient itself will be differentiated: fused kernels then give way to their composite form.
    pub(crate) fn create_graph(&self) -> bool {
        self.create_graph
    }
    /// `f()` when parent `i` wants a gradient.
    pub(crate) fn when(&self, i: usize, f: impl FnOnce() -> Tensor) -> Option<Tensor> {
        self.needs[i].then(f)
    }
}

/// Puts `out`, the untracked result of operation `name` on `parents`, into the graph when a parent is in it.
pub(crate) fn record<F>(
    out: Tensor,
    name: &'static str,
    parents: &[&Tensor],
    saved: impl FnOnce(&Tensor) -> SaveList,
    backward: F,
) -> Tensor
where
    F: Fn(&BackwardCtx<'_>, &Tensor) -> ParentGrads + Send + Sync + 'static,
{
    if parents.iter().all(|p| p.node.is_none()) {
        return out;
    }
    let saved = saved(&out);
    let id = TensorId::fresh().0;
    let node = Node {
        id,
        key: TensorId(id),
        name,
        parents: parents.iter().map(|p| p.node.clone()).collect(),
        saved: Mutex::new(Some(saved)),
        backward: Some(Box::new(backward)),
    };
    Tensor { node: Some(Arc::new(node)), ..out }
}

/// Gradients by leaf.
#[derive(Default, Debug)]
pub struct Gradients(HashMap<TensorId, Tensor>);

impl FromIterator<(TensorId, Tensor)> for Gradients {
    /// Gradients from elsewhere; those of one key are added up.
    ///
    /// # Panics
    /// When those of one key have different shapes.
    fn from_iter<I: IntoIterator<Item = (TensorId, Tensor)>>(gradients: I) -> Self {
        let mut all = HashMap::new();
        gradients.into_iter().for_each(|(key, gradient)| add_into(&mut all, key, gradient, false));
        Self(all)
    }
}

impl Gradients {
    /// The gradient with respect to the leaf (or leaves) of this key; `None` when the loss does not depend on it.
    pub fn get(&self, key: TensorId) -> Option<&Tensor> {
        self.0.get(&key)
    }

    /// The gradient with respect to `leaf`.
    pub fn of(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.get(leaf.id()?)
    }

    /// Takes the gradient out.
    pub fn remove(&mut self, key: TensorId) -> Option<Tensor> {
        self.0.remove(&key)
    }

    /// The number of leaves with a gradient.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no leaf has a gradient.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the gradients of another loss, in place where the storage is not shared.
    pub fn accumulate(&mut self, other: Gradients) {
        for (key, grad) in other.0 {
            add_into(&mut self.0, key, grad, false);
        }
    }

    /// The gradients, in ascending order of key.
    pub fn iter(&self) -> impl Iterator<Item = (TensorId, &Tensor)> {
        let mut all: Vec<_> = self.0.iter().map(|(k, t)| (*k, t)).collect();
        all.sort_by_key(|(k, _)| *k);
        all.into_iter()
    }
}

fn add_into<K: std::hash::Hash + Eq>(
    map: &mut HashMap<K, Tensor>,
    key: K,
    grad: Tensor,
    create_graph: bool,
) {
    match map.entry(key) {
        std::collections::hash_map::Entry::Vacant(slot) => {
            slot.insert(grad);
        }
        std::collections::hash_map::Entry::Occupied(mut slot) => {
            let sum = slot.get_mut();
            assert_eq!(sum.shape(), grad.shape(), "gradients of one key have different shapes");
            if create_graph || !sum.add_in_place(&grad) {
                *sum = sum.add(&grad);
            }
        }
    }
}

struct PendingNode(Arc<Node>);
impl PartialEq for PendingNode {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for PendingNode {}
impl PartialOrd for PendingNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for PendingNode {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

/// The gradients of Σ ⟨output, gradient⟩ with respect to every leaf. Consumes the graph.
///
/// # Panics
/// When a gradient's shape is not its output's, or part of the graph was consumed before.
#[track_caller]
pub fn backward(outputs: &[(&Tensor, &Tensor)]) -> Gradients {
    Gradients(run_backward(outputs, None, false))
}

/// The gradients of Σ ⟨output, gradient⟩ with respect to the nodes named by `wrt`, and nothing else: what only
/// leads to other leaves is not computed. With `create_graph` the results are themselves differentiable and
/// the graph is kept; without, it is consumed.
///
/// # Panics
/// As [`backward`].
#[track_caller]
pub fn grad(
    outputs: &[(&Tensor, &Tensor)],
    wrt: &[TensorId],
    create_graph: bool,
) -> Vec<Option<Tensor>> {
    let found = run_backward(outputs, Some(wrt), create_graph);
    wrt.iter().map(|key| found.get(key).cloned()).collect()
}

#[track_caller]
fn run_backward(
    outputs: &[(&Tensor, &Tensor)],
    wrt: Option<&[TensorId]>,
    create_graph: bool,
) -> HashMap<TensorId, Tensor> {
    let wanted: HashSet<TensorId> = wrt.unwrap_or_default().iter().copied().collect();
    let marked = wrt.map(|_| mark_nodes_leading_to(outputs, &wanted));
    let useful = |node: &Node| marked.as_ref().is_none_or(|m| m.contains(&node.id));
    let mut result = HashMap::new();
    let mut pending: HashMap<u64, Tensor> = HashMap::new();
    let mut heap = BinaryHeap::new();
    for (output, gradient) in outputs {
        assert_eq!(
            output.shape, gradient.shape,
            "backward: gradient of another shape than its output"
        );
        if let Some(node) = output.node.as_ref().filter(|n| useful(n)) {
            let gradient = if create_graph { (*gradient).clone() } else { gradient.detach() };
            if !pending.contains_key(&node.id) {
                heap.push(PendingNode(node.clone()));
            }
            add_into(&mut pending, node.id, gradient, create_graph);
        }
    }
    while let Some(PendingNode(node)) = heap.pop() {
        let Some(gradient) = pending.remove(&node.id) else {
            continue;
        };
        if wanted.contains(&node.key) || (wrt.is_none() && node.backward.is_none()) {
            add_into(&mut result, node.key, gradient.clone(), create_graph);
        }
        let Some(backward) = &node.backward else {
            continue;
        };
        let needs: SmallVec<[bool; 3]> =
            node.parents.iter().map(|p| p.as_ref().is_some_and(|p| useful(p))).collect();
        if needs.iter().all(|n| !n) {
            continue;
        }
        let saved =
            BackwardCtx { tensors: node.unpack_saved(create_graph), needs: &needs, create_graph };
        let grads = backward(&saved, &gradient);
        drop((saved, gradient));
        debug_assert_eq!(grads.len(), node.parents.len(), "{}: one gradient per parent", node.name);
        for ((parent, grad), needed) in node.parents.iter().zip(grads).zip(&needs) {
            let (Some(parent), Some(grad), true) = (parent, grad, *needed) else {
                continue;
            };
            if !pending.contains_key(&parent.id) {
                heap.push(PendingNode(parent.clone()));
            }
            add_into(&mut pending, parent.id, grad, create_graph);
        }
    }
    result
}

impl Node {
    /// The saved tensors: tracked copies when the graph is kept, else taken out of it.
    #[track_caller]
    fn unpack_saved(self: &Arc<Self>, create_graph: bool) -> SmallVec<[Tensor; 4]> {
        let mut guard = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let consumed = || -> ! {
            panic!(
                "backward: the graph at `{}` was consumed by an earlier walk; use `grad(…, create_graph = true)` to keep it",
                self.name
            )
        };
        if create_graph {
            let Some(list) = guard.as_ref() else { consumed() };
            list.iter()
                .map(|save| match save {
                    SavedTensor::Input(t) => t.clone(),
                    SavedTensor::Nothing => Tensor::zeros([0]),
                    SavedTensor::Output(storage, shape) => {
                        Tensor { storage: storage.clone(), shape: *shape, node: Some(self.clone()) }
                    }
                })
                .collect()
        } else {
            let Some(list) = guard.take() else { consumed() };
            list.into_iter()
                .map(|save| match save {
                    SavedTensor::Input(t) => t.detach(),
                    SavedTensor::Nothing => Tensor::zeros([0]),
                    SavedTensor::Output(storage, shape) => Tensor { storage, shape, node: None },
                })
                .collect()
        }
    }
}

/// The ids of all nodes below `outputs` from which a wanted node can be reached.
fn mark_nodes_leading_to(
    outputs: &[(&Tensor, &Tensor)],
    wanted: &HashSet<TensorId>,
) -> HashSet<u64> {
    // Ascending id is a topological order, so one pass decides every node from its parents.
    let mut nodes: HashMap<u64, Arc<Node>> = HashMap::new();
    let mut stack: Vec<Arc<Node>> = outputs.iter().filter_map(|(o, _)| o.node.clone()).collect();
    while let Some(node) = stack.pop() {
        if nodes.contains_key(&node.id) {
            continue;
        }
        stack.extend(node.parents.iter().flatten().cloned());
        nodes.insert(node.id, node);
    }
    let mut order: Vec<&Arc<Node>> = nodes.values().collect();
    order.sort_by_key(|n| n.id);
    let mut marked = HashSet::new();
    for node in order {
        if wanted.contains(&node.key)
            || node.parents.iter().flatten().any(|p| marked.contains(&p.id))
        {
            marked.insert(node.id);
        }
    }
    marked
}
