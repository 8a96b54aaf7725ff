// One play of the SDK matrix with a Node SDK: `node sdk_node.mjs '{"play": ..., ...}'` in a directory with both SDKs. Prints JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const given = JSON.parse(process.argv[2]);
const require = createRequire(pathToFileURL(process.cwd() + "/").href);
const load = async (name) => import(pathToFileURL(require.resolve(name)).href);
const question = given.question;
const options = { apiKey: "some-key", maxRetries: 0, timeout: 20000, defaultHeaders: given.headers };

const openai = async () => {
  const { default: OpenAI } = await load("openai");
  return new (OpenAI.default ?? OpenAI)({ ...options, baseURL: given.base_url });
};
const anthropic = async () => {
  const { default: Anthropic } = await load("@anthropic-ai/sdk");
  return new (Anthropic.default ?? Anthropic)({ ...options, baseURL: given.address });
};
const asked = { model: given.model, messages: [{ role: "user", content: question }] };
const messages = { ...asked, max_tokens: 400 };
const chatTool = { type: "function", function: { name: "open_gate", parameters: given.parameters } };
const responsesTool = { type: "function", name: "open_gate", parameters: given.parameters, strict: false };
const messagesTool = { name: "open_gate", input_schema: given.parameters };

const ofChat = (answer) => ({
  text: answer.choices[0].message.content,
  call: answer.choices[0].message.tool_calls?.[0]?.function,
  seen: [answer.usage?.prompt_tokens, answer.usage?.completion_tokens],
});
const ofResponse = (answer) => ({
  text: answer.output_text ?? answer.output.flatMap((item) => item.content ?? []).map((part) => part.text).join(""),
  call: answer.output.find((item) => item.type === "function_call"),
  seen: [answer.usage.input_tokens, answer.usage.output_tokens],
});
const ofMessage = (answer) => {
  const { usage } = answer;
  const use = answer.content.find((block) => block.type === "tool_use");
  return {
    text: answer.content.map((block) => block.text ?? "").join(""),
    call: use && { name: use.name, arguments: JSON.stringify(use.input) },
    seen: [usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0), usage.output_tokens],
  };
};

const plays = {
  "chat answer": async () => ofChat(await (await openai()).chat.completions.create(asked)),
  "chat stream": async () =>
    ofChat(await (await openai()).chat.completions.stream({ ...asked, stream_options: { include_usage: true } }).finalChatCompletion()),
  "chat tools": async () => ofChat(await (await openai()).chat.completions.create({ ...asked, tools: [chatTool] })),
  "responses answer": async () => ofResponse(await (await openai()).responses.create({ model: given.model, input: question })),
  "responses stream": async () => ofResponse(await (await openai()).responses.stream({ model: given.model, input: question }).finalResponse()),
  "responses tools": async () =>
    ofResponse(await (await openai()).responses.create({ model: given.model, input: question, tools: [responsesTool] })),
  "messages answer": async () => ofMessage(await (await anthropic()).messages.create(messages)),
  "messages stream": async () => ofMessage(await (await anthropic()).messages.stream(messages).finalMessage()),
  "messages tools": async () => ofMessage(await (await anthropic()).messages.create({ ...messages, tools: [messagesTool] })),
};

try {
  console.log(JSON.stringify(await plays[given.play]()));
} catch (error) {
  console.log(JSON.stringify({ error: error.constructor.name, status: error.status ?? null, message: error.message }));
}
