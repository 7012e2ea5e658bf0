/** What a cluster keeps of Sluice when it is taken away: nothing but the definitions of its resources. */
import { afterAll, expect, inject, it } from 'vitest';
import { Admin } from '../admin.ts';
import { until } from '../bed.ts';
import { inventory } from './inventory.ts';
import { Release, SYSTEM } from './release.ts';
import { sample, Tenant } from './tenant.ts';

const { kubeconfig } = inject('node');
const admin = new Admin(kubeconfig);
const name = 'llama-cpp-cpu';
let release: Release;
let tenant: Tenant;
afterAll(async () => {
  await tenant?.close();
  await release?.close();
});

/** Definitions stay, and what the API server makes of them. */
const KEPT = /^(?:customresourcedefinitions \/\w+\.serving\.sluice\.dev|apiservices \/v1alpha1\.serving\.sluice\.dev)$/;

async function left(before: ReadonlySet<string>): Promise<readonly string[]> {
  return [...(await inventory(admin))].filter((line) => !before.has(line) && !KEPT.test(line));
}

it('leaves nothing', async () => {
  tenant = await Tenant.open(admin, kubeconfig);
  // Nobody installs into a namespace that is not there; making it is not Sluice's.
  await Release.namespace(admin);
  // What every namespace gets a moment later.
  const usual = [tenant.namespace, SYSTEM].flatMap((one) => [`serviceaccounts ${one}/default`, `configmaps ${one}/kube-root-ca.crt`]);
  await until(
    async () => {
      const there = await inventory(admin);
      return usual.every((line) => there.has(line));
    },
    () => `never all of ${usual.join(', ')}`,
  );
  const before = await inventory(admin);
  release = await Release.install(admin, kubeconfig);
  const installed = await inventory(admin);
  await tenant.apply(name, sample(name));
  await tenant.settled(name);
  expect((await left(installed)).length).toBeGreaterThan(8);

  await tenant.delete(name);
  let rest: readonly string[] = [];
  await until(
    async () => {
      rest = await left(installed);
      return rest.length === 0;
    },
    () => `left of the deployment:\n${rest.join('\n')}`,
    180_000,
  );

  await release.uninstall();
  await until(
    async () => {
      rest = await left(before);
      return rest.length === 0;
    },
    () => `left of the release:\n${rest.join('\n')}`,
    120_000,
  );
});
