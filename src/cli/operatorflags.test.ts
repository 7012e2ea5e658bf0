import { describe, expect, it } from 'vitest';
import { OPERATOR_HELP, readOperatorFlags } from './operatorflags.ts';

const read = (text: string, env: Readonly<Record<string, string>> = {}) => readOperatorFlags(text === '' ? [] : text.split(' '), env);

describe('readOperatorFlags', () => {
  it('needs an image only', () => {
    expect(read('--image i')).toEqual({
      kind: 'run',
      flags: {
        kubeconfig: null,
        context: null,
        namespace: null,
        image: 'i',
        operatorsFrom: { kind: 'pods' },
        leaderElect: true,
        leaseNamespace: null,
        healthHost: '127.0.0.1',
        healthPort: 8081,
        logLevel: 'info',
      },
    });
    expect(read('', { SLUICE_IMAGE: 'i', KUBECONFIG: '/k' })).toMatchObject({ flags: { image: 'i', kubeconfig: '/k' } });
    expect(read('--image j --kubeconfig /l', { SLUICE_IMAGE: 'i', KUBECONFIG: '/k' })).toMatchObject({
      flags: { image: 'j', kubeconfig: '/l' },
    });
  });

  it('reads the rest', () => {
    const flags =
      '--image i --kubeconfig /k --context c -n team --no-leader-elect --lease-namespace sys --health-host 0.0.0.0 --health-port 0 --log-level warn';
    expect(read(flags)).toMatchObject({
      flags: {
        context: 'c',
        namespace: 'team',
        leaderElect: false,
        leaseNamespace: 'sys',
        healthHost: '0.0.0.0',
        healthPort: 0,
        logLevel: 'warn',
      },
    });
  });

  it.each([
    ['', '--image must name the container image'],
    ['--image i --leader-elect --no-leader-elect', 'exclude each other'],
    ['--image i --context c', 'give --kubeconfig FILE too'],
    ['--image i -n Team', '--namespace must be the name of a namespace'],
    ['--image i --health-port 70000', '--health-port must be a whole number from 0 to 65535; got "70000"'],
    ['--image i --log-level loud', '--log-level must be one of debug, info, warn, error; got "loud"'],
    ['--image i --namespaces a', 'did you mean --namespace?'],
  ])('refuses "%s" and says what to write', (text, says) => {
    expect(read(text)).toMatchObject({ kind: 'wrong', message: expect.stringContaining(says) });
  });

  it('teaches', () => {
    expect(read('--help')).toEqual({ kind: 'help' });
    for (const flag of ['--image', '--kubeconfig', '--context', '--namespace', '--no-leader-elect', '--lease-namespace', '--health-port'])
      expect(OPERATOR_HELP).toContain(flag);
  });

  it('knows where operators come from, unless it is outside of the cluster', () => {
    const from = (text: string) => {
      const parsed = read(`--image i ${text}`.trim());
      return parsed.kind === 'run' ? parsed.flags.operatorsFrom : parsed;
    };
    expect(from('')).toEqual({ kind: 'pods' });
    expect(from('--kubeconfig /k')).toEqual({ kind: 'anywhere' });
    expect(from('--kubeconfig /k --operators-from pods')).toEqual({ kind: 'pods' });
    expect(from('--operators-from anywhere')).toEqual({ kind: 'anywhere' });
    expect(from('--operators-from 10.1.0.0/16,fd00::/8')).toEqual({ kind: 'addresses', cidrs: ['10.1.0.0/16', 'fd00::/8'] });
    for (const wrong of ['10.1.0.0', '10.1.0.0/33', 'fd00::/129', '10.1.0.0/16,', 'here', '10.1/16', '1.2.3.4/8/8']) {
      expect(from(`--operators-from ${wrong}`)).toMatchObject({ kind: 'wrong', message: expect.stringContaining(`"${wrong}"`) });
    }
  });
});
