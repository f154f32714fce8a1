-- What one team may see: the views that the dashboards read, of its own experiments alone. Run by an administrator once
-- per team, with the team's name and the beginning of its experiments' names in place of `checkout`; then make a user
-- for the team's Grafana, as here, and give Grafana grafana/team, which names that user and this database:
--
--     CREATE USER team_checkout_grafana IDENTIFIED WITH sha256_password BY '…' DEFAULT ROLE team_checkout;
--
-- Run it again after an upgrade: a view keeps the columns that it was made with.
--
-- The views are run with the rights of whom they were made by, so the team needs no grant on stoploss itself.
CREATE DATABASE IF NOT EXISTS team_checkout;

CREATE OR REPLACE VIEW team_checkout.registry_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM stoploss.registry_v WHERE startsWith(experiment, 'checkout-');

CREATE OR REPLACE VIEW team_checkout.journal_shown_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM stoploss.journal_shown_v WHERE startsWith(experiment, 'checkout-');

CREATE OR REPLACE VIEW team_checkout.journal_shown_copies_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM stoploss.journal_shown_copies_v WHERE startsWith(experiment, 'checkout-');

CREATE OR REPLACE VIEW team_checkout.measures_arms_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM stoploss.measures_arms_v WHERE startsWith(experiment, 'checkout-');

CREATE OR REPLACE VIEW team_checkout.measures_arms_copies_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM stoploss.measures_arms_copies_v WHERE startsWith(experiment, 'checkout-');

CREATE OR REPLACE VIEW team_checkout.measures_verdicts_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM stoploss.measures_verdicts_v WHERE startsWith(experiment, 'checkout-');

CREATE OR REPLACE VIEW team_checkout.measures_verdicts_copies_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM stoploss.measures_verdicts_copies_v WHERE startsWith(experiment, 'checkout-');

CREATE OR REPLACE VIEW team_checkout.commands_shown_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM stoploss.commands_shown_v WHERE startsWith(experiment, 'checkout-');

-- A trace may be in experiments of several teams: each sees its own assignments. Traces in none are nobody's.
CREATE OR REPLACE VIEW team_checkout.traces_shown_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * REPLACE (arrayFilter(a -> startsWith(a.experiment, 'checkout-'), assignments) AS assignments)
FROM stoploss.traces_shown_v WHERE arrayExists(a -> startsWith(a.experiment, 'checkout-'), assignments);

-- How many traces came: of an experiment as they are counted; by service the team's own are counted anew each time.
CREATE OR REPLACE VIEW team_checkout.experiment_minutes_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM stoploss.experiment_minutes_v WHERE startsWith(experiment, 'checkout-');

CREATE OR REPLACE VIEW team_checkout.trace_minutes_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT toStartOfMinute(broker_at) AS minute, service,
    CAST(if(isNull(quarantined), 'judged', replaceRegexpAll(quarantined, '(at = -?\\d+|\\d+ s) ', '')), 'LowCardinality(String)')
        AS fate,
    toUInt8(empty(assignments) + 2 * isNull(latency_ms) + 4 * isNull(cost_usd) + 8 * isNull(output_tokens)) AS lacks,
    count() AS traces
FROM stoploss.traces_shown_v WHERE arrayExists(a -> startsWith(a.experiment, 'checkout-'), assignments)
GROUP BY minute, service, fate, lacks;

CREATE OR REPLACE VIEW team_checkout.trace_delays_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH intDiv(toUnixTimestamp64Micro(broker_at) - toUnixTimestamp64Micro(at), 1000) AS delay_ms
SELECT toStartOfMinute(broker_at) AS minute, service,
    toInt16(if(delay_ms = 0, 0, sign(delay_ms) * (1 + floor(4 * log2(abs(delay_ms)))))) AS delay, count() AS traces
FROM stoploss.traces_shown_v
WHERE isNull(quarantined) AND arrayExists(a -> startsWith(a.experiment, 'checkout-'), assignments)
GROUP BY minute, service, delay;

-- What could not be read belongs to no experiment that anybody knows.
CREATE OR REPLACE VIEW team_checkout.dead_letters_v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT * FROM stoploss.dead_letters_v WHERE false;

CREATE ROLE IF NOT EXISTS team_checkout SETTINGS PROFILE 'stoploss_dashboards';
GRANT SELECT ON team_checkout.* TO team_checkout;
