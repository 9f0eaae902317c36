//! The rows of a result set, as they arrive.

use headwaters_model::source_error::SourceError;

use super::column::{ColumnDef, Columns};
use super::connection::Connection;
use super::packets::{ERROR, Head, PACKET_BYTES_MAX};

/// The first byte of what ends a result set; also a length prefix in the text protocol, so the length decides.
pub(super) const END: u8 = 0xFE;
/// The longest old-style end.
pub(super) const OLD_END_BYTES_MAX: usize = 8;
/// The first byte of a row in the binary protocol.
const BINARY_ROW: u8 = 0x00;

/// How the cells of a row are written (mysql-sources.md 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFormat {
    /// A zero byte, a bitmap of nulls with offset 2, then little-endian values.
    Binary,
    /// Length-encoded texts; 0xFB is null.
    Text,
}

/// What a packet inside a result set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Row,
    End,
    Error,
    Odd,
}

/// Where the row is that didn't fit into the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LargeRow {
    None,
    /// Being put together; whoever finds it so gave up waiting, and the rest of the row is gone.
    Assembling,
    Waiting,
    Lent,
}

/// Why nothing more can be read after a [`Rows::fill`] that was not waited for.
const GIVEN_UP: &str = "a row was given up in the middle";

/// The rows of one result set.
///
/// Alternate: [`Rows::next_buffered`] until it has no more, then [`Rows::fill`], until that says that the result set is
/// complete. Left early, the connection is of no more use: close it with [`Connection::abandon`], or drop it. So it is
/// when the future of a `fill` was dropped.
#[derive(Debug)]
pub struct Rows<'a> {
    connection: &'a mut Connection,
    columns: Columns,
    format: RowFormat,
    large: LargeRow,
    complete: bool,
    bytes_before: u64,
    rows_too_large: u64,
}

impl<'a> Rows<'a> {
    /// Rows of these columns; `complete` if the statement had none.
    pub(super) fn new(connection: &'a mut Connection, columns: Columns, format: RowFormat, complete: bool) -> Self {
        let bytes_before = connection.packets.bytes_taken();
        Self { connection, columns, format, large: LargeRow::None, complete, bytes_before, rows_too_large: 0 }
    }

    /// The columns; none if the statement had no rows to give.
    #[must_use]
    pub fn columns(&self) -> &[ColumnDef] {
        &self.columns
    }

    pub(super) fn shared_columns(&self) -> Columns {
        self.columns.clone()
    }

    /// How the cells are written.
    #[must_use]
    pub fn format(&self) -> RowFormat {
        self.format
    }

    /// Bytes of the wire that the rows took so far, those of rows that were left out included.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.connection.packets.bytes_taken() - self.bytes_before
    }

    /// How many rows were left out because they are longer than [`super::ConnectOptions::row_bytes_max`].
    #[must_use]
    pub fn rows_too_large(&self) -> u64 {
        self.rows_too_large
    }

    /// The next row that is here already, lent from the read buffer. None means: call [`Rows::fill`].
    #[inline]
    pub fn next_buffered(&mut self) -> Result<Option<&[u8]>, SourceError> {
        match self.large {
            LargeRow::None => {}
            LargeRow::Waiting => {
                self.large = LargeRow::Lent;
                return Ok(Some(self.connection.packets.large()));
            }
            LargeRow::Lent => self.release_large(),
            LargeRow::Assembling => return Err(self.connection.out_of_step(GIVEN_UP)),
        }
        if self.complete {
            return Ok(None);
        }
        let Head::Whole(payload) = self.connection.packets.head() else { return Ok(None) };
        if self.kind(self.connection.packets.payload(payload.clone())) != Kind::Row {
            return Ok(None);
        }
        match self.connection.packets.take(&payload) {
            Ok(()) => Ok(Some(self.connection.packets.payload(payload))),
            Err(error) => Err(self.connection.broken_by(error)),
        }
    }

    /// Waits until [`Rows::next_buffered`] has a row; false when the result set is complete.
    ///
    /// An error in the middle, or a closed connection, is an error: the rows so far are only a beginning.
    pub async fn fill(&mut self) -> Result<bool, SourceError> {
        match self.large {
            LargeRow::None | LargeRow::Waiting => {}
            LargeRow::Lent => self.release_large(),
            LargeRow::Assembling => return Err(self.connection.out_of_step(GIVEN_UP)),
        }
        while !self.complete && self.large == LargeRow::None {
            match self.connection.packets.head() {
                Head::Whole(payload) => match self.kind(self.connection.packets.payload(payload.clone())) {
                    Kind::Row => return Ok(true),
                    kind => {
                        let taken = self.connection.packets.take(&payload);
                        taken.map_err(|error| self.connection.broken_by(error))?;
                        self.end(kind, self.connection.packets.payload(payload).to_vec())?;
                    }
                },
                Head::Long { first } => self.assemble(first).await?,
                Head::Partial => {
                    let read = self.connection.packets.read_more().await;
                    read.map_err(|error| self.connection.broken_by(error))?;
                }
            }
        }
        Ok(!self.complete)
    }

    async fn assemble(&mut self, first: u8) -> Result<(), SourceError> {
        if first == ERROR || (self.format == RowFormat::Binary && first != BINARY_ROW) {
            return Err(self.connection.out_of_step("a packet that should be a row is not one"));
        }
        self.large = LargeRow::Assembling;
        let assembled = self.connection.packets.assemble(self.connection.row_bytes_max()).await;
        self.large = match assembled.map_err(|error| self.connection.broken_by(error))? {
            true => LargeRow::Waiting,
            false => LargeRow::None,
        };
        if self.large == LargeRow::None {
            self.rows_too_large += 1;
        }
        Ok(())
    }

    fn end(&mut self, kind: Kind, packet: Vec<u8>) -> Result<(), SourceError> {
        match kind {
            Kind::End => {
                self.connection.finish(&packet)?;
                self.complete = true;
                Ok(())
            }
            Kind::Error => Err(self.connection.refused_by(&packet)),
            Kind::Row | Kind::Odd => Err(self.connection.out_of_step("a packet that should be a row is not one")),
        }
    }

    fn release_large(&mut self) {
        self.large = LargeRow::None;
        self.connection.packets.release_large();
    }

    #[inline]
    fn kind(&self, payload: &[u8]) -> Kind {
        let end_bytes_max = match self.connection.deprecates_eof() {
            true => PACKET_BYTES_MAX - 1,
            false => OLD_END_BYTES_MAX,
        };
        match payload.first() {
            None => Kind::Odd,
            Some(&ERROR) => Kind::Error,
            Some(&END) if payload.len() <= end_bytes_max => Kind::End,
            Some(&first) if self.format == RowFormat::Binary && first != BINARY_ROW => Kind::Odd,
            Some(_) => Kind::Row,
        }
    }
}

#[cfg(test)]
mod tests {
    use headwaters_model::source_error::SourceErrorKind;
    use mysql_common::constants::CapabilityFlags;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::super::packets::tests::{framed, pair};
    use super::super::statement::{Param, Statement};
    use super::super::text::tests::columns;
    use super::*;

    const NEW: CapabilityFlags = CapabilityFlags::CLIENT_DEPRECATE_EOF;
    const OLD: CapabilityFlags = CapabilityFlags::empty();
    /// An OK that ends rows, and the older end.
    const OK_END: &[u8] = &[0xFE, 0, 0, 2, 0, 0, 0];
    const OLD_END: &[u8] = &[0xFE, 0, 0, 2, 0];
    const COLUMN: &[u8] = b"\x03def\x00\x00\x00\x01a\x00\x0c\x2d\x00\xff\x00\x00\x00\xfd\x00\x00\x00\x00\x00";

    /// A server that answers the first request with these packets and hangs up.
    fn connection(capabilities: CapabilityFlags, answer: &[&[u8]]) -> (Connection, tokio::task::JoinHandle<()>) {
        let (packets, mut peer) = pair();
        let mut sequence = 1_u8;
        let mut bytes = Vec::new();
        for payload in answer {
            bytes.extend(framed(payload, sequence));
            sequence = sequence.wrapping_add(u8::try_from(payload.len() / PACKET_BYTES_MAX).unwrap() + 1);
        }
        let serving = tokio::spawn(async move {
            let mut request = [0; 5];
            peer.read_exact(&mut request).await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut peer, &bytes).await;
        });
        (Connection::scripted(packets, capabilities), serving)
    }

    async fn all(rows: &mut Rows<'_>) -> Result<Vec<Vec<u8>>, SourceError> {
        let mut seen = Vec::new();
        loop {
            while let Some(row) = rows.next_buffered()? {
                seen.push(row.to_vec());
            }
            if !rows.fill().await? {
                return Ok(seen);
            }
        }
    }

    #[tokio::test]
    async fn a_result_set_ends_with_its_terminator_in_both_styles() {
        for (capabilities, answer) in [
            (NEW, [&[1], COLUMN, b"\x01x", b"\x01y", OK_END].as_slice()),
            (OLD, [&[1], COLUMN, OLD_END, b"\x01x", b"\x01y", OLD_END].as_slice()),
        ] {
            let (mut connection, serving) = connection(capabilities, answer);
            let mut rows = connection.stream_text("s").await.unwrap();
            assert_eq!(all(&mut rows).await.unwrap(), [b"\x01x", b"\x01y"]);
            assert!(!rows.fill().await.unwrap(), "the end stays the end");
            serving.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_result_set_without_its_terminator_is_an_error() {
        let (mut connection, serving) = connection(NEW, &[&[1], COLUMN, b"\x01x"]);
        let mut rows = connection.stream_text("s").await.unwrap();
        let error = all(&mut rows).await.unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::Lost);
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn an_error_in_the_place_of_the_end_of_the_columns_is_an_error() {
        for (instead, kind) in [
            (&b"\xff\x25\x05#70100killed"[..], SourceErrorKind::Server { number: 1317 }),
            (b"\x01x", SourceErrorKind::Protocol),
        ] {
            let (mut connection, serving) = connection(OLD, &[&[1], COLUMN, instead, OLD_END]);
            let error = connection.stream_text("s").await.unwrap_err();
            assert_eq!(error.fault().kind, kind);
            serving.await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_error_after_rows_is_an_error() {
        let (mut connection, serving) = connection(NEW, &[&[1], COLUMN, b"\x01x", b"\xff\x25\x05#70100killed"]);
        let mut rows = connection.stream_text("s").await.unwrap();
        let error = all(&mut rows).await.unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::Server { number: 1317 });
        assert!(matches!(error, SourceError::Transient(_)));
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_row_that_begins_like_an_end_is_told_apart_by_its_length() {
        // In the old style a row may begin with 0xFE when it is longer than any end.
        let row = [&[0xFE, 8, 0, 0, 0, 0, 0, 0, 0][..], b"12345678"].concat();
        let (mut connection, serving) = connection(OLD, &[&[1], COLUMN, OLD_END, &row, OLD_END]);
        let mut rows = connection.stream_text("s").await.unwrap();
        assert_eq!(all(&mut rows).await.unwrap(), [row]);
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_row_of_sixteen_mebibytes_begins_with_the_byte_of_an_end_and_is_a_row() {
        let value = vec![b'v'; PACKET_BYTES_MAX + 1];
        let row = [&[0xFE][..], &(value.len() as u64).to_le_bytes(), &value].concat();
        let (mut connection, serving) = connection(NEW, &[&[1], COLUMN, &row, b"\x01y", OK_END]);
        let mut rows = connection.stream_text("s").await.unwrap();
        let seen = all(&mut rows).await.unwrap();
        assert!(seen == [row, b"\x01y".to_vec()]);
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_row_over_the_limit_is_left_out_and_counted() {
        let giant = vec![0; super::super::ROW_BYTES_MAX + 1];
        let (mut connection, serving) = connection(NEW, &[&[1], COLUMN, b"\x01x", &giant, b"\x01y", OK_END]);
        let mut rows = connection.stream_text("s").await.unwrap();
        assert_eq!(all(&mut rows).await.unwrap(), [b"\x01x", b"\x01y"]);
        assert_eq!(rows.rows_too_large(), 1);
        assert!(rows.bytes_read() > giant.len() as u64);
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_giant_that_was_not_waited_for_leaves_nothing_to_read() {
        let (packets, mut peer) = pair();
        let beginning = [framed(&[1], 1), framed(COLUMN, 2), vec![0xFF, 0xFF, 0xFE, 3, 0xFE]].concat();
        tokio::io::AsyncWriteExt::write_all(&mut peer, &beginning).await.unwrap();
        let mut connection = Connection::scripted(packets, NEW);
        let mut rows = connection.stream_text("s").await.unwrap();
        let patience = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(patience, rows.fill()).await.is_err());
        assert!(rows.fill().await.is_err());
        assert!(rows.next_buffered().is_err());
    }

    #[tokio::test]
    async fn a_binary_row_must_begin_with_zero() {
        let (mut connection, serving) = connection(NEW, &[&[1], COLUMN, b"\x00\x00\x01x", b"\x07odd"]);
        let statement = Statement { id: 1, connection_id: 1, params: 0, columns: columns(&["a"]) };
        let mut rows = connection.stream(&statement, &[]).await.unwrap();
        let error = all(&mut rows).await.unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::Protocol);
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_was_left_in_the_middle_answers_nothing_more() {
        let (mut connection, serving) = connection(NEW, &[&[1], COLUMN, b"\x01x", b"\x01y", OK_END]);
        let mut rows = connection.stream_text("s").await.unwrap();
        assert!(rows.fill().await.unwrap());
        assert_eq!(rows.next_buffered().unwrap(), Some(&b"\x01x"[..]));
        let error = connection.ping().await.unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::Lost);
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_asks_for_a_file_gets_none() {
        let (mut connection, serving) = connection(NEW, &[b"\xfb/etc/passwd"]);
        let error = connection.stream_text("s").await.unwrap_err();
        assert_eq!(error.fault().kind, SourceErrorKind::Protocol);
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_statement_is_run_only_where_it_was_prepared_and_with_all_its_values() {
        let (mut connection, serving) = connection(NEW, &[]);
        let elsewhere = Statement { id: 1, connection_id: 2, params: 0, columns: columns(&[]) };
        assert!(connection.stream(&elsewhere, &[]).await.is_err());
        let here = Statement { connection_id: 1, ..elsewhere };
        assert!(connection.stream(&here, &[Param::Null]).await.is_err());
        serving.abort();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_answer_can_make_the_reader_panic(
            answer in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
            style: bool,
        ) {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let answer: Vec<&[u8]> = [&[1][..], COLUMN].into_iter().chain(answer.iter().map(Vec::as_slice)).collect();
                let (mut connection, serving) = connection(if style { NEW } else { OLD }, &answer);
                if let Ok(mut rows) = connection.stream_text("s").await {
                    let _ = all(&mut rows).await;
                }
                serving.await.unwrap();
            });
        }
    }
}
