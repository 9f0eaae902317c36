//! Which service a path belongs to: it decides the shape of an error (error/body.rs).

/// Base path of the Flow Service (flow-service.md 1).
pub(crate) const FLOW_SERVICE: &str = "/data/foundation/flowservice";
/// Base path of Catalog (platform-services.md 0.2).
pub(crate) const CATALOG: &str = "/data/foundation/catalog";
/// What all platform services have in common (platform-services.md 0.2).
const PLATFORM: &str = "/data";
/// Base path of the token endpoint (platform-services.md 6).
pub(crate) const IMS: &str = "/ims/token";

/// A family of paths that share their error body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// The Flow Service, and paths that are nobody's.
    Flow,
    /// Catalog and the other services beside the Flow Service, the reserved ones too.
    Neighbour,
    /// The token endpoint.
    Ims,
}

impl Service {
    /// Finds the service by the path's first segments.
    pub(crate) fn of(path: &str) -> Self {
        let lies_in = |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if lies_in(FLOW_SERVICE) {
            Self::Flow
        } else if lies_in(PLATFORM) {
            Self::Neighbour
        } else if lies_in(IMS) {
            Self::Ims
        } else {
            Self::Flow
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_the_service_of_its_whole_segments() {
        assert_eq!(Service::of("/data/foundation/flowservice"), Service::Flow);
        assert_eq!(Service::of("/data/foundation/flowservice/flows/x"), Service::Flow);
        assert_eq!(Service::of("/data/foundation/flowservices"), Service::Neighbour);
        assert_eq!(Service::of("/data/foundation/import/batches"), Service::Neighbour);
        assert_eq!(Service::of("/ims/token/v3"), Service::Ims);
        assert_eq!(Service::of("/ims/tokens"), Service::Flow);
        assert_eq!(Service::of("/healthz"), Service::Flow);
    }
}
