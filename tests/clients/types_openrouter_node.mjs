// Answers on stdin, as `specs.py` gives them, held against the schemas of OpenRouter's SDK for Node.
import { readFileSync } from 'node:fs';
import * as models from '@openrouter/sdk/models';

const SCHEMAS = {
  '/chat/completions false': models.ChatResult$inboundSchema,
  '/chat/completions true': models.ChatStreamChunk$inboundSchema,
  '/responses false': models.OpenResponsesResult$inboundSchema,
  '/responses true': models.StreamEvents$inboundSchema,
};

// Where something is read as of an unknown kind: the SDK keeps it, and says nothing.
const unknown = (read, where = 'the whole') => {
  if (read === null || typeof read !== 'object') return [];
  if (read.isUnknown) return [`${where} is read as of an unknown kind`];
  return Object.entries(read).flatMap(([name, inner]) => unknown(inner, `${where}.${name}`));
};

const found = [];
JSON.parse(readFileSync(0, 'utf8')).forEach(([, base, path, , status, event, payload], index) => {
  const schema = base === '/api/v1' && status === 200 ? SCHEMAS[`${path} ${event}`] : undefined;
  if (schema === undefined) return;
  const read = schema.safeParse(payload);
  const told = read.success ? unknown(read.data) : [read.error.message.slice(0, 400)];
  for (const what of told) found.push([index, what]);
});
console.log(JSON.stringify(found));
