//! The formats of this build: one line each.

use std::sync::Arc;

use crate::contract::{Lake, WriteLimits};
use crate::delta::DeltaLake;

/// A format by the name that settings know it by, and how to make it.
type Format = (&'static str, fn(WriteLimits) -> Arc<dyn Lake>);

const FORMATS: [Format; 1] = [("delta", |limits| Arc::new(DeltaLake::new(limits)))];

/// All formats, made with the same limits.
#[must_use]
pub fn formats(limits: WriteLimits) -> Vec<(&'static str, Arc<dyn Lake>)> {
    FORMATS.iter().map(|(name, make)| (*name, make(limits))).collect()
}

/// The format that tables are made in.
#[must_use]
pub fn delta(limits: WriteLimits) -> Arc<dyn Lake> {
    Arc::new(DeltaLake::new(limits))
}
