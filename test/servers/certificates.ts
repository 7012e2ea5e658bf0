/** Certificates for tests, made by openssl: one that signs itself, for 127.0.0.1 and localhost. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const OPENSSL: string = 'openssl';

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  /** PEM; its own authority. */
  readonly cert: string;
}

export function makeCertificate(folder: string, name: string): Certificate {
  const [certFile, keyFile] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync(OPENSSL, [...made, '-subj', `/CN=${name}`, '-addext', names, '-keyout', keyFile, '-out', certFile], { stdio: 'ignore' });
  return { certFile, keyFile, cert: readFileSync(certFile, 'utf8') };
}
