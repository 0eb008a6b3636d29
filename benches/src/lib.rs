//! Benchmarks of the layers.
