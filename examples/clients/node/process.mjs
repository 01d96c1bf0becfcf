// Send one document over the Process stream and print its text. What a client must do at least is marked with numbers;
// docs/clients.md explains them.
//
//   node process.mjs STATE DESCRIPTORS FILE [MEDIA_TYPE] [ACTION]
//
// STATE is the folder that `transom dev` prints: authority, certificate, key, endpoint and token.
// DESCRIPTORS is the file transom.binpb that `transom protos export` writes.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const CHUNK = 256 * 1024;
const WINDOW = 4 * 1024 * 1024;
const PAGE = "application/x-protobuf;type=transom.documents.v1.Page";

const [state, descriptors, file, mediaType = "application/pdf", action = "ocr.auto"] = process.argv.slice(2);
const read = (name) => readFileSync(join(state, name));
const style = { keepCase: true, longs: Number, enums: String, defaults: true };
const types = loader.loadFileDescriptorSetFromBuffer(readFileSync(descriptors), style);
const { transom } = grpc.loadPackageDefinition(types);

// 1. Mutual TLS, and a token in the metadata.
const client = new transom.runs.v1.RunService(
  read("endpoint").toString().trim(),
  grpc.credentials.createSsl(read("ca.pem"), read("client.key"), read("client.pem")),
  { "grpc.ssl_target_name_override": "localhost" },
);
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${read("token").toString().trim()}`);

const document = readFileSync(file);
const stream = client.Process(metadata, { deadline: Date.now() + 120_000 });
const say = (item) => stream.write({ items: [{ tag: 1, ...item }] });

// 2. The first item starts the run: what to do, and what is promised about the bytes.
const sha256 = createHash("sha256").update(document).digest();
say({
  start: {
    spec: {
      target: { action },
      documents: [{ media_type: mediaType, size_bytes: document.length, sha256 }],
      timeout: { seconds: 100 },
    },
  },
});

// 3. Chunks follow as far as credit reaches: in order, without gap, at most 1 MiB each.
let sent = 0;
let pass = 0;
function upload(credit) {
  while (sent < Math.min(credit, document.length)) {
    const data = document.subarray(sent, Math.min(sent + CHUNK, credit, document.length));
    say({ chunk: { document: 0, offset: sent, data, pass } });
    sent += data.length;
  }
}

// 4. The result comes in parts, a part in chunks; parts of an earlier attempt are void.
let attempt = 0;
let received = 0;
let parts = new Map();
function collect(chunk) {
  if (chunk.attempt !== attempt) {
    attempt = chunk.attempt;
    parts = new Map();
  }
  const pieces = parts.get(chunk.part) ?? [];
  parts.set(chunk.part, [...pieces, chunk.data]);
  received += chunk.data.length;
  // 5. The server sends no more than there is room for: say that there is room again.
  say({ result_credit: { total_bytes: received + WINDOW } });
  if (chunk.last) show(chunk, Buffer.concat(parts.get(chunk.part)));
}

function show(chunk, data) {
  if (chunk.media_type !== PAGE) {
    console.log(`part ${chunk.part}: ${chunk.media_type}, ${data.length} bytes`);
    return;
  }
  const page = types["transom.documents.v1.Page"].deserialize(data);
  console.log(`--- page ${page.number} (${page.engine})`);
  console.log(page.error ? `failed: ${page.error.message}` : page.text);
}

// 6. Events carry the tag of their run. The outcome is the last one.
stream.on("data", ({ events }) => {
  for (const event of events) {
    if (event.upload_credit?.pass === pass) upload(event.upload_credit.total_bytes);
    // 7. After a lost attempt the documents may be asked for again, from offset 0, under a new pass.
    if (event.replay) [sent, pass] = [0, event.replay.pass];
    if (event.result) collect(event.result);
    if (event.outcome) {
      const { state: end, status, pages } = event.outcome;
      console.log(`${end}: ${pages} pages${status ? `; ${status.message}` : ""}`);
      process.exitCode = end === "RUN_STATE_SUCCEEDED" ? 0 : 1;
      // 8. Half-close: there is nothing more to say.
      stream.end();
    }
  }
});
stream.on("error", (error) => {
  console.error(`${grpc.status[error.code]}: ${error.details}`);
  process.exitCode = 1;
});
stream.on("end", () => client.close());
