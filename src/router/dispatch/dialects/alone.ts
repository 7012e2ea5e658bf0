/** Who can do a request without anybody else. Pure. */
import type { Dialect } from '../../../engines/index.ts';
import type { Instance } from '../../instances/instance.ts';

/** Whether an instance of the decode pool prefills too. SGLang's refuses what comes without a room. */
export function decodesAlone(dialect: Dialect): boolean {
  switch (dialect) {
    case 'sluice':
    case 'nixl':
      return true;
    case 'bootstrap':
      return false;
  }
}

/** Whether they can take a request among them. */
export function canServe(instances: readonly Pick<Instance, 'role'>[], dialect: Dialect): boolean {
  const has = (wanted: Instance['role']) => instances.some(({ role }) => role === wanted);
  return has('mixed') || (has('decode') && (has('prefill') || decodesAlone(dialect)));
}
