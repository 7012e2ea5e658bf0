/**
 * Writes layers as one archive that is an OCI image layout and a Docker archive at once, as `docker save` writes it: `docker load`, `podman
 * load`, `ctr images import` and `skopeo` take it. Equal content gives an equal file.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ENVIRONMENT, type Layer, USER } from './rootfs.ts';
import { type Entry, type Written, writeTar } from './tar.ts';

export interface ImageOptions {
  /** `name:tag`; a name without a registry is what Docker makes of it, one of docker.io/library. */
  readonly tag: string;
  readonly version: string;
  /** What it runs when it is told nothing. Default `sluice`. */
  readonly entrypoint?: readonly string[];
}

export interface Image {
  /** Of the manifest: what registries and `kubectl describe` call the image. */
  readonly digest: string;
  readonly layers: readonly (Written & { readonly name: string })[];
}

const OCI = 'application/vnd.oci.image';
/** Time is not known here: the same sources give the same image whenever it is built. */
const CREATED = '1970-01-01T00:00:00Z';

export function writeImage(file: string, layers: readonly Layer[], { tag, version, entrypoint }: ImageOptions): Image {
  const work = mkdtempSync(join(dirname(file), '.image-'));
  try {
    const written = layers.map(({ name, entries }, index) => {
      const path = join(work, `layer-${index}`);
      return { name, path, ...writeTar(path, entries) };
    });
    const config = json(configOf(written, version, entrypoint));
    const manifest = json(manifestOf(config, written));
    const descriptor = { ...describe(`${OCI}.manifest.v1+json`, manifest), annotations: annotationsOf(tag), platform: PLATFORM };
    const index = json({ schemaVersion: 2, mediaType: `${OCI}.index.v1+json`, manifests: [descriptor] });
    const docker = [
      { Config: blobPath(digestOf(config)), RepoTags: [withTag(tag)], Layers: written.map(({ digest }) => blobPath(digest)) },
    ];
    const small: readonly (readonly [string, Buffer])[] = [
      ['oci-layout', json({ imageLayoutVersion: '1.0.0' })],
      ['index.json', index],
      ['manifest.json', json(docker)],
      [blobPath(digestOf(config)), config],
      [blobPath(digestOf(manifest)), manifest],
    ];
    const whole = join(work, 'image');
    writeTar(whole, [
      ...['blobs', 'blobs/sha256'].map((path): Entry => ({ type: 'folder', path, mode: 0o755 })),
      ...small.map(([path, bytes]): Entry => ({ type: 'file', path, mode: 0o644, content: { bytes } })),
      ...written.map(({ digest, path }): Entry => ({ type: 'file', path: blobPath(digest), mode: 0o644, content: { file: path } })),
    ]);
    renameSync(whole, file);
    return { digest: digestOf(manifest), layers: written.map(({ name, digest, bytes }) => ({ name, digest, bytes })) };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const PLATFORM = { architecture: 'amd64', os: 'linux' } as const;

function configOf(
  layers: readonly (Written & { readonly name: string })[],
  version: string,
  entrypoint = ['sluice'] as readonly string[],
): object {
  return {
    created: CREATED,
    ...PLATFORM,
    config: {
      User: `${USER}:${USER}`,
      Env: Object.entries(ENVIRONMENT).map(([name, value]) => `${name}=${value}`),
      Entrypoint: entrypoint,
      Cmd: ['--help'],
      WorkingDir: '/tmp',
      Labels: {
        'org.opencontainers.image.title': 'sluice',
        'org.opencontainers.image.version': version,
        'org.opencontainers.image.licenses': 'Apache-2.0',
      },
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    history: layers.map(({ name }) => ({ created: CREATED, created_by: `sluice image: ${name}` })),
  };
}

function manifestOf(config: Buffer, layers: readonly Written[]): object {
  return {
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: describe(`${OCI}.config.v1+json`, config),
    layers: layers.map(({ digest, bytes }) => ({ mediaType: `${OCI}.layer.v1.tar`, digest, size: bytes })),
  };
}

function describe(mediaType: string, blob: Buffer): object {
  return { mediaType, digest: digestOf(blob), size: blob.length };
}

function annotationsOf(tag: string): Record<string, string> {
  return { 'io.containerd.image.name': fullName(tag), 'org.opencontainers.image.ref.name': withTag(tag).replace(/^.*:/, '') };
}

/** As Docker completes a short name. */
export function fullName(tag: string): string {
  const [first = '', ...rest] = tag.split('/');
  const full = withTag(tag);
  if (rest.length === 0) return `docker.io/library/${full}`;
  return first.includes('.') || first.includes(':') || first === 'localhost' ? full : `docker.io/${full}`;
}

function withTag(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1).includes(':') ? name : `${name}:latest`;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function digestOf(blob: Buffer): string {
  return `sha256:${createHash('sha256').update(blob).digest('hex')}`;
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}
