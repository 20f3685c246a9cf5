// What an app does with Vercel's AI SDK and OpenRouter's provider for it, pointed at the gateway. Prints what it saw as
// one JSON object. Run by test_loops.py inside the SDK's own environment: BASE_URL KEY NAME...
import { createOpenRouter } from '@openrouter/ai-sdk-provider';
import { APICallError, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';

const [baseURL, apiKey, ...names] = process.argv.slice(2);
const MODEL = 'deepseek/deepseek-v3.2';
const client = createOpenRouter({ baseURL, apiKey });
const asked = { model: client(MODEL), maxRetries: 0, abortSignal: AbortSignal.timeout(30_000) };
const quiet = { onError() {} }; // errors are read from the result, not from the console

const bill = ({ usage, providerMetadata }) => ({
  prompt: usage.inputTokens,
  cached: usage.inputTokenDetails.cacheReadTokens,
  completion: usage.outputTokens,
  reasoning: usage.outputTokenDetails.reasoningTokens,
  cost: providerMetadata.openrouter.usage.cost,
});

async function errorOf(prompt, model = asked.model) {
  try {
    await generateText({ ...asked, model, prompt });
  } catch (error) {
    if (APICallError.isInstance(error)) return ['APICallError', error.statusCode];
    throw error;
  }
  return null;
}

const wanted = {
  async whole() {
    const answer = await generateText({ ...asked, prompt: 'Say hello' });
    return { content: answer.text, usage: bill(answer) };
  },
  async loop() {
    const calls = [];
    const pieces = [];
    const get_weather = tool({
      description: 'The weather in a city',
      inputSchema: jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }),
      execute({ city }) {
        calls.push(city);
        return 'sunny';
      },
    });
    const result = streamText({
      ...asked, ...quiet,
      model: client(MODEL, { reasoning: { effort: 'high' } }),
      prompt: 'How is the weather?',
      tools: { get_weather },
      stopWhen: stepCountIs(5),
    });
    for await (const text of result.textStream) pieces.push(text);
    const steps = await result.steps;
    const thoughts = steps.map(({ reasoningText }) => reasoningText).filter(Boolean);
    return { calls, thoughts, pieces, usage: bill(steps.at(-1)) };
  },
  async broken() {
    for await (const part of streamText({ ...asked, ...quiet, prompt: 'Break off' }).fullStream) {
      if (part.type === 'error') return part.error.message ?? part.error;
    }
    return null;
  },
  failures: async () => ({
    401: await errorOf('Hi', createOpenRouter({ baseURL, apiKey: 'wrong' })(MODEL)),
    404: await errorOf('Hi', client('no/such-model')),
    '5xx': await errorOf('Fail with 500'),
    429: await errorOf('Fail with 429'),
  }),
};

const seen = {};
for (const name of names) seen[name] = await wanted[name]();
console.log(JSON.stringify(seen));
