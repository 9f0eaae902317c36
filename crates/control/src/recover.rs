//! What an attempt finds when it looks at the table before it begins (docs/architecture.md, section 4, steps 2 and 5).
//!
//! **Invariant.** An attempt plans only when the table's last ordinal of its flow is the base of the stored offset.
//! Any other ordinal is explained by exactly one pending row: a commit that was made and not settled, by a worker
//! that died or fell behind. It is settled first, with everything that was noted before the commit. What no row
//! explains stops the flow: the table was replaced or its marks expired, and guessing would lose or double rows.

use headwaters_model::id::{DataSetId, FlowId};
use headwaters_model::job::{Failure, Stage};
use headwaters_model::offset::Ordinal;
use headwaters_store::{PendingCommit, StoreError};

use crate::Control;
use crate::assignment::Assignment;

/// How store and table stand to each other.
#[derive(Debug, PartialEq)]
pub(crate) enum Finding {
    /// They agree: the next attempt may begin.
    Agree,
    /// This commit was made and is not settled yet.
    Unsettled(Box<PendingCommit>),
    /// Nothing explains the difference.
    Disagree {
        /// The ordinal that the store knows.
        store: Option<Ordinal>,
    },
}

impl Control {
    /// Compares the table's last ordinal with what the store knows.
    pub(crate) async fn look(&self, on: &Assignment, table: Option<Ordinal>) -> Result<Finding, StoreError> {
        let mut tx = self.store.read(&on.run.scope).await?;
        let offset = tx.offset(on.flow.id, &on.data_set.id).await?;
        let pending = tx.pending(on.flow.id, &on.data_set.id).await?;
        Ok(compare(table, offset.and_then(|offset| offset.ordinal), pending))
    }
}

/// The comparison itself.
fn compare(table: Option<Ordinal>, base: Option<Ordinal>, pending: Vec<PendingCommit>) -> Finding {
    if table == base {
        return Finding::Agree;
    }
    let explains = |row: &PendingCommit| Some(row.ordinal) == table && row.base == base;
    match pending.into_iter().find(explains) {
        Some(row) => Finding::Unsettled(Box::new(row)),
        None => Finding::Disagree { store: base },
    }
}

/// What a run shows whose flow and table do not agree any more.
pub(crate) fn disagreement(
    flow: FlowId,
    data_set: &DataSetId,
    table: Option<Ordinal>,
    store: Option<Ordinal>,
) -> Failure {
    let said = |ordinal: Option<Ordinal>| ordinal.map_or_else(|| "none".to_owned(), |ordinal| ordinal.to_string());
    let (table, store) = (said(table), said(store));
    Failure {
        stage: Stage::Lake,
        message: format!(
            "the last commit of flow {flow} in the table of data set {data_set} is wrong: it has {table}, expected {store}"
        ),
        hint: Some("the table was replaced or its history was cut: check its rows, then make a new flow".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use headwaters_model::id::{BatchId, RunId, SourceConnectionId, TargetConnectionId};
    use headwaters_model::job::Landed;
    use headwaters_model::metrics::RunFacts;
    use serde_json::Value;

    use super::*;

    fn pending(ordinal: i64, base: Option<i64>) -> PendingCommit {
        PendingCommit {
            flow: FlowId::mint(),
            data_set: DataSetId::mint(),
            run: RunId::mint(),
            ordinal: Ordinal(ordinal),
            base: base.map(Ordinal),
            next: Value::Null,
            landed: Landed::default(),
            landed_at_ms: 0,
            facts: RunFacts {
                run: RunId::mint(),
                source_label: "MySQL".into(),
                source: SourceConnectionId::mint(),
                target: TargetConnectionId::mint(),
                batch: BatchId::mint(),
                once: true,
                window: None,
                started_at_ms: 0,
            },
        }
    }

    #[test]
    fn a_table_at_the_base_lets_the_next_attempt_begin() {
        assert_eq!(compare(None, None, vec![]), Finding::Agree);
        assert_eq!(compare(Some(Ordinal(3)), Some(Ordinal(3)), vec![pending(4, Some(3))]), Finding::Agree);
    }

    #[test]
    fn exactly_the_pending_row_of_the_tables_ordinal_is_settled() {
        let rows = vec![pending(4, Some(3)), pending(5, Some(3))];
        let Finding::Unsettled(found) = compare(Some(Ordinal(5)), Some(Ordinal(3)), rows) else { panic!("unsettled") };
        assert_eq!(found.ordinal, Ordinal(5));
    }

    #[test]
    fn a_row_on_another_base_explains_nothing() {
        let rows = vec![pending(5, Some(2))];
        assert_eq!(compare(Some(Ordinal(5)), Some(Ordinal(3)), rows), Finding::Disagree { store: Some(Ordinal(3)) });
        assert_eq!(compare(None, Some(Ordinal(3)), vec![]), Finding::Disagree { store: Some(Ordinal(3)) });
    }
}
