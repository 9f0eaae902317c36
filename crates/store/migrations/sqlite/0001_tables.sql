-- The tables of docs/architecture.md, section 10.
--
-- Ids are text, times are microseconds since 1970 in a bigint, bodies are JSON in a text. What is filtered or joined and
-- stands in a body is a generated column, so that it can not disagree with the body.

create table organisation (
    id text primary key not null,
    created_at_us bigint not null
);

create table sandbox (
    id text primary key not null,
    org text not null references organisation (id),
    name text not null,
    is_default boolean not null,
    body text not null,
    unique (org, name)
);

create table account (
    client_id text primary key not null,
    org text not null references organisation (id),
    secret_sha256 text not null,
    created_at_us bigint not null,
    body text not null
);

create table connection (
    id text primary key not null,
    org text not null,
    sandbox text not null,
    state text not null,
    etag text not null,
    created_at_us bigint not null,
    created_by text not null,
    created_client text not null,
    updated_at_us bigint not null,
    updated_by text not null,
    updated_client text not null,
    body text not null,
    name text generated always as (json_extract(body, '$.name')) virtual
);
create index connection_by_age on connection (org, sandbox, created_at_us, id);
create index connection_by_name on connection (org, sandbox, name);

create table source_connection (
    id text primary key not null,
    org text not null,
    sandbox text not null,
    state text not null,
    etag text not null,
    created_at_us bigint not null,
    created_by text not null,
    created_client text not null,
    updated_at_us bigint not null,
    updated_by text not null,
    updated_client text not null,
    body text not null,
    name text generated always as (json_extract(body, '$.name')) virtual,
    base_connection_id text generated always as (json_extract(body, '$.baseConnectionId')) virtual
);
create index source_connection_by_age on source_connection (org, sandbox, created_at_us, id);
create index source_connection_by_base on source_connection (org, sandbox, base_connection_id);

create table target_connection (
    id text primary key not null,
    org text not null,
    sandbox text not null,
    state text not null,
    etag text not null,
    created_at_us bigint not null,
    created_by text not null,
    created_client text not null,
    updated_at_us bigint not null,
    updated_by text not null,
    updated_client text not null,
    body text not null,
    name text generated always as (json_extract(body, '$.name')) virtual
);
create index target_connection_by_age on target_connection (org, sandbox, created_at_us, id);

-- `last_ordinal` only grows (docs/architecture.md, section 4); `next_due_at_us` is empty when nothing more is due.
create table flow (
    id text primary key not null,
    org text not null,
    sandbox text not null,
    state text not null,
    etag text not null,
    created_at_us bigint not null,
    created_by text not null,
    created_client text not null,
    updated_at_us bigint not null,
    updated_by text not null,
    updated_client text not null,
    body text not null,
    name text generated always as (json_extract(body, '$.name')) virtual,
    source_connection_id text generated always as (json_extract(body, '$.sourceConnectionIds[0]')) virtual,
    target_connection_id text generated always as (json_extract(body, '$.targetConnectionIds[0]')) virtual,
    next_due_at_us bigint,
    last_ordinal bigint not null default 0
);
create index flow_by_age on flow (org, sandbox, created_at_us, id);
create index flow_by_source on flow (org, sandbox, source_connection_id);
create index flow_by_target on flow (org, sandbox, target_connection_id);
create index flow_by_due on flow (next_due_at_us) where next_due_at_us is not null;

create table data_set (
    id text primary key not null,
    org text not null,
    sandbox text not null,
    state text not null,
    etag text not null,
    created_at_us bigint not null,
    created_by text not null,
    created_client text not null,
    updated_at_us bigint not null,
    updated_by text not null,
    updated_client text not null,
    body text not null,
    name text generated always as (json_extract(body, '$.name')) virtual,
    table_name text generated always as (json_extract(body, '$.tags."adobe/pqs/table"[0]')) virtual
);
create index data_set_by_age on data_set (org, sandbox, created_at_us, id);
create unique index data_set_by_table on data_set (org, sandbox, table_name);

-- Runs of a flow: one at work at most, the others wait; one for each instant of its schedule.
create table run (
    id text primary key not null,
    org text not null,
    sandbox text not null,
    state text not null,
    etag text not null,
    created_at_us bigint not null,
    created_by text not null,
    created_client text not null,
    updated_at_us bigint not null,
    updated_by text not null,
    updated_client text not null,
    body text not null,
    flow_id text generated always as (json_extract(body, '$.flowId')) virtual,
    status text generated always as (json_extract(body, '$.metrics.statusSummary.status')) virtual,
    due_at_us bigint,
    scheduled_for_us bigint,
    batch_id text,
    lease_owner text,
    lease_until_us bigint
);
create index run_by_age on run (org, sandbox, created_at_us, id);
create index run_by_flow on run (org, sandbox, flow_id, created_at_us, id);
create unique index run_by_instant on run (flow_id, scheduled_for_us);
create unique index run_at_work on run (flow_id) where status = 'inProgress';
create index run_by_due on run (due_at_us) where status = 'scheduled';

create table attempt (
    flow_id text not null,
    ordinal bigint not null,
    org text not null,
    sandbox text not null,
    run_id text not null,
    started_at_us bigint not null,
    ended_at_us bigint,
    error text,
    primary key (flow_id, ordinal)
);
create index attempt_by_run on attempt (run_id, ordinal);

-- What an attempt has landed and is about to commit; gone when it is settled.
create table pending_offset (
    flow_id text not null,
    data_set_id text not null,
    ordinal bigint not null,
    org text not null,
    sandbox text not null,
    run_id text not null,
    base bigint,
    value text not null,
    landed text not null,
    landed_at_us bigint not null,
    facts text not null,
    primary key (flow_id, data_set_id, ordinal)
);

create table offset_reached (
    flow_id text not null,
    data_set_id text not null,
    org text not null,
    sandbox text not null,
    ordinal bigint,
    value text not null,
    updated_at_us bigint not null,
    primary key (flow_id, data_set_id)
);

create table batch (
    id text primary key not null,
    org text not null,
    sandbox text not null,
    state text not null,
    etag text not null,
    created_at_us bigint not null,
    created_by text not null,
    created_client text not null,
    updated_at_us bigint not null,
    updated_by text not null,
    updated_client text not null,
    body text not null,
    data_set_id text generated always as (json_extract(body, '$.dataSetId')) virtual
);
create index batch_by_age on batch (org, sandbox, created_at_us, id);
create index batch_by_data_set on batch (org, sandbox, data_set_id, created_at_us, id);

-- Sealed by the vault; the associated data are owner id and field, so a row that was moved can not be opened.
create table secret (
    owner_id text not null,
    field text not null,
    org text not null,
    sandbox text not null,
    key_id text not null,
    nonce text not null,
    ciphertext text not null,
    primary key (owner_id, field)
);

create table audit (
    id text primary key not null,
    org text not null,
    sandbox text not null,
    at_us bigint not null,
    user_id text not null,
    client_id text not null,
    action text not null,
    collection text not null,
    resource_id text not null,
    etag text,
    request_id text,
    allowed boolean not null
);
create index audit_by_age on audit (org, sandbox, at_us, id);
create index audit_by_resource on audit (resource_id, at_us);
