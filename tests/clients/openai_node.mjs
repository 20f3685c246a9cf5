// What an app does with OpenAI's Node SDK, pointed at the gateway. Prints what it saw as one JSON object.
// Run by test_openai.py inside the SDK's own environment: BASE_URL KEY NAME...
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

const ask = (by = client, name = model) => by.chat.completions.create({ model: name, messages: [user('Hi')] });

const wanted = {
  async whole() {
    const answer = await client.chat.completions.create({ model, messages: [user('Say hello')] });
    return {
      content: answer.choices[0].message.content,
      finish_reason: answer.choices[0].finish_reason,
      total_tokens: answer.usage.total_tokens,
      cached_tokens: answer.usage.prompt_tokens_details.cached_tokens,
      reasoning_tokens: answer.usage.completion_tokens_details.reasoning_tokens,
      cost: answer.usage.cost,
    };
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
  async tools() {
    const messages = [user('Use get_weather for Paris')];
    const calls = [];
    for (let turn = 0; turn < 2; turn++) {
      const stream = client.chat.completions.stream({ model, messages, tools: [weather], tool_choice: 'required' });
      const { message } = (await stream.finalChatCompletion()).choices[0];
      const [call] = message.tool_calls;
      calls.push([call.function.name, JSON.parse(call.function.arguments)]);
      messages.push({ role: 'assistant', content: message.content, tool_calls: message.tool_calls });
      messages.push({ role: 'tool', tool_call_id: call.id, content: 'sunny, 21 degrees' });
    }
    const last = await client.chat.completions.create({ model, messages });
    return { calls, content: last.choices[0].message.content };
  },
  async json_mode() {
    const answer = await client.chat.completions.create({
      model, messages: [user('Answer as json')], response_format: { type: 'json_object' },
    });
    return JSON.parse(answer.choices[0].message.content);
  },
  async errors() {
    const stranger = new OpenAI({ baseURL, apiKey: 'wrong', maxRetries: 0 });
    return {
      400: await errorOf(() => client.chat.completions.create({ model, messages: [] })),
      401: await errorOf(() => ask(stranger)),
      404: await errorOf(() => ask(client, 'no-such-model')),
    };
  },
  rate_limited: () => errorOf(ask),
  async disconnect() {
    const stream = await client.chat.completions.create({
      model, messages: [user('Tell me about 900 words')], stream: true,
    });
    for await (const chunk of stream) {
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
      400: await errorOf(() => create({ previous_response_id: 'resp_1' })),
      404: await errorOf(() => create({ model: 'no-such-model' })),
    };
  },
  async broken() {
    try {
      const stream = await client.responses.create({ model, input: 'Tell me about 300 words', stream: true });
      for await (const _ of stream);
    } catch (error) {
      return error.message;
    }
    return null;
  },
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
