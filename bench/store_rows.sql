-- Rows that ClickHouse makes for itself: a month of a busy installation, the last hours of it dense.
--
-- 20 experiments of two variants, 28 segment values and five metrics are measured every 10 s: 290 rows of arms (5 metrics
-- of 2 variants in 29 segments, everybody among them) and 92 verdicts (3 guardrails in 29 segments, two burns of a
-- budget, sample ratio, drift, an objective) each. Traces fill the last six hours.
--
-- i is the number of a row in its table, h a hash of it, e its experiment. Parameters: begin and rows of this insert,
-- total rows of the table, measures in it, and now, the second at which everything ends.

INSERT INTO traces (trace_id, at, service, unit_id, role, tenant, language, channel, operation, provider, model,
    latency_ms, time_to_first_token_ms, input_tokens, output_tokens, cost_usd, assignments, broker_at, quarantined,
    topic, topic_uuid, partition, offset)
SELECT hex(sipHash128(i)) AS trace_id, addMicroseconds(broker_at, -toInt64(h % 400000)) AS at,
    concat('service-', toString(h % 5)) AS service, toString(h % 500000) AS unit_id, 'live' AS role,
    concat('tenant-', toString(h % 20)) AS tenant, concat('language-', toString(h % 5)) AS language,
    concat('channel-', toString(h % 3)) AS channel, 'chat' AS operation, 'openai' AS provider,
    if(small, 'small-1', 'large-2') AS model, if(h % 100 = 0, NULL, 200 + (h % 9000) / 7) AS latency_ms,
    100 + (h % 300) AS time_to_first_token_ms, h % 3000 AS input_tokens, h % 800 AS output_tokens,
    if(h % 50 = 0, NULL, (h % 1000) / 1e6) AS cost_usd,
    if(h % 64 = 0, [], [(concat('experiment-', toString(h % 20)), if(small, 'small', 'current'), NULL, 1, 1)])
        AS assignments,
    fromUnixTimestamp64Micro(toInt64({now:UInt64} * 1000000 - ({total:UInt64} - i) * (21600 * 1000000 / {total:UInt64})))
        AS broker_at,
    if(h % 200 = 7, 'late', NULL) AS quarantined,
    'bench' AS topic, 'bench' AS topic_uuid, toInt32(i % 4) AS partition, toInt64(intDiv(i, 4)) AS offset
FROM (SELECT toUInt64(number + {begin:UInt64}) AS i, sipHash64(i) AS h, h % 2 AS small FROM numbers({rows:UInt64}));

INSERT INTO measures_arms (experiment, run, epoch, at, variant, segment_dimension, segment_value, metric, n, mean,
    standard_deviation, p50, p95, p99, hidden, topic, topic_uuid, partition, offset, ordinal)
SELECT concat('experiment-', toString(e)) AS experiment, 1 AS run, 1 AS epoch,
    fromUnixTimestamp64Micro(toInt64(({now:UInt64} - ({measures:UInt64} - measure) * 10) * 1000000)) AS at,
    ['current', 'small'][1 + intDiv(q, 5) % 2] AS variant, 
    multiIf(segment = 0, NULL, segment <= 20, 'tenant', segment <= 25, 'language', 'channel') AS segment_dimension,
    if(segment = 0, NULL, concat(segment_dimension, '-', toString(segment))) AS segment_value,
    ['latency_ms', 'time_to_first_token_ms', 'output_tokens', 'cost_usd', 'error_rate'][1 + q % 5] AS metric,
    if(hidden, NULL, 100 * measure) AS n, if(hidden, NULL, 700 + h % 100) AS mean, if(hidden, NULL, 12.) AS
    standard_deviation, if(hidden, NULL, 650 + h % 100) AS p50, if(hidden, NULL, 1500 + h % 500) AS p95,
    if(hidden, NULL, 2500 + h % 900) AS p99, segment % 9 = 8 AS hidden,
    'bench' AS topic, 'bench' AS topic_uuid, toInt32(e % 4) AS partition, toInt64(measure) AS offset, toInt32(q) AS ordinal
FROM (
    SELECT toUInt64(number + {begin:UInt64}) AS i, i % 290 AS q, intDiv(q, 10) AS segment,
        intDiv(i, 290) % 20 AS e, intDiv(i, 5800) AS measure, sipHash64(i) AS h
    FROM numbers({rows:UInt64})
);

INSERT INTO measures_verdicts (experiment, run, epoch, at, ledger_partition, ledger_offset, rule, metric,
    segment_dimension, segment_value, verdict, reason, observed, bound, estimate, lower, upper, margin, n_control,
    n_treatment, hidden, topic, topic_uuid, partition, offset, ordinal)
SELECT concat('experiment-', toString(e)) AS experiment, 1 AS run, 1 AS epoch,
    fromUnixTimestamp64Micro(toInt64(({now:UInt64} - ({measures:UInt64} - measure) * 10) * 1000000)) AS at,
    toInt32(e % 4) AS ledger_partition, toInt64(measure) AS ledger_offset,
    multiIf(q < 87, concat('guardrail:', metrics), q < 89, 'budget:cost_usd', q = 89, 'sample_ratio', q = 90,
        'drift:output_tokens', 'objective') AS rule,
    if(q = 89 OR q = 91, NULL, metrics) AS metric, 
    multiIf(segment = 0, NULL, segment <= 20, 'tenant', segment <= 25, 'language', 'channel') AS segment_dimension,
    if(segment = 0, NULL, concat(segment_dimension, '-', toString(segment))) AS segment_value,
    ['undecided', 'undecided', 'safe', 'breach'][1 + h % 4] AS verdict, 'evidence_between' AS reason,
    if(hidden, NULL, (h % 100) / 50) AS observed, if(hidden, NULL, if(q = 88, 14.4, 6.)) AS bound,
    if(hidden, NULL, (h % 1000) / 5000) AS estimate, if(hidden, NULL, estimate - 0.1) AS lower,
    if(hidden, NULL, estimate + 0.1) AS upper, if(hidden OR q >= 87, NULL, 0.15) AS margin,
    if(hidden, NULL, 50 * measure) AS n_control, if(hidden, NULL, 50 * measure) AS n_treatment, segment % 9 = 8 AS hidden,
    'bench' AS topic, 'bench' AS topic_uuid, toInt32(e % 4) AS partition, toInt64(measure) AS offset, toInt32(q) AS ordinal
FROM (
    SELECT toUInt64(number + {begin:UInt64}) AS i, i % 92 AS q, if(q < 87, intDiv(q, 3), 0) AS segment,
        if(q < 87, ['latency_ms', 'error_rate', 'cost_usd'][1 + q % 3], 'cost_usd') AS metrics,
        intDiv(i, 92) % 20 AS e, intDiv(i, 1840) AS measure,
        sipHash64(i) AS h
    FROM numbers({rows:UInt64})
);

-- Each kind of entry about as often as judges write it. A command has a number, and its ack is the next entry.
INSERT INTO journal (entry_id, experiment, number, run, epoch, at, ledger_partition, ledger_offset, kind, verdict,
    severity, rule, metric, segment_dimension, segment_value, sentence, observed, bound, command_id, conclusion, value,
    topic, topic_uuid, partition, offset)
SELECT hex(h) AS entry_id, concat('experiment-', toString(e)) AS experiment, toInt64(entry) AS number,
    toInt32(1 + intDiv(entry, 2000)) AS run, 1 AS epoch,
    fromUnixTimestamp64Micro(toInt64(({now:UInt64} - ({total:UInt64} - i) * (2592000 / {total:UInt64})) * 1000000))
        AS at,
    toInt32(e % 4) AS ledger_partition, toInt64(entry) AS ledger_offset,
    multiIf(place = 0, 'lifecycle_changed', place = 1999, 'lifecycle_changed', entry % 100 = 10, 'command_issued',
        entry % 100 = 11, 'command_acked', entry % 100 = 12, 'exposures_counted', entry % 50 = 20, 'monitor_blind',
        entry % 2 = 0, 'finding', 'spend') AS kind,
    if(kind = 'finding', ['breach', 'safe', 'undecided'][1 + h % 3], NULL) AS verdict,
    if(kind = 'finding', 'hold', NULL) AS severity, if(kind = 'finding', 'guardrail:latency_ms', NULL) AS rule,
    if(kind = 'finding', 'latency_ms', NULL) AS metric, if(kind = 'finding', 'tenant', NULL) AS segment_dimension,
    if(kind = 'finding', concat('tenant-', toString(h % 20)), NULL) AS segment_value,
    'latency is 31 % higher than it may be' AS sentence, 0.31 AS observed, 0.15 AS bound,
    if(kind IN ('command_issued', 'command_acked', 'exposures_counted'),
        concat('c-', toString(e), '-', toString(intDiv(entry, 100))), NULL) AS command_id,
    multiIf(place = 0, '{"before":"registered","after":"running"}',
        place = 1999, '{"before":"running","after":"rolled_back"}',
        kind = 'command_acked', '{"controller":"flagd","instance":"flagd-1","status":"applied"}',
        kind = 'exposures_counted', concat('{"in_flight":3,"after_stop":1,"first_harm_at":',
            toString(toUnixTimestamp64Micro(at) - 2000000), '}'),
        kind = 'monitor_blind', '{"since":1,"until":2}', kind = 'command_issued', '{"action":"throttle"}',
        repeat('{"note":"evidence"}', 20)) AS conclusion,
    repeat('v', 400) AS value, 'bench' AS topic, 'bench' AS topic_uuid, toInt32(e % 4) AS partition, toInt64(i) AS offset
FROM (
    SELECT toUInt64(number + {begin:UInt64}) AS i, i % 20 AS e, intDiv(i, 20) AS entry,
        entry % 2000 AS place, sipHash64(i) AS h
    FROM numbers({rows:UInt64})
);

INSERT INTO commands (command_id, experiment, run, epoch, sequence, action, flag, release_variant, exposure, reason,
    rule, metric, decided_at, dry_run, controllers, value, topic, topic_uuid, partition, offset)
SELECT concat('c-', toString(e), '-', toString(number_)) AS command_id, concat('experiment-', toString(e)) AS experiment,
    toInt32(1 + intDiv(number_, 20)) AS run, 1 AS epoch, toInt64(number_) AS sequence,
    ['pause', 'rollback', 'throttle', 'stop'][1 + h % 4] AS action, experiment AS flag, 'current' AS release_variant,
    0. AS exposure, 'latency is 31 % higher than it may be' AS reason,
    if(h % 5 = 0, NULL, concat('guardrail:', ['latency_ms', 'error_rate', 'cost_usd'][1 + h % 3])) AS rule,
    'latency_ms' AS metric,
    fromUnixTimestamp64Micro(toInt64(({now:UInt64} - ({total:UInt64} - i) * (2592000 / {total:UInt64})) * 1000000))
        AS decided_at,
    false AS dry_run, ['flagd'] AS controllers, repeat('v', 300) AS value,
    'bench' AS topic, 'bench' AS topic_uuid, toInt32(i % 4) AS partition, toInt64(intDiv(i, 4)) AS offset
FROM (
    SELECT toUInt64(number + {begin:UInt64}) AS i, i % 20 AS e, intDiv(i, 20) AS number_,
        sipHash64(i) AS h
    FROM numbers({rows:UInt64})
);

INSERT INTO registry (experiment, ledger_partition, ledger_offset, spec, spec_hash, lifecycle, run, epoch, sequence,
    release_variant, exposure, stopped_segments, changed_at, value, topic, topic_uuid, partition, offset)
SELECT concat('experiment-', toString(e)) AS experiment, toInt32(e % 4) AS ledger_partition,
    toInt64(intDiv(i, 20)) AS ledger_offset, repeat('spec: of an experiment\n', 100) AS spec,
    hex(sipHash128(e)) AS spec_hash, if(h % 10 = 0, 'paused', 'running') AS lifecycle,
    1 AS run, 1 AS epoch,
    toInt64(i) AS sequence, 'current' AS release_variant, (h % 50) / 100 AS exposure,
    if(h % 7 = 0, [('tenant', 'tenant-3')], []) AS stopped_segments,
    fromUnixTimestamp64Micro(toInt64(({now:UInt64} - ({total:UInt64} - i) * (2592000 / {total:UInt64})) * 1000000))
        AS changed_at,
    repeat('v', 300) AS value,
    'bench' AS topic, 'bench' AS topic_uuid, toInt32(i % 4) AS partition, toInt64(intDiv(i, 4)) AS offset
FROM (SELECT toUInt64(number + {begin:UInt64}) AS i, i % 20 AS e, sipHash64(i) AS h FROM numbers({rows:UInt64}));

INSERT INTO dead_letters (at, stage, code, reason, source_topic, value, size, topic, topic_uuid, partition, offset)
SELECT fromUnixTimestamp64Micro(toInt64(({now:UInt64} - ({total:UInt64} - i) * (604800 / {total:UInt64})) * 1000000)) AS at,
    'intake' AS stage, ['malformed_avro', 'unknown_schema', 'too_large', 'invalid'][1 + h % 4] AS code,
    'the datum is no whole Trace' AS reason, 'stoploss.traces' AS source_topic, repeat('v', 200) AS value, 200 AS size,
    'bench' AS topic, 'bench' AS topic_uuid, toInt32(i % 4) AS partition, toInt64(intDiv(i, 4)) AS offset
FROM (SELECT toUInt64(number + {begin:UInt64}) AS i, sipHash64(i) AS h FROM numbers({rows:UInt64}));
