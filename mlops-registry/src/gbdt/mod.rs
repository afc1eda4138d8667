//! Gradient boosting.
