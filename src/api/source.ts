/** A YAML document with its positions: where a path of the resource stands in the file and what is written there. */
import { type Document, isAlias, isMap, isScalar, isSeq, type LineCounter, type Node, type ParsedNode, type YAMLMap } from 'yaml';
import { cutValue } from './manifest-error.ts';

export interface Place {
  readonly line: number;
  readonly column: number;
  /** As written; `nothing` when the path does not exist. */
  readonly value: string;
}

type ParsedDocument = Document.Parsed<ParsedNode>;

export class ManifestSource {
  readonly #document: ParsedDocument;
  readonly #lines: LineCounter;

  constructor(document: ParsedDocument, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  /** The place of `path`; of a missing field, the key of the nearest mapping around it. */
  place(path: readonly PropertyKey[]): Place {
    let node: Node | null = this.#document.contents;
    let offset = node?.range?.[0] ?? this.#document.range[0];
    for (const part of path) {
      const next = this.#step(node, part);
      if (!next) return { ...this.position(offset), value: 'nothing' };
      node = next.node;
      offset = next.offset;
    }
    return { ...this.position(offset), value: describe(this.#resolve(node)) };
  }

  position(offset: number): { line: number; column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  #resolve(node: Node | null): Node | null {
    return isAlias(node) ? (node.resolve(this.#document) ?? null) : node;
  }

  #step(node: Node | null, part: PropertyKey): { node: Node | null; offset: number } | null {
    const parent = this.#resolve(node);
    if (isMap(parent)) return pairOf(parent, String(part));
    if (!isSeq(parent)) return null;
    const item = parent.items[Number(part)];
    return isNode(item) ? { node: item, offset: item.range?.[0] ?? 0 } : null;
  }
}

function pairOf(map: YAMLMap, key: string): { node: Node | null; offset: number } | null {
  for (const pair of map.items) {
    if (!isScalar(pair.key) || String(pair.key.value) !== key) continue;
    return { node: isNode(pair.value) ? pair.value : null, offset: pair.key.range?.[0] ?? 0 };
  }
  return null;
}

function isNode(value: unknown): value is Node {
  return isScalar(value) || isMap(value) || isSeq(value) || isAlias(value);
}

function describe(node: Node | null): string {
  if (isMap(node)) return 'a mapping';
  if (isSeq(node)) return 'a list';
  if (!isScalar(node) || node.value === null) return 'empty';
  if (typeof node.value === 'string') return cutValue(JSON.stringify(node.value));
  return cutValue(node.source ?? JSON.stringify(node.value));
}
