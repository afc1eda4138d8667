//! The public interface of `mlops-registry`, in one binary.

mod bad_files;
mod bad_models;
mod bad_names;
mod bad_rows;
mod gbdt;
mod stores;
mod training;
