// Asks a gateway as a program in Node does, and prints what it was told: node ask.mjs <base url> <key>
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "What is a menhir?" }];
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];
const told = {};

const whole = await client.chat.completions.create({ model: "plain", messages });
told.whole = whole.choices[0].message.content;
told.requestId = whole._request_id;

const stream = await client.chat.completions.create({ model: "plain", messages, stream: true, stream_options: { include_usage: true } });
told.stream = "";
for await (const chunk of stream) {
  told.stream += chunk.choices[0]?.delta?.content ?? "";
  told.usage = chunk.usage;
}

const runner = client.chat.completions.stream({ model: "calling", messages, tools });
told.calls = (await runner.finalChatCompletion()).choices[0].message.tool_calls;

told.embedding = (await client.embeddings.create({ model: "plain", input: "a", dimensions: 4 })).data[0].embedding;
told.completion = (await client.completions.create({ model: "plain", prompt: "Once" })).choices[0].text;
told.flagged = (await client.moderations.create({ model: "plain", input: "violence" })).results[0].flagged;
told.models = [];
for await (const model of client.models.list()) told.models.push(model.id);

const answer = await client.responses.create({ model: "plain", input: "What is a menhir?", store: false });
told.response = answer.output_text;

async function refused(asking) {
  try {
    await asking();
  } catch (error) {
    return { kind: error.constructor.name, status: error.status ?? null, type: error.type ?? error.error?.type ?? null };
  }
  return null;
}
told.unknown = await refused(() => client.chat.completions.create({ model: "nowhere", messages }));
told.stranger = await refused(() => new OpenAI({ baseURL, apiKey: "sk-wrong", maxRetries: 0 }).models.list());
told.cut = await refused(async () => {
  for await (const _ of await client.chat.completions.create({ model: "cut", messages, stream: true })) continue;
});
const patient = new OpenAI({ baseURL, apiKey, maxRetries: 2 });
told.retried = (await patient.chat.completions.create({ model: "busy", messages })).choices[0].finish_reason;

console.log(JSON.stringify(told));
