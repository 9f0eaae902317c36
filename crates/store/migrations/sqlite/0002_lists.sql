-- What the whole Flow Service needs beside the tables of 0001: mostly columns and indexes for lists (flow-service.md 7),
-- then what repeated runs look up, specs that services describe, and the audit by age.
--
-- Lists first: what clients filter and sort by often is found, so that a list over very many rows reads about as many as
-- it shows.
--
-- Every index that lists use begins with the scope; those at the end, for what is asked of all scopes at once or of one run,
-- do not. One on a field ends in `created_at_us, id`, the default order, so that what it finds need not be sorted; those
-- that lists are ordered by end in `id`, the last key of every order. States and statuses are compared without regard to
-- case, hence `lower`.

create index connection_by_update on connection (org, sandbox, updated_at_us, id);
create index connection_by_state on connection (org, sandbox, lower(state), created_at_us, id);
drop index connection_by_name;
create index connection_by_name on connection (org, sandbox, name, id);
alter table connection add column spec_id text generated always as (json_extract(body, '$.connectionSpec.id')) virtual;
create index connection_by_spec on connection (org, sandbox, spec_id, created_at_us, id);

create index source_connection_by_update on source_connection (org, sandbox, updated_at_us, id);
create index source_connection_by_state on source_connection (org, sandbox, lower(state), created_at_us, id);
create index source_connection_by_name on source_connection (org, sandbox, name, id);
alter table source_connection add column spec_id text generated always as (json_extract(body, '$.connectionSpec.id')) virtual;
create index source_connection_by_spec on source_connection (org, sandbox, spec_id, created_at_us, id);
drop index source_connection_by_base;
create index source_connection_by_base on source_connection (org, sandbox, base_connection_id, created_at_us, id);
-- As a caller sent it: of any type, and without a declared one here, so that nothing is converted when it is compared.
alter table source_connection add column table_name generated always as (
    case json_type(body, '$.params.tableName')
        when 'true' then 'true' when 'false' then 'false' when 'object' then null when 'array' then null
        else json_extract(body, '$.params.tableName') end
) virtual;
create index source_connection_by_table on source_connection (org, sandbox, table_name, created_at_us, id);

create index target_connection_by_update on target_connection (org, sandbox, updated_at_us, id);
create index target_connection_by_state on target_connection (org, sandbox, lower(state), created_at_us, id);
create index target_connection_by_name on target_connection (org, sandbox, name, id);
alter table target_connection add column spec_id text generated always as (json_extract(body, '$.connectionSpec.id')) virtual;
create index target_connection_by_spec on target_connection (org, sandbox, spec_id, created_at_us, id);

create index flow_by_update on flow (org, sandbox, updated_at_us, id);
create index flow_by_state on flow (org, sandbox, lower(state), created_at_us, id);
create index flow_by_name on flow (org, sandbox, name, id);
drop index flow_by_source;
create index flow_by_source on flow (org, sandbox, source_connection_id, created_at_us, id);
drop index flow_by_target;
create index flow_by_target on flow (org, sandbox, target_connection_id, created_at_us, id);
alter table flow add column spec_id text generated always as (json_extract(body, '$.flowSpec.id')) virtual;
create index flow_by_spec on flow (org, sandbox, spec_id, created_at_us, id);
alter table flow add column source_spec_id text
    generated always as (json_extract(body, '$.inheritedAttributes.sourceConnections[0].connectionSpec.id')) virtual;
create index flow_by_source_spec on flow (org, sandbox, source_spec_id, created_at_us, id);
alter table flow add column base_connection_id text
    generated always as (json_extract(body, '$.inheritedAttributes.sourceConnections[0].baseConnection.id')) virtual;
create index flow_by_base on flow (org, sandbox, base_connection_id, created_at_us, id);
alter table flow add column last_run_state text generated always as (json_extract(body, '$.lastRunDetails.state')) virtual;
create index flow_by_last_run_state on flow (org, sandbox, lower(last_run_state), created_at_us, id);
alter table flow add column last_run_started_at
    generated always as (json_extract(body, '$.lastRunDetails.startedAtUTC')) virtual;
create index flow_by_last_run on flow (org, sandbox, last_run_started_at, id);
-- With the times that ranges are asked of: a list in the default order skips what is out of range without reading its row.
drop index flow_by_age;
create index flow_by_age on flow (org, sandbox, created_at_us, id, updated_at_us, last_run_started_at);

create index run_by_update on run (org, sandbox, updated_at_us, id);
create index run_by_status on run (org, sandbox, lower(status), created_at_us, id);
create index run_by_flow_and_status on run (org, sandbox, flow_id, lower(status), created_at_us, id);
alter table run add column started_at generated always as (
    case json_type(body, '$.metrics.durationSummary.startedAtUTC')
        when 'true' then 'true' when 'false' then 'false' when 'object' then null when 'array' then null
        else json_extract(body, '$.metrics.durationSummary.startedAtUTC') end
) virtual;
create index run_by_start on run (org, sandbox, started_at, id);
drop index run_by_age;
create index run_by_age on run (org, sandbox, created_at_us, id, updated_at_us, started_at);

create index data_set_by_update on data_set (org, sandbox, updated_at_us, id);
create index data_set_by_name on data_set (org, sandbox, name, id);
create index batch_by_update on batch (org, sandbox, updated_at_us, id);

-- What the service itself knows of a run and decides by, apart from its body, of which a report replaces much: the window
-- that it reads with its delta column (none is the whole table), and the run that its chain of repeats began with. The id
-- of a run is of one scope, so the indexes on it need none before it.
alter table run add column windowed text;
alter table run add column repeats_root text;
create index run_by_root on run (repeats_root) where repeats_root is not null;
-- What a run has landed, for a run that repeats it or reads the same again.
alter table batch add column run_id text generated always as (json_extract(body, '$.runId')) virtual;
create index batch_by_run on batch (run_id);

-- Specs that services have described: listed beside the built-in ones (flow-service.md 12.4).
create table spec (
    org text not null references organisation (id),
    collection text not null,
    id text not null,
    created_at_us bigint not null,
    updated_at_us bigint not null,
    body text not null,
    name text generated always as (json_extract(body, '$.name')) virtual,
    primary key (org, collection, id)
);

-- Operators read the audit of all scopes, and what is too old goes by age alone.
drop index audit_by_age;
create index audit_by_age on audit (at_us, id);
