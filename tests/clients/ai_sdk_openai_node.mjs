// An app on the AI SDK with OpenAI's provider and its default model, which speaks Responses with `store`: three turns of
// a conversation, each with a tool. Run by test_responses.py; prints what it saw as one JSON object.
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';

globalThis.AI_SDK_LOG_WARNINGS = false; // they go where the answer goes
const [baseURL, apiKey, ...names] = process.argv.slice(2);
const openai = createOpenAI({ baseURL, apiKey });
const model = openai('deepseek-v3.2');
const city = jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] });
const weather = tool({ description: 'The weather in a city', inputSchema: city, execute: () => 'sunny' });
const asks = { model, tools: { get_weather: weather }, stopWhen: stepCountIs(5), maxRetries: 0 };

const turns = async (ask, providerOptions) => {
  const messages = [];
  const said = [];
  for (const content of ['How is the weather?', 'And tomorrow?', 'Thanks']) {
    messages.push({ role: 'user', content });
    const { text, steps, response } = await ask({ ...asks, messages, providerOptions });
    messages.push(...response.messages);
    said.push({ text, calls: steps.flatMap((step) => step.toolCalls.map((call) => call.input.city)) });
  }
  return said;
};

const streamed = async (options) => {
  const result = streamText(options);
  await result.consumeStream({ onError: (error) => { throw error; } });
  return { text: await result.text, steps: await result.steps, response: await result.response };
};

const wanted = {
  whole: () => turns(generateText),
  streamed: () => turns(streamed),
  unstored: () => turns(generateText, { openai: { store: false, forceReasoning: true, reasoningEffort: 'high' } }),
  continued: async () => {
    const first = await generateText({ model, prompt: 'Say hello', maxRetries: 0 });
    const previousResponseId = first.providerMetadata.openai.responseId;
    const again = { model, prompt: 'Again', maxRetries: 0, providerOptions: { openai: { previousResponseId } } };
    return (await generateText(again)).text;
  },
};

const seen = {};
for (const name of names) seen[name] = await wanted[name]();
console.log(JSON.stringify(seen));
