// What an app does with OpenAI's Node SDK, pointed at the gateway. Prints what it saw as one JSON object.
// Run by test_openai.py and test_loops.py inside the SDK's own environment: BASE_URL KEY NAME...
import OpenAI from 'openai';

const [baseURL, apiKey, ...names] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 30_000 });
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

async function errorOf(call) {
  try {
    await call();
  } catch (error) {
    return [error.constructor.name, error.status];
  }
  return null;
}

const ask = (content, { by = client, ...more } = {}) =>
  by.chat.completions.create({ model, messages: [user(content)], ...more });

const bill = (usage) => ({
  prompt: usage.prompt_tokens,
  cached: usage.prompt_tokens_details.cached_tokens,
  completion: usage.completion_tokens,
  reasoning: usage.completion_tokens_details.reasoning_tokens,
  cost: usage.cost,
});

// A host that breaks off in the middle: an exception, and not a short answer.
async function endOf(asked) {
  try {
    for await (const _ of await asked);
  } catch (error) {
    return error.message;
  }
  return null;
}

const wanted = {
  async whole() {
    const answer = await ask('Say hello');
    return { content: answer.choices[0].message.content, usage: bill(answer.usage) };
  },
  async streamed() {
    const stream = client.chat.completions.stream({
      model, messages: [user('Say hello')], stream_options: { include_usage: true },
    });
    const final = await stream.finalChatCompletion();
    return {
      content: final.choices[0].message.content,
      finish_reason: final.choices[0].finish_reason,
      cost: final.usage.cost,
    };
  },
  // Thinks and calls a tool, twice, and answers. What the model said goes back as it came, its thoughts with it.
  async loop() {
    const messages = [user('How is the weather?')];
    const calls = [];
    const thoughts = [];
    for (;;) {
      const pieces = [];
      const stream = client.chat.completions.stream({
        model, messages, tools: [weather], reasoning_effort: 'high', stream_options: { include_usage: true },
      });
      stream.on('content', (piece) => pieces.push(piece));
      const final = await stream.finalChatCompletion();
      const [{ message }] = final.choices;
      if (message.reasoning_content) thoughts.push(message.reasoning_content);
      if (!message.tool_calls) return { calls, thoughts, pieces, usage: bill(final.usage) };
      const { parsed, ...said } = message;
      messages.push(said);
      for (const call of message.tool_calls) {
        calls.push(JSON.parse(call.function.arguments).city);
        messages.push({ role: 'tool', tool_call_id: call.id, content: 'sunny' });
      }
    }
  },
  broken: () => endOf(ask('Break off', { stream: true })),
  async json_mode() {
    const answer = await client.chat.completions.create({
      model, messages: [user('Answer as json')], response_format: { type: 'json_object' },
    });
    return JSON.parse(answer.choices[0].message.content);
  },
  failures: async () => ({
    400: await errorOf(() => client.chat.completions.create({ model, messages: [] })),
    401: await errorOf(() => ask('Hi', { by: new OpenAI({ baseURL, apiKey: 'wrong', maxRetries: 0 }) })),
    404: await errorOf(() => ask('Hi', { model: 'no/such-model' })),
    '5xx': await errorOf(() => ask('Fail with 500')),
    429: await errorOf(() => ask('Fail with 429')),
  }),
  async disconnect() {
    for await (const chunk of await ask('Tell me about 900 words', { stream: true })) {
      const first = chunk.choices[0]?.delta?.content;
      if (first) return { first }; // leaving the loop aborts the request
    }
  },
  async respond() {
    const answer = await client.responses.create({ model, input: 'Say hello', instructions: 'Be brief' });
    return {
      content: answer.output_text,
      status: answer.status,
      total_tokens: answer.usage.total_tokens,
      cached_tokens: answer.usage.input_tokens_details.cached_tokens,
      cost: answer.usage.cost,
    };
  },
  async respond_streamed() {
    const stream = client.responses.stream({ model, input: 'Say hello', instructions: 'Be brief' });
    const kinds = [];
    let content = '';
    for await (const event of stream) {
      kinds.push(event.type);
      if (event.type === 'response.output_text.delta') content += event.delta;
    }
    const final = await stream.finalResponse();
    return { content, final: final.output_text, kinds, cost: final.usage.cost };
  },
  // Thinks and calls a tool, twice, and answers. What the model said goes back as it came.
  async respond_tools() {
    const tools = [{ type: 'function', ...weather.function, strict: true }];
    const input = [user('Use get_weather for Paris')];
    const calls = [];
    const thoughts = [];
    for (let turn = 0; turn < 2; turn++) {
      const final = await client.responses
        .stream({ model, input, tools, tool_choice: 'required', reasoning: { effort: 'high' }, store: false })
        .finalResponse();
      for (const { parsed_arguments: parsed, ...item } of final.output) {
        input.push(item);
        if (item.type === 'reasoning') thoughts.push(item.content[0].text);
        if (item.type === 'function_call') calls.push([item.name, parsed]);
      }
      for (const item of final.output.filter(({ type }) => type === 'function_call')) {
        input.push({ type: 'function_call_output', call_id: item.call_id, output: 'sunny, 21 degrees' });
      }
    }
    const last = await client.responses.create({ model, input, tools, tool_choice: 'none' });
    return { calls, thoughts, content: last.output_text };
  },
  async respond_parsed() {
    const schema = {
      type: 'object',
      properties: { name: { type: 'string' }, people: { type: 'integer' } },
      required: ['name', 'people'],
      additionalProperties: false,
    };
    const format = { type: 'json_schema', name: 'City', schema, strict: true };
    const answer = await client.responses.parse({ model, input: 'Which city?', text: { format } });
    return JSON.parse(answer.output_text);
  },
  async respond_errors() {
    const create = (more) => client.responses.create({ model, input: 'Hi', ...more });
    return {
      400: await errorOf(() => create({ background: true })),
      404: await errorOf(() => create({ model: 'no-such-model' })),
    };
  },
  respond_broken: () => endOf(client.responses.create({ model, input: 'Tell me about 300 words', stream: true })),
  async models() {
    const listed = [];
    for await (const one of client.models.list()) listed.push(one.id);
    const missing = await errorOf(() => client.models.retrieve('no-such-model'));
    return { listed, one: (await client.models.retrieve(model)).id, missing };
  },
  async complete() {
    const asked = { model, prompt: 'Once upon a time' };
    const whole = await client.completions.create(asked);
    let streamed = '';
    for await (const chunk of await client.completions.create({ ...asked, stream: true })) {
      streamed += chunk.choices.map(({ text }) => text).join('');
    }
    return { content: whole.choices[0].text, streamed, total_tokens: whole.usage.total_tokens };
  },
};

const seen = {};
for (const name of names) seen[name] = await wanted[name]();
console.log(JSON.stringify(seen));
