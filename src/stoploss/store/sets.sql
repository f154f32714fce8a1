-- How many traces came, by minute: for panels that would otherwise read every trace of the time shown.
--
-- A row holds a set of offsets, never a sum. What is inserted twice, or again in other pieces, is in the set already, so a
-- set counts each trace once however often it was fed; the sets of equal keys are united when parts merge, and when the
-- views below are read. Every column of a key is a function of the trace, so a trace is in one set of a table, or in one
-- for each of its experiments.
--
-- A set is a bitmap of 32 bits: an offset's upper half, `stretch`, is in the key. What a set costs is about two bytes a
-- trace. It tells nothing of a person, so it stays when a trace is erased, and goes by its own TTL.
--
-- Sets are fed by materialized views, whoever inserts traces. Traces from before the views are added by running a view's
-- SELECT once: INSERT INTO trace_minutes SELECT …; again does no harm.

-- lacks: 1 no variant, 2 no latency, 4 no cost, 8 no output tokens. fate: why a trace was not judged, without its numbers.
CREATE TABLE IF NOT EXISTS trace_minutes
(
    minute DateTime('UTC'),
    service LowCardinality(String),
    fate LowCardinality(String),
    lacks UInt8,
    topic_uuid LowCardinality(String),
    partition Int32,
    stretch Int32,
    offsets AggregateFunction(groupBitmap, UInt32)
)
ENGINE = AggregatingMergeTree
ORDER BY (minute, service, fate, lacks, topic_uuid, partition, stretch)
TTL minute + INTERVAL 90 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS trace_minutes_fed TO trace_minutes DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT toStartOfMinute(broker_at) AS minute, service,
    if(isNull(quarantined), 'judged', replaceRegexpAll(quarantined, '(at = -?\\d+|\\d+ s) ', '')) AS fate,
    toUInt8(empty(assignments) + 2 * isNull(latency_ms) + 4 * isNull(cost_usd) + 8 * isNull(output_tokens)) AS lacks,
    topic_uuid, partition, toInt32(bitShiftRight(offset, 32)) AS stretch, groupBitmapState(toUInt32(offset)) AS offsets
FROM traces
GROUP BY minute, service, fate, lacks, topic_uuid, partition, stretch;

CREATE OR REPLACE VIEW trace_minutes_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT minute, service, fate, lacks, toUInt64(finalizeAggregation(offsets)) AS traces FROM trace_minutes FINAL;

-- delay: from the end of the request to the broker, in quarters of a doubling of a millisecond: 4 is below 2 ms, 8 below
-- 4 ms; 0 below 1 ms, and less where the sender's clock is ahead. Judged traces alone: the others' times are not believed.
CREATE TABLE IF NOT EXISTS trace_delays
(
    minute DateTime('UTC'),
    service LowCardinality(String),
    delay Int16,
    topic_uuid LowCardinality(String),
    partition Int32,
    stretch Int32,
    offsets AggregateFunction(groupBitmap, UInt32)
)
ENGINE = AggregatingMergeTree
ORDER BY (minute, service, delay, topic_uuid, partition, stretch)
TTL minute + INTERVAL 90 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS trace_delays_fed TO trace_delays DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH intDiv(toUnixTimestamp64Micro(broker_at) - toUnixTimestamp64Micro(at), 1000) AS delay_ms
SELECT toStartOfMinute(broker_at) AS minute, service,
    toInt16(if(delay_ms = 0, 0, sign(delay_ms) * (1 + floor(4 * log2(abs(delay_ms)))))) AS delay,
    topic_uuid, partition, toInt32(bitShiftRight(offset, 32)) AS stretch, groupBitmapState(toUInt32(offset)) AS offsets
FROM traces
WHERE isNull(quarantined)
GROUP BY minute, service, delay, topic_uuid, partition, stretch;

CREATE OR REPLACE VIEW trace_delays_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT minute, service, delay, toUInt64(finalizeAggregation(offsets)) AS traces FROM trace_delays FINAL;

CREATE TABLE IF NOT EXISTS experiment_minutes
(
    minute DateTime('UTC'),
    experiment LowCardinality(String),
    topic_uuid LowCardinality(String),
    partition Int32,
    stretch Int32,
    offsets AggregateFunction(groupBitmap, UInt32)
)
ENGINE = AggregatingMergeTree
ORDER BY (experiment, minute, topic_uuid, partition, stretch)
TTL minute + INTERVAL 90 DAY;

CREATE MATERIALIZED VIEW IF NOT EXISTS experiment_minutes_fed TO experiment_minutes DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT toStartOfMinute(broker_at) AS minute, arrayJoin(assignments.experiment) AS experiment,
    topic_uuid, partition, toInt32(bitShiftRight(offset, 32)) AS stretch, groupBitmapState(toUInt32(offset)) AS offsets
FROM traces
GROUP BY minute, experiment, topic_uuid, partition, stretch;

CREATE OR REPLACE VIEW experiment_minutes_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT minute, experiment, toUInt64(finalizeAggregation(offsets)) AS traces FROM experiment_minutes FINAL;
