//! What people are told of a definition.

use std::collections::BTreeMap;

/// What people are told of a definition: nothing that is computed depends on it.
///
/// Forms hold these as members of their own, because serde does not flatten what refuses unknown members.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct About {
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) owner: String,
    pub(crate) description: String,
}

/// The setters of a builder that has an [`About`].
macro_rules! about_setters {
    () => {
        /// Adds a label.
        pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
            self.about.tags.insert(key.into(), value.into());
            self
        }

        /// Who answers for it. Default nobody.
        pub fn owner(mut self, owner: impl Into<String>) -> Self {
            self.about.owner = owner.into();
            self
        }

        /// What it is, for people. Default empty.
        pub fn description(mut self, text: impl Into<String>) -> Self {
            self.about.description = text.into();
            self
        }
    };
}

/// The accessors of a definition whose form is at `self.0` and these members.
macro_rules! about_accessors {
    ($($form:ident)?) => {
        /// Labels, by key.
        pub fn tags(&self) -> &std::collections::BTreeMap<String, String> {
            &self.0 $(.$form)? .tags
        }

        /// Who answers for it.
        pub fn owner(&self) -> &str {
            &self.0 $(.$form)? .owner
        }

        /// What it is, for people.
        pub fn description(&self) -> &str {
            &self.0 $(.$form)? .description
        }
    };
}

pub(crate) use {about_accessors, about_setters};
