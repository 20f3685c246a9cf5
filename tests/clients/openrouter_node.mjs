// What an app does with OpenRouter's Node SDK, pointed at the gateway. Prints what it saw as one JSON object.
// Run by test_loops.py inside the SDK's own environment: BASE_URL KEY NAME...
import { OpenRouter } from '@openrouter/sdk';
import { OpenRouterError } from '@openrouter/sdk/models/errors';

const [serverURL, apiKey, ...names] = process.argv.slice(2);
const connect = (key) => new OpenRouter({ serverURL, apiKey: key, timeoutMs: 30_000, retryConfig: { strategy: 'none' } });
const client = connect(apiKey);
const model = 'deepseek/deepseek-v3.2';
const user = (content) => ({ role: 'user', content });
const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'The weather in a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

const ask = (content, { by = client, ...more } = {}) =>
  by.chat.send({ chatRequest: { model, messages: [user(content)], ...more } });

const bill = (usage) => ({
  prompt: usage.promptTokens,
  cached: usage.promptTokensDetails.cachedTokens,
  completion: usage.completionTokens,
  reasoning: usage.completionTokensDetails.reasoningTokens,
  cost: usage.cost,
});

// The assistant's message, put together from a stream, and the pieces of its text.
async function turn(messages) {
  const stream = await client.chat.send({
    chatRequest: { model, messages, tools: [weather], reasoning: { effort: 'high' }, stream: true },
  });
  const message = { role: 'assistant', content: '', reasoning: '', reasoningDetails: [] };
  const pieces = [];
  const calls = [];
  let usage;
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    for (const { delta } of chunk.choices) {
      if (delta.content) pieces.push(delta.content);
      message.reasoning += delta.reasoning ?? '';
      message.reasoningDetails.push(...(delta.reasoningDetails ?? []));
      for (const piece of delta.toolCalls ?? []) {
        calls[piece.index] ??= { id: piece.id, type: 'function', function: { name: piece.function.name, arguments: '' } };
        calls[piece.index].function.arguments += piece.function.arguments;
      }
    }
  }
  message.content = pieces.join('');
  if (calls.length) message.toolCalls = calls;
  return { message, pieces, usage };
}

async function errorOf(call) {
  try {
    await call();
  } catch (error) {
    if (error instanceof OpenRouterError) return [error.constructor.name, error.statusCode];
    throw error;
  }
  return null;
}

const wanted = {
  async whole() {
    const answer = await ask('Say hello');
    return { content: answer.choices[0].message.content, usage: bill(answer.usage) };
  },
  async loop() {
    const messages = [user('How is the weather?')];
    const calls = [];
    const thoughts = [];
    for (;;) {
      const { message, pieces, usage } = await turn(messages);
      if (message.reasoning) thoughts.push(message.reasoning);
      if (!message.toolCalls) return { calls, thoughts, pieces, usage: bill(usage) };
      messages.push(message);
      for (const call of message.toolCalls) {
        calls.push(JSON.parse(call.function.arguments).city);
        messages.push({ role: 'tool', toolCallId: call.id, content: 'sunny' });
      }
    }
  },
  async broken() {
    const ends = [];
    for await (const chunk of await ask('Break off', { stream: true })) {
      ends.push(...chunk.choices.map(({ finishReason }) => finishReason));
    }
    return ends.at(-1);
  },
  failures: async () => ({
    401: await errorOf(() => ask('Hi', { by: connect('wrong') })),
    404: await errorOf(() => ask('Hi', { model: 'no/such-model' })),
    '5xx': await errorOf(() => ask('Fail with 500')),
    429: await errorOf(() => ask('Fail with 429')),
  }),
};

const seen = {};
for (const name of names) seen[name] = await wanted[name]();
console.log(JSON.stringify(seen));
