//! Plans that another attempt can go on with, and what is landed of them (docs/architecture.md, section 4).
//!
//! **Invariant.** What is landed is kept only under the lease of the run, and is gone when the run is over. What is
//! committed is noted in the transaction that promotes the commit, by whoever finds it, from the pending row alone: it
//! holds the plan too. A plan of which something is in the table is gone on with until all of it is, by the run that made
//! it or by one that reads the same; no other plan is made for them meanwhile.
//!
//! **Invariant.** A plan of which nothing is in the table holds only while the flow stands at the ordinal at which it was
//! made, its base. A commit that was under way meanwhile, under another plan or none, may hold the same rows, and may have
//! moved the watermark past them.

use headwaters_model::id::{FlowId, PlanId, RunId};
use headwaters_model::job::{FrozenPlan, Landed, LandedSplit, Part, Resume};
use headwaters_model::offset::Ordinal;
use headwaters_model::resource::Resource;
use headwaters_model::run::Run;
use sqlx::sqlite::SqliteRow;

use crate::error::StoreError;
use crate::offsets::PendingCommit;
use crate::rows;
use crate::tx::Tx;

/// A plan to go on with.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptPlan {
    /// The plan, and what is landed of it.
    pub resume: Resume,
    /// The attempts that have landed it: each has seen the table as of another moment.
    pub attempts: Vec<Ordinal>,
    /// The run that had it before, where that was another one.
    pub taken_from: Option<RunId>,
}

/// How far an attempt had got when it broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitsLanded {
    /// So many key ranges were landed.
    pub landed: u32,
    /// So many there were.
    pub of: u32,
}

/// The plan that a run goes on with. Before all others one of which something is in the table, its own or that of a run
/// that is over: a run by a window takes only those of the runs that it repeats; one that reads on from where the flow
/// stands takes those of all others that did, and one of the whole table those of all others of the whole table. Else its
/// own, made at the base where the flow still stands.
const PLANS: &str = "
    with plan (id, run_id, plan, base, place, is_committed) as (
        select p.id, p.run_id, p.plan, p.base, p.rowid, exists (select 1 from partial_commit c where c.plan_id = p.id)
        from read_plan p where p.flow_id = $2 and p.org = $3 and p.sandbox = $4
    )
    select plan.id, plan.run_id, plan.plan from plan
    left join run owner on owner.id = plan.run_id
    join run me on me.id = $1
    where case
        when not is_committed then plan.run_id = me.id and plan.base is $5
        else plan.run_id = me.id
            or (owner.windowed is null and me.windowed is null
                and (owner.instant_us is null) = (me.instant_us is null))
            or coalesce(owner.repeats_root, owner.id) = coalesce(me.repeats_root, me.id)
        end
    order by is_committed desc, place desc limit 1";

impl Tx {
    /// Keeps the plan of an attempt with this base, under the lease. A plan that is there already stays as it is.
    pub async fn keep_plan(
        &mut self,
        run: &Resource<Run>,
        owner: &str,
        base: Option<Ordinal>,
        plan: &FrozenPlan,
    ) -> Result<(), StoreError> {
        self.expect_lease(run, owner).await?;
        self.put_plan(run.body.flow_id, run.id, base, plan).await
    }

    /// Keeps a key range that an attempt has landed, under the lease.
    pub async fn keep_split(
        &mut self,
        run: &Resource<Run>,
        owner: &str,
        plan: PlanId,
        ordinal: Ordinal,
        landed: &LandedSplit,
    ) -> Result<(), StoreError> {
        self.expect_lease(run, owner).await?;
        let query = sqlx::query(
            "insert into landed_split (plan_id, split, ordinal, landed) values ($1, $2, $3, $4)
             on conflict (plan_id, split) do update set ordinal = excluded.ordinal, landed = excluded.landed
             where landed_split.landed is not null",
        );
        let query = query.bind(plan.to_string()).bind(landed.split).bind(ordinal.0);
        query.bind(rows::to_json("a landed key range", landed)?).execute(self.connection()).await?;
        Ok(())
    }

    /// The plan that an attempt of a run goes on with, which is the run's own from now on; none when it makes a new one.
    /// The caller holds the lease of the run, and the attempt has got its base in this transaction.
    pub async fn take_plan(
        &mut self,
        run: &Resource<Run>,
        base: Option<Ordinal>,
    ) -> Result<Option<KeptPlan>, StoreError> {
        let query = sqlx::query(PLANS).bind(run.id.to_string()).bind(run.body.flow_id.to_string());
        let query = query.bind(self.org()).bind(self.sandbox()).bind(base.map(|base| base.0));
        let Some(row) = query.fetch_optional(self.connection()).await? else { return Ok(None) };
        let plan: FrozenPlan = rows::json(&row, "plan")?;
        let owner: RunId = rows::parsed(&row, "run_id")?;
        let taken_from = (owner != run.id).then_some(owner);
        if taken_from.is_some() {
            let query = sqlx::query("update read_plan set run_id = $1 where id = $2");
            query.bind(run.id.to_string()).bind(plan.id.to_string()).execute(self.connection()).await?;
        }
        let query = sqlx::query("select split, ordinal, landed from landed_split where plan_id = $1 order by split");
        let found = query.bind(plan.id.to_string()).fetch_all(self.connection()).await?;
        let mut attempts = Vec::new();
        let mut resume = Resume { plan, committed: Vec::new(), kept: Vec::new() };
        for row in &found {
            attempts.push(Ordinal(rows::value(row, "ordinal")?));
            match rows::value::<Option<&str>>(row, "landed")? {
                None => resume.committed.push(rows::value(row, "split")?),
                Some(_) => resume.kept.push(rows::json(row, "landed")?),
            }
        }
        attempts.sort_unstable();
        attempts.dedup();
        Ok(Some(KeptPlan { resume, attempts, taken_from }))
    }

    /// Forgets what a run has landed and is not in the table; of its plans those stay of which something is.
    pub async fn drop_plans(&mut self, run: RunId) -> Result<(), StoreError> {
        for text in [
            "delete from read_plan where run_id = $1 and org = $2 and sandbox = $3
             and not exists (select 1 from partial_commit c where c.plan_id = read_plan.id)",
            "delete from landed_split where landed is not null
             and plan_id in (select id from read_plan where run_id = $1 and org = $2 and sandbox = $3)",
        ] {
            let query = sqlx::query(text).bind(run.to_string()).bind(self.org()).bind(self.sandbox());
            query.execute(self.connection()).await?;
        }
        Ok(())
    }

    /// Notes what a commit has made visible of a plan; with nothing left to come, the plan is gone.
    pub(crate) async fn put_part(&mut self, pending: &PendingCommit) -> Result<(), StoreError> {
        let Some(Part { plan, splits }) = &pending.landed.part else { return Ok(()) };
        if pending.landed.splits_left == 0 {
            return self.finish_plan(plan.id, pending.run).await;
        }
        self.put_plan(pending.flow, pending.run, pending.base, plan).await?;
        for split in splits {
            let query = sqlx::query(
                "insert into landed_split (plan_id, split, ordinal, landed) values ($1, $2, $3, null)
                 on conflict (plan_id, split) do update set landed = null",
            );
            let query = query.bind(plan.id.to_string()).bind(split).bind(pending.ordinal.0);
            query.execute(self.connection()).await?;
        }
        let landed = Landed { part: None, ..pending.landed.clone() };
        let query =
            sqlx::query("insert into partial_commit (run_id, ordinal, plan_id, landed) values ($1, $2, $3, $4)");
        let query = query.bind(pending.run.to_string()).bind(pending.ordinal.0).bind(plan.id.to_string());
        query.bind(rows::to_json("what was landed", &landed)?).execute(self.connection()).await?;
        Ok(())
    }

    /// Forgets a plan that a run has brought into the table as a whole. Where parts of it were committed before, that is
    /// noted of the run: its own part may have held no row, and yet nobody may read the same again.
    pub async fn finish_plan(&mut self, plan: PlanId, run: RunId) -> Result<(), StoreError> {
        let noted = sqlx::query(
            "update run set finished_plan = $1 where id = $2 and org = $3 and sandbox = $4
             and exists (select 1 from partial_commit c where c.plan_id = $1)",
        );
        let noted = noted.bind(plan.to_string()).bind(run.to_string()).bind(self.org()).bind(self.sandbox());
        noted.execute(self.connection()).await?;
        let query = sqlx::query("delete from read_plan where id = $1 and org = $2 and sandbox = $3");
        let query = query.bind(plan.to_string()).bind(self.org()).bind(self.sandbox());
        query.execute(self.connection()).await?;
        Ok(())
    }

    /// What a run has made visible while other key ranges of its plan were still to come, the oldest commit first.
    pub async fn partial_commits(&mut self, run: RunId) -> Result<Vec<Landed>, StoreError> {
        let query = sqlx::query(
            "select c.landed from partial_commit c join read_plan p on p.id = c.plan_id
             where c.run_id = $1 and p.org = $2 and p.sandbox = $3 order by c.ordinal",
        );
        let query = query.bind(run.to_string()).bind(self.org()).bind(self.sandbox());
        let found = query.fetch_all(self.connection()).await?;
        found.iter().map(|row| rows::json(row, "landed")).collect()
    }

    /// Notes how far an attempt had got that starts over.
    pub async fn note_splits(&mut self, flow: FlowId, ordinal: Ordinal, got: SplitsLanded) -> Result<(), StoreError> {
        let query = sqlx::query(
            "update attempt set splits_landed = $1, splits = $2
             where flow_id = $3 and ordinal = $4 and org = $5 and sandbox = $6",
        );
        let query = query.bind(got.landed).bind(got.of).bind(flow.to_string()).bind(ordinal.0);
        query.bind(self.org()).bind(self.sandbox()).execute(self.connection()).await?;
        Ok(())
    }

    /// How far the attempt of a run had got that came farthest, as far as they started over.
    pub async fn splits_landed(&mut self, run: RunId) -> Result<Option<SplitsLanded>, StoreError> {
        let query = sqlx::query(
            "select splits_landed, splits from attempt
             where run_id = $1 and org = $2 and sandbox = $3 and splits_landed > 0
             order by cast(splits_landed as real) / splits desc limit 1",
        );
        let query = query.bind(run.to_string()).bind(self.org()).bind(self.sandbox());
        let got = |row: SqliteRow| {
            Ok(SplitsLanded { landed: rows::value(&row, "splits_landed")?, of: rows::value(&row, "splits")? })
        };
        query.fetch_optional(self.connection()).await?.map(got).transpose()
    }

    async fn put_plan(
        &mut self,
        flow: FlowId,
        run: RunId,
        base: Option<Ordinal>,
        plan: &FrozenPlan,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(
            "insert into read_plan (id, org, sandbox, flow_id, run_id, base, plan) values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (id) do nothing",
        );
        let query = query
            .bind(plan.id.to_string())
            .bind(self.org())
            .bind(self.sandbox())
            .bind(flow.to_string())
            .bind(run.to_string())
            .bind(base.map(|base| base.0))
            .bind(rows::to_json("a plan", plan)?);
        query.execute(self.connection()).await?;
        Ok(())
    }
}
