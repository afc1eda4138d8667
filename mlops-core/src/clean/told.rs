//! What was fitted, with the settings that it was fitted with.

use std::sync::Arc;

use serde_json::Value;

use super::{FittedTransform, Pass, Scope, TransformState};
use crate::{Result, Schema};

/// `fitted`, whose state tells `settings`; the same where there are none.
pub(super) fn told(settings: Value, fitted: Box<dyn FittedTransform>) -> Box<dyn FittedTransform> {
    if settings.is_null() { fitted } else { Box::new(Told { settings, fitted: fitted.into() }) }
}

#[derive(Debug)]
struct Told {
    settings: Value,
    fitted: Arc<dyn FittedTransform>,
}

impl FittedTransform for Told {
    fn scope(&self) -> Scope {
        self.fitted.scope()
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        self.fitted.output_schema(input)
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        self.fitted.begin(input)
    }

    fn for_rows(&self) -> Option<Arc<dyn FittedTransform>> {
        let told = |fitted| Arc::new(Self { settings: self.settings.clone(), fitted }) as Arc<dyn FittedTransform>;
        self.fitted.for_rows().map(told)
    }

    fn state(&self) -> Result<TransformState> {
        Ok(TransformState { settings: self.settings.clone(), ..self.fitted.state()? })
    }
}
