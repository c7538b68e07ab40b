// Node's ws: a round over all connections, `send` for each event, as many of them at a time as a burst has.
"use strict";

const { WebSocketServer } = require("ws");

const [events, clients, burst] = process.argv.slice(2, 5).map(Number);
const [first, second, third] = JSON.parse(process.argv[5]);
const NAME = "@NAME@";
const connections = [];

function round(said) {
  for (const connection of connections) {
    for (let number = said + 1; number <= said + burst; number++) {
      connection.socket.send(first + number + second + number + connection.third);
    }
  }
  if (said + burst < events) setImmediate(round, said + burst);
}

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
server.on("listening", () => console.log(`port ${server.address().port}`));
server.on("connection", (socket, request) => {
  const name = request.url.slice(1);
  socket.once("message", () => {
    connections.push({ socket, third: third.replace(NAME, name) });
    if (connections.length === clients) round(0);
  });
});
