//! Crash and fault devices, models and golden images for luksmith's tests.
