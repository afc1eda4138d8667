//! The public interface of `mlops-registry`, in one binary.

mod gbdt;
mod stores;
mod training;
