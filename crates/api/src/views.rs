//! From resources to what stands on the wire, where that is not the stored document itself.

pub(crate) mod batches;
pub(crate) mod data_sets;
