//! Routes, one folder per service.

pub(crate) mod catalog;
pub(crate) mod docs;
pub(crate) mod flowservice;
pub(crate) mod ims;
pub(crate) mod ops;
pub(crate) mod ui;
