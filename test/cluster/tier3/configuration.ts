/** What the programs of a node are told, in files. Pure. JSON is YAML. */
import { join } from 'node:path';
import { CNI_FOLDER } from './packages.ts';

export interface Told {
  readonly folder: string;
  readonly kubeconfig: string;
  /** Of the cgroup that all pods are in. */
  readonly cgroup: string;
  readonly node: string;
  readonly pods: string;
  readonly dns: string;
}

export const NODE_NAME = 'node-a';
export const CONTAINERD_SOCKET = '/run/containerd.sock';
export const PAUSE_IMAGE = 'sluice.test/pause:1';
const DOMAIN = 'cluster.local';

/** File name -> content. */
export function configurationFiles(told: Told): Readonly<Record<string, string>> {
  return {
    'containerd.toml': containerd(told),
    'cni/10-bridge.conflist': JSON.stringify(bridge(told)),
    'kubelet.json': JSON.stringify(kubelet(told)),
    'kube-proxy.json': JSON.stringify(kubeProxy(told)),
    Corefile: corefile(told),
    // What pods inherit: names that are not the cluster's are not known.
    'resolv.conf': `nameserver ${told.node}\n`,
  };
}

/** `restrict_oom_score_adj`: containers without the right to raise it (CAP_SYS_RESOURCE) would not start at all. */
function containerd({ folder }: Told): string {
  return `version = 2
root = "${folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "${CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "${PAUSE_IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${CNI_FOLDER}"
    conf_dir = "${folder}/cni"
`;
}

function bridge({ pods }: Told): object {
  const ipam = { type: 'host-local', dataDir: '/run/cni-ipam', ranges: [[{ subnet: pods }]], routes: [{ dst: '0.0.0.0/0' }] };
  const plugins = [
    { type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: true, hairpinMode: true, ipam },
    { type: 'portmap', capabilities: { portMappings: true } },
  ];
  return { cniVersion: '1.0.0', name: 'bridge', plugins };
}

/** Nothing is evicted or collected on a disk that others fill, and no limit of the machine is touched. */
function kubelet({ folder, cgroup, node, dns }: Told): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroup}`,
    cgroupsPerQOS: true,
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: [],
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    address: node,
    volumePluginDir: join(folder, 'volume-plugins'),
    imageGCHighThresholdPercent: 100,
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%', 'nodefs.inodesFree': '1%' },
    clusterDNS: [dns],
    clusterDomain: DOMAIN,
    resolvConf: join(folder, 'resolv.conf'),
  };
}

function kubeProxy({ kubeconfig, pods }: Told): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'iptables',
    hostnameOverride: NODE_NAME,
    clientConnection: { kubeconfig },
    clusterCIDR: pods,
    // That setting is of the whole machine.
    conntrack: { maxPerCore: 0 },
  };
}

function corefile({ kubeconfig, node }: Told): string {
  return `.:53 {
  bind ${node}
  kubernetes ${DOMAIN} {
    kubeconfig ${kubeconfig}
  }
  errors
}
`;
}
