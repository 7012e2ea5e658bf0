/** The files that are generated from the schemas. Pure: what is written where is for the caller. */
import { stringify } from 'yaml';
import { GROUP } from '../schema.ts';
import { crd } from './crd.ts';
import { KINDS } from './kinds.ts';
import { reference } from './reference.ts';

export interface GeneratedFile {
  /** From the root of the repository. */
  readonly path: string;
  readonly text: string;
}

const YAML_HEAD = '# Generated from src/api by `npm run generate`. Change it there.\n';

/** @throws {Error} with the field's path when a schema cannot be said in a CustomResourceDefinition. */
export function generatedFiles(): GeneratedFile[] {
  const definitions = KINDS.map((kind) => ({
    path: `crds/${GROUP}_${kind.plural}.yaml`,
    // No aliases: they are YAML, but readers of CRDs do not expect them.
    text: YAML_HEAD + stringify(crd(kind), { aliasDuplicateObjects: false, lineWidth: 140, indentSeq: false }),
  }));
  return [...definitions, { path: 'docs/api.md', text: reference(KINDS) }];
}
