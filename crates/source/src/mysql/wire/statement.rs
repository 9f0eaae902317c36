//! Prepared statements.

use mysql_common::value::Value;

use super::column::{ColumnDef, Columns};

/// A statement that the server has prepared on one connection; other connections do not know its number.
///
/// The server forgets it with its connection, or after [`super::Connection::close_statement`].
#[derive(Debug, Clone)]
pub struct Statement {
    pub(super) id: u32,
    pub(super) connection_id: u32,
    pub(super) params: usize,
    pub(super) columns: Columns,
}

impl Statement {
    /// The columns that it will answer with; empty for a statement without rows.
    #[must_use]
    pub fn columns(&self) -> &[ColumnDef] {
        &self.columns
    }
}

/// A value for a `?` of a prepared statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// SQL's null.
    Null,
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    UInt(u64),
    /// A floating-point number.
    Double(f64),
    /// Text in utf8mb4; the server converts it to whatever it is compared with.
    Bytes(Vec<u8>),
}

impl From<&Param> for Value {
    fn from(param: &Param) -> Self {
        match param {
            Param::Null => Self::NULL,
            Param::Int(value) => Self::Int(*value),
            Param::UInt(value) => Self::UInt(*value),
            Param::Double(value) => Self::Double(*value),
            Param::Bytes(value) => Self::Bytes(value.clone()),
        }
    }
}
