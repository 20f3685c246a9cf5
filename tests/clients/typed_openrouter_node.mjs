// Reads JSON from its input with the schemas of OpenRouter's SDK for Node, and prints what does not fit, or is unknown to
// it. Run by test_typed.py; its input is a list of [what, JSON].
import { readFileSync } from 'node:fs';
import { OpenResponsesResult$inboundSchema, StreamEvents$inboundSchema } from '@openrouter/sdk/models';

const SCHEMAS = { response: OpenResponsesResult$inboundSchema, event: StreamEvents$inboundSchema };

const unknown = (read, where = '') => {
  if (read === null || typeof read !== 'object') return [];
  if (read.isUnknown) return [where];
  return Object.entries(read).flatMap(([name, inner]) => unknown(inner, `${where}.${name}`));
};

const problems = [];
for (const [what, payload] of JSON.parse(readFileSync(0, 'utf8'))) {
  const read = SCHEMAS[what].safeParse(payload);
  const told = read.success ? unknown(read.data) : [read.error.message.slice(0, 400)];
  if (told.length) problems.push([what, payload.type ?? null, told]);
}
console.log(JSON.stringify(problems));
