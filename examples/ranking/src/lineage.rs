//! Where the version in service comes from.

use std::collections::{BTreeMap, BTreeSet};

use mlops_core::catalog::{Catalog, Lineage};
use mlops_core::{Dataset, Digest, Name};
use mlops_registry::serve::ServedModel;

use crate::Result;
use crate::intake::Named;

/// Whether the version that serves now leads back, content by content, to raw data that is still what it was and to logs of service, and
/// what went into it as a Mermaid flow chart.
///
/// * `raw`: data that came from outside.
/// * `logs`: what names of logs of service begin with.
///
/// # Errors
/// When the catalogue does not know what the version was trained on, or raw data cannot be read any more.
pub fn of(catalog: &dyn Catalog, raw: &[Named], logs: &str, served: &ServedModel) -> Result<(bool, String)> {
    let raw: BTreeMap<Digest, &Dataset> =
        raw.iter().map(|(_, data)| Ok((data.digest()?, data))).collect::<Result<_>>()?;
    let graph = Lineage::of(catalog)?;
    let (mut sources, mut drawn, mut whole) = (BTreeSet::new(), String::new(), true);
    for content in served.current().version.made.trained_on {
        let trace = graph.ancestors(&content)?;
        let logged = |name: &Name| name.as_str().starts_with(logs);
        let found = trace.nodes.iter().map(|reached| &reached.node);
        let found = found.filter(|node| raw.contains_key(&node.digest) || node.names.iter().any(logged));
        let found: BTreeSet<Digest> = found.map(|node| node.digest).collect();
        whole &= trace.missing.is_empty() && trace.ends.iter().all(|end| found.contains(end));
        sources.extend(found);
        drawn += &trace.to_mermaid();
    }
    for (digest, data) in raw.iter().filter(|(digest, _)| sources.contains(digest)) {
        // Read again: a digest that was remembered would prove nothing.
        let again = Dataset::collect(data.batches()?)?.with_schema(data.schema().clone())?;
        whole &= again.digest()? == *digest;
    }
    Ok((whole && !sources.is_empty(), drawn))
}
