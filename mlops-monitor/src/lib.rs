//! Windows over mergeable statistics, drift, performance, fairness, alerts and retraining policy.
