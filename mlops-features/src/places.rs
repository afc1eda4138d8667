//! Where named things stand, found by name: views may have tens of thousands of features.

/// Positions in a list of named things, in the order of their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Box<[u32]>);

impl Places {
    /// Of a list of fewer than 2^32 things, of which `name` gives that of each.
    pub(crate) fn new<'a>(count: usize, name: impl Fn(usize) -> &'a str) -> Self {
        let mut places: Vec<u32> = (0..count as u32).collect();
        places.sort_unstable_by(|a, b| name(*a as usize).cmp(name(*b as usize)).then(a.cmp(b)));
        Self(places.into())
    }

    /// The first one that is called `wanted`.
    pub(crate) fn find<'a>(&self, wanted: &str, name: impl Fn(usize) -> &'a str) -> Option<usize> {
        let at = self.0.partition_point(|place| name(*place as usize) < wanted);
        self.0.get(at).map(|place| *place as usize).filter(|place| name(*place) == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_leads_to_its_first_place() {
        let names = ["b", "a", "c", "b"];
        let places = Places::new(names.len(), |at| names[at]);
        let found = ["a", "b", "c", "", "bb", "d"].map(|wanted| places.find(wanted, |at| names[at]));
        assert_eq!(found, [Some(1), Some(0), Some(2), None, None, None]);
        assert_eq!(Places::default().find("a", |at| names[at]), None);
    }
}
