//! Routes, extractors, permissions and OpenAPI of all services.
//!
//! A request goes one way (docs/architecture.md, section 3): a handler extracts, builds one command, calls control once
//! and shapes the answer. Failures go the same way back: a handler returns an `ApiError`, and the frame around all routes
//! gives it the body of its service.
//!
//! **Invariant.** The API knows no SQL, no Arrow and no inside of a run; it never decides, it translates.

mod attempt;
mod auth;
mod documents;
mod error;
mod extract;
mod frame;
mod limits;
mod listener;
mod openapi;
mod patience;
mod permissions;
mod rate;
mod router;
mod routes;
mod serve;
mod service;
mod state;
mod views;

pub use limits::Limits;
pub use openapi::{Operation, openapi_json, operations};
pub use permissions::Need;
pub use rate::{InvalidRate, RatePerSecond};
pub use router::router;
pub use serve::{Connections, Server};
pub use state::{ApiState, RenderMetrics};
