/** What the kind of engine asks of other fields. Pure. Each expectation says what to do about it. */
import type { CheckedSpec, Finding } from './finding.ts';

/** Tokens that the built-in model of vllm can look back on. */
const TINY_CONTEXT_TOKENS = 8_192;
/** What vLLM's attention kernels can work with. */
const BLOCK_TOKENS = { cpu: [32, 64], accelerator: [16, 32, 64] };

const SOURCES = {
  gguf: { pattern: /^(?:builtin:tiny|(?!builtin:).{1,4090}\.gguf)$/su, expected: 'builtin:tiny, or the path of a .gguf file' },
  vllm: {
    pattern: /^(?:builtin:tiny|\.{0,2}\/.*|[A-Za-z0-9][-\w.]{0,95}\/[A-Za-z0-9][-\w.]{0,95})$/su,
    expected: 'builtin:tiny, a folder that starts with /, ./ or ../, or a name of the Hugging Face hub such as org/name',
  },
};

export function engineFindings(spec: CheckedSpec): Finding[] {
  const { pattern, expected } = spec.engine.type === 'vllm' ? SOURCES.vllm : SOURCES.gguf;
  const source = pattern.test(spec.model.source) ? [] : [{ path: ['model', 'source'], expected }];
  return [...source, ...simulationOnly(spec), ...(spec.engine.type === 'vllm' ? vllm(spec) : vllmOnly(spec))];
}

function simulationOnly({ engine, prefill, decode }: CheckedSpec): Finding[] {
  if (engine.type === 'sim') return [];
  const places = { engine, prefill, decode };
  return (['engine', 'prefill', 'decode'] as const)
    .filter((name) => places[name]?.sim !== undefined)
    .map((name) => ({
      path: [name, 'sim'],
      expected: `no sim block with engine.type ${engine.type}: remove it, or set engine.type to sim`,
    }));
}

function vllmOnly({ engine, prefill, decode }: CheckedSpec): Finding[] {
  const given = [
    { path: ['engine', 'dtype'], value: engine.dtype },
    ...Object.entries({ prefill, decode }).flatMap(([role, block]) => [
      { path: [role, 'accelerator'], value: block?.accelerator },
      { path: [role, 'parallelism'], value: block?.parallelism },
    ]),
  ];
  return given.flatMap(({ path, value }) =>
    value === undefined
      ? []
      : [{ path, expected: `no ${path.at(-1)} with engine.type ${engine.type}: remove it, or set engine.type to vllm` }],
  );
}

function vllm(spec: CheckedSpec): Finding[] {
  return [...placement(spec), ...blockTokens(spec), ...tinyContext(spec)];
}

/** KV goes from memory of one kind to memory of the same kind. */
function placement({ prefill, decode }: CheckedSpec): Finding[] {
  const alone = Object.entries({ prefill, decode }).flatMap(([role, block]) =>
    block?.accelerator === undefined && (block?.parallelism?.tensor ?? 1) > 1
      ? [
          {
            path: [role, 'parallelism', 'tensor'],
            expected: `1 without ${role}.accelerator: set that, such as nvidia-h100, or remove this`,
          },
        ]
      : [],
  );
  if (!prefill || (prefill.accelerator === undefined) === (decode.accelerator === undefined)) return alone;
  const [without, other] = prefill.accelerator === undefined ? ['prefill', decode.accelerator] : ['decode', prefill.accelerator];
  return [
    ...alone,
    {
      path: [without, 'accelerator'],
      expected: `an accelerator, since the other pool runs on ${other} and cannot hand KV over to or from a CPU: set it, or remove it there`,
    },
  ];
}

function blockTokens({ kv, decode }: CheckedSpec): Finding[] {
  const where = decode.accelerator === undefined ? 'cpu' : 'accelerator';
  if (kv.blockTokens === undefined || BLOCK_TOKENS[where].includes(kv.blockTokens)) return [];
  const expected = `${BLOCK_TOKENS[where].join(' or ')} (tokens) with vLLM on ${where === 'cpu' ? 'the CPU' : 'an accelerator'}: change it, or leave it out`;
  return [{ path: ['kv', 'blockTokens'], expected }];
}

function tinyContext({ model, engine }: CheckedSpec): Finding[] {
  if (model.source !== 'builtin:tiny' || engine.contextTokens <= TINY_CONTEXT_TOKENS) return [];
  const expected = `at most ${TINY_CONTEXT_TOKENS} (tokens), which builtin:tiny can look back on: lower it, or take another model`;
  return [{ path: ['engine', 'contextTokens'], expected }];
}
