//! Trainers, runs, artifacts, model versions, promotion and model serving.
