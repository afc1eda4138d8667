//! Cuts that tell most about a label.

/// A stretch of sorted pairs and its best cut.
struct Leaf {
    start: usize,
    end: usize,
    /// By how much the best cut lowers the squared distances, and before which pair it lies.
    best: Option<(f64, usize)>,
}

/// At most `leaves − 1` rising cuts of `pairs` (value, label), sorted by value; the best first, until none helps.
pub(super) fn cuts(pairs: &[(f64, f64)], leaves: usize) -> Vec<f64> {
    let mut sums = vec![0.0; pairs.len() + 1];
    for (place, (_, label)) in pairs.iter().enumerate() {
        sums[place + 1] = sums[place] + label;
    }
    let leaf = |start, end| Leaf { start, end, best: best(pairs, &sums, start, end) };
    let mut open = vec![leaf(0, pairs.len())];
    let mut cuts = Vec::new();
    while open.len() < leaves {
        let gain = |leaf: &Leaf| leaf.best.map_or(0.0, |(gain, _)| gain);
        let Some(next) = (0..open.len()).max_by(|a, b| gain(&open[*a]).total_cmp(&gain(&open[*b]))) else { break };
        let Some((gain, at)) = open[next].best else { break };
        if gain <= 0.0 {
            break;
        }
        let Leaf { start, end, .. } = open.swap_remove(next);
        cuts.push(f64::midpoint(pairs[at - 1].0, pairs[at].0));
        open.push(leaf(start, at));
        open.push(leaf(at, end));
    }
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    cuts
}

fn best(pairs: &[(f64, f64)], sums: &[f64], start: usize, end: usize) -> Option<(f64, usize)> {
    let square = |from: usize, to: usize| (sums[to] - sums[from]).powi(2) / (to - from) as f64;
    let whole = if start < end { square(start, end) } else { 0.0 };
    let scale = whole.abs().max(f64::MIN_POSITIVE);
    let mut best: Option<(f64, usize)> = None;
    for at in start + 1..end {
        if pairs[at - 1].0 < pairs[at].0 {
            let gain = square(start, at) + square(at, end) - whole;
            // What rounding alone brings about is no gain.
            if gain > 1e-12 * scale && best.is_none_or(|(greatest, _)| gain > greatest) {
                best = Some((gain, at));
            }
        }
    }
    best
}
