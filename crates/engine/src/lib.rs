//! How one job becomes landed, committed data.
