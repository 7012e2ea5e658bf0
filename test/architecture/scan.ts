/** Reads one source file into what the rules look at. TypeScript's own syntax tree, so that comments and strings do not count. */
import { parseAst } from 'vitest/node';

export interface Source {
  /** From `src/` on, with forward slashes: `kv/host/tier.ts`. */
  readonly path: string;
  readonly text: string;
}

export interface Use {
  readonly line: number;
  /** What is used: a module for imports, else the name of the construct. */
  readonly what: string;
}

export interface Scan {
  readonly imports: readonly Use[];
  /** Constructs that a deciding file must not have. */
  readonly impure: readonly Use[];
  /** `process.env`, `process.argv`. */
  readonly surroundings: readonly Use[];
  /** `x as unknown as T` and comments that silence a checker. */
  readonly escapes: readonly Use[];
}

interface TreeNode {
  readonly type: string;
  readonly start: number;
  readonly [field: string]: unknown;
}

const SURROUNDINGS = ['env', 'argv'];
const IMPURE_NAMES = [
  'process',
  'console',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'fetch',
  'randomUUID',
  'randomBytes',
  'randomInt',
  'systemClock',
];
const IMPURE_MEMBERS = ['Math.random', 'Date.now', 'crypto.randomUUID', 'crypto.randomBytes', 'crypto.randomInt', 'crypto.getRandomValues'];
const SILENCERS = /@ts-(?:ignore|nocheck|expect-error)|(?:biome-ignore|(?:oxlint|eslint)-disable)(?![A-Za-z])/;

export function scan({ path, text }: Source): Scan {
  const found = { imports: [] as Use[], impure: [] as Use[], surroundings: [] as Use[], escapes: [] as Use[] };
  const lineOf = lineFinder(text);
  const add = (list: Use[], node: TreeNode, what: string) => list.push({ line: lineOf(node.start), what });
  const tree = parseTree(path, text);
  const suspects: Use[] = [];
  walk(tree, (node, isName) => {
    const imported = importedModule(node);
    if (imported !== null) add(found.imports, node, imported);
    for (const name of surroundings(node)) add(found.surroundings, node, name);
    const impure = isName ? null : impureConstruct(node);
    if (impure !== null) add(suspects, node, impure);
    if (isDoubleAssertion(node)) add(found.escapes, node, 'as unknown as');
  });
  if (suspects.length > 0) {
    const own = declaredNames(tree);
    found.impure.push(...suspects.filter(({ what }) => !own.has(what)));
  }
  text.split('\n').forEach((line, index) => {
    const silencer = /\/[/*].*/.exec(line)?.[0].match(SILENCERS)?.[0];
    if (silencer) found.escapes.push({ line: index + 1, what: silencer });
  });
  return found;
}

function parseTree(path: string, text: string): TreeNode {
  const tree: unknown = parseAst(text, { lang: 'ts' });
  if (!isTreeNode(tree)) throw new Error(`${path} did not parse into a tree`);
  return tree;
}

function isTreeNode(value: unknown): value is TreeNode {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}

/** Visits every node; `isName` marks names of properties, which refer to nothing. */
function walk(node: TreeNode, visit: (node: TreeNode, isName: boolean) => void, isName = false): void {
  visit(node, isName);
  for (const field in node) {
    const child = node[field];
    const named = (field === 'property' || field === 'key') && node['computed'] === false;
    for (const item of Array.isArray(child) ? child : [child]) if (isTreeNode(item)) walk(item, visit, named);
  }
}

/** Names of the file's own variables and parameters: a local `process` is not Node's. */
function declaredNames(tree: TreeNode): Set<string> {
  const names = new Set<string>();
  walk(tree, (node) => {
    const parameters = Array.isArray(node['params']) ? node['params'] : [];
    for (const declared of node.type === 'VariableDeclarator' ? [node['id']] : parameters) {
      const name = identifier(declared);
      if (name !== null) names.add(name);
    }
  });
  return names;
}

function lineFinder(text: string): (offset: number) => number {
  const starts = [...text.matchAll(/\n/g)].map(({ index }) => index);
  return (offset) => {
    const after = starts.findIndex((start) => start >= offset);
    return (after === -1 ? starts.length : after) + 1;
  };
}

/** Imports and exports from, `import()` of code and of types, `require()` and `require.resolve()`. */
function importedModule(node: TreeNode): string | null {
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ExportAllDeclaration':
    case 'ExportNamedDeclaration':
    case 'ImportExpression':
    case 'TSImportType':
      return literal(node['source']);
    case 'CallExpression': {
      const callee = isTreeNode(node['callee']) && node['callee'].type === 'MemberExpression' ? node['callee']['object'] : node['callee'];
      return identifier(callee) === 'require' && Array.isArray(node['arguments']) ? literal(node['arguments'][0]) : null;
    }
    default:
      return null;
  }
}

function surroundings(node: TreeNode): string[] {
  if (node.type === 'MemberExpression' && identifier(node['object']) === 'process') {
    const name = identifier(node['property']) ?? literal(node['property']) ?? '';
    return SURROUNDINGS.includes(name) ? [`process.${name}`] : [];
  }
  const fromProcess = node.type === 'ImportDeclaration' && /^(?:node:)?process$/.test(literal(node['source']) ?? '');
  const fromPattern =
    node.type === 'VariableDeclarator' && identifier(node['init']) === 'process' && isTreeNode(node['id'])
      ? node['id']['properties']
      : null;
  const names = fromProcess ? node['specifiers'] : fromPattern;
  if (!Array.isArray(names)) return [];
  return names
    .filter(isTreeNode)
    .map((name) => identifier(name['imported']) ?? identifier(name['key']) ?? '')
    .filter((name) => SURROUNDINGS.includes(name))
    .map((name) => `process.${name}`);
}

function impureConstruct(node: TreeNode): string | null {
  if (node.type === 'AwaitExpression') return 'await';
  if (node['async'] === true) return 'async';
  if (node.type === 'MemberExpression') {
    const name = `${identifier(node['object'])}.${identifier(node['property'])}`;
    return IMPURE_MEMBERS.includes(name) ? name : null;
  }
  if (
    node.type === 'NewExpression' &&
    identifier(node['callee']) === 'Date' &&
    Array.isArray(node['arguments']) &&
    node['arguments'].length === 0
  ) {
    return 'new Date()';
  }
  const used = node.type === 'Identifier' ? identifier(node) : null;
  return used !== null && IMPURE_NAMES.includes(used) ? used : null;
}

function isDoubleAssertion(node: TreeNode): boolean {
  const inner = node['expression'];
  if (node.type !== 'TSAsExpression' || !isTreeNode(inner) || inner.type !== 'TSAsExpression') return false;
  return isTreeNode(inner['typeAnnotation']) && inner['typeAnnotation'].type === 'TSUnknownKeyword';
}

function identifier(value: unknown): string | null {
  return isTreeNode(value) && value.type === 'Identifier' && typeof value['name'] === 'string' ? value['name'] : null;
}

function literal(value: unknown): string | null {
  return isTreeNode(value) && value.type === 'Literal' && typeof value['value'] === 'string' ? value['value'] : null;
}
