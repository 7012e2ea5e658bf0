// Reads the document of `npm start -- --once --json` from standard input and holds it against its agreed shape.
// Exit 0: sound, everything equal, nothing left over. Exit 1: says what is wrong.
import { text } from 'node:stream/consumers';

const nullable = (check) => (value) => value === null || check(value);
const isText = (value) => typeof value === 'string';
const isFlag = (value) => typeof value === 'boolean';
const isCount = (value) => Number.isInteger(value) && value >= 0;
const isAmount = (value) => Number.isFinite(value) && value >= 0;

const REQUEST = {
  name: isText,
  requestId: isText,
  model: isText,
  prefill: nullable(isText),
  decode: nullable(isText),
  why: isText,
  ttftMs: nullable(isAmount),
  tokensPerSecond: nullable(isAmount),
  promptTokens: isCount,
  outputTokens: isCount,
  reusedTokens: { hbm: isCount, host: isCount, peer: isCount, store: isCount },
  handOff: nullable((value) => problems(value, { blocks: isCount, bytes: isCount, ms: isAmount }, 'handOff').length === 0),
  equalsSingleEngine: nullable(isFlag),
  finishReason: nullable(isText),
};
const REPORT = {
  ok: isFlag,
  readyMs: isAmount,
  requests: (value) => Array.isArray(value) && value.length >= 5,
  leftovers: { leases: isCount, reservations: isCount, processes: isCount, files: isCount },
};

function problems(value, shape, path) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${path} is no object`];
  const wrong = Object.entries(shape).flatMap(([name, check]) => {
    const here = `${path}.${name}`;
    if (!Object.hasOwn(value, name)) return [`${here} is missing`];
    if (typeof check === 'object') return problems(value[name], check, here);
    return check(value[name]) ? [] : [`${here} is ${JSON.stringify(value[name])}`];
  });
  return [
    ...wrong,
    ...Object.keys(value).flatMap((name) => (Object.hasOwn(shape, name) ? [] : [`${path}.${name} is not in the agreed shape`])),
  ];
}

/** Everything that is wrong with the text of a report; empty = sound. */
export function reportProblems(json) {
  let report;
  try {
    report = JSON.parse(json);
  } catch (error) {
    return [`standard output is not one JSON document: ${error.message}`];
  }
  const shape = problems(report, REPORT, 'report');
  if (shape.length > 0) return shape;
  const requests = report.requests.flatMap((request, index) => problems(request, REQUEST, `requests[${index}]`));
  const content = [
    ...(report.ok ? [] : ['ok is false']),
    ...(report.requests.some(({ handOff }) => handOff && handOff.blocks > 0) ? [] : ['no request handed KV over']),
    ...report.requests
      .filter(({ equalsSingleEngine }) => equalsSingleEngine === false)
      .map(({ name }) => `"${name}" differs from a single engine`),
    ...Object.entries(report.leftovers)
      .filter(([, count]) => count > 0)
      .map(([what, count]) => `${count} ${what} left over`),
  ];
  return [...requests, ...content];
}

if (process.argv[1]?.endsWith('/quickstart-report.mjs')) {
  const found = reportProblems(await text(process.stdin));
  for (const problem of found) process.stderr.write(`quickstart: ${problem}\n`);
  process.stdout.write(found.length === 0 ? 'quickstart: the report is sound\n' : '');
  process.exitCode = found.length === 0 ? 0 : 1;
}
