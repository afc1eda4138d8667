//! The public interface of `mlops-registry`, in one binary.

mod stores;
mod training;
