//! The built-in transforms by name: their settings in files, their states restored.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rows::unpack;
use super::told::told;
use super::{
    Bin, Cast, Chain, Dates, Dedup, Encode, FillForward, FittedBin, FittedChain, FittedDates, FittedDedup,
    FittedEncode, FittedFillForward, FittedImpute, FittedIsolationForest, FittedNearDedup, FittedNearest,
    FittedOutliers, FittedPrune, FittedScale, FittedSelect, FittedText, FittedTransform, Impute, IsolationForest,
    NearDedup, Nearest, Outliers, Prune, Scale, Scope, Select, Study, Text, Transform, TransformState, Watch, bin,
    cast, chain, date, dedup, encode, impute, outlier, prune, scale, select, text,
};
use crate::{Dataset, Error, Result, Schema};

/// Settings of any built-in transform, as they stand in a file.
///
/// # Examples
/// ```
/// use mlops_core::clean::{Recipe, Transform};
///
/// let recipe: Recipe = serde_json::from_str(
///     r#"{"chain": [
///         {"dedup": {"keys": {"columns": ["event_id"]}}},
///         {"impute": {"rules": [{"columns": "numbers", "strategy": "median"}], "indicator": true}},
///         {"scale": {"rules": [{"columns": {"columns": ["age"]}, "method": "standard"}]}}
///     ]}"#,
/// )?;
/// assert!(matches!(&recipe, Recipe::Chain(stages) if stages.len() == 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Recipe {
    /// Fills what is missing.
    Impute(Impute),
    /// Treats values far from the others.
    Outliers(Outliers),
    /// Drops rows that come more than once.
    Dedup(Dedup),
    /// Keeps, drops, renames and reorders columns.
    Select(Select),
    /// Brings numbers to a common scale.
    Scale(Scale),
    /// Casts columns.
    Cast(Cast),
    /// Encodes categories.
    Encode(Encode),
    /// Puts numbers into bins.
    Bin(Bin),
    /// Makes columns of times.
    Dates(Dates),
    /// Makes columns of texts.
    Text(Text),
    /// Fills missing numbers with those of the rows nearest.
    Nearest(Nearest),
    /// Fills missing values with the last before them.
    FillForward(FillForward),
    /// Drops or flags rows that are outliers in several columns together.
    IsolationForest(IsolationForest),
    /// Drops rows whose texts are nearly those of others.
    NearDedup(NearDedup),
    /// Drops columns that tell nothing of their own.
    Prune(Prune),
    /// Several, one after another.
    Chain(Vec<Recipe>),
}

macro_rules! recipe_from {
    ($($transform:ident),*) => {$(
        impl From<$transform> for Recipe {
            fn from(transform: $transform) -> Self {
                Self::$transform(transform)
            }
        }
    )*};
}

recipe_from!(
    Impute,
    Outliers,
    Dedup,
    Select,
    Scale,
    Cast,
    Encode,
    Bin,
    Dates,
    Text,
    Nearest,
    FillForward,
    IsolationForest,
    NearDedup,
    Prune
);

impl Recipe {
    fn transform(&self) -> Result<Arc<dyn Transform>> {
        Ok(match self {
            Self::Impute(transform) => Arc::new(transform.clone()),
            Self::Outliers(transform) => Arc::new(transform.clone()),
            Self::Dedup(transform) => Arc::new(transform.clone()),
            Self::Select(transform) => Arc::new(transform.clone()),
            Self::Scale(transform) => Arc::new(transform.clone()),
            Self::Cast(transform) => Arc::new(transform.clone()),
            Self::Encode(transform) => Arc::new(transform.clone()),
            Self::Bin(transform) => Arc::new(transform.clone()),
            Self::Dates(transform) => Arc::new(transform.clone()),
            Self::Text(transform) => Arc::new(transform.clone()),
            Self::Nearest(transform) => Arc::new(transform.clone()),
            Self::FillForward(transform) => Arc::new(transform.clone()),
            Self::IsolationForest(transform) => Arc::new(transform.clone()),
            Self::NearDedup(transform) => Arc::new(transform.clone()),
            Self::Prune(transform) => Arc::new(transform.clone()),
            Self::Chain(stages) => {
                let add = |chain: super::ChainBuilder, stage: &Self| Ok(chain.then_shared(stage.transform()?));
                Arc::new(stages.iter().try_fold(Chain::builder(), add).and_then(super::ChainBuilder::build)?)
            }
        })
    }
}

impl Transform for Recipe {
    /// As the transform that it describes; [`Error::Invalid`] for a chain without stages or of too many.
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        self.transform()?.fit(data)
    }

    fn settings(&self) -> Result<serde_json::Value> {
        self.transform()?.settings()
    }

    fn study(&self, schema: &Schema) -> Result<Option<Study>> {
        self.transform()?.study(schema)
    }

    fn fit_watched(&self, data: &Dataset, watch: &Watch) -> Result<Box<dyn FittedTransform>> {
        self.transform()?.fit_watched(data, watch)
    }
}

/// The built-in transform that wrote `state`.
///
/// # Errors
/// [`Error::InvalidData`] when the state is of another kind, of an unknown layout, or its body does not fit.
pub fn restore(state: &TransformState) -> Result<Box<dyn FittedTransform>> {
    restore_with(state, &unknown)
}

fn unknown(state: &TransformState) -> Result<Box<dyn FittedTransform>> {
    Err(Error::invalid_data("state of a transform", format_args!("unknown kind {:?}", clip(&state.kind))))
}

fn clip(kind: &str) -> &str {
    &kind[..kind.floor_char_boundary(80)]
}

/// As [`restore`], with `custom` for the kinds that are not built in, also inside of a chain.
///
/// # Errors
/// As [`restore`], and what `custom` says.
pub fn restore_with(
    state: &TransformState,
    custom: &dyn Fn(&TransformState) -> Result<Box<dyn FittedTransform>>,
) -> Result<Box<dyn FittedTransform>> {
    let restored: Box<dyn FittedTransform> = match state.kind.as_str() {
        impute::KIND => Box::new(unpack::<FittedImpute>(impute::KIND, state)?),
        outlier::KIND => Box::new(unpack::<FittedOutliers>(outlier::KIND, state)?),
        dedup::KIND => Box::new(unpack::<FittedDedup>(dedup::KIND, state)?),
        select::KIND => Box::new(unpack::<FittedSelect>(select::KIND, state)?),
        scale::KIND => Box::new(unpack::<FittedScale>(scale::KIND, state)?),
        cast::KIND => cast::restore(state)?,
        encode::KIND => Box::new(unpack::<FittedEncode>(encode::KIND, state)?),
        bin::KIND => Box::new(unpack::<FittedBin>(bin::KIND, state)?),
        date::KIND => Box::new(unpack::<FittedDates>(date::KIND, state)?),
        text::KIND => Box::new(unpack::<FittedText>(text::KIND, state)?),
        impute::nearest::KIND => Box::new(unpack::<FittedNearest>(impute::nearest::KIND, state)?),
        impute::forward::KIND => Box::new(unpack::<FittedFillForward>(impute::forward::KIND, state)?),
        outlier::forest::KIND => Box::new(unpack::<FittedIsolationForest>(outlier::forest::KIND, state)?),
        dedup::near::KIND => Box::new(unpack::<FittedNearDedup>(dedup::near::KIND, state)?),
        prune::KIND => Box::new(unpack::<FittedPrune>(prune::KIND, state)?),
        chain::KIND => {
            let states: Vec<TransformState> = unpack(chain::KIND, state)?;
            let restored = states.iter().map(|state| restore_with(state, custom).map(Into::into));
            // Its stages tell their own settings, and so those of all.
            return Ok(Box::new(FittedChain::of(restored.collect::<Result<_>>()?)));
        }
        _ => custom(state)?,
    };
    Ok(told(state.settings.clone(), restored))
}

/// The part of what `state` restores that treats single rows: stages of [`Scope::Table`] are left out of a chain, but for
/// [what they do to single rows](FittedTransform::for_rows). For the request path.
///
/// # Errors
/// As [`restore`], and [`Error::Invalid`] for a transform of [`Scope::Table`] that does nothing to single rows.
pub fn restore_rows(state: &TransformState) -> Result<Box<dyn FittedTransform>> {
    let restored = restore(state)?;
    if restored.scope() == Scope::Row {
        return Ok(restored);
    }
    let refuse = || Error::invalid("state", clip(&state.kind), "of a transform that treats single rows");
    Ok(Box::new(restored.for_rows().ok_or_else(refuse)?))
}
