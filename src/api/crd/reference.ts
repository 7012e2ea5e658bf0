/** The reference of the API for people, as Markdown. Pure; made of the same schemas as the CustomResourceDefinitions. */
import { CONDITIONS } from '../conditions.ts';
import { API_VERSION } from '../schema.ts';
import type { Kind } from './kinds.ts';
import { refusalsSection, rulesSection } from './referencerules.ts';
import { type Json, type Structural, structural } from './structural.ts';

/** Blocks that were told already, by what they consist of: a second one like it is only named. */
type Told = Map<string, string>;

export function reference(kinds: readonly Kind[]): string {
  const told: Told = new Map();
  const contents = kinds.map(({ kind }) => `[${kind}](#${anchor(kind)})`).join(' · ');
  const parts = [HEAD, `${contents} · [Conditions](#conditions)`, ...kinds.flatMap((kind) => kindSection(kind, told)), conditionsSection()];
  return `${parts.join('\n\n')}\n`;
}

const HEAD = `# API reference

Group and version \`${API_VERSION}\`, for \`sluice up\` and for Kubernetes. Generated from \`src/api\` by \`npm run generate\`; the same source
makes the CustomResourceDefinitions in [crds/](../crds). What may change and how: [api-versions.md](api-versions.md).

How to read it
- A field without a default is optional unless it says **required**.
- A *duration* is text with units: \`250ms\`, \`2s\`, \`1m30s\`. A *quantity* is bytes, as text with a suffix (\`64Mi\`, \`1G\`) or a plain number.
- Lengths are in characters. Unknown fields are refused: by \`sluice up\` always, by \`kubectl\` unless it runs with \`--validate=false\`.
- Every field of a ServingDeployment may be changed while it runs, from one mixed pool to two and back too; a ServingPool keeps its role,
  and a PinnedContext its deployment.
- An edit of a KVTier is an edit of every ServingDeployment that names it: [kv-tier.md](kv-tier.md).
- Rules look at several fields. \`{path}\` stands for what is written there, \`{…}\` for the argument or variable in question. \`sluice up\` and the
  kube-apiserver say the same sentence.`;

function kindSection(kind: Kind, told: Told): string[] {
  const spec = structural(kind.spec);
  return [
    `## ${kind.kind}`,
    kind.description,
    `\`kubectl get ${kind.shortName}\` (plural \`${kind.plural}\`, category \`sluice\`, namespaced) shows ${columns(kind)}.`,
    ...(kind.scale
      ? [`Its scale sub-resource reads and writes \`${kind.scale.specReplicasPath}\` and shows \`${kind.scale.statusReplicasPath}\`.`]
      : []),
    `\`metadata.name\`: ${structural(kind.metadata).properties?.['name']?.description ?? ''}`,
    ...(kind.example ? [`\`\`\`yaml\n${kind.example}\`\`\``] : []),
    ...blockSections(`${kind.kind} spec`, spec, told),
    ...blockSections(`${kind.kind} status`, structural(kind.status), told),
    ...rulesSection(`${kind.kind} rules`, spec),
    ...refusalsSection(`${kind.kind} refused arguments and variables`, kind.refusals ?? []),
  ];
}

function columns({ columns: all }: Kind): string {
  const names = (wide: boolean) => all.filter(({ priority }) => (priority === 1) === wide).map(({ name }) => name);
  const wide = names(true);
  return `${names(false).join(', ')}${wide.length > 0 ? `; with \`-o wide\` also ${wide.join(', ')}` : ''}`;
}

/** The block and those inside it, in the order of the fields. */
function blockSections(title: string, schema: Structural, told: Told): string[] {
  told.set(contentOf(schema), title);
  const inner: string[] = [];
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const block = field.properties ? field : field.items;
    const at = `${title}.${name}${field.items ? '[]' : ''}`;
    const same = block?.properties ? told.get(contentOf(block)) : undefined;
    if (block?.properties && same === undefined) inner.push(...blockSections(at, block, told));
    const isRequired = schema.required?.includes(name) === true;
    const type = block?.properties ? blockLink(field, at, same) : typeOf(field);
    return `| \`${name}\` | ${type} | ${isRequired ? '**required**' : defaultOf(field)} | ${cell(field.description ?? '')} |`;
  });
  const description = schema.description ? [schema.description, ''] : [];
  return [[`### ${title}`, '', ...description, '| field | type | default | meaning |', '|---|---|---|---|', ...rows].join('\n'), ...inner];
}

function blockLink(field: Structural, title: string, same: string | undefined): string {
  const what = field.items ? 'list' : 'block';
  return same === undefined ? `[${what}](#${anchor(title)})` : `${what}, as [${same}](#${anchor(same)})`;
}

function typeOf(field: Structural): string {
  if (field.enum) return cell(field.enum.map((value) => `\`${plain(value)}\``).join(' \\| '));
  const { name, bounds } = field.form ?? { name: field.type ?? '', bounds: '' };
  const numbers = bounds.match(/\d[\w,]*/g) ?? [];
  // Most descriptions say the bounds, for `kubectl explain`; they are not said twice.
  const isSaid = numbers.length > 0 && numbers.every((number) => field.description?.includes(number));
  return cell(bounds === '' || isSaid ? name : `${name}, ${bounds}`);
}

function defaultOf(field: Structural): string {
  if (field.default === undefined) return '';
  return field.properties ? 'its defaults' : `\`${plain(field.default)}\``;
}

function plain(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** What a block consists of, whatever it is called. */
function contentOf({ properties, required }: Structural): string {
  return JSON.stringify([properties, required]);
}

function conditionsSection(): string {
  const rows = Object.entries(CONDITIONS).map(
    ([type, { settled, meaning }]) => `| \`${type}\` | ${settled ? 'True' : 'False'} | ${cell(meaning)} |`,
  );
  return [
    '## Conditions',
    '',
    'One vocabulary for all kinds, which tools that know kstatus read rightly. `reason` is one CamelCase word for programs, `message` a sentence.',
    '',
    '| type | when all is well | meaning |',
    '|---|---|---|',
    ...rows,
  ].join('\n');
}

/** As GitHub makes it from a heading. */
function anchor(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, '')
    .replaceAll(' ', '-');
}

function cell(text: string): string {
  return text.replaceAll(/(?<!\\)\|/g, '\\|').replaceAll('\n', ' ');
}
