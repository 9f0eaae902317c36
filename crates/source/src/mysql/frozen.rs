//! Plans that another attempt goes on with (mysql-sources.md 14).
//!
//! **Invariant.** A resumed attempt plans nothing anew: the key ranges, and the bounds of the delta column, are those of the
//! first attempt. It goes on only where it reads the same columns of the same table of the same server under the same
//! filter. Then each row whose key stays belongs to one key range, whichever attempt reads it.

use headwaters_model::id::PlanId;
use headwaters_model::job::{FrozenPlan, ReadRequest, Resume};
use headwaters_model::source_error::{Retry, SourceError, SourceErrorKind};
use headwaters_model::window::DeltaColumn;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalog::{ColumnDescription, TableDescription};
use super::filter::Condition;
use super::increment::Chosen;
use super::plan::SplitPlan;
use super::read::DEFINITION_CHANGED;
use crate::contract::{ReadLimits, ReadPlan, Split};

/// What must be the same for an attempt to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    server: String,
    table: String,
    columns: Vec<FrozenColumn>,
    filter: Option<Value>,
    delta_column: Option<DeltaColumn>,
}

/// A column as far as it decides what is landed of it, and how its values are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FrozenColumn {
    name: String,
    column_type: String,
    nullable: bool,
    collation: Option<String>,
}

/// What [`FrozenPlan::source`] holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frozen {
    standing: Standing,
    plan: SplitPlan,
    /// Which rows by the delta column, as it stands in a statement.
    condition: Option<String>,
}

impl Standing {
    pub(super) fn of(
        server: &str,
        request: &ReadRequest,
        table: &TableDescription,
        columns: &[ColumnDescription],
    ) -> Self {
        let column = |column: &ColumnDescription| FrozenColumn {
            name: column.name.clone(),
            column_type: column.column_type.clone(),
            nullable: column.nullable,
            collation: column.collation.clone(),
        };
        Self {
            server: server.to_owned(),
            table: table.name.quoted(),
            columns: columns.iter().map(column).collect(),
            filter: request.filter.clone(),
            delta_column: request.delta.as_ref().map(|delta| delta.column.clone()),
        }
    }

    /// What differs; none when nothing does.
    fn differs(&self, now: &Self) -> Option<String> {
        let Self { server, table, columns, filter, delta_column } = self;
        if *table != now.table {
            return Some(format!("{} is read instead of {table}", now.table));
        }
        if *server != now.server {
            return Some(format!("another server answers ({} instead of {server})", now.server));
        }
        if *columns != now.columns {
            return Some(format!("the columns of {table} have changed"));
        }
        if *filter != now.filter || *delta_column != now.delta_column {
            return Some(format!("other rows of {table} are asked for"));
        }
        None
    }
}

/// The plan of an earlier attempt that still holds.
pub(super) struct Resumed {
    frozen: FrozenPlan,
    plan: SplitPlan,
    condition: Option<Condition>,
    missing: Vec<Split>,
}

impl Resumed {
    /// Reads the plan to go on with, if there is one. Fails with [`Retry::StartOver`] where it does not hold any more.
    pub(super) fn of(
        resume: Option<&Resume>,
        now: &Standing,
        table: &TableDescription,
    ) -> Result<Option<Self>, SourceError> {
        let Some(resume) = resume else { return Ok(None) };
        let Ok(Frozen { standing, plan, condition }) = serde_json::from_value(resume.plan.source.clone()) else {
            return Err(outdated("it was made by another version of this program"));
        };
        if let Some(why) = standing.differs(now) {
            return Err(outdated(&why));
        }
        if !plan.fits(table) {
            return Err(outdated(&format!("the key that {} was cut by has changed", now.table)));
        }
        let missing = plan.splits.iter().filter(|split| !resume.has(split.index)).cloned().collect();
        let condition = condition.map(|sql| Condition { sql, params: Vec::new() });
        Ok(Some(Self { frozen: resume.plan.clone(), plan, condition, missing }))
    }

    /// How the table is cut.
    pub(super) fn plan(&self) -> SplitPlan {
        self.plan.clone()
    }

    /// Which rows by the delta column; none where all are read.
    pub(super) fn chosen(&self) -> Option<Chosen> {
        let FrozenPlan { reached, window, .. } = self.frozen.clone();
        self.condition.clone().map(|condition| Chosen { condition, reached, window, notes: Vec::new() })
    }

    /// How many readers have something to read.
    pub(super) fn readers(&self) -> u32 {
        u32::try_from(self.missing.len()).unwrap_or(u32::MAX).max(1)
    }

    /// What is told when the key ranges of the plan overlap in what is read now.
    pub(super) fn not_proven(&self) -> SourceError {
        outdated("the server orders the keys differently from how the table was cut")
    }
}

/// Freezes a new plan, or narrows one that is gone on with to what is missing of it.
pub(super) fn freeze(
    public: &mut ReadPlan,
    limits: &ReadLimits,
    standing: Standing,
    table: &TableDescription,
    plan: &SplitPlan,
    chosen: Option<&Chosen>,
    resumed: Option<Resumed>,
) {
    if let Some(Resumed { frozen, missing, .. }) = resumed {
        let known = std::mem::take(&mut public.notes);
        public.notes.clone_from(&frozen.notes);
        public.notes.extend(known.into_iter().filter(|note| !frozen.notes.contains(note)));
        public.splits = missing;
        public.frozen = Some(frozen);
        return;
    }
    if !limits.freeze {
        return;
    }
    if !table.is_transactional() || table.row_keys().next().is_none() {
        let why =
            if table.is_transactional() { "it has no key that names each row" } else { "it is not transactional" };
        public.notes.push(format!(
            "options.consistency split has no effect on {}, because {why}: an attempt that breaks starts over",
            table.name
        ));
        return;
    }
    let condition = chosen.map(|chosen| chosen.condition.spelt_out());
    // Plain data: it can be written.
    let Ok(source) = serde_json::to_value(Frozen { standing, plan: plan.clone(), condition }) else { return };
    public.frozen = Some(FrozenPlan {
        id: PlanId::mint(),
        source,
        splits: u32::try_from(plan.splits.len()).unwrap_or(u32::MAX),
        reached: public.reached.clone(),
        window: public.window,
        notes: public.notes.clone(),
    });
}

fn outdated(why: &str) -> SourceError {
    let message = format!("what was landed can not be gone on with: {why}");
    SourceError::transient(SourceErrorKind::Server { number: DEFINITION_CHANGED }, message).with_retry(Retry::StartOver)
}
