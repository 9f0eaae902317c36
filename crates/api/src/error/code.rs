//! Documented codes, their titles, and the table from causes to codes (flow-service.md 3.4, 3.5).

use std::fmt;

use headwaters_control::{AccessError, Cause, TokenDenied};
use headwaters_model::filter::FilterError;
use headwaters_model::page::OrderError;
use http::StatusCode;

/// Whose number space a code is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    /// The Flow Service itself.
    Flow,
    /// The source connectors behind it.
    Connector,
}

/// A documented error code, e.g. `FLOW-1439-404`; it ends in its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    space: Space,
    number: u16,
    status: u16,
}

impl Code {
    /// A code of the Flow Service.
    pub(crate) const fn flow(number: u16, status: u16) -> Self {
        Self { space: Space::Flow, number, status }
    }

    /// A code of the source connectors; those that we send all mean a bad request.
    const fn connector(number: u16) -> Self {
        Self { space: Space::Connector, number, status: 400 }
    }

    /// The status that the code ends in.
    pub(crate) fn status(self) -> StatusCode {
        // Every status here is a constant of this file.
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The documented title.
    pub(crate) fn title(self) -> &'static str {
        match (self.space, self.number, self.status) {
            (Space::Connector, ..) => "Bad Request",
            (_, 1403 | 2105, _) => "Header is missing",
            (_, 1404, _) => "Version not matching",
            (_, 1439, _) => "Resource not found",
            (_, 2001, _) => "Header is missing or empty",
            (_, 2100 | 2101 | 2103, _) => "Sandbox not found",
            (_, 2106, _) => "Get default sandbox error",
            (_, 2110..=2113, _) => "Headers not allowed",
            (_, 2118, _) => "Missing permission",
            (_, 2120 | 2121, _) => "Forbidden",
            (.., 401) => "Unauthorized",
            (.., 403) => "Forbidden",
            (.., 404) => "Resource not found",
            (.., 405) => "Method not allowed",
            (.., 408) => "Request timeout",
            (.., 413) => "Payload too large",
            (.., 429) => "Too many requests",
            (.., 500) => "Internal Error",
            (.., 503) => "Service Unavailable",
            (.., 504) => "Gateway Timeout",
            _ => "Invalid request",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = match self.space {
            Space::Flow => "FLOW",
            Space::Connector => "CONNECTOR",
        };
        write!(f, "{space}-{}-{}", self.number, self.status)
    }
}

/// The code of a caller that is turned away. The rows that the platform's edge answers have no code of this space; their
/// status is what counts (error/body.rs has their bodies).
pub(crate) fn code_of_access(error: &AccessError) -> Code {
    match error {
        AccessError::BadToken => Code::flow(1400, 401),
        AccessError::NoOrg => Code::flow(1400, 400),
        AccessError::NoToken | AccessError::NoApiKey | AccessError::UnknownApiKey | AccessError::WrongOrg => {
            Code::flow(1400, 403)
        }
        AccessError::EmptyOrg => Code::flow(2001, 401),
        AccessError::NoSandbox => Code::flow(2105, 400),
        AccessError::UnknownSandbox { .. } => Code::flow(2100, 404),
        AccessError::UnknownSandboxId => Code::flow(2103, 404),
        AccessError::NoDefaultSandbox => Code::flow(2106, 404),
        AccessError::SandboxIdByUser => Code::flow(2110, 400),
        AccessError::AllSandboxesByUser => Code::flow(2111, 403),
        AccessError::AllSandboxes => Code::flow(2113, 400),
        AccessError::Denied { .. } => Code::flow(2118, 403),
        AccessError::NotManaging { .. } => Code::flow(2121, 403),
        AccessError::Store(error) if error.is_unavailable() => Code::flow(1400, 503),
        AccessError::Store(_) => Code::flow(1400, 500),
    }
}

/// The status of a token that is not given; its body names the kind of failure itself (platform-services.md 6).
pub(crate) fn code_of_denial(denied: &TokenDenied) -> Code {
    match denied {
        TokenDenied::FieldMissing(_) | TokenDenied::GrantType | TokenDenied::Scope(_) => Code::flow(1400, 400),
        TokenDenied::Client => Code::flow(1400, 401),
        TokenDenied::Store(error) if error.is_unavailable() => Code::flow(1400, 503),
        TokenDenied::Store(_) | TokenDenied::Signing => Code::flow(1400, 500),
    }
}

/// The code of a `property` parameter that can't be used.
pub(crate) fn code_of_filter(error: &FilterError) -> Code {
    let number = match error {
        FilterError::ContainsNotImplemented => 1440,
        FilterError::RangeWithList { .. } => 1443,
        FilterError::RangeNotPossible { .. } => 1448,
        FilterError::UnknownField { .. } => 1449,
        FilterError::UnknownOperator { .. } => 1450,
        FilterError::InvalidValue { .. } | FilterError::TooLarge { .. } => 1452,
        FilterError::MissingValue { .. } => 1453,
    };
    Code::flow(number, 400)
}

/// The code of an `orderby` parameter that can't be used.
pub(crate) fn code_of_order(error: &OrderError) -> Code {
    let number = match error {
        OrderError::UnknownPrefix(_) => 1432,
        OrderError::UnknownField(_) => 1433,
        OrderError::TooManyKeys => 1452,
    };
    Code::flow(number, 400)
}

/// The one table from causes to codes; the compiler keeps it complete.
#[expect(clippy::too_many_lines, reason = "a table, a line for each cause")]
pub(crate) fn code_of_cause(cause: Cause) -> Code {
    match cause {
        Cause::Internal => Code::flow(1400, 500),
        Cause::Busy => Code::flow(1400, 503),
        Cause::NoTurn => Code::flow(1400, 429),
        Cause::FinalizeByUser => Code::flow(1402, 400),
        Cause::IfMatchAbsent => Code::flow(1403, 400),
        Cause::Stale => Code::flow(1404, 412),
        Cause::EmptyBody => Code::flow(1405, 400),
        Cause::StateInBody => Code::flow(1410, 400),
        Cause::MappingVersion => Code::flow(1412, 400),
        Cause::UnknownSpec => Code::flow(1413, 400),
        Cause::SpecChange => Code::flow(1414, 400),
        Cause::UnknownAuthSpec => Code::flow(1415, 400),
        Cause::NotEditable => Code::flow(1416, 400),
        Cause::InitializingByUser => Code::flow(1417, 400),
        Cause::ConnectionInUse => Code::flow(1418, 400),
        Cause::Mapping => Code::flow(1419, 400),
        Cause::Disabling => Code::flow(1420, 400),
        Cause::NotApplicable => Code::flow(1422, 400),
        Cause::SchemaConflict => Code::flow(1425, 400),
        Cause::SpecsByUser => Code::flow(1426, 400),
        Cause::RunsByUser => Code::flow(1427, 400),
        Cause::UnknownPredecessorRun => Code::flow(1428, 400),
        Cause::UnknownPredecessorFlow => Code::flow(1429, 400),
        Cause::UnknownFlow => Code::flow(1430, 400),
        Cause::PatchOperation => Code::flow(1434, 400),
        Cause::SubAction => Code::flow(1435, 400),
        Cause::RunStatus => Code::flow(1437, 400),
        Cause::Missing => Code::flow(1439, 404),
        Cause::NoFlow => Code::flow(1446, 400),
        Cause::InUse => Code::flow(1447, 400),
        Cause::Unpatchable => Code::flow(1455, 400),
        Cause::InvalidState => Code::flow(1456, 400),
        Cause::Forbidden => Code::flow(2120, 403),
        Cause::MissingField => Code::connector(1304),
        Cause::NotSupported => Code::connector(1305),
        Cause::WrongTargetSpec => Code::connector(1307),
        Cause::Driver => Code::connector(1308),
        Cause::InvalidValue => Code::connector(1312),
        Cause::EmptySchedule => Code::connector(1317),
        Cause::NoConnectionIds => Code::connector(1320),
        Cause::ManyConnectionIds => Code::connector(1321),
        Cause::NoDataSet => Code::connector(1325),
        Cause::Format => Code::connector(1327),
        Cause::NoColumns => Code::connector(1330),
        Cause::NotExplorable => Code::connector(1336),
        Cause::ObjectMissing => Code::connector(1337),
        Cause::UnreadableTime => Code::connector(1340),
        Cause::Filter => Code::connector(1349),
        Cause::FilterOperatorMissing => Code::connector(1350),
        Cause::FilterOperator => Code::connector(1351),
        Cause::FilterNoNativeForm => Code::connector(1352),
        Cause::FilterUnsupported => Code::connector(1353),
        Cause::FilterLanguage => Code::connector(1354),
        Cause::FilterTypeName => Code::connector(1355),
        Cause::FilterFormat => Code::connector(1356),
        Cause::FilterValueMissing => Code::connector(1357),
        Cause::ObjectType => Code::connector(1358),
        Cause::ParameterMissing => Code::connector(1359),
        Cause::StartInPast => Code::connector(1360),
        Cause::OnceWithInterval => Code::connector(1361),
        Cause::IntervalTooShort => Code::connector(1362),
        Cause::IntervalNotAllowed => Code::connector(1363),
        Cause::OnceWithBackfill => Code::connector(1364),
        Cause::PatchPath => Code::connector(1365),
        Cause::StartPassed => Code::connector(1366),
        Cause::NoDeltaColumn => Code::connector(1367),
        Cause::NoDraft => Code::connector(1368),
        Cause::OnceWithDelta => Code::connector(1369),
        Cause::ExploreBySpec => Code::connector(1372),
        Cause::FilterNull => Code::connector(1377),
        Cause::FilterColumn => Code::connector(1378),
        Cause::FilterType => Code::connector(1379),
        Cause::RunCreation => Code::connector(1380),
        Cause::WindowOrder => Code::connector(1381),
        Cause::OtherDeltaColumn => Code::connector(1382),
        Cause::DeltaColumnMissing => Code::connector(1383),
        Cause::RunParams => Code::connector(1384),
        Cause::NoRunsOnDemand => Code::connector(1385),
        Cause::NoRunsForFrequency => Code::connector(1386),
        Cause::NotRepeatable => Code::connector(1387),
        Cause::FlowNotEnabled => Code::connector(1388),
        Cause::FilterEncoding => Code::connector(1389),
        Cause::FilterNot => Code::connector(1390),
        Cause::UnknownTransformation => Code::connector(1392),
        Cause::IntervalNotPositive => Code::connector(1394),
        Cause::Frequency => Code::connector(1397),
        Cause::UnknownAction => Code::connector(1398),
        Cause::OnceTooLate => Code::connector(1403),
        Cause::BackfillTooLate => Code::connector(1404),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_as_published() {
        assert_eq!(Code::flow(1439, 404).to_string(), "FLOW-1439-404");
        assert_eq!(code_of_cause(Cause::StartInPast).to_string(), "CONNECTOR-1360-400");
    }

    #[test]
    fn titles_are_the_published_ones() {
        assert_eq!(Code::flow(1451, 400).title(), "Invalid request");
        assert_eq!(Code::flow(1403, 400).title(), "Header is missing");
        assert_eq!(Code::flow(1400, 413).title(), "Payload too large");
        assert_eq!(Code::flow(2100, 404).title(), "Sandbox not found");
        assert_eq!(code_of_cause(Cause::Driver).title(), "Bad Request");
    }
}
