// Drives a Toxiproxy server by toxiproxy-node-client, a client that is not ours, as its users do.
//
// usage: node toxiproxy_clients.js CLIENT HOST PORT
//
// CLIENT is where the package is. Prints a line a thing that was done and exits 0, or throws.

const assert = require("node:assert/strict");
const net = require("node:net");

const [client, host, port] = process.argv.slice(2);
const { Toxiproxy } = require(client);

const echo = net.createServer((socket) => {
  socket.on("error", () => {});
  socket.pipe(socket);
});

function place(proxy) {
  const at = proxy.listen.lastIndexOf(":");
  return { host: proxy.listen.slice(0, at), port: Number(proxy.listen.slice(at + 1)) };
}

// What comes back until it is as long as what is sent or the connection ends.
function through(proxy, text = "hello") {
  return new Promise((resolve, reject) => {
    let got = "";
    const socket = net.connect(place(proxy), () => socket.write(text));
    socket.on("error", reject);
    socket.on("data", (data) => {
      got += data;
      if (got.length >= text.length) socket.end();
    });
    socket.on("close", () => resolve(got));
  });
}

async function drive(upstream) {
  const toxiproxy = new Toxiproxy(`http://${host}:${port}`);
  assert.match(JSON.parse(await toxiproxy.getVersion()).version, /^2\./);
  console.log("version");

  const body = { name: "node", listen: "localhost:0", upstream };
  const proxy = await toxiproxy.createProxy(body);
  await assert.rejects(toxiproxy.createProxy(body), /status code 409/);
  await assert.rejects(toxiproxy.get("nobody"), /status code 404/);
  assert.deepEqual((await toxiproxy.get("node")).toJson(), proxy.toJson());
  assert.deepEqual(Object.keys(await toxiproxy.getAll()), ["node"]);
  assert.equal(await through(proxy), "hello");
  console.log("create");

  const slow = await proxy.addToxic({ type: "latency", attributes: { latency: 60, jitter: 0 } });
  assert.deepEqual(slow.toJson(), {
    attributes: { latency: 60, jitter: 0 },
    name: "latency_downstream",
    stream: "downstream",
    toxicity: 1,
    type: "latency",
  });
  let began = process.hrtime.bigint();
  assert.equal(await through(proxy), "hello");
  assert.ok(process.hrtime.bigint() - began >= 60_000_000n);
  const slower = await slow.update({ attributes: { latency: 90 }, toxicity: 1 });
  assert.deepEqual(slower.attributes, { latency: 90, jitter: 0 });
  began = process.hrtime.bigint();
  assert.equal(await through(proxy), "hello");
  assert.ok(process.hrtime.bigint() - began >= 90_000_000n);
  await assert.rejects(proxy.addToxic({ type: "latency", attributes: {} }), /status code 409/);
  await assert.rejects(proxy.addToxic({ type: "none", attributes: {} }), /status code 400/);
  assert.equal((await proxy.getToxic("latency_downstream")).toxicity, 1);
  await slower.remove();
  await assert.rejects(proxy.getToxic("latency_downstream"), /status code 404/);
  console.log("latency");

  await proxy.addToxic({ type: "limit_data", attributes: { bytes: 3 } });
  assert.equal(await through(proxy), "hel");
  await toxiproxy.reset();
  assert.equal(await through(proxy), "hello");
  console.log("limit_data");

  const attributes = { timeout: 0 };
  const reset = await proxy.addToxic({ type: "reset_peer", stream: "upstream", attributes });
  await assert.rejects(through(proxy), { code: "ECONNRESET" });
  await reset.remove();
  console.log("reset_peer");

  for (const [type, attributes] of [
    ["bandwidth", { rate: 1000 }],
    ["slicer", { average_size: 2, size_variation: 1, delay: 10 }],
    ["slow_close", { delay: 10 }],
  ]) {
    const toxic = await proxy.addToxic({ type, attributes, name: "one", toxicity: 0.5 });
    assert.equal(toxic.toxicity, 0.5);
    assert.equal(await through(proxy), "hello");
    await toxic.remove();
    console.log(type);
  }

  const timeout = await proxy.addToxic({ type: "timeout", attributes: { timeout: 20 } });
  assert.equal(await through(proxy), "");
  await timeout.remove();
  console.log("timeout");

  const down = await proxy.update({ ...proxy.toJson(), enabled: false });
  assert.equal(down.enabled, false);
  await assert.rejects(through(proxy), { code: "ECONNREFUSED" });
  await toxiproxy.reset();
  assert.equal(await through(proxy), "hello");
  console.log("down");

  const more = await toxiproxy.populate([proxy.toJson(), { ...body, name: "more" }]);
  assert.deepEqual(Object.keys(more), ["node", "more"]);
  for (const one of Object.values(await toxiproxy.getAll())) await one.remove();
  assert.deepEqual(await toxiproxy.getAll(), {});
  console.log("populate");
}

echo.listen(0, "127.0.0.1", () => {
  drive(`127.0.0.1:${echo.address().port}`).then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
});
