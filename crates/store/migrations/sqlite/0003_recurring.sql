-- What recurring runs, runs that go on where an attempt broke, and notifications need.

-- The instant of the schedule up to which a run reads what has come since the flow's watermark; empty for a run that reads a
-- window or the whole table.
alter table run add column instant_us bigint;

-- Of an attempt that broke: how it is best tried again (JSON), how far it had got, and which server it had reached.
alter table attempt add column retry text;
alter table attempt add column rows_in bigint not null default 0;
alter table attempt add column server text;

-- The run of a flow's schedule that is not over: while there is one, no other is made. And the clock when `next_due_at_us`
-- was set: one that lies ahead of now tells of a clock that was put back since. A poll that finds nothing reads one entry of
-- each index, however many flows there are.
alter table flow add column scheduled_run text;
alter table flow add column due_set_at_us bigint;
update flow set scheduled_run = (
    select r.id from run r where r.flow_id = flow.id and r.scheduled_for_us is not null
    and r.status in ('scheduled', 'inProgress') limit 1);
drop index flow_by_due;
create index flow_by_due on flow (next_due_at_us) where next_due_at_us is not null and scheduled_run is null;
create index flow_by_due_set on flow (due_set_at_us) where due_set_at_us is not null;
-- Runs that wait, by the clock when they were made, likewise.
create index run_made_ahead on run (created_at_us) where status = 'scheduled';

-- The moments that a run has covered which moved the watermark of its flow: for runs that read some of them again. Those
-- of one flow meet and never overlap, so that only runs which somebody asked for, few among very many, can overlap with
-- the next one.
alter table run add column covered text;
create index run_by_asking on run (org, sandbox, flow_id, created_at_us, id)
    where windowed is not null or instant_us is null;

-- Of an attempt that broke under `consistency` table: how many key ranges it had landed, of how many.
alter table attempt add column splits_landed bigint;
alter table attempt add column splits bigint;

-- Plans that another attempt can go on with; gone when all of one is in the table, or its run is over and nothing of it is.
-- `base` is the ordinal at which the flow stood when it was made.
create table read_plan (
    id text primary key not null,
    org text not null,
    sandbox text not null,
    flow_id text not null,
    run_id text not null,
    base bigint,
    plan text not null
);
create index read_plan_by_flow on read_plan (flow_id);

-- The key ranges of such a plan that are landed, by which attempt, and what was landed; empty when a commit holds it.
create table landed_split (
    plan_id text not null references read_plan (id) on delete cascade,
    split bigint not null,
    ordinal bigint not null,
    landed text,
    primary key (plan_id, split)
);

-- What each commit of a run holds that made some key ranges of such a plan visible while others were still to come.
create table partial_commit (
    run_id text not null,
    ordinal bigint not null,
    plan_id text not null references read_plan (id) on delete cascade,
    landed text not null,
    primary key (run_id, ordinal)
);
create index partial_commit_by_plan on partial_commit (plan_id);

-- The plan that a run has brought into the table as a whole, of which other commits held parts.
alter table run add column finished_plan text;

-- What is to be told of runs, a line for each webhook; `due_at_us` is the end of the lease of whoever is delivering it. And
-- when a run was told to be late, which is told once.
create table notification (
    id text primary key not null,
    webhook text not null,
    org text not null,
    sandbox text not null,
    run_id text not null,
    event_code text not null,
    payload text not null,
    created_at_us bigint not null,
    due_at_us bigint not null,
    tries bigint not null default 0
);
create index notification_by_due on notification (webhook, due_at_us);
create index notification_by_webhook on notification (webhook, id);
create index notification_by_age on notification (created_at_us);
alter table run add column told_late_at_us bigint;
create index run_not_told_late on run (id) where status = 'inProgress' and told_late_at_us is null;

-- When a worker last took the table to look after it.
alter table data_set add column cared_at_us bigint;
create index data_set_by_care on data_set (coalesce(cared_at_us, created_at_us));
