//! Versions of definitions, which are part of their names.

use mlops_core::Name;

use crate::error::Result;

/// Family and version that the name of a view or a service tells: `clicks.v2` is version 2 of `clicks`, and a name without
/// such an ending is version 1.
///
/// A version is part of the name, so that whatever is stored, referred to or logged under a name is of one definition for good:
/// versions lie side by side in every store, and a service says which one it takes.
///
/// # Examples
/// ```
/// use mlops_core::Name;
/// use mlops_features::family_and_version;
/// assert_eq!(family_and_version(&Name::new("clicks.v12")?), ("clicks", 12));
/// assert_eq!(family_and_version(&Name::new("clicks.v")?), ("clicks.v", 1));
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn family_and_version(name: &Name) -> (&str, u32) {
    let whole = name.as_str();
    let Some((family, digits)) = whole.rsplit_once(".v") else { return (whole, 1) };
    let plain = !family.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse() {
        Ok(version) if plain => (family, version),
        _ => (whole, 1),
    }
}

/// The name of this version of `family`.
///
/// # Errors
/// `Core(Invalid)` when it would be too long.
pub(crate) fn versioned(family: &str, version: u32) -> Result<Name> {
    Ok(if version == 1 { Name::new(family)? } else { Name::new(format!("{family}.v{version}"))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, family: &str, version: u32) {
        assert_eq!(family_and_version(&Name::new(name).unwrap()), (family, version));
    }

    #[test]
    fn only_a_plain_number_behind_a_name_is_a_version() {
        check("clicks", "clicks", 1);
        check("clicks.v1", "clicks", 1);
        check("clicks.v2", "clicks", 2);
        check("a.v2.v3", "a.v2", 3);
        check("clicks.v02", "clicks.v02", 1);
        check("clicks.v0", "clicks.v0", 1);
        check("clicks.v2x", "clicks.v2x", 1);
        check("clicks.v99999999999", "clicks.v99999999999", 1);
        assert_eq!(versioned("clicks", 2).unwrap().as_str(), "clicks.v2");
        assert_eq!(versioned("clicks", 1).unwrap().as_str(), "clicks");
    }
}
