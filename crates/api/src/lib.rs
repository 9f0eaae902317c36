//! Routes, extractors, permissions and OpenAPI of all services.
