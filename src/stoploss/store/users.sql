-- Who may do what in ClickHouse. Run by an administrator, after the tables are there (`stoploss tables`); then make a
-- user of each role with a password of its own, for example
--
--     CREATE USER recorder IDENTIFIED WITH sha256_password BY '…' HOST IP '10.0.0.0/8' DEFAULT ROLE stoploss_recorder;
--
-- Nobody here who runs all the time may change or delete a row, or grant anything: rows go by their TTL. `stoploss` is the database.

-- Makes the tables and changes them with a new version. Not for a process that runs all the time.
CREATE ROLE IF NOT EXISTS stoploss_owner;
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER ADD COLUMN, ALTER MODIFY COLUMN, ALTER TTL, SELECT ON stoploss.* TO stoploss_owner;
-- The sets are fed in the owner's name, whoever inserts.
GRANT INSERT ON stoploss.trace_minutes TO stoploss_owner;
GRANT INSERT ON stoploss.trace_delays TO stoploss_owner;
GRANT INSERT ON stoploss.experiment_minutes TO stoploss_owner;

-- The recorder: inserts, and reads how far it was. Run it with STOPLOSS_CLICKHOUSE_MIGRATE=false.
CREATE ROLE IF NOT EXISTS stoploss_recorder;
GRANT INSERT ON stoploss.* TO stoploss_recorder;
GRANT SELECT(topic, topic_uuid, partition, offset) ON stoploss.ledger TO stoploss_recorder;
GRANT SELECT(topic, topic_uuid, partition, offset) ON stoploss.journal TO stoploss_recorder;
GRANT SELECT(topic, topic_uuid, partition, offset) ON stoploss.checkpoints TO stoploss_recorder;
GRANT SELECT(topic, topic_uuid, partition, offset) ON stoploss.measures_verdicts TO stoploss_recorder;
GRANT SELECT(topic, topic_uuid, partition, offset) ON stoploss.commands TO stoploss_recorder;
GRANT SELECT(topic, topic_uuid, partition, offset) ON stoploss.acks TO stoploss_recorder;
GRANT SELECT(topic, topic_uuid, partition, offset) ON stoploss.registry TO stoploss_recorder;
GRANT SELECT(topic, topic_uuid, partition, offset) ON stoploss.dead_letters TO stoploss_recorder;
GRANT SELECT(topic, topic_uuid, partition, offset) ON stoploss.clean_batches TO stoploss_recorder;

-- The resolver: of a trace, what an outcome about it must carry. No text, and no other table.
CREATE ROLE IF NOT EXISTS stoploss_resolver;
GRANT SELECT(trace_id, unit_id, conversation_id, tenant, language, channel, assignments, attributes, quarantined, broker_at, topic_uuid, partition, offset) ON stoploss.traces TO stoploss_resolver;
GRANT SELECT(trace_id, unit_id, conversation_id, tenant, language, channel, assignments, attributes, quarantined, broker_at, topic_uuid, partition, offset) ON stoploss.shadow_traces TO stoploss_resolver;

-- People at the command line: status, watch, explain, replay, verify, knowledge. No texts of people and no ids.
CREATE SETTINGS PROFILE IF NOT EXISTS stoploss_people SETTINGS
    readonly = 2, max_execution_time = 300 MAX 600, max_memory_usage = 8000000000 MAX 8000000000;
CREATE ROLE IF NOT EXISTS stoploss_person SETTINGS PROFILE 'stoploss_people';
GRANT SELECT ON stoploss.ledger TO stoploss_person;
GRANT SELECT ON stoploss.ledger_v TO stoploss_person;
GRANT SELECT ON stoploss.journal TO stoploss_person;
GRANT SELECT ON stoploss.journal_v TO stoploss_person;
GRANT SELECT ON stoploss.checkpoints TO stoploss_person;
GRANT SELECT ON stoploss.checkpoints_v TO stoploss_person;
GRANT SELECT ON stoploss.clean_batches TO stoploss_person;
GRANT SELECT ON stoploss.clean_batches_v TO stoploss_person;
GRANT SELECT ON stoploss.measures_arms TO stoploss_person;
GRANT SELECT ON stoploss.measures_arms_v TO stoploss_person;
GRANT SELECT ON stoploss.measures_arms_copies_v TO stoploss_person;
GRANT SELECT ON stoploss.measures_verdicts TO stoploss_person;
GRANT SELECT ON stoploss.measures_verdicts_v TO stoploss_person;
GRANT SELECT ON stoploss.measures_verdicts_copies_v TO stoploss_person;
GRANT SELECT ON stoploss.commands TO stoploss_person;
GRANT SELECT ON stoploss.commands_v TO stoploss_person;
GRANT SELECT ON stoploss.acks TO stoploss_person;
GRANT SELECT ON stoploss.acks_v TO stoploss_person;
GRANT SELECT ON stoploss.registry TO stoploss_person;
GRANT SELECT ON stoploss.registry_v TO stoploss_person;
GRANT SELECT(at, stage, code, reason, source_topic, source_topic_uuid, source_partition, source_offset, size, topic, topic_uuid, partition, offset, ordinal) ON stoploss.dead_letters TO stoploss_person;
GRANT SELECT ON stoploss.dead_letters_v TO stoploss_person;
GRANT SELECT ON stoploss.journal_shown_v TO stoploss_person;
GRANT SELECT ON stoploss.journal_shown_copies_v TO stoploss_person;
GRANT SELECT ON stoploss.commands_shown_v TO stoploss_person;
GRANT SELECT ON stoploss.traces_shown_v TO stoploss_person;
GRANT SELECT ON stoploss.trace_minutes_v TO stoploss_person;
GRANT SELECT ON stoploss.trace_delays_v TO stoploss_person;
GRANT SELECT ON stoploss.experiment_minutes_v TO stoploss_person;
GRANT SELECT ON stoploss.outcomes_shown_v TO stoploss_person;
GRANT SELECT ON stoploss.shadow_traces_shown_v TO stoploss_person;

-- Texts and ids, beside the role above, for who needs them: review with its sample, incident, cases, calibrate. Those of
-- traces and outcomes are masked; the payload of a dead letter is as it came, for what cannot be read cannot be masked.
-- Who read them stands in system.query_log: docs/privacy.md has the query.
CREATE ROLE IF NOT EXISTS stoploss_texts SETTINGS PROFILE 'stoploss_people';
GRANT SELECT ON stoploss.traces TO stoploss_texts;
GRANT SELECT ON stoploss.traces_v TO stoploss_texts;
GRANT SELECT ON stoploss.shadow_traces TO stoploss_texts;
GRANT SELECT ON stoploss.shadow_traces_v TO stoploss_texts;
GRANT SELECT ON stoploss.outcomes TO stoploss_texts;
GRANT SELECT ON stoploss.outcomes_v TO stoploss_texts;
GRANT SELECT ON stoploss.dead_letters TO stoploss_texts;

-- Says how long rows stay, and reads no row: `stoploss retention`, as a job or beside the workers.
CREATE ROLE IF NOT EXISTS stoploss_keeper;
GRANT ALTER TTL ON stoploss.traces TO stoploss_keeper;
GRANT ALTER TTL ON stoploss.shadow_traces TO stoploss_keeper;
GRANT ALTER TTL ON stoploss.outcomes TO stoploss_keeper;
GRANT ALTER TTL ON stoploss.dead_letters TO stoploss_keeper;

-- Who erases a person's data: `stoploss erase`. For nobody else, and for no process that runs all the time.
CREATE ROLE IF NOT EXISTS stoploss_eraser;
GRANT SELECT, ALTER DELETE ON stoploss.traces TO stoploss_eraser;
GRANT SELECT, ALTER DELETE ON stoploss.shadow_traces TO stoploss_eraser;
GRANT SELECT, ALTER DELETE ON stoploss.outcomes TO stoploss_eraser;
GRANT SELECT, ALTER DELETE ON stoploss.dead_letters TO stoploss_eraser;

-- Grafana: what the dashboards show, within limits that no panel may raise. No texts, and no numbers of small cells.
-- readonly = 2: its driver sets timeouts.
CREATE SETTINGS PROFILE IF NOT EXISTS stoploss_dashboards SETTINGS
    readonly = 2, max_execution_time = 30 MAX 60, max_memory_usage = 2000000000 MAX 2000000000,
    max_result_rows = 1000000 MAX 1000000;
CREATE ROLE IF NOT EXISTS stoploss_grafana SETTINGS PROFILE 'stoploss_dashboards';
GRANT SELECT ON stoploss.registry TO stoploss_grafana;
GRANT SELECT ON stoploss.registry_v TO stoploss_grafana;
GRANT SELECT ON stoploss.journal_shown_v TO stoploss_grafana;
GRANT SELECT ON stoploss.journal_shown_copies_v TO stoploss_grafana;
GRANT SELECT ON stoploss.measures_arms TO stoploss_grafana;
GRANT SELECT ON stoploss.measures_arms_copies_v TO stoploss_grafana;
GRANT SELECT ON stoploss.measures_verdicts TO stoploss_grafana;
GRANT SELECT ON stoploss.measures_verdicts_v TO stoploss_grafana;
GRANT SELECT ON stoploss.measures_verdicts_copies_v TO stoploss_grafana;
GRANT SELECT ON stoploss.commands_shown_v TO stoploss_grafana;
GRANT SELECT ON stoploss.trace_minutes_v TO stoploss_grafana;
GRANT SELECT ON stoploss.trace_delays_v TO stoploss_grafana;
GRANT SELECT ON stoploss.experiment_minutes_v TO stoploss_grafana;
GRANT SELECT(at, stage, code, reason, source_topic, source_topic_uuid, source_partition, source_offset, size, topic, topic_uuid, partition, offset, ordinal) ON stoploss.dead_letters TO stoploss_grafana;
GRANT SELECT ON stoploss.dead_letters_v TO stoploss_grafana;
