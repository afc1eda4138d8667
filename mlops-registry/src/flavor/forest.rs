//! Tree ensembles as models.

use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch};
use mlops_core::interop::floats;
use mlops_core::model::{Model, Signature};
use serde::{Deserialize, Serialize};

use crate::forest::Forest;
use crate::{Error, Result};

const FORMAT: u32 = 1;

/// A [`Forest`] with a signature: what the gradient-boosting trainer makes and a service scores with.
///
/// Its output is the forest's link of the raw score; nulls and NaN are missing values.
#[derive(Clone, Debug)]
pub struct ForestModel {
    signature: Signature,
    forest: Forest,
}

#[derive(Serialize)]
struct Wire<'a> {
    format: u32,
    signature: &'a Signature,
    forest: &'a Forest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRead {
    #[serde(rename = "format")]
    _format: u32,
    signature: Signature,
    forest: Forest,
}

impl ForestModel {
    /// Name of the flavor.
    pub const FLAVOR: &'static str = "forest";

    /// Puts a forest and its signature together.
    ///
    /// # Errors
    /// [`InvalidData`](mlops_core::Error::InvalidData) when the inputs of the signature are not the forest's features.
    pub fn new(forest: Forest, signature: Signature) -> Result<Self> {
        if !signature.names().eq(forest.features().iter().map(String::as_str)) {
            return Err(Error::invalid_data(
                "forest model",
                "the inputs of the signature are not the forest's features",
            ));
        }
        Ok(Self { signature, forest })
    }

    /// The trees.
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// Reads what [`Model::to_bytes`] wrote; a [`Reader`](super::Reader).
    ///
    /// # Errors
    /// [`InvalidData`](mlops_core::Error::InvalidData) when it is not a sound forest, [`Error::Format`] when a newer
    /// version wrote it.
    pub fn read(bytes: &[u8]) -> Result<Box<dyn Model>> {
        let wire: WireRead = super::read_json("forest model", bytes, FORMAT)?;
        Ok(Box::new(Self::new(wire.forest, wire.signature)?))
    }

    fn columns(&self, features: &RecordBatch) -> mlops_core::Result<Vec<mlops_core::arrow::buffer::ScalarBuffer<f64>>> {
        let arrays = self.signature.select(features)?;
        self.signature.names().zip(&arrays).map(|(name, array)| floats(name, array)).collect()
    }
}

impl Model for ForestModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn flavor(&self) -> &'static str {
        Self::FLAVOR
    }

    fn predict(&self, features: &RecordBatch) -> mlops_core::Result<ArrayRef> {
        let columns = self.columns(features)?;
        let slices: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
        let mut scores = vec![0.0; features.num_rows()];
        self.forest.raw_scores(&slices, &mut scores)?;
        let link = self.forest.link();
        for score in &mut scores {
            *score = link.apply(*score);
        }
        Ok(Arc::new(Float64Array::from(scores)))
    }

    fn explain(&self, features: &RecordBatch) -> mlops_core::Result<Option<RecordBatch>> {
        let columns = self.columns(features)?;
        let rows = features.num_rows();
        let mut parts = vec![Vec::with_capacity(rows); columns.len() + 1];
        let mut row = vec![0.0; columns.len()];
        for i in 0..rows {
            row.iter_mut().zip(&columns).for_each(|(value, column)| *value = column[i]);
            let reasons = self.forest.contributions(&row)?;
            parts.iter_mut().zip(reasons.by_feature.iter().chain([&reasons.bias])).for_each(|(part, v)| part.push(*v));
        }
        let names = self.signature.names().chain(["bias"]);
        let arrays = parts.into_iter().map(|part| Arc::new(Float64Array::from(part)) as ArrayRef);
        Ok(Some(RecordBatch::try_from_iter(names.zip(arrays))?))
    }

    fn to_bytes(&self) -> mlops_core::Result<Vec<u8>> {
        let wire = Wire { format: FORMAT, signature: &self.signature, forest: &self.forest };
        serde_json::to_vec(&wire).map_err(|e| mlops_core::Error::invalid_data("forest model", e))
    }
}
