//! Collects the settings of on-demand views.

use mlops_core::Name;
use mlops_core::expr::Expr;
use mlops_core::schema::Sensitivity;

use super::{DerivedFeature, Form, OnDemandView};
use crate::about::{About, about_setters};
use crate::define::{FeatureRef, ValueType};
use crate::error::{Core, Result};
use crate::transform::{Input, InputSource};
use crate::view::FeatureView;

/// Collects the settings of an [`OnDemandView`].
#[derive(Clone, Debug)]
pub struct OnDemandViewBuilder {
    name: String,
    inputs: Vec<OpenInput>,
    features: Vec<(String, OpenExpr, Sensitivity)>,
    about: About,
}

#[derive(Clone, Debug)]
struct OpenInput {
    name: String,
    value_type: ValueType,
    /// `None` for a column of the caller.
    feature: Option<String>,
    keys: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
enum OpenExpr {
    Text(String),
    Tree(Expr),
}

impl OnDemandViewBuilder {
    pub(super) fn new(name: String) -> Self {
        Self { name, inputs: Vec::new(), features: Vec::new(), about: About::default() }
    }

    /// Adds the feature `reference`, written `view:feature`, as an input `name`.
    pub fn input(self, name: impl Into<String>, value_type: ValueType, reference: impl Into<String>) -> Self {
        self.input_by(name, value_type, reference, [])
    }

    /// As [`input`](Self::input), with the key columns of its view under other names of the caller: pairs of key and
    /// column. So one view can be read for two things.
    pub fn input_by<'a>(
        mut self,
        name: impl Into<String>,
        value_type: ValueType,
        reference: impl Into<String>,
        keys: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let keys = keys.into_iter().map(|(key, column)| (key.to_owned(), column.to_owned())).collect();
        self.inputs.push(OpenInput { name: name.into(), value_type, feature: Some(reference.into()), keys });
        self
    }

    /// Adds all features of `view` as inputs, under their own names.
    pub fn inputs_of(self, view: &FeatureView) -> Self {
        let reference = |feature: &Name| format!("{}:{feature}", view.name());
        view.features().iter().fold(self, |all, f| all.input(f.name.as_str(), f.value_type, reference(&f.name)))
    }

    /// Adds a column that the caller brings: a key, or what only the request knows.
    pub fn column(mut self, name: impl Into<String>, value_type: ValueType) -> Self {
        self.inputs.push(OpenInput { name: name.into(), value_type, feature: None, keys: Vec::new() });
        self
    }

    /// Adds a feature of sensitivity `Internal`, or of that of its strictest input, as the text form of an expression.
    pub fn feature(self, name: impl Into<String>, expr: impl Into<String>) -> Self {
        self.sensitive(name, expr, Sensitivity::default())
    }

    /// Adds a feature that is at least this sensitive.
    pub fn sensitive(mut self, name: impl Into<String>, expr: impl Into<String>, sensitivity: Sensitivity) -> Self {
        self.features.push((name.into(), OpenExpr::Text(expr.into()), sensitivity));
        self
    }

    /// Adds a feature by the tree of its expression.
    pub fn tree(mut self, name: impl Into<String>, expr: Expr) -> Self {
        self.features.push((name.into(), OpenExpr::Tree(expr), Sensitivity::default()));
        self
    }

    about_setters!();

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(InvalidData)` for an expression that cannot be read or does not fit the inputs, naming the feature and the
    /// place; `Core(Invalid)` for a bad name or reference, or no or more than 65536 features; `Core(AlreadyExists)` when two
    /// inputs or two features have one name.
    pub fn build(self) -> Result<OnDemandView> {
        let inputs = self.inputs.into_iter().map(OpenInput::close).collect::<Result<_>>()?;
        let view = &self.name;
        let feature = |(name, expr, sensitivity): (String, OpenExpr, Sensitivity)| {
            let expr = match expr {
                OpenExpr::Tree(tree) => tree,
                OpenExpr::Text(text) => {
                    Expr::parse(&text).map_err(|error| Core::invalid_data(format!("feature `{view}:{name}`"), error))?
                }
            };
            Ok(DerivedFeature { name: Name::new(name)?, expr, sensitivity })
        };
        let features = self.features.into_iter().map(feature).collect::<Result<_>>()?;
        Form {
            name: Name::new(&self.name)?,
            inputs,
            features,
            tags: self.about.tags,
            owner: self.about.owner,
            description: self.about.description,
        }
        .try_into()
    }
}

impl OpenInput {
    fn close(self) -> Result<Input> {
        let name = Name::new(self.name)?;
        let from = match self.feature {
            Some(reference) => InputSource::Feature(reference.parse::<FeatureRef>()?),
            None => InputSource::Column(name.clone()),
        };
        let pair = |(key, column): (String, String)| Ok((Name::new(key)?, Name::new(column)?));
        let keys = self.keys.into_iter().map(pair).collect::<Result<_>>()?;
        Ok(Input { name, value_type: self.value_type, from, keys })
    }
}
