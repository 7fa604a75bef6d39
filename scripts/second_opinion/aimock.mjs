// The server that others have written: it prints its address and serves until it is ended.
import { LLMock } from "@copilotkit/aimock";

const mock = new LLMock({ port: 0, chunkSize: 6 });
mock.on({ userMessage: "call", hasToolResult: true }, { content: "It rains in Oslo." });
mock.onMessage("text", { content: "Hello there, friend" });
mock.onMessage("think", { content: "Hello there", reasoning: "I should greet them" });
mock.onMessage("call", {
  content: "Let me see",
  toolCalls: [
    { name: "weather", arguments: '{"city":"Oslo"}' },
    { name: "noon", arguments: "{}" },
  ],
});
mock.onMessage("cut", { content: "This will never be said to its end" }, { truncateAfterChunks: 2 });
await mock.start();
console.log(mock.url);
