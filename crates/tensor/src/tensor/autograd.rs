//! Reverse-mode automatic differentiation, define-by-run.
//!
//! Every operation on a tracked tensor makes a [`Node`] that knows its parents, what it saved for
//! the backward pass, and a backward function written in differentiable operations, so gradients of
//! gradients need no further code. Node ids ascend with time; visiting nodes in descending order of
//! id visits each one after all of its users.
//!
//! ```
//! use tensor::{Tensor, autograd};
//! let x = Tensor::from_slice(&[3.0], [1]).leaf();
//! let y = x.square().mul(&x);
//! let id = x.id().unwrap();
//! // dy/dx = 3x², kept differentiable; d²y/dx² = 6x.
//! let first = autograd::grad(&[(&y, &Tensor::ones([1]))], &[id], true).remove(0).unwrap();
//! let second = autograd::grad(&[(&first, &Tensor::ones([1]))], &[id], false).remove(0).unwrap();
//! assert_eq!((first.item(), second.item()), (27.0, 18.0));
//! ```

use super::Tensor;
use crate::shape::Shape;
use crate::storage::Storage;
use parking_lot::Mutex;
use smallvec::{SmallVec, smallvec};
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Identifies a leaf (or any tensor of the graph) when asking for its gradient.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct TensorId(u64);

impl TensorId {
    /// A new id, different from all others of this process.
    pub fn fresh() -> Self {
        Self(NEXT_ID.fetch_add(1, Ordering::Relaxed))
    }
}

/// One gradient per parent; `None` where the parent needs none.
pub(crate) type ParentGrads = SmallVec<[Option<Tensor>; 3]>;

type BackwardFn = Box<dyn Fn(&BackwardCtx<'_>, &Tensor) -> ParentGrads + Send + Sync>;

/// A tensor of the forward pass that a backward function needs.
pub(crate) enum SavedTensor {
    /// An operand, with its node: under `create_graph` gradients flow into it.
    Input(Tensor),
    /// The operation's own result, without its node (a node that held itself would never be freed).
    Output(Storage, Shape),
}

impl SavedTensor {
    pub(crate) fn input(t: &Tensor) -> Option<Self> {
        Some(Self::Input(t.clone()))
    }

    /// Saves `t` if the gradient of `other`, which is computed from it, can be asked for.
    pub(crate) fn if_other_needs_grad(t: &Tensor, other: &Tensor) -> Option<Self> {
        other.is_tracked().then(|| Self::Input(t.clone()))
    }

    pub(crate) fn output(t: &Tensor) -> Option<Self> {
        Some(Self::Output(t.storage.clone(), t.shape))
    }

    /// Saves `t` as a constant: no gradient flows into it.
    pub(crate) fn constant(t: &Tensor) -> Option<Self> {
        Some(Self::Input(t.detach()))
    }
}

/// The saved tensors of an operation; `None` where no gradient that can be asked for needs the
/// tensor.
pub(crate) type SaveList = SmallVec<[Option<SavedTensor>; 4]>;

/// A vertex of the graph.
pub struct Node {
    /// The position in time: larger than that of every parent.
    order: u64,
    id: TensorId,
    name: &'static str,
    parents: SmallVec<[Option<Arc<Node>>; 3]>,
    saved: Mutex<Option<SaveList>>,
    backward: Option<BackwardFn>,
}

impl Node {
    pub(crate) fn leaf(id: TensorId) -> Arc<Self> {
        Arc::new(Self {
            // Leaves may share an id, so the position in time is a number of its own.
            order: TensorId::fresh().0,
            id,
            name: "leaf",
            parents: SmallVec::new(),
            saved: Mutex::new(None),
            backward: None,
        })
    }

    pub(crate) fn id(&self) -> TensorId {
        self.id
    }

    /// Takes out every node that this one keeps alive.
    fn take_unshared_parents(&mut self) -> Vec<Arc<Node>> {
        let saved = self.saved.get_mut().take();
        let mut parents: Vec<Arc<Node>> = self.parents.drain(..).flatten().collect();
        for save in saved.into_iter().flatten().flatten() {
            if let SavedTensor::Input(tensor) = save {
                parents.extend(tensor.node);
            }
        }
        parents
    }

    /// The saved tensors: tracked copies when the graph is kept, else taken out of it.
    #[track_caller]
    fn unpack_saved(self: &Arc<Self>, create_graph: bool) -> SmallVec<[Option<Tensor>; 4]> {
        let mut saved = self.saved.lock();
        let consumed = || -> ! {
            panic!(
                "backward: the graph at `{}` was consumed by an earlier backward pass; \
                 use `grad(…, create_graph = true)` to keep it",
                self.name
            )
        };
        if create_graph {
            let Some(list) = saved.as_ref() else { consumed() };
            let keep = |save: &SavedTensor| match save {
                SavedTensor::Input(t) => t.clone(),
                // The result was saved without its node; gradients of gradients need it.
                SavedTensor::Output(storage, shape) => {
                    Tensor { storage: storage.clone(), shape: *shape, node: Some(self.clone()) }
                }
            };
            list.iter().map(|save| save.as_ref().map(keep)).collect()
        } else {
            let Some(list) = saved.take() else { consumed() };
            let detach = |save| match save {
                SavedTensor::Input(t) => t.detach(),
                SavedTensor::Output(storage, shape) => Tensor { storage, shape, node: None },
            };
            list.into_iter().map(|save| save.map(detach)).collect()
        }
    }
}

impl Drop for Node {
    /// Frees the graph below without recursion: a chain of a million operations must not overflow
    /// the stack.
    fn drop(&mut self) {
        let mut queue = self.take_unshared_parents();
        while let Some(node) = queue.pop() {
            // Another owner of the node frees it later.
            if let Some(mut last) = Arc::into_inner(node) {
                queue.append(&mut last.take_unshared_parents());
            }
        }
    }
}

/// The context of a backward function, like PyTorch's `ctx`: the saved tensors, and which parents
/// need a gradient.
pub(crate) struct BackwardCtx<'a> {
    saved: SmallVec<[Option<Tensor>; 4]>,
    needs: &'a [bool],
    create_graph: bool,
}

impl BackwardCtx<'_> {
    /// The `i`-th saved tensor: tracked only under `create_graph`.
    pub(crate) fn saved(&self, i: usize) -> &Tensor {
        self.saved[i].as_ref().expect("a saved tensor of a gradient that is needed")
    }

    /// Whether parent `i` needs a gradient.
    pub(crate) fn needs_input_grad(&self, i: usize) -> bool {
        self.needs[i]
    }

    /// The gradients of two parents, each computed if it is needed.
    pub(crate) fn pair(
        &self,
        first: impl FnOnce() -> Tensor,
        second: impl FnOnce() -> Tensor,
    ) -> ParentGrads {
        smallvec![self.needs[0].then(first), self.needs[1].then(second)]
    }

    /// Whether the gradient itself will be differentiated: fused kernels then give way to their
    /// composite form.
    pub(crate) fn create_graph(&self) -> bool {
        self.create_graph
    }
}

/// Adds `out`, the untracked result of operation `name` on `parents`, to the graph if a parent is
/// in it.
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
    let id = TensorId::fresh();
    let node = Node {
        order: id.0,
        id,
        name,
        parents: parents.iter().map(|p| p.node.clone()).collect(),
        saved: Mutex::new(Some(saved)),
        backward: Some(Box::new(backward)),
    };
    Tensor { node: Some(Arc::new(node)), ..out }
}

/// [`record`] of an operation on one tensor whose gradient needs no saved tensor.
pub(crate) fn record_unary(
    out: Tensor,
    name: &'static str,
    parent: &Tensor,
    backward: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static,
) -> Tensor {
    record(out, name, &[parent], |_| smallvec![], move |_, g| smallvec![Some(backward(g))])
}

/// [`record`] of a bilinear operation: `grad_a` is given the gradient and `b`, `grad_b` the
/// gradient and `a`.
pub(crate) fn record_bilinear(
    out: Tensor,
    name: &'static str,
    [a, b]: [&Tensor; 2],
    grad_a: impl Fn(&Tensor, &Tensor) -> Tensor + Send + Sync + 'static,
    grad_b: impl Fn(&Tensor, &Tensor) -> Tensor + Send + Sync + 'static,
) -> Tensor {
    let saved = |_: &Tensor| {
        smallvec![SavedTensor::if_other_needs_grad(a, b), SavedTensor::if_other_needs_grad(b, a)]
    };
    record(out, name, &[a, b], saved, move |ctx, g| {
        ctx.pair(|| grad_a(g, ctx.saved(1)), || grad_b(g, ctx.saved(0)))
    })
}

/// Gradients by leaf.
#[derive(Default, Debug)]
pub struct Gradients(HashMap<TensorId, Tensor>);

impl FromIterator<(TensorId, Tensor)> for Gradients {
    /// Collects gradients computed elsewhere; those of one id are added up.
    ///
    /// # Panics
    /// Panics if gradients of one id have different shapes.
    fn from_iter<I: IntoIterator<Item = (TensorId, Tensor)>>(gradients: I) -> Self {
        let mut all = HashMap::new();
        gradients.into_iter().for_each(|(id, gradient)| add_into(&mut all, id, gradient, false));
        Self(all)
    }
}

impl Gradients {
    /// The gradient with respect to the leaf (or leaves) of this id; `None` if the loss does not
    /// depend on it.
    pub fn get(&self, id: TensorId) -> Option<&Tensor> {
        self.0.get(&id)
    }

    /// The gradient with respect to `leaf`.
    pub fn of(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.get(leaf.id()?)
    }

    /// Removes and returns the gradient.
    pub fn remove(&mut self, id: TensorId) -> Option<Tensor> {
        self.0.remove(&id)
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
        for (id, grad) in other.0 {
            add_into(&mut self.0, id, grad, false);
        }
    }

    /// The gradients, in ascending order of id.
    pub fn iter(&self) -> impl Iterator<Item = (TensorId, &Tensor)> {
        let mut all: Vec<_> = self.0.iter().map(|(id, t)| (*id, t)).collect();
        all.sort_by_key(|(id, _)| *id);
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
            assert_eq!(sum.shape(), grad.shape(), "gradients of one tensor have different shapes");
            // In place would lose the graph of the sum, which `create_graph` asks for.
            if create_graph || !sum.add_in_place(&grad) {
                *sum = sum.add(&grad);
            }
        }
    }
}

/// A node whose gradient is complete once it is the latest one left: the heap orders nodes by time.
struct PendingNode(Arc<Node>);
impl PartialEq for PendingNode {
    fn eq(&self, other: &Self) -> bool {
        self.0.order == other.0.order
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
        self.0.order.cmp(&other.0.order)
    }
}

/// The gradients of Σ ⟨output, gradient⟩ with respect to every leaf. Consumes the graph.
///
/// # Panics
/// Panics if a gradient's shape is not its output's, or part of the graph was consumed before.
#[track_caller]
pub fn backward(outputs: &[(&Tensor, &Tensor)]) -> Gradients {
    Gradients(run_backward(outputs, None, false, None))
}

/// [`backward`] that hands the gradient of each leaf over to `hook` as soon as it is complete,
/// while those of earlier layers are still to be computed. Each id is handed over once, in an order
/// that is a function of the graph.
///
/// # Panics
/// Panics as [`backward`].
#[track_caller]
pub fn backward_with_hook(outputs: &[(&Tensor, &Tensor)], hook: &mut dyn FnMut(TensorId, Tensor)) {
    let mut left: Vec<_> = run_backward(outputs, None, false, Some(hook)).into_iter().collect();
    left.sort_by_key(|(id, _)| *id);
    left.into_iter().for_each(|(id, gradient)| hook(id, gradient));
}

/// The gradients of Σ ⟨output, gradient⟩ with respect to the tensors `wrt`, and nothing else:
/// gradients that lead only to other leaves are not computed. With `create_graph` the results are
/// themselves differentiable and the graph is kept; without, it is consumed.
///
/// # Panics
/// Panics as [`backward`].
#[track_caller]
pub fn grad(
    outputs: &[(&Tensor, &Tensor)],
    wrt: &[TensorId],
    create_graph: bool,
) -> Vec<Option<Tensor>> {
    let found = run_backward(outputs, Some(wrt), create_graph, None);
    wrt.iter().map(|id| found.get(id).cloned()).collect()
}

#[track_caller]
fn run_backward(
    outputs: &[(&Tensor, &Tensor)],
    wrt: Option<&[TensorId]>,
    create_graph: bool,
    mut hook: Option<&mut dyn FnMut(TensorId, Tensor)>,
) -> HashMap<TensorId, Tensor> {
    let mut uses = hook.as_ref().map_or_else(HashMap::new, |_| count_leaves(outputs));
    let wanted: HashSet<TensorId> = wrt.unwrap_or_default().iter().copied().collect();
    let marked = wrt.map(|_| mark_nodes_leading_to(&wanted, outputs));
    let useful = |node: &Node| marked.as_ref().is_none_or(|m| m.contains(&node.order));
    let mut result = HashMap::new();
    let mut pending: HashMap<u64, Tensor> = HashMap::new();
    let mut heap = BinaryHeap::new();
    for (output, gradient) in outputs {
        assert_eq!(
            output.shape, gradient.shape,
            "backward: the gradient has another shape than its output"
        );
        if let Some(node) = output.node.as_ref().filter(|n| useful(n)) {
            // Without `create_graph`, no operation on the given gradient may be recorded.
            let gradient = if create_graph { (*gradient).clone() } else { gradient.detach() };
            if !pending.contains_key(&node.order) {
                heap.push(PendingNode(node.clone()));
            }
            add_into(&mut pending, node.order, gradient, create_graph);
        }
    }
    // All users of the latest node left have been visited, so its gradient is complete.
    while let Some(PendingNode(node)) = heap.pop() {
        let Some(gradient) = pending.remove(&node.order) else {
            continue;
        };
        if wanted.contains(&node.id) || (wrt.is_none() && node.backward.is_none()) {
            add_into(&mut result, node.id, gradient.clone(), create_graph);
            if let (Some(hook), Some(left)) = (&mut hook, uses.get_mut(&node.id)) {
                *left -= 1;
                if *left == 0 {
                    // The other reference would keep the hook from adding in place.
                    drop(gradient);
                    result.remove(&node.id).into_iter().for_each(|sum| hook(node.id, sum));
                    continue;
                }
            }
        }
        let Some(backward) = &node.backward else {
            continue;
        };
        let needs: SmallVec<[bool; 3]> =
            node.parents.iter().map(|p| p.as_ref().is_some_and(|p| useful(p))).collect();
        // What the node saved stays for another pass.
        if needs.iter().all(|n| !n) {
            continue;
        }
        let ctx =
            BackwardCtx { saved: node.unpack_saved(create_graph), needs: &needs, create_graph };
        let grads = backward(&ctx, &gradient);
        // Frees what the node saved before its parents' gradients are added up: the peak of a
        // training step depends on it.
        drop((ctx, gradient));
        debug_assert_eq!(grads.len(), node.parents.len(), "{}: one gradient per parent", node.name);
        for ((parent, grad), needed) in node.parents.iter().zip(grads).zip(&needs) {
            let (Some(parent), Some(grad), true) = (parent, grad, *needed) else {
                continue;
            };
            if !pending.contains_key(&parent.order) {
                heap.push(PendingNode(parent.clone()));
            }
            add_into(&mut pending, parent.order, grad, create_graph);
        }
    }
    result
}

/// How many leaves of each id `outputs` depend on.
fn count_leaves(outputs: &[(&Tensor, &Tensor)]) -> HashMap<TensorId, usize> {
    let (mut seen, mut counts) = (HashSet::new(), HashMap::new());
    let mut stack: Vec<Arc<Node>> = outputs.iter().filter_map(|(o, _)| o.node.clone()).collect();
    while let Some(node) = stack.pop() {
        if seen.insert(node.order) {
            stack.extend(node.parents.iter().flatten().cloned());
            if node.backward.is_none() {
                *counts.entry(node.id).or_insert(0) += 1;
            }
        }
    }
    counts
}

/// The nodes on a path from `outputs` down to a wanted tensor.
fn mark_nodes_leading_to(
    wanted: &HashSet<TensorId>,
    outputs: &[(&Tensor, &Tensor)],
) -> HashSet<u64> {
    let mut nodes: HashMap<u64, Arc<Node>> = HashMap::new();
    let mut stack: Vec<Arc<Node>> = outputs.iter().filter_map(|(o, _)| o.node.clone()).collect();
    while let Some(node) = stack.pop() {
        if nodes.contains_key(&node.order) {
            continue;
        }
        stack.extend(node.parents.iter().flatten().cloned());
        nodes.insert(node.order, node);
    }
    // Ascending order is a topological order, so one pass decides every node from its parents.
    let mut ascending: Vec<&Arc<Node>> = nodes.values().collect();
    ascending.sort_by_key(|n| n.order);
    let mut marked = HashSet::new();
    for node in ascending {
        if wanted.contains(&node.id)
            || node.parents.iter().flatten().any(|p| marked.contains(&p.order))
        {
            marked.insert(node.order);
        }
    }
    marked
}
