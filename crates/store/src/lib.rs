//! The metadata store: tables, transactions, leases and the credential vault.
