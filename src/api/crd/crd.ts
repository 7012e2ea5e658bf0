/** The CustomResourceDefinition of a kind. Pure. */
import { GROUP, VERSION } from '../schema.ts';
import type { Kind } from './kinds.ts';
import { type Structural, structural, withoutForms } from './structural.ts';

const HEADER = {
  apiVersion: 'Version of the resource.',
  kind: 'Kind of the resource.',
};

export function crd({ kind, plural, singular, shortName, description, columns, scale, ...schemas }: Kind) {
  const { metadata, spec, status } = schemas;
  const name = structural(metadata).properties?.['name'];
  const text = (what: string): Structural => ({ type: 'string', description: what });
  const schema: Structural = {
    type: 'object',
    description,
    required: ['spec'],
    properties: {
      apiVersion: text(HEADER.apiVersion),
      kind: text(HEADER.kind),
      // A kube-apiserver knows metadata itself and lets us restrict the name only.
      metadata: {
        type: 'object',
        properties: { name: { type: 'string', ...(name?.pattern && { pattern: name.pattern }), maxLength: name?.maxLength ?? 253 } },
      },
      spec: { ...withoutForms(structural(spec)), description: 'What is wanted.' },
      status: { ...withoutForms(structural(status)), description: 'What is, as the operator last saw it.' },
    },
  };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${GROUP}`, labels: { 'app.kubernetes.io/part-of': 'sluice' } },
    spec: {
      group: GROUP,
      names: { kind, listKind: `${kind}List`, plural, singular, shortNames: [shortName], categories: ['sluice'] },
      scope: 'Namespaced',
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          additionalPrinterColumns: columns,
          subresources: { status: {}, ...(scale && { scale }) },
          schema: { openAPIV3Schema: schema },
        },
      ],
    },
  };
}
