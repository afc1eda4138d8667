//! Where boxes go: layers from left to right, and few crossings within them.
//!
//! # Source
//! Sugiyama, Tagawa, Toda, *Methods for visual understanding of hierarchical system structures*, IEEE Transactions on
//! Systems, Man, and Cybernetics 11 (2), 1981: cycles cut, layers by longest path, order by barycentres.

/// Sweeps over all layers, each forth and back.
const SWEEPS: usize = 4;

/// The boxes of each layer, top to bottom.
pub(super) fn place(nodes: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let forward = without_cycles(nodes, edges);
    let layer = longest_paths(nodes, &forward);
    let count = layer.iter().max().map_or(0, |last| last + 1);
    let mut layers = vec![Vec::new(); count];
    for (node, layer) in layer.iter().enumerate() {
        layers[*layer].push(node);
    }
    for _ in 0..SWEEPS {
        for at in 1..count {
            order(&mut layers, at, nodes, forward.iter().map(|(from, to)| (*to, *from)));
        }
        for at in (0..count.saturating_sub(1)).rev() {
            order(&mut layers, at, nodes, forward.iter().copied());
        }
    }
    layers
}

/// The edges that lead on; those that would close a cycle in a walk from the first box on are left out.
fn without_cycles(nodes: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut ways = vec![Vec::new(); nodes];
    for (from, to) in edges {
        ways[*from].push(*to);
    }
    let mut marks = vec![Mark::New; nodes];
    let mut forward = Vec::new();
    for start in 0..nodes {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        let mut stack = vec![(start, 0)];
        while let Some((node, next)) = stack.last_mut() {
            let node = *node;
            let Some(to) = ways[node].get(*next).copied() else {
                marks[node] = Mark::Done;
                stack.pop();
                continue;
            };
            *next += 1;
            if marks[to] != Mark::Open {
                forward.push((node, to));
            }
            if marks[to] == Mark::New {
                marks[to] = Mark::Open;
                stack.push((to, 0));
            }
        }
    }
    forward
}

/// For each box the most edges on a way to it.
fn longest_paths(nodes: usize, forward: &[(usize, usize)]) -> Vec<usize> {
    let mut waiting = vec![0; nodes];
    let mut ways = vec![Vec::new(); nodes];
    for (from, to) in forward {
        waiting[*to] += 1;
        ways[*from].push(*to);
    }
    let mut layer = vec![0; nodes];
    let mut ready: Vec<usize> = (0..nodes).filter(|node| waiting[*node] == 0).collect();
    while let Some(node) = ready.pop() {
        for to in &ways[node] {
            layer[*to] = layer[*to].max(layer[node] + 1);
            waiting[*to] -= 1;
            if waiting[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    layer
}

/// Orders layer `at` by the mean place of neighbours; `ways` lead from a box to its neighbours on one side.
fn order(layers: &mut [Vec<usize>], at: usize, nodes: usize, ways: impl Iterator<Item = (usize, usize)>) {
    let mut height = vec![0.0; nodes];
    for layer in layers.iter() {
        for (place, node) in layer.iter().enumerate() {
            // From 0 to 1, so that layers of different sizes compare.
            height[*node] = (place as f64 + 0.5) / layer.len() as f64;
        }
    }
    let mut sums = vec![(0.0, 0_u32); nodes];
    for (node, neighbour) in ways {
        sums[node].0 += height[neighbour];
        sums[node].1 += 1;
    }
    let mean = |node: usize| match sums[node] {
        (_, 0) => height[node],
        (sum, count) => sum / f64::from(count),
    };
    layers[at].sort_by(|a, b| mean(*a).total_cmp(&mean(*b)).then(a.cmp(b)));
}
