// A Node service: traces and outcomes are JSON objects with the fields of schemas/trace.avsc and schemas/outcome.avsc.
// No SDK is needed.
//
//     npm ci
//     STOPLOSS_KAFKA=127.0.0.1:9092 node service.mjs u-4711 "Where is my order?"
//
// Which variant handles a request is your flag system's word: @openfeature/flagd-provider reads the flag file or flagd.

import { randomBytes } from "node:crypto";
import { Kafka, logLevel } from "kafkajs";

const kafka = new Kafka({
  clientId: "node-service",
  brokers: (process.env.STOPLOSS_KAFKA ?? "127.0.0.1:9092").split(","),
  logLevel: logLevel.ERROR,
});
const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });

// Times are ISO 8601 with their offset, or microseconds since 1970; a number that is not known is left out, never 0.
const send = (topic, record) =>
  producer.send({ topic, messages: [{ key: record.trace_id, value: JSON.stringify(record) }] });

async function askTheModel(question) {
  return { text: `it is on its way (${question.length})`, inputTokens: 5, outputTokens: 6 };
}

async function handle(user, question) {
  const assignments = [{ experiment: "checkout-agent-model", variant: "small", run: 1, epoch: 1 }];
  const began = performance.now();
  const trace = { trace_id: randomBytes(16).toString("hex"), service: "node-service", unit_id: user, assignments };
  try {
    const answer = await askTheModel(question);
    Object.assign(trace, {
      model: "small-1",
      input_tokens: answer.inputTokens,
      output_tokens: answer.outputTokens,
      attributes: { plan: "free" },
      steps: [{ kind: "tool", name: "search", scope: "catalog.read" }],
    });
  } catch (error) {
    trace.error_type = error.name;
    throw error;
  } finally {
    trace.at = new Date().toISOString();
    trace.latency_ms = performance.now() - began;
    await send("stoploss.traces", trace);
  }
  return trace;
}

const [user, question] = process.argv.slice(2);
await producer.connect();
const trace = await handle(user, question);
// A late fact carries what is known of its trace: then nobody has to look it up.
const { trace_id, unit_id, assignments } = trace;
await send("stoploss.outcomes", {
  trace_id, unit_id, assignments,
  at: new Date().toISOString(), kind: "business", name: "resolved", value: 1, source: "system",
});
await producer.disconnect();
console.log(`sent ${trace_id}`);
