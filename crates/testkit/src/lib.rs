//! Private database servers and fixtures for tests.
