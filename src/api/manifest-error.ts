/** One thing that is wrong with a manifest, exact enough to fix it without reading documentation. */
export interface ManifestError {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** Where in the resource, for example `spec.decode.replicas`; '' = the document as a whole. */
  readonly path: string;
  /** What stands there, as written and cut to 80 characters; `nothing` when the field is missing. */
  readonly value: string;
  /** What was expected instead. */
  readonly expected: string;
  /** The whole finding in one sentence, without file and line. */
  readonly message: string;
}

const MAX_VALUE = 80;
const PLAIN_KEY = /^[A-Za-z_][-A-Za-z0-9_]*$/;

/** `['spec', 'engine', 'args', 0]` → `spec.engine.args[0]`. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    const key = String(part);
    if (!PLAIN_KEY.test(key)) return `${text}[${JSON.stringify(key)}]`;
    return text === '' ? key : `${text}.${key}`;
  }, '');
}

export function cutValue(text: string): string {
  return text.length <= MAX_VALUE ? text : `${text.slice(0, MAX_VALUE - 1)}…`;
}

/** Errors as lines for a terminal, `file:line:column path: …`, in the order of the file. */
export function formatManifestErrors(errors: readonly ManifestError[]): string {
  return errors.map(({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`).join('\n');
}
