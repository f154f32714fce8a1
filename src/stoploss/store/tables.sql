-- Everything stoploss keeps. Run statement by statement by schema.migrate(); every statement can be repeated.
--
-- Row ids. A row's id is where it came from: (topic_uuid, partition, offset, ordinal). Equal ids carry equal content,
-- so a record that the recorder inserts twice is one row. Every table is a ReplacingMergeTree whose sorting key ends in
-- the id; a partition key and the columns before the id are functions of the record, or copies would never meet.
-- `stored_at` is ClickHouse's own note of when a copy arrived: no content, and in no view.
--
-- Reading. Numbers are read from the views NAME_v, which show each id once. No materialized view holds sums.
--
-- NAME_copies_v shows copies too, until they are merged, and costs a third of it. It is for reads that a copy does not
-- change: argMax, max, DISTINCT, LIMIT 1 BY. Never for count or sum.
--
-- NAME_shown_v is for who may read no raw numbers and no texts: run with the rights of whom it was made by, it needs no
-- grant on the table below. What a journal or a command says of a segment is told there without its numbers.
--
-- Writing. INSERT only: nothing here is updated or deleted but by its TTL.
--
-- TTLs count from the broker's or the ledger's clock. Where a sender could choose the time (traces, outcomes, acks,
-- dead letters), they count from stored_at, and no sender's time alone makes a partition: a hundred forged dates in a
-- batch would otherwise make the insert fail for ever.

-- The ledger, entry by entry, as the exact bytes. experiment is NULL where a fact speaks to the whole partition.
CREATE TABLE IF NOT EXISTS ledger
(
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    key Nullable(String),
    kind LowCardinality(String),
    experiment LowCardinality(Nullable(String)),
    value String CODEC(ZSTD(3)),
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64 CODEC(Delta, ZSTD),
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (topic_uuid, partition, offset, ordinal)
TTL toDateTime(at) + INTERVAL 1095 DAY;

CREATE OR REPLACE VIEW ledger_v AS
SELECT * EXCEPT stored_at FROM ledger FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

-- One row per trace, masked. quarantined: why it was stored but not judged. The id is that of the source record.
CREATE TABLE IF NOT EXISTS traces
(
    trace_id String,
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    service LowCardinality(String),
    unit_id Nullable(String),
    conversation_id Nullable(String),
    role LowCardinality(String),
    tenant LowCardinality(Nullable(String)),
    language LowCardinality(Nullable(String)),
    channel LowCardinality(Nullable(String)),
    operation LowCardinality(Nullable(String)),
    provider LowCardinality(Nullable(String)),
    model LowCardinality(Nullable(String)),
    prompt_name LowCardinality(Nullable(String)),
    prompt_version LowCardinality(Nullable(String)),
    prompt_hash LowCardinality(Nullable(String)),
    routing LowCardinality(Nullable(String)),
    latency_ms Nullable(Float64),
    time_to_first_token_ms Nullable(Float64),
    input_tokens Nullable(Int64),
    output_tokens Nullable(Int64),
    cached_tokens Nullable(Int64),
    reasoning_tokens Nullable(Int64),
    cost_usd Nullable(Float64),
    error_type LowCardinality(Nullable(String)),
    finish_reason LowCardinality(Nullable(String)),
    pii_exposed Bool,
    privilege_escalation Bool,
    unapproved_side_effect Bool,
    guardrail_bypassed Bool,
    input_text Nullable(String) CODEC(ZSTD(3)),
    output_text Nullable(String) CODEC(ZSTD(3)),
    assignments Array(Tuple(experiment String, variant String, consent Nullable(Bool), run Nullable(Int32), epoch Nullable(Int32))),
    scores Array(Tuple(name String, value Float64)),
    steps Array(Tuple(kind String, name String, agent Nullable(String), mcp_server Nullable(String), scope Nullable(String), side_effect Bool, approval_id Nullable(String), outcome Nullable(String))),
    attributes Array(Tuple(key String, value String)),
    versions Array(Tuple(key String, value String)),
    pii_classes Array(LowCardinality(String)),
    broker_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    quarantined Nullable(String),
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64 CODEC(Delta, ZSTD),
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now(),
    INDEX by_trace_id trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY if(isNull(quarantined), toYYYYMMDD(at), 0)
ORDER BY (topic_uuid, partition, offset, ordinal)
TTL stored_at + INTERVAL 90 DAY;

CREATE OR REPLACE VIEW traces_v AS
SELECT * EXCEPT stored_at FROM traces FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW traces_shown_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * EXCEPT (stored_at, unit_id, conversation_id, input_text, output_text, attributes) FROM traces FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Shadow runs, masked as traces are, in a table of their own: whoever counts traces counts no run that nobody saw.
-- The attribute shadow_of names the trace of the live request.
CREATE TABLE IF NOT EXISTS shadow_traces
(
    trace_id String,
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    service LowCardinality(String),
    unit_id Nullable(String),
    conversation_id Nullable(String),
    role LowCardinality(String),
    tenant LowCardinality(Nullable(String)),
    language LowCardinality(Nullable(String)),
    channel LowCardinality(Nullable(String)),
    operation LowCardinality(Nullable(String)),
    provider LowCardinality(Nullable(String)),
    model LowCardinality(Nullable(String)),
    prompt_name LowCardinality(Nullable(String)),
    prompt_version LowCardinality(Nullable(String)),
    prompt_hash LowCardinality(Nullable(String)),
    routing LowCardinality(Nullable(String)),
    latency_ms Nullable(Float64),
    time_to_first_token_ms Nullable(Float64),
    input_tokens Nullable(Int64),
    output_tokens Nullable(Int64),
    cached_tokens Nullable(Int64),
    reasoning_tokens Nullable(Int64),
    cost_usd Nullable(Float64),
    error_type LowCardinality(Nullable(String)),
    finish_reason LowCardinality(Nullable(String)),
    pii_exposed Bool,
    privilege_escalation Bool,
    unapproved_side_effect Bool,
    guardrail_bypassed Bool,
    input_text Nullable(String) CODEC(ZSTD(3)),
    output_text Nullable(String) CODEC(ZSTD(3)),
    assignments Array(Tuple(experiment String, variant String, consent Nullable(Bool), run Nullable(Int32), epoch Nullable(Int32))),
    scores Array(Tuple(name String, value Float64)),
    steps Array(Tuple(kind String, name String, agent Nullable(String), mcp_server Nullable(String), scope Nullable(String), side_effect Bool, approval_id Nullable(String), outcome Nullable(String))),
    attributes Array(Tuple(key String, value String)),
    versions Array(Tuple(key String, value String)),
    pii_classes Array(LowCardinality(String)),
    broker_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    quarantined Nullable(String),
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64 CODEC(Delta, ZSTD),
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now(),
    INDEX by_trace_id trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY if(isNull(quarantined), toYYYYMMDD(at), 0)
ORDER BY (topic_uuid, partition, offset, ordinal)
TTL stored_at + INTERVAL 90 DAY;

CREATE OR REPLACE VIEW shadow_traces_v AS
SELECT * EXCEPT stored_at FROM shadow_traces FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

-- As traces_shown_v, with the live request that it names.
CREATE OR REPLACE VIEW shadow_traces_shown_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * EXCEPT (stored_at, unit_id, conversation_id, input_text, output_text, attributes),
    arrayFirst(a -> a.key = 'shadow_of', attributes).value AS shadow_of
FROM shadow_traces FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- One row per outcome: a late fact about a trace.
CREATE TABLE IF NOT EXISTS outcomes
(
    trace_id String,
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    kind LowCardinality(String),
    name LowCardinality(String),
    value Float64,
    source LowCardinality(String),
    unit_id Nullable(String),
    conversation_id Nullable(String),
    tenant LowCardinality(Nullable(String)),
    language LowCardinality(Nullable(String)),
    channel LowCardinality(Nullable(String)),
    assignments Array(Tuple(experiment String, variant String, consent Nullable(Bool), run Nullable(Int32), epoch Nullable(Int32))),
    attributes Array(Tuple(key String, value String)),
    broker_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    quarantined Nullable(String),
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64 CODEC(Delta, ZSTD),
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now(),
    INDEX by_trace_id trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY if(isNull(quarantined), toYYYYMMDD(at), 0)
ORDER BY (topic_uuid, partition, offset, ordinal)
TTL stored_at + INTERVAL 90 DAY;

CREATE OR REPLACE VIEW outcomes_v AS
SELECT * EXCEPT stored_at FROM outcomes FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW outcomes_shown_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * EXCEPT (stored_at, unit_id, conversation_id, attributes) FROM outcomes FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- One row per record of traces_clean: how far the recorder has read, and which batch carried how many rows.
CREATE TABLE IF NOT EXISTS clean_batches
(
    kind LowCardinality(String),
    rows Int64,
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64 CODEC(Delta, ZSTD),
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
ORDER BY (topic_uuid, partition, offset, ordinal)
TTL stored_at + INTERVAL 90 DAY;

CREATE OR REPLACE VIEW clean_batches_v AS SELECT * EXCEPT stored_at FROM clean_batches FINAL;

-- Everything the monitor concluded. conclusion is JSON; value the exact bytes; hash their sha256, the next entry's previous.
CREATE TABLE IF NOT EXISTS journal
(
    entry_id String,
    experiment LowCardinality(String),
    number Int64,
    run Int32,
    epoch Int32,
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    ledger_partition Int32,
    ledger_offset Int64,
    ledger_ordinal Int32,
    kind LowCardinality(String),
    verdict LowCardinality(Nullable(String)),
    severity LowCardinality(Nullable(String)),
    rule LowCardinality(Nullable(String)),
    metric LowCardinality(Nullable(String)),
    segment_dimension LowCardinality(Nullable(String)),
    segment_value Nullable(String),
    sentence String,
    observed Nullable(Float64),
    bound Nullable(Float64),
    control Nullable(Float64),
    treatment Nullable(Float64),
    estimate Nullable(Float64),
    lower Nullable(Float64),
    upper Nullable(Float64),
    margin Nullable(Float64),
    n_control Nullable(Int64),
    n_treatment Nullable(Int64),
    command_id Nullable(String),
    conclusion String CODEC(ZSTD(3)),
    previous String,
    hash String,
    value String CODEC(ZSTD(3)),
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64,
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (experiment, number, topic_uuid, partition, offset, ordinal)
TTL toDateTime(at) + INTERVAL 1095 DAY;

CREATE OR REPLACE VIEW journal_v AS
SELECT * EXCEPT stored_at FROM journal FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

-- A command's reason, and that of a change of lifecycle, repeat the sentence of a finding, which has a row of its own.
-- details: all of a conclusion, as JSON, of the kinds that speak of no segment.
-- decision: rollout, iterate or rollback, of a completion that was accepted: the first of its terms in the journal.
CREATE OR REPLACE VIEW journal_shown_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT experiment, number, run, epoch, at, ledger_partition, ledger_offset, kind, verdict, severity, rule, metric,
    segment_dimension, segment_value, command_id,
    multiIf(
        kind = 'command_issued', JSONExtractString(j.conclusion, 'action'),
        kind = 'lifecycle_changed', JSONExtractString(j.conclusion, 'after'),
        isNull(segment_dimension), j.sentence,
        concat(ifNull(metric, ''), ' for ', segment_dimension, '=', segment_value, ' is ', verdict)
    ) AS sentence,
    if(kind IN ('exposures_counted', 'command_acked', 'evidence_refused', 'monitor_blind'), j.conclusion, '') AS details,
    if(kind = 'request_handled' AND JSONExtractString(j.conclusion, 'action') = 'complete'
        AND JSONExtractBool(j.conclusion, 'accepted'), splitByChar(',', j.sentence)[1], '') AS decision
FROM journal AS j FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

-- For the newest of a kind, and for sets: an entry that was stored twice may show twice.
CREATE OR REPLACE VIEW journal_shown_copies_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT experiment, number, run, epoch, at, ledger_partition, ledger_offset, kind, verdict, severity, rule, metric,
    segment_dimension, segment_value, command_id,
    multiIf(
        kind = 'command_issued', JSONExtractString(j.conclusion, 'action'),
        kind = 'lifecycle_changed', JSONExtractString(j.conclusion, 'after'),
        isNull(segment_dimension), j.sentence,
        concat(ifNull(metric, ''), ' for ', segment_dimension, '=', segment_value, ' is ', verdict)
    ) AS sentence,
    if(kind IN ('exposures_counted', 'command_acked', 'evidence_refused', 'monitor_blind'), j.conclusion, '') AS details,
    if(kind = 'request_handled' AND JSONExtractString(j.conclusion, 'action') = 'complete'
        AND JSONExtractBool(j.conclusion, 'accepted'), splitByChar(',', j.sentence)[1], '') AS decision
FROM journal AS j;

-- Signatures under the journals, with their headers: entry `number` of an experiment has the hash `chain`.
CREATE TABLE IF NOT EXISTS checkpoints
(
    installation LowCardinality(String),
    experiment LowCardinality(String),
    run Int32,
    number Int64,
    chain String,
    ledger_partition Int32,
    ledger_offset Int64,
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    headers Array(Tuple(name String, value String)),
    signature Nullable(String),
    value String CODEC(ZSTD(3)),
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64,
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (experiment, number, topic_uuid, partition, offset, ordinal)
TTL toDateTime(at) + INTERVAL 1095 DAY;

CREATE OR REPLACE VIEW checkpoints_v AS
SELECT * EXCEPT stored_at FROM checkpoints FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

-- The running state to plot: one row per variant, segment value and metric of a measure. No segment: everybody.
-- hidden: the cell is too small for people to read, or would give away one that is; its numbers are not stored.
CREATE TABLE IF NOT EXISTS measures_arms
(
    experiment LowCardinality(String),
    run Int32,
    epoch Int32,
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    ledger_partition Int32,
    ledger_offset Int64,
    variant LowCardinality(String),
    segment_dimension LowCardinality(Nullable(String)),
    segment_value Nullable(String),
    metric LowCardinality(String),
    n Nullable(Int64),
    mean Nullable(Float64),
    standard_deviation Nullable(Float64),
    p50 Nullable(Float64),
    p95 Nullable(Float64),
    p99 Nullable(Float64),
    hidden Bool,
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64,
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(at)
ORDER BY (experiment, at, topic_uuid, partition, offset, ordinal)
TTL toDateTime(at) + INTERVAL 30 DAY;

-- As an earlier version made it, it lacks the column.
ALTER TABLE measures_arms ADD COLUMN IF NOT EXISTS hidden Bool AFTER p99, MODIFY COLUMN n Nullable(Int64);

CREATE OR REPLACE VIEW measures_arms_v AS
SELECT * EXCEPT stored_at FROM measures_arms FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW measures_arms_copies_v AS SELECT * EXCEPT stored_at FROM measures_arms;

-- What each rule says over time: one row per verdict of a measure.
CREATE TABLE IF NOT EXISTS measures_verdicts
(
    experiment LowCardinality(String),
    run Int32,
    epoch Int32,
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    ledger_partition Int32,
    ledger_offset Int64,
    rule LowCardinality(String),
    metric LowCardinality(Nullable(String)),
    segment_dimension LowCardinality(Nullable(String)),
    segment_value Nullable(String),
    verdict LowCardinality(String),
    reason String,
    observed Nullable(Float64),
    bound Nullable(Float64),
    estimate Nullable(Float64),
    lower Nullable(Float64),
    upper Nullable(Float64),
    margin Nullable(Float64),
    n_control Nullable(Int64),
    n_treatment Nullable(Int64),
    missing String,
    hidden Bool,
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64,
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(at)
ORDER BY (experiment, at, topic_uuid, partition, offset, ordinal)
TTL toDateTime(at) + INTERVAL 30 DAY;

-- As an earlier version made it, it lacks the column.
ALTER TABLE measures_verdicts ADD COLUMN IF NOT EXISTS hidden Bool AFTER missing, MODIFY COLUMN n_control Nullable(Int64), MODIFY COLUMN n_treatment Nullable(Int64);

CREATE OR REPLACE VIEW measures_verdicts_v AS
SELECT * EXCEPT stored_at FROM measures_verdicts FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW measures_verdicts_copies_v AS SELECT * EXCEPT stored_at FROM measures_verdicts;

-- Commands as published, with their headers; a command that was sent again stands here once per sending.
CREATE TABLE IF NOT EXISTS commands
(
    command_id String,
    experiment LowCardinality(String),
    run Int32,
    epoch Int32,
    sequence Int64,
    action LowCardinality(String),
    flag LowCardinality(String),
    release_variant LowCardinality(String),
    control_variant LowCardinality(String),
    treatment_variant LowCardinality(String),
    exposure Float64,
    stopped_segments Array(Tuple(dimension String, value String)),
    reason String,
    rule LowCardinality(Nullable(String)),
    metric LowCardinality(Nullable(String)),
    segment_dimension LowCardinality(Nullable(String)),
    segment_value Nullable(String),
    statistic LowCardinality(Nullable(String)),
    observed Nullable(Float64),
    bound Nullable(Float64),
    control Nullable(Float64),
    treatment Nullable(Float64),
    estimate Nullable(Float64),
    lower Nullable(Float64),
    upper Nullable(Float64),
    margin Nullable(Float64),
    n_control Nullable(Int64),
    n_treatment Nullable(Int64),
    units_control Nullable(Int64),
    units_treatment Nullable(Int64),
    journal_ids Array(String),
    decided_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    expires_at Nullable(DateTime64(6, 'UTC')),
    dry_run Bool,
    made_for_topic LowCardinality(String),
    controllers Array(String),
    headers Array(Tuple(name String, value String)),
    signature Nullable(String),
    value String CODEC(ZSTD(3)),
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64,
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(decided_at)
ORDER BY (experiment, run, sequence, topic_uuid, partition, offset, ordinal)
TTL toDateTime(decided_at) + INTERVAL 1095 DAY;

CREATE OR REPLACE VIEW commands_v AS
SELECT * EXCEPT stored_at FROM commands FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW commands_shown_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT command_id, experiment, run, epoch, sequence, action, flag, release_variant, exposure, stopped_segments, rule, metric,
    segment_dimension, segment_value, decided_at, dry_run, controllers, topic_uuid, partition, offset,
    if(isNull(segment_dimension), c.reason, concat(action, ': ', ifNull(metric, ''), ' for ', segment_dimension, '=',
        segment_value)) AS reason
FROM commands AS c FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Acks as controllers sent them, not yet verified; the verified ones are command_acked in the journal.
CREATE TABLE IF NOT EXISTS acks
(
    command_id String,
    experiment LowCardinality(String),
    run Int32,
    sequence Int64,
    controller LowCardinality(String),
    instance String,
    status LowCardinality(String),
    reason String,
    at DateTime64(6, 'UTC'),
    headers Array(Tuple(name String, value String)),
    signature Nullable(String),
    value String,
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64,
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
ORDER BY (experiment, run, sequence, topic_uuid, partition, offset, ordinal)
TTL stored_at + INTERVAL 1095 DAY;

CREATE OR REPLACE VIEW acks_v AS SELECT * EXCEPT stored_at FROM acks FINAL;

-- What could not be read, with the original bytes: short retention, few readers. The id is that of the dead letter; where
-- the recorder itself could not read a record (stage 'recorder'), the record's own.
CREATE TABLE IF NOT EXISTS dead_letters
(
    at DateTime64(6, 'UTC'),
    stage LowCardinality(String),
    code LowCardinality(String),
    reason String,
    source_topic LowCardinality(String),
    source_topic_uuid LowCardinality(String),
    source_partition Int32,
    source_offset Int64,
    key Nullable(String),
    value String CODEC(ZSTD(3)),
    size Int64,
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64,
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
ORDER BY (stage, code, topic_uuid, partition, offset, ordinal)
TTL stored_at + INTERVAL 7 DAY;

-- Without the bytes: whoever may count faults need not read what people sent.
CREATE OR REPLACE VIEW dead_letters_v AS SELECT * EXCEPT (stored_at, key, value) FROM dead_letters FINAL;

-- The history of the registry: every entry the judge ever wrote. The one in force has the highest ledger offset.
CREATE TABLE IF NOT EXISTS registry
(
    experiment LowCardinality(String),
    ledger_partition Int32,
    ledger_offset Int64,
    spec String CODEC(ZSTD(3)),
    spec_hash String,
    lifecycle LowCardinality(String),
    run Int32,
    epoch Int32,
    sequence Int64,
    release_variant LowCardinality(String),
    exposure Float64,
    stopped_segments Array(Tuple(dimension String, value String)),
    command_id Nullable(String),
    changed_at DateTime64(6, 'UTC'),
    value String CODEC(ZSTD(3)),
    topic LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    offset Int64,
    ordinal Int32,
    stored_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(changed_at)
ORDER BY (experiment, ledger_offset, topic_uuid, partition, offset, ordinal)
TTL toDateTime(changed_at) + INTERVAL 1095 DAY;

CREATE OR REPLACE VIEW registry_v AS
SELECT * EXCEPT stored_at FROM registry FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;
